"""Pixel data of any accepted object becomes the raster a person would see."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from dicom_node import contexts
from dicom_node.capture import secondary_capture
from dicom_node.image import (
    StoredImage,
    frame_count,
    pages,
    read_header,
    read_raster,
)
from dicom_node.pixels import Raster

LOSSLESS = [
    "explicit",
    "implicit",
    "big_endian",
    "deflated",
    "lossless",
    "lossless_sv1",
    "jpeg_ls",
    "jpeg_2000_lossless",
    "rle",
]
LOSSY = {"jpeg_ls_near": 2, "baseline": 40, "extended": 40, "jpeg_2000": 40}
GREYS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
COLOURS = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def described(stored: npt.NDArray[Any], photometric: str, **attributes: Any) -> Dataset:
    """Return an object whose pixel data are these values as they are."""
    rows, columns = stored.shape[:2]
    ds = secondary_capture(np.zeros((rows, columns), np.uint8), patient_id="PID-1")
    bits = stored.dtype.itemsize * 8
    ds.PhotometricInterpretation = photometric
    ds.SamplesPerPixel = 3 if stored.ndim == 3 else 1
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    if stored.ndim == 3:
        ds.PlanarConfiguration = 0
    data = stored.tobytes()
    ds.PixelData = data + bytes(len(data) % 2)
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def pydicom_file(name: str) -> Path:
    """Return one of the files that pydicom's wheel carries for its own tests."""
    folder = importlib.resources.files("pydicom.data").joinpath("test_files")
    path = Path(str(folder.joinpath(name)))
    assert path.is_file(), f"pydicom's wheel has no {name}"
    return path


@pytest.mark.parametrize("encoding", LOSSLESS)
def test_a_lossless_syntax_gives_the_very_picture(
    pictures: Path, paper: Raster, encoding: str
) -> None:
    assert np.array_equal(next(pages(pictures / f"rgb.{encoding}.dcm")), paper)
    assert np.array_equal(next(pages(pictures / f"grey.{encoding}.dcm")), paper[..., 1])


@pytest.mark.parametrize("encoding", sorted(LOSSY))
def test_a_lossy_syntax_gives_nearly_the_picture(
    pictures: Path, paper: Raster, encoding: str
) -> None:
    for name, expected in (("rgb", paper), ("grey", paper[..., 1])):
        raster = next(pages(pictures / f"{name}.{encoding}.dcm"))
        assert raster.shape == expected.shape
        difference = np.abs(raster.astype(int) - expected.astype(int))
        assert difference.mean() < 8
        if encoding == "jpeg_ls_near":
            assert difference.max() <= LOSSY[encoding]


@given(GREYS)
def test_monochrome1_is_inverted_monochrome2(grey: Raster) -> None:
    as_is = read_raster(described(grey, "MONOCHROME2"))
    assert np.array_equal(as_is, grey)
    assert np.array_equal(read_raster(described(grey, "MONOCHROME1")), 255 - as_is)


@given(COLOURS)
def test_colour_by_plane_is_colour_by_pixel(colour: Raster) -> None:
    by_pixel = described(colour, "RGB")
    by_plane = described(colour, "RGB", PlanarConfiguration=1)
    planes = np.ascontiguousarray(colour.transpose(2, 0, 1)).tobytes()
    by_plane.PixelData = planes + bytes(len(planes) % 2)
    assert np.array_equal(read_raster(by_pixel), colour)
    assert np.array_equal(read_raster(by_plane), colour)


