"""What is odd about the pictures hospitals send, and what comes of each."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import ImageCms
from pydicom import Dataset, dcmread
from pydicom.uid import UID

from dicom_node import contexts
from dicom_node.capture import secondary_capture
from dicom_node.charset import decode_dataset
from dicom_node.errors import ImageError
from dicom_node.image import StoredImage, pages, read_header, read_raster
from dicom_node.pixels import Raster

RGB_PIXELS = hnp.arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8), st.just(3)))


def grey(values: npt.NDArray[Any], **attributes: Any) -> Dataset:
    """Return an object of grey values of 8 or 16 bits."""
    ds = secondary_capture(np.zeros(values.shape, np.uint8), patient_id="PID-1")
    bits = values.dtype.itemsize * 8
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    data = values.tobytes()
    ds.PixelData = data + bytes(len(data) % 2)
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def colour(values: Raster) -> Dataset:
    """Return an RGB object."""
    return secondary_capture(values, patient_id="PID-1")


def overlay(
    ds: Dataset,
    bits: npt.NDArray[Any],
    *,
    group: int = 0x6000,
    origin: tuple[int, int] = (1, 1),
    kind: str = "G",
    frames: int | None = None,
    first_frame: int = 1,
) -> Dataset:
    """Add an overlay plane of (rows, columns) or (frames, rows, columns) bits."""
    rows, columns = bits.shape[-2:]
    ds.add_new((group, 0x0010), "US", rows)
    ds.add_new((group, 0x0011), "US", columns)
    if frames is not None:
        ds.add_new((group, 0x0015), "IS", str(frames))
        ds.add_new((group, 0x0051), "US", first_frame)
    ds.add_new((group, 0x0040), "CS", kind)
    ds.add_new((group, 0x0050), "SS", list(origin))
    ds.add_new((group, 0x0100), "US", 1)
    ds.add_new((group, 0x0102), "US", 0)
    data = np.packbits(bits.astype(bool).ravel(), bitorder="little").tobytes()
    ds.add_new((group, 0x3000), "OW", data + bytes(len(data) % 2))
    return ds


@pytest.mark.parametrize("syntax", [contexts.EXPLICIT_LE, contexts.IMPLICIT_LE])
def test_sixteen_bit_grey_of_which_few_bits_are_used_is_seen(syntax: str) -> None:
    # A scanner's 12 bits with paper at 3000 and ink at 400.
    values = np.full((8, 9), 3000, np.uint16)
    values[3] = 400
    ds = grey(values, BitsStored=12, HighBit=11)
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    assert np.unique(read_raster(ds)).tolist() == [0, 255]


def test_of_several_windows_the_first_counts() -> None:
    values = np.array([[0, 1000, 2000, 3000, 4000]], np.uint16)
    one = grey(values, WindowCenter="2000", WindowWidth="2001")
    both = grey(values, WindowCenter=["2000", "500"], WindowWidth=["2001", "100"])
    assert read_raster(both).tolist() == read_raster(one).tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize(
    ("centres", "widths"), [(["60000", "2000"], ["10", "2001"]), (["5", "2000"], ["0", "2001"])]
)
def test_a_first_window_that_shows_nothing_gives_way_to_the_next(
    centres: list[str], widths: list[str]
) -> None:
    values = np.array([[0, 1000, 2000, 3000, 4000]], np.uint16)
    ds = grey(values, WindowCenter=centres, WindowWidth=widths)
    assert read_raster(ds).tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR", [0, 0, 128, 255, 255]),
        ("LINEAR_EXACT", [0, 0, 128, 255, 255]),
        ("SIGMOID", [5, 30, 128, 225, 250]),
        # Unknown: the values fill the range.
        ("STEPS", [0, 64, 128, 191, 255]),
    ],
)
def test_a_window_has_the_function_it_names(function: str, expected: list[int]) -> None:
    values = np.array([[0, 1000, 2000, 3000, 4000]], np.uint16)
    ds = grey(values, WindowCenter="2000", WindowWidth="2000", VOILUTFunction=function)
    assert read_raster(ds)[0].tolist() == pytest.approx(expected, abs=1)


def test_a_picture_of_eight_bits_is_shown_as_stored_whatever_its_window() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(read_raster(grey(values, WindowCenter="9", WindowWidth="2")), values)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_lookup_table_goes_before_windows(as_bytes: bool) -> None:
    values = np.array([[90, 100, 101, 102, 103, 900]], np.uint16)
    item = Dataset()
    item.LUTDescriptor = [4, 100, 16]
    entries = np.array([0, 0x4000, 0x8000, 0xFFFF], np.uint16)
    if as_bytes:
        item.add_new("LUTData", "OW", entries.tobytes())
    else:
        item.add_new("LUTData", "US", entries.tolist())
    ds = grey(values, VOILUTSequence=[item], WindowCenter="500", WindowWidth="1000")
    assert read_raster(ds)[0].tolist() == [0, 0, 64, 128, 255, 255]


@pytest.mark.parametrize(
    ("descriptor", "data"),
    [([4, 0, 16], []), ([4, 0, 16], [0, 0, 0, 0]), ([2, 0, 16], [1, 2, 3]), ([4, 0], [1, 2, 3, 4])],
)
def test_a_lookup_table_that_cannot_be_used_is_left_out(
    descriptor: list[int], data: list[int]
) -> None:
    item = Dataset()
    item.LUTDescriptor = descriptor
    item.add_new("LUTData", "US", data)
    values = np.array([[0, 2000, 4000]], np.uint16)
    assert read_raster(grey(values, VOILUTSequence=[item])).tolist() == [[0, 128, 255]]


@given(RGB_PIXELS)
def test_planes_said_of_a_compressed_picture_change_nothing(pixels: Raster) -> None:
    # Planar Configuration has no meaning for a compressed picture, and is often wrong there.
    said = colour(pixels)
    said.compress(contexts.RLE, generate_instance_uid=False)
    said.PlanarConfiguration = 0
    other = colour(pixels)
    other.compress(contexts.RLE, generate_instance_uid=False)
    other.PlanarConfiguration = 1
    assert np.array_equal(read_raster(said), pixels)
    assert np.array_equal(read_raster(other), pixels)


def test_grey_with_a_planar_configuration_is_grey() -> None:
    values = np.arange(20, dtype=np.uint8).reshape(4, 5)
    assert np.array_equal(read_raster(grey(values, PlanarConfiguration=1)), values)


def turned_profile() -> bytes:
    """Return a profile of a device whose red and green are the other way round."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # ICC.1 section 7.3: a table of signature, offset, size after the header.
    red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
    turned = bytearray(profile)
    turned[red : red + 4], turned[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(turned) + bytes(len(turned) % 2)


def test_an_icc_profile_is_followed_to_srgb(paper: Raster) -> None:
    ds = colour(paper)
    ds.ICCProfile = turned_profile()
    difference = read_raster(ds).astype(int) - paper[..., [1, 0, 2]]
    assert np.abs(difference).max() <= 2


def test_a_profile_of_srgb_changes_nothing_worth_naming(paper: Raster) -> None:
    ds = colour(paper)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    ds.ICCProfile = profile + bytes(len(profile) % 2)
    assert np.abs(read_raster(ds).astype(int) - paper).max() <= 1


@pytest.mark.parametrize("place", ["header", "tags", "all", "short", "empty", "text"])
def test_a_broken_profile_leaves_the_colours_as_they_are(paper: Raster, place: str) -> None:
    profile = bytearray(turned_profile())
    if place == "header":
        profile[36:40] = b"none"
    elif place == "tags":
        profile[128:] = b"\xff" * (len(profile) - 128)
    ds = colour(paper)
    ds.ICCProfile = {
        "all": b"\xff" * 400,
        "short": bytes(profile[:60]),
        "empty": b"",
        "text": b"sRGB" * 20,
    }.get(place, bytes(profile))
    assert np.array_equal(read_raster(ds), paper)


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=9))
def test_a_damaged_profile_gives_a_picture_of_the_same_size(
    damage: list[tuple[int, int]],
) -> None:
    profile = bytearray(turned_profile())
    for place, byte in damage:
        profile[place % len(profile)] = byte
    ds = colour(np.full((3, 4, 3), 99, np.uint8))
    ds.ICCProfile = bytes(profile)
    assert read_raster(ds).shape == (3, 4, 3)


