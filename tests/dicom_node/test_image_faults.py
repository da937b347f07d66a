"""Whatever is wrong with an object, the answer is an ImageError, soon, in little memory."""

from __future__ import annotations

import errno
import functools
import os
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import UID

from dicom_node import contexts
from dicom_node.capture import secondary_capture
from dicom_node.codestream import read_frame_header
from dicom_node.errors import ImageError
from dicom_node.image import (
    MAX_FRAME_PIXELS,
    MAX_HEADER_BYTES,
    MAX_INFLATED_BYTES,
    StoredImage,
    pages,
    read_header,
    read_raster,
)
from dicom_node.part10 import faults_named

ENCODINGS = [
    "explicit",
    "implicit",
    "big_endian",
    "deflated",
    "baseline",
    "extended",
    "lossless",
    "lossless_sv1",
    "jpeg_ls",
    "jpeg_ls_near",
    "jpeg_2000_lossless",
    "jpeg_2000",
    "rle",
]
COMPRESSED = ENCODINGS[4:]
NAME = "Test^Patient"
T = TypeVar("T")


def attempt(read: Callable[[], T]) -> T | ImageError:
    """Return what was read, or why it could not be; any other exception is a failure."""
    try:
        return read()
    except ImageError as failure:
        return failure


@pytest.fixture
def plain() -> Dataset:
    return secondary_capture(np.full((20, 30, 3), 7, np.uint8), patient_id="PID-1")


def fault(ds: Dataset, frame: int = 0) -> str:
    """Return why an object gives no raster."""
    with pytest.raises(ImageError) as failure:
        read_raster(ds, frame)
    assert failure.value.reason == str(failure.value)
    assert not failure.value.retryable
    return failure.value.reason


def test_an_enormous_picture_that_is_not_there_costs_nothing(plain: Dataset) -> None:
    plain.Rows = plain.Columns = 65535
    tracemalloc.start()
    try:
        assert "65535 x 65535" in fault(plain)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_an_enormous_picture_within_the_limit_is_compared_with_its_bytes(plain: Dataset) -> None:
    plain.Rows, plain.Columns = 6000, MAX_FRAME_PIXELS // 6000
    tracemalloc.start()
    try:
        assert "Rows x Columns" in fault(plain)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_more_rows_than_bytes_is_a_fault(plain: Dataset) -> None:
    plain.Rows += 1
    assert "Rows x Columns" in fault(plain)


def test_memory_that_this_machine_lacks_is_no_fault_of_the_object(tmp_path: Path) -> None:
    ds = secondary_capture(np.zeros((6000, 6000, 3), np.uint8), patient_id="X")
    ds.save_as(tmp_path / "large.dcm", enforce_file_format=True)
    reads = f"""
import resource
from pathlib import Path
from dicom_node.image import pages
pages_of = lambda: sum(1 for _ in pages(Path({str(tmp_path / "large.dcm")!r})))
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 60_000_000, -1))
try:
    pages_of()
except MemoryError:
    print("MemoryError")
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
print(pages_of())
"""
    done = subprocess.run(
        [sys.executable, "-c", reads], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["MemoryError", "1"]


def test_a_file_that_was_cut_off_is_a_fault(plain: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "cut.dcm"
    plain.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError, match="cut off"):
        next(pages(path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Rows": 0}, "zero"),
        ({"Columns": 0}, "zero"),
        ({"Rows": None}, "Rows is absent"),
        ({"BitsAllocated": 32}, "Bits Allocated"),
        ({"BitsAllocated": 1}, "Bits Allocated"),
        ({"BitsStored": 9}, "Bits Stored"),
        ({"BitsStored": 0}, "Bits Stored"),
        ({"HighBit": 9}, "High Bit"),
        ({"PhotometricInterpretation": "HSV"}, "photometric"),
        ({"PhotometricInterpretation": ""}, "photometric"),
        ({"PhotometricInterpretation": "MONOCHROME2"}, "Samples per Pixel"),
        ({"SamplesPerPixel": 4}, "Samples per Pixel"),
        ({"PlanarConfiguration": 2}, "Planar Configuration"),
        ({"PixelData": b""}, "there are 0"),
        ({"PixelData": None}, "no pixel data"),
    ],
)
def test_a_description_that_cannot_be_is_a_fault(
    plain: Dataset, changes: dict[str, Any], reason: str
) -> None:
    for keyword, value in changes.items():
        setattr(plain, keyword, value)
    assert reason in fault(plain)


def test_a_palette_picture_without_a_palette_is_a_fault(plain: Dataset) -> None:
    ds = secondary_capture(np.zeros((4, 4), np.uint8), patient_id="PID-1")
    ds.PhotometricInterpretation = "PALETTE COLOR"
    assert fault(ds)


def test_a_palette_of_megabytes_is_a_fault() -> None:
    ds = secondary_capture(np.zeros((4, 4), np.uint8), patient_id="PID-1")
    ds.PhotometricInterpretation = "PALETTE COLOR"
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [0, 0, 16])
        setattr(ds, f"{name}PaletteColorLookupTableData", bytes(1 << 20))
    assert "palette" in fault(ds)