@given(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_sixteen_bits_keep_their_order_and_fill_the_range(grey: npt.NDArray[np.uint16]) -> None:
    raster = read_raster(described(grey, "MONOCHROME2"))
    assert raster.dtype == np.uint8
    order = np.argsort(grey, axis=None)
    assert (np.diff(raster.ravel()[order].astype(int)) >= 0).all()
    if grey.min() != grey.max():
        assert (raster.min(), raster.max()) == (0, 255)
    inverted = read_raster(described(grey, "MONOCHROME1"))
    assert np.array_equal(inverted, 255 - raster)


def test_a_window_is_applied_to_more_than_eight_bits() -> None:
    grey = np.array([[0, 100, 150, 200, 4000]], np.uint16)
    raster = read_raster(described(grey, "MONOCHROME2", WindowCenter="150", WindowWidth="101"))
    assert raster.tolist() == [[0, 1, 129, 255, 255]]


@pytest.mark.parametrize("width", ["0", "1", "-5", "nan"])
def test_a_window_that_shows_nothing_is_left_out(width: str) -> None:
    grey = np.array([[0, 2000, 4000]], np.uint16)
    ds = described(grey, "MONOCHROME2")
    ds.WindowCenter = "2000"
    ds.add_new("WindowWidth", "LO", width)
    assert read_raster(ds).tolist() == [[0, 128, 255]]


def test_a_window_far_from_every_value_is_left_out() -> None:
    grey = np.array([[0, 2000, 4000]], np.uint16)
    ds = described(grey, "MONOCHROME2", WindowCenter="60000", WindowWidth="10")
    assert read_raster(ds).tolist() == [[0, 128, 255]]


def test_signed_values_and_a_rescale_are_shown_in_order() -> None:
    grey = np.array([[-1000, 0, 1000]], np.int16)
    ds = described(grey, "MONOCHROME2", RescaleSlope="-1", RescaleIntercept="0")
    assert read_raster(ds).tolist() == [[255, 128, 0]]


def test_bits_beside_the_stored_ones_are_not_shown() -> None:
    values = np.array([[0x0FFF, 0xF000, 0xF7FF]], np.uint16)
    ds = described(values, "MONOCHROME2", BitsStored=12, HighBit=11)
    assert read_raster(ds).tolist() == [[255, 0, 127]]
    shifted = described(values << 4, "MONOCHROME2", BitsStored=12, HighBit=15)
    assert read_raster(shifted).tolist() == [[255, 0, 127]]


@given(
    hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
        elements=st.integers(0, 1),
    )
)
def test_a_single_bit_film_gives_each_of_its_pages(film: Raster) -> None:
    count, rows, columns = film.shape
    ds = described(np.zeros((rows, columns), np.uint8), "MONOCHROME2")
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = 0
    ds.NumberOfFrames = count
    packed = np.packbits(film.ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + bytes(len(packed) % 2)
    image = StoredImage.of(ds)
    assert image.frame_count == count
    for number, page in enumerate(film):
        assert np.array_equal(image.read(number), page * 255)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 5), st.just(4))))
def test_subsampled_ycbcr_is_full_ycbcr_with_each_colour_twice(pairs: Raster) -> None:
    rows, half, _ = pairs.shape
    full = np.empty((rows, half * 2, 3), np.uint8)
    full[..., 0] = pairs[..., :2].reshape(rows, half * 2)
    full[..., 1:] = np.repeat(pairs[..., 2:], 2, axis=1)
    subsampled = described(full, "YBR_FULL_422")
    subsampled.PixelData = pairs.tobytes()
    assert np.array_equal(read_raster(subsampled), read_raster(described(full, "YBR_FULL")))


def test_ycbcr_is_converted_by_bt_601() -> None:
    ycbcr = np.array([[[255, 128, 128], [0, 128, 128], [76, 85, 255], [29, 255, 107]]], np.uint8)
    raster = read_raster(described(ycbcr, "YBR_FULL"))
    expected = [[255, 255, 255], [0, 0, 0], [254, 0, 0], [0, 0, 254]]
    assert np.abs(raster[0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("entry_bits", [8, 16])
def test_a_palette_gives_its_colours(entry_bits: int) -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], np.uint8)
    ds = described(np.array([[10, 11, 12, 13, 9, 255]], np.uint8), "PALETTE COLOR")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        entries = colours[:, channel]
        data = entries if entry_bits == 8 else entries.astype(np.uint16) << 8
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [4, 10, entry_bits])
        setattr(ds, f"{name}PaletteColorLookupTableData", data.tobytes())
    # Values below the first take the first entry, those above the last take the last.
    expected = [*colours, colours[0], colours[3]]
    assert read_raster(ds)[0].tolist() == [list(colour) for colour in expected]


