"""What deploy/docker/strip-debug leaves of a library maps to the same memory, and loads."""

import shutil
import struct
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import numpy as np
import pytest

from deploy.stack.settings import ROOT

SCRIPT = ROOT / "deploy/docker/strip-debug"
SITE_PACKAGES = Path(np.__file__).parents[1]
PACKAGES = ("cv2", "opencv_python_headless.libs", "numpy", "numpy.libs", "granian", "grpc", "uvloop", "orjson")
LOAD = 1

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wheels' libraries are ELF on Linux only")


@pytest.fixture(scope="module")
def strip_debug():
    spec = spec_from_loader("strip_debug", SourceFileLoader("strip_debug", str(SCRIPT)))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def libraries() -> list[Path]:
    """Those that the gateway's image is made of, as their wheels have them, with what is bundled beside them."""
    return sorted(path for name in PACKAGES for path in (SITE_PACKAGES / name).rglob("*.so*"))


def table_of(elf: bytes) -> tuple[int, int, int]:
    """The table of segments: where it begins, how large an entry is, how many there are."""
    return struct.unpack_from("<Q", elf, 32) + struct.unpack_from("<HH", elf, 54)


def segments(elf: bytes) -> list[tuple[tuple[int, ...], int, bytes]]:
    """Each segment: what it says of memory, its offset in the file, its bytes there (ELF's own tables blank)."""
    table, entry_size, count = table_of(elf)
    blank = bytearray(elf)
    blank[:64] = bytes(64)
    blank[table : table + entry_size * count] = bytes(entry_size * count)
    found = []
    for index in range(count):
        kind, flags, offset, address, size, memory, alignment = struct.unpack_from(
            "<IIQQ8xQQQ", elf, table + entry_size * index
        )
        found.append(((kind, flags, address, size, memory, alignment), offset, bytes(blank[offset : offset + size])))
    return found


@pytest.mark.parametrize("path", libraries(), ids=lambda path: path.name)
def test_every_segment_maps_the_same_bytes_to_the_same_address(strip_debug, path):
    before = path.read_bytes()
    after = strip_debug.loaded(before)

    assert len(after) <= len(before)
    assert table_of(after)[2] > 0
    for (memory, _, wanted), (memory_after, offset, kept) in zip(segments(before), segments(after), strict=True):
        kind, _, address, size, _, alignment = memory_after
        assert memory_after == memory
        assert len(kept) == size
        assert kept == wanted
        if kind == LOAD:
            assert (offset - address) % alignment == 0


def test_a_hole_between_segments_goes_by_whole_pages(strip_debug):
    """As auditwheel leaves them: a second segment far behind the first, then sections that nobody maps."""
    table = struct.pack("<IIQQQQQQ", LOAD, 5, 0, 0, 0, 176, 176, 4096)
    table += struct.pack("<IIQQQQQQ", LOAD, 6, 20580, 4196, 4196, 4, 4, 4096)
    header = b"\x7fELF\x02\x01" + bytes(26) + struct.pack("<QQIHHHHHH", 64, 30000, 0, 64, 56, 2, 64, 3, 2)
    elf = bytearray(header + table).ljust(40000, b"?")
    elf[20580:20584] = b"data"

    after = strip_debug.loaded(bytes(elf))

    assert len(after) == 4200
    assert [(offset, kept) for _, offset, kept in segments(after)][1] == (4196, b"data")
    assert struct.unpack_from("<Q", after, 40) == (0,)


def test_stripped_libraries_load_and_work(tmp_path):
    for name in ("numpy", "numpy.libs", "cv2", "opencv_python_headless.libs"):
        shutil.copytree(SITE_PACKAGES / name, tmp_path / name, ignore=shutil.ignore_patterns("tests", "f2py"))
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.so*"))
    subprocess.run([sys.executable, SCRIPT, tmp_path], check=True, capture_output=True)
    code = "import cv2, numpy as np; print(cv2.__file__, cv2.resize(np.linalg.inv(2 * np.eye(4)), (2, 2)).sum())"
    child = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )

    assert child.stdout.startswith(str(tmp_path))
    assert child.stdout.split()[1] == "0.5"
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.so*")) < size - 3_000_000
