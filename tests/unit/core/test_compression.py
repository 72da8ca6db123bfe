"""Content-Encoding undone: all of it or none, and never more than a body may be."""

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.compression import ANY_RATIO_BYTES, MAX_MEMBERS, check_encoding, inflate, is_encoded
from services.core.errors import InvalidInputError, TooLargeError, UnsupportedMediaError

MAX = 32 * 1024 * 1024


@pytest.mark.parametrize("encoding", [None, "", "identity", " Identity "])
def test_identity_is_no_encoding(encoding):
    assert not is_encoded(encoding)
    check_encoding(encoding)


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("X-Gzip", gzip.compress), ("deflate", zlib.compress)]
)
@pytest.mark.parametrize("data", [b"", b"some digits" * 99])
def test_a_round_trip_changes_nothing(encoding, pack, data):
    assert inflate(pack(data), encoding, max_bytes=MAX) == data


def test_all_members_of_a_gzip_body_are_read():
    """Issue 15.11: two pictures in, `count: 1`."""
    members = [b"first", b"", b"third" * 1000]

    assert inflate(b"".join(map(gzip.compress, members)), "gzip", max_bytes=MAX) == b"".join(members)


@pytest.mark.parametrize(
    ("encoding", "body", "message"),
    [
        ("gzip", gzip.compress(b"digits", mtime=0) + b"rubbish", "not gzip after 1 members"),
        ("gzip", gzip.compress(b"digits", mtime=0) + b"\0", "not gzip after 1 members|ends too soon"),
        ("deflate", zlib.compress(b"digits") + b"rubbish", "7 bytes follow the deflate data"),
        ("deflate", zlib.compress(b"digits") * 2, "follow the deflate data"),
        ("gzip", gzip.compress(b"", mtime=0) * (MAX_MEMBERS + 1), "20 bytes follow the gzip data"),
        ("gzip", gzip.compress(b"digits", mtime=0)[:-1], "ends too soon"),
        ("gzip", gzip.compress(b"digits", mtime=0)[:-4] + b"\0\0\0\0", "not gzip"),
        ("gzip", b"plain", "not gzip"),
        ("gzip", b"", "ends too soon"),
    ],
)
def test_what_is_not_wholly_so_encoded_is_invalid(encoding, body, message):
    with pytest.raises(InvalidInputError, match=message):
        inflate(body, encoding, max_bytes=MAX)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "chunked"])
def test_other_encodings_are_refused_by_name(encoding):
    for refuse in (check_encoding, lambda name: inflate(b"x", name, max_bytes=MAX)):
        with pytest.raises(UnsupportedMediaError, match=f"Content-Encoding '{encoding}'"):
            refuse(encoding)


def test_size_is_bounded_over_all_members():
    body = gzip.compress(b"0123456789" * 10) * 3

    assert len(inflate(body, "gzip", max_bytes=300)) == 300
    with pytest.raises(TooLargeError, match="more than 299 bytes"):
        inflate(body, "gzip", max_bytes=299)


def test_the_ratio_is_bounded_beyond_a_megabyte():
    assert len(inflate(gzip.compress(bytes(ANY_RATIO_BYTES)), "gzip", max_bytes=MAX)) == ANY_RATIO_BYTES
    with pytest.raises(TooLargeError, match="more than 200 times"):
        inflate(gzip.compress(bytes(15_000_000)), "gzip", max_bytes=MAX)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100), st.sampled_from(["gzip", "deflate"]), st.integers(0, 120), st.integers(0, 255))
def test_no_damage_gets_past_as_another_error(data, encoding, place, value):
    body = bytearray(gzip.compress(data) if encoding == "gzip" else zlib.compress(data))
    body[place % len(body)] = value
    try:
        inflated = inflate(bytes(body), encoding, max_bytes=MAX)
    except InvalidInputError:
        return
    assert inflated == data or encoding == "gzip"
