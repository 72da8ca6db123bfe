"""The .npy format: what NumPy writes is read, and a header that lies is refused, never a failure of ours."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core import npy
from services.core.errors import InvalidInputError


def file(header: str | bytes, data: bytes = b"", *, version: int = 1, length: int | None = None) -> bytes:
    text = header.encode("latin-1") if isinstance(header, str) else header
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(784,), (3, 784), (2, 28, 28), (2, 28, 28, 1), (0, 784), (1,) * 8, ()])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_what_numpy_writes_is_read(dtype, shape, order, version, rng):
    array = np.asarray(rng.integers(0, 255, shape), dtype, order)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version)

    read = npy.read(buffer.getvalue())

    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_what_is_written_numpy_reads(rng):
    array = rng.random((3, 10), np.float32)

    np.testing.assert_array_equal(np.load(io.BytesIO(npy.written(array))), array)


def test_a_header_may_be_written_by_others():
    header = '{"descr": "|u1", "fortran_order": False, "shape": (2, 2)}'.replace('"', "'")

    assert npy.read(file(header, b"\1\2\3\4")).tolist() == [[1, 2], [3, 4]]
    assert npy.read(file("{'shape':(4,),'descr':'|u1','fortran_order':True,}  \n", bytes(4))).shape == (4,)


HEADERS = {
    "an unbalanced parenthesis": "{'descr': '|u1', 'fortran_order': False, 'shape': (784, }",
    "a bool for a size": "{'descr': '|u1', 'fortran_order': False, 'shape': (True, 784), }",
    "a size beyond int64, and 0": "{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775808, 0), }",
    "a product beyond int64": "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 99999999999, 0), }",
    "a negative size": "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 784), }",
    "a float for a size": "{'descr': '|u1', 'fortran_order': False, 'shape': (1.0, 784), }",
    "a number for a shape": "{'descr': '|u1', 'fortran_order': False, 'shape': 784, }",
    "a parenthesised number": "{'descr': '|u1', 'fortran_order': False, 'shape': (784), 'shape': (1,), }",
    "no order": "{'descr': '|u1', 'shape': (784,), }",
    "an order of one": "{'descr': '|u1', 'fortran_order': 1, 'shape': (784,), }",
    "a key more": "{'descr': '|u1', 'fortran_order': False, 'shape': (784,), 'more': 1, }",
    "fields": "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (784,), }",
    "code": "__import__('os').abort()",
    "nothing": "",
    "nested brackets": "(" * 900,
    "only commas": "{'descr': '|u1', 'fortran_order': False, 'shape': (,,,), }",
    "nine dimensions": "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 784), }",
    "digits that are no ASCII": "{'descr': '|u1', 'fortran_order': False, 'shape': (7\u00b2, ), }",
    "a sum of digits": "{'descr': '|u1', 'fortran_order': False, 'shape': (7 84,), }",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_damaged_header_is_invalid_input(name):
    """Issue 15.6: the first three of these were answered 500."""
    with pytest.raises(InvalidInputError):
        npy.read(file(HEADERS[name], bytes(784)))


@pytest.mark.parametrize("length", [0, 10, 0xFFFF])
def test_a_header_of_another_length_is_invalid_input(length):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (784,), }"

    with pytest.raises(InvalidInputError):
        npy.read(file(header, bytes(784), length=length))


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="{}()'\", :-+.0123456789descrfortan_orderTueFalse|u1<f4", max_size=120))
def test_no_header_gets_past_as_another_error(header):
    with pytest.raises(InvalidInputError):
        npy.read(file(header, bytes(784)))