def segmented(values: list[int], bits: int = 16) -> Dataset:
    ds = secondary_capture(np.arange(16, dtype=np.uint8).reshape(4, 4), patient_id="PID-1")
    ds.PhotometricInterpretation = "PALETTE COLOR"
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [0, 0, bits])
        data = np.array(values, f"<u{bits // 8}").tobytes()
        setattr(ds, f"Segmented{name}PaletteColorLookupTableData", data)
    return ds


LINEAR = [1, 0xFFFF, 7]
BOMBS = {
    "linear": [0, 1, 5, *LINEAR * 40_000],
    "indirect": [0, 1, 5, *LINEAR * 1000, *[2, 1000, 3, 0] * 20_000],
    "of nothing": [0, 1, 5, *[0, 0] * 20_000, *[2, 20_000, 3, 0] * 10_000],
    "of all": [0, 1, 5, 2, 0, 0, 0],
    "nested": [0, 1, 5, 2, 1, 3, 0],
    "of copies": [0, 1, 5, *[2, 1, 0, 0] * 32_000],
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_segmented_palette_that_would_fill_the_memory_is_never_expanded(name: str) -> None:
    ds = segmented(BOMBS[name])
    began = time.process_time()
    tracemalloc.start()
    try:
        assert "a palette is" in fault(ds)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("bits", "values"),
    [
        # Five entries, a line to 130, the first segment again, the line again, two entries.
        (8, [0, 5, 10, 20, 30, 40, 50, 1, 4, 130, 2, 2, 0, 0, 0, 0, 0, 2, 7, 8]),
        (16, [0, 5, 10, 20, 30, 40, 50, 1, 4, 130, 2, 2, 0, 0, 0, 2, 7, 8]),
    ],
)
def test_a_segmented_palette_gives_its_colours(bits: int, values: list[int]) -> None:
    expected = [10, 20, 30, 40, 50, 70, 90, 110, 130, 10, 20, 30, 40, 50, 70, 90]
    assert read_raster(segmented(values, bits))[..., 0].ravel().tolist() == expected


def test_a_frame_that_does_not_exist_is_a_fault(plain: Dataset) -> None:
    assert "frame 2 of 1" in fault(plain, 1)
    assert "frame 0 of 1" in fault(plain, -1)
    plain.NumberOfFrames = "1000000000"
    assert "there are 1800" in fault(plain, 999_999_999)
    assert read_raster(plain, 0).shape == (20, 30, 3)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.102", "1.2.3", ""])
def test_a_transfer_syntax_we_do_not_take_is_a_fault(plain: Dataset, syntax: str) -> None:
    plain.file_meta.TransferSyntaxUID = UID(syntax)
    assert "transfer syntax" in fault(plain)