def test_the_pages_of_a_film_come_in_order(tmp_path: Path) -> None:
    film = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)
    ds = described(film[0], "RGB", NumberOfFrames="3")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7.4")
    ds.PixelData = film.tobytes()
    ds.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    assert frame_count(tmp_path / "film.dcm") == 3
    assert [page.tolist() for page in pages(tmp_path / "film.dcm")] == film.tolist()


@pytest.mark.parametrize("syntax", [contexts.RLE, contexts.JPEG_2000_LOSSLESS])
def test_the_pages_of_a_compressed_film_come_in_order(tmp_path: Path, syntax: str) -> None:
    film = np.random.default_rng(1).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    ds = described(film[0], "RGB", NumberOfFrames="3")
    ds.PixelData = film.tobytes()
    ds.compress(syntax)
    ds.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    assert [page.tolist() for page in pages(tmp_path / "film.dcm")] == film.tolist()


def test_big_endian_bytes_in_words_are_put_back_in_order(tmp_path: Path) -> None:
    film = np.random.default_rng(1).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    ds = described(film[0], "MONOCHROME2", NumberOfFrames="3")
    pairs = np.frombuffer(film.tobytes() + b"\0", np.uint8).reshape(-1, 2)
    ds.add_new("PixelData", "OW", pairs[:, ::-1].tobytes())
    ds.file_meta.TransferSyntaxUID = UID(contexts.EXPLICIT_BE)
    assert [StoredImage.of(ds).read(n).tolist() for n in range(3)] == film.tolist()


# Pictures of which only the stream tells the colour space, and the same decoded by others.
@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        ("SC_rgb_jpeg_app14_dcmd.dcm", "SC_jpeg_no_color_transform_2.dcm"),
        ("SC_rgb_jpeg_dcmd.dcm", "SC_rgb_jpeg.dcm"),
    ],
)
def test_the_stream_s_own_colour_space_is_believed(plain: str, encoded: str) -> None:
    expected = next(pages(pydicom_file(plain))).astype(int)
    assert np.abs(next(pages(pydicom_file(encoded))).astype(int) - expected).max() <= 3


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+n1.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jls_lossy_sample.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm",
        "SC_rgb_rle_16bit.dcm",
        "SC_rgb_rle_2frame.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ],
)
def test_one_picture_in_the_encodings_of_many_makers_looks_the_same(name: str) -> None:
    expected = next(pages(pydicom_file("SC_rgb_rle.dcm"))).astype(int)
    assert np.abs(next(pages(pydicom_file(name))).astype(int) - expected).mean() < 8


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_padded.dcm", "MR_small.dcm"),
        ("SC_rgb_small_odd_big_endian.dcm", "SC_rgb_small_odd.dcm"),
        ("liver_expb_1frame.dcm", "liver_1frame.dcm"),
    ],
)
def test_pydicom_s_pairs_of_files_are_pairs_of_equal_rasters(name: str, same_as: str) -> None:
    assert np.array_equal(next(pages(pydicom_file(name))), next(pages(pydicom_file(same_as))))


def test_the_header_is_read_without_the_pixels(pictures: Path) -> None:
    for path in pictures.glob("rgb.*.dcm"):
        header, whole = read_header(path), dcmread(path)
        assert "PixelData" not in header
        assert header.SOPInstanceUID == whole.SOPInstanceUID
        assert header.PatientName == whole.PatientName
        assert header.file_meta.TransferSyntaxUID == whole.file_meta.TransferSyntaxUID


def test_a_data_set_in_memory_gives_the_same_raster_as_its_file(pictures: Path) -> None:
    for path in pictures.glob("*.dcm"):
        assert np.array_equal(read_raster(dcmread(path)), next(pages(path)))