def test_a_profile_of_a_grey_picture_is_left_out() -> None:
    values = np.arange(20, dtype=np.uint8).reshape(4, 5)
    assert np.array_equal(read_raster(grey(values, ICCProfile=turned_profile())), values)


@pytest.mark.parametrize(("paper_level", "ink"), [(230, 0), (20, 255)])
def test_an_overlay_is_burnt_in_as_ink(paper_level: int, ink: int) -> None:
    bits = np.zeros((6, 7), bool)
    bits[2, 1:5] = True
    expected = np.full((6, 7, 3), paper_level, np.uint8)
    raster = read_raster(overlay(colour(expected), bits))
    expected[bits] = ink
    assert np.array_equal(raster, expected)


def test_an_overlay_lies_where_its_origin_says() -> None:
    bits = np.ones((4, 4), bool)
    for top, left in itertools.product((-2, 1, 3, 9), (-3, 1, 5, 9)):
        expected = np.full((6, 7), 230, np.uint8)
        ds = overlay(grey(expected.copy()), bits, origin=(top, left))
        rows, columns = (slice(max(0, at - 1), max(0, at + 3)) for at in (top, left))
        expected[rows, columns] = 0
        assert np.array_equal(read_raster(ds), expected)


def test_every_overlay_is_burnt_in_but_regions_of_interest() -> None:
    plain = np.full((6, 8), 230, np.uint8)
    ds = grey(plain)
    for row, (group, kind) in enumerate([(0x6000, "G"), (0x6002, "R"), (0x601E, "G")]):
        overlay(ds, np.arange(48).reshape(6, 8) // 8 == row, group=group, kind=kind)
    plain[[0, 2]] = 0
    assert np.array_equal(read_raster(ds), plain)


def test_an_overlay_of_some_frames_is_burnt_into_those() -> None:
    film = np.full((4, 5, 7), 230, np.uint8)
    ds = grey(film[0], NumberOfFrames="4")
    ds.PixelData = film.tobytes()
    bits = np.zeros((2, 5, 7), bool)
    bits[0, 1], bits[1, 3] = True, True
    overlay(ds, bits, frames=2, first_frame=2)
    film[1, 1], film[2, 3] = 0, 0
    image = StoredImage.of(ds)
    assert [image.read(n).tolist() for n in range(4)] == film.tolist()


@pytest.mark.parametrize(
    ("element", "vr", "value"),
    [
        (0x0010, "US", 0),
        (0x0010, "US", 65535),
        (0x0011, "LO", "many"),
        (0x0040, "CS", ""),
        (0x0050, "SS", 3),
        (0x0100, "US", 16),
        (0x3000, "OW", b""),
        (0x3000, "LO", "bits"),
    ],
)
def test_an_overlay_that_contradicts_itself_never_costs_the_picture(
    element: int, vr: str, value: Any
) -> None:
    plain = np.full((6, 8), 230, np.uint8)
    ds = overlay(grey(plain), np.ones((6, 8), bool))
    ds.add_new((0x6000, element), vr, value)
    raster = read_raster(ds)
    assert raster.shape == plain.shape
    assert np.array_equal(raster, plain) or element in (0x0040, 0x0050)


@pytest.mark.parametrize("syntax", [contexts.IMPLICIT_LE, contexts.EXPLICIT_BE])
def test_an_overlay_is_the_same_in_every_syntax(tmp_path: Path, syntax: str) -> None:
    bits = np.random.default_rng(1).random((40, 33)) < 0.3
    ds = overlay(colour(np.full((40, 33, 3), 230, np.uint8)), bits)
    expected = read_raster(ds)
    data = ds[0x6000, 0x3000].value
    if syntax == contexts.EXPLICIT_BE:
        words = np.frombuffer(data, np.uint8).reshape(-1, 2)
        ds[0x6000, 0x3000].value = words[:, ::-1].tobytes()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.save_as(tmp_path / "overlay.dcm", enforce_file_format=True)
    assert np.array_equal(next(pages(tmp_path / "overlay.dcm")), expected)


@pytest.mark.parametrize(
    ("attributes", "aspect"),
    [
        ({}, 1.0),
        ({"PixelAspectRatio": ["2", "1"]}, 2.0),
        ({"PixelAspectRatio": ["1", "2"]}, 0.5),
        ({"PixelSpacing": ["0.2", "0.1"]}, 2.0),
        ({"ImagerPixelSpacing": ["0.1", "0.1"]}, 1.0),
        ({"NominalScannedPixelSpacing": ["0.1", "0.125"]}, 0.8),
        ({"PixelAspectRatio": ["1", "1"], "PixelSpacing": ["2", "1"]}, 1.0),
        ({"PixelAspectRatio": ["0", "1"]}, 1.0),
        ({"PixelAspectRatio": ["1", "-1"]}, 1.0),
        ({"PixelAspectRatio": ["100", "1"]}, 1.0),
        ({"PixelAspectRatio": "3"}, 1.0),
    ],
)
def test_the_shape_of_pixels_is_told_and_the_raster_stays_as_stored(
    attributes: dict[str, Any], aspect: float
) -> None:
    values = np.arange(20, dtype=np.uint8).reshape(4, 5)
    image = StoredImage.of(grey(values, **attributes))
    assert image.aspect == pytest.approx(aspect)
    assert np.array_equal(image.read(0), values)


def test_text_without_a_character_set_costs_no_picture(tmp_path: Path) -> None:
    values = np.arange(20, dtype=np.uint8).reshape(4, 5)
    ds = grey(values)
    ds.save_as(tmp_path / "plain.dcm", enforce_file_format=True)
    other = dcmread(tmp_path / "plain.dcm")
    del other.SpecificCharacterSet
    other.add_new("PatientName", "PN", "M\xfcller^Jos\xe9".encode("latin-1"))
    other.save_as(tmp_path / "other.dcm", enforce_file_format=True)
    assert np.array_equal(next(pages(tmp_path / "other.dcm")), values)
    assert str(decode_dataset(read_header(tmp_path / "other.dcm")).PatientName).startswith("M")


def test_private_elements_without_a_creator_cost_no_picture(tmp_path: Path) -> None:
    values = np.arange(20, dtype=np.uint8).reshape(4, 5)
    ds = grey(values)
    ds.add_new(0x00091001, "LO", "nobody's")
    ds.add_new(0x00190099, "OB", b"\x01\x02")
    ds.add_new(0x00290010, "LO", "")
    for syntax in (contexts.EXPLICIT_LE, contexts.IMPLICIT_LE):
        ds.file_meta.TransferSyntaxUID = UID(syntax)
        ds.save_as(tmp_path / "private.dcm", enforce_file_format=True)
        assert np.array_equal(next(pages(tmp_path / "private.dcm")), values)
        assert read_header(tmp_path / "private.dcm").PatientID == "PID-1"


@pytest.mark.parametrize("modality", [None, "", "ECG", "OT", "DOC", "SC", "HD", "XC"])
def test_a_picture_of_any_modality_or_none_is_read(modality: str | None) -> None:
    values = np.arange(20, dtype=np.uint8).reshape(4, 5)
    ds = grey(values)
    del ds.Modality
    if modality is not None:
        ds.Modality = modality
    assert np.array_equal(read_raster(ds), values)


def test_codes_padded_with_nulls_are_understood(tmp_path: Path) -> None:
    values = np.arange(20, dtype=np.uint8).reshape(4, 5)
    path = tmp_path / "padded.dcm"
    grey(values).save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    assert b"MONOCHROME2 " in content
    path.write_bytes(content.replace(b"MONOCHROME2 ", b"MONOCHROME2\0"))
    assert np.array_equal(next(pages(path)), values)


@pytest.mark.parametrize("syntax", [contexts.EXPLICIT_LE, contexts.RLE])
def test_two_thousand_frames_cost_as_much_as_the_one_that_is_read(
    tmp_path: Path, syntax: str
) -> None:
    film = np.zeros((2000, 100, 100), np.uint8)
    film[:, 50] = (np.arange(2000) % 251)[:, None]
    ds = grey(film[0], NumberOfFrames="2000")
    ds.PixelData = film.tobytes()
    if syntax == contexts.RLE:
        ds.compress(contexts.RLE)
    ds.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    del film
    began = time.process_time()
    tracemalloc.start()
    try:
        with StoredImage(tmp_path / "film.dcm") as image:
            assert image.frame_count == 2000
            assert [int(image.read(n)[50, 50]) for n in (0, 7, 1999)] == [0, 7, 1999 % 251]
            with pytest.raises(ImageError, match="frame 2001 of 2000"):
                image.read(2000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 5