def test_native_bytes_under_a_compressed_syntax_are_a_fault(plain: Dataset) -> None:
    plain.file_meta.TransferSyntaxUID = UID(contexts.JPEG_BASELINE)
    assert fault(plain)


def test_pixel_data_without_a_fragment_is_a_fault(pictures: Path) -> None:
    for encoding in COMPRESSED:
        ds = dcmread(pictures / f"rgb.{encoding}.dcm")
        table, end = b"\xfe\xff\x00\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
        for value in (b"", table, table + end, end):
            ds.PixelData = value
            assert fault(ds)


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_compressed_picture_of_another_size_than_declared_is_a_fault(
    pictures: Path, encoding: str
) -> None:
    ds = dcmread(pictures / f"rgb.{encoding}.dcm")
    ds.Rows, ds.Columns = 122, 161
    assert fault(ds)
    ds.Rows, ds.Columns = 6000, 6000
    tracemalloc.start()
    try:
        assert fault(ds)
        if encoding != "rle":
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_grey_picture_that_is_declared_as_colour_is_a_fault(
    pictures: Path, encoding: str
) -> None:
    grey, colour = (dcmread(pictures / f"{name}.{encoding}.dcm") for name in ("grey", "rgb"))
    colour.PixelData = grey.PixelData
    assert "component" in fault(colour)


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_compressed_picture_cut_anywhere_is_a_raster_or_a_fault(
    pictures: Path, encoding: str
) -> None:
    ds = dcmread(pictures / f"rgb.{encoding}.dcm")
    frame = get_frame(ds.PixelData, 0, number_of_frames=1)
    for length in (0, 1, 2, 10, 20, 50, 70, len(frame) // 2, len(frame) - 10):
        ds.PixelData = encapsulate([frame[:length] or b"\0\0"])
        result = attempt(functools.partial(read_raster, ds))
        assert isinstance(result, ImageError) or result.shape == (121, 161, 3)


def test_a_deflated_bomb_is_a_fault(tmp_path: Path, plain: Dataset) -> None:
    path = tmp_path / "bomb.dcm"
    plain.file_meta.TransferSyntaxUID = UID(contexts.DEFLATED_LE)
    plain.save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    length = int.from_bytes(content[140:144], "little")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(1 << 20)
    bomb = b"".join(deflater.compress(zeros) for _ in range((MAX_INFLATED_BYTES >> 20) + 1))
    path.write_bytes(content[: 144 + length] + bomb + deflater.flush())
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ImageError, match="inflates"):
        next(pages(path))


def test_a_header_of_megabytes_is_a_fault(tmp_path: Path, plain: Dataset) -> None:
    path = tmp_path / "long.dcm"
    plain.add_new(0x00091001, "OB", bytes(MAX_HEADER_BYTES + 2))
    plain.save_as(path, enforce_file_format=True)
    with pytest.raises(ImageError, match="longer than any"):
        read_header(path)


def test_sequences_nested_beyond_any_depth_are_a_fault(tmp_path: Path, plain: Dataset) -> None:
    path = tmp_path / "deep.dcm"
    plain.save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    length = int.from_bytes(content[140:144], "little")
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(content[: 144 + length] + opening * 5000)
    with pytest.raises(ImageError):
        read_header(path)


@pytest.mark.parametrize("content", [b"", b"no DICOM", bytes(128) + b"DICM", b"\x89PNG" * 100])
def test_a_file_that_is_no_object_is_a_fault(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.dcm"
    path.write_bytes(content)
    for read in (read_header, StoredImage, lambda path: next(pages(path))):
        with pytest.raises(ImageError):
            read(path)


def test_a_file_this_machine_cannot_read_is_no_fault_of_the_object(tmp_path: Path) -> None:
    loop = tmp_path / "loop.dcm"
    loop.symlink_to(loop)
    for path, code in (
        (tmp_path / "absent.dcm", errno.ENOENT),
        (tmp_path, errno.EISDIR),
        (loop, errno.ELOOP),
        (Path("/proc/self/mem"), errno.EIO),
    ):
        for read in (read_header, StoredImage, lambda path: next(pages(path))):
            with pytest.raises(OSError) as caught:
                read(path)
            assert caught.value.errno == code


@pytest.mark.parametrize(
    "code",
    ["EACCES", "EPERM", "ENOSPC", "EDQUOT", "ETIMEDOUT", "EROFS", "EBUSY", "ENOTCONN", "ESTALE"],
)
def test_of_the_faults_of_a_system_only_an_invalid_request_is_the_content_s(code: str) -> None:
    number = getattr(errno, code)
    with pytest.raises(OSError) as caught, faults_named():
        raise OSError(number, os.strerror(number))
    assert caught.value.errno == number
    for fault in (OSError(errno.EINVAL, "x"), OSError("a decoder's words")):
        with pytest.raises(ImageError), faults_named():
            raise fault


def test_a_report_has_no_pixel_data(tmp_path: Path, plain: Dataset) -> None:
    del plain.PixelData
    path = tmp_path / "report.dcm"
    plain.save_as(path, enforce_file_format=True)
    with pytest.raises(ImageError, match="no pixel data"):
        StoredImage(path)


MUTATIONS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(mutations=MUTATIONS, early=st.booleans(), kept=st.sampled_from([1.0, 1.0, 0.9, 0.3]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_are_a_raster_or_a_fault_and_never_name_a_patient(
    pictures: Path,
    scratch: Callable[[bytes], Path],
    encoding: str,
    mutations: list[tuple[float, int]],
    early: bool,
    kept: float,
) -> None:
    damaged = bytearray((pictures / f"rgb.{encoding}.dcm").read_bytes())
    # Half of the time the header and the first bytes of the picture are hit.
    reach = 1200 if early else len(damaged)
    for place, byte in mutations:
        damaged[int(place * reach)] = byte
    path = scratch(bytes(damaged[: int(len(damaged) * kept)]))
    result = attempt(lambda: next(pages(path)))
    if isinstance(result, ImageError):
        assert result.reason
        assert NAME not in result.reason
    else:
        assert result.dtype == np.uint8
        assert result.ndim in (2, 3)


@pytest.fixture
def scratch(tmp_path: Path) -> Callable[[bytes], Path]:
    """Return a function that writes bytes to one and the same file."""

    def write(content: bytes) -> Path:
        path = tmp_path / "damaged.dcm"
        path.write_bytes(content)
        return path

    return write


@given(st.sampled_from(sorted(contexts.TRANSFER_SYNTAXES)), st.binary(max_size=200))
def test_any_bytes_as_a_frame_have_a_header_or_a_fault(syntax: str, frame: bytes) -> None:
    for start in (b"", b"\xff\xd8", b"\xff\xd8\xff\xc0", b"\xff\x4f\xff\x51"):
        assert attempt(functools.partial(read_frame_header, start + frame, syntax))


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (12, b"\x00\x60", "impossible size"),
        (24, b"\x00\x00\x00\x01\x00\x00\x00\x01", "tiles"),
        (43, b"\x02\x02", "subsampled"),
    ],
    ids=["height", "tiles", "subsampling"],
)
def test_a_jpeg_2000_header_that_would_fill_the_memory_never_meets_its_decoder(
    pictures: Path, offset: int, value: bytes, reason: str
) -> None:
    ds = dcmread(pictures / "rgb.jpeg_2000_lossless.dcm")
    frame = bytearray(get_frame(ds.PixelData, 0, number_of_frames=1))
    frame[offset : offset + len(value)] = value
    ds.PixelData = encapsulate([bytes(frame)])
    assert reason in fault(ds)
