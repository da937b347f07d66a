"""Whatever file an ECG is in, its pages come out by one path."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pdfs
import pictures
import psutil
import pytest
import waveforms
from django.core.management import call_command
from PIL import Image
from pydicom import Dataset
from real_ecgs import find_real_ecgs
from tiffs import endless_pages
from waveforms import group, heart, twelve_lead, waveform_object

from dicom_node.errors import ImageError
from dicom_node.leads import LEADS
from gateway import network, pages
from gateway.pages import MAX_PAGES
from models.corpus import draw_page
from models.page import find_page


def only_page(path: Path) -> pages.PageOrReason:
    """Return the page of a file that has one."""
    (found,) = pages.pages(path)
    return found


def renderers() -> list[psutil.Process]:
    """Return the processes that render PDFs for this one."""
    return [one for one in psutil.Process().children() if "pdf_child" in " ".join(one.cmdline())]


@pytest.fixture
def ecg() -> Dataset:
    return twelve_lead(heart(), 250.0)


def test_a_waveform_is_drawn_as_one_page_always_alike(tmp_path: Path, ecg: Dataset) -> None:
    path = waveforms.save(ecg, tmp_path / "ecg.dcm")
    (first,), (second,) = pages.rasters(path), pages.rasters(path)
    assert isinstance(first, np.ndarray)
    assert isinstance(second, np.ndarray)
    assert np.array_equal(first, second)
    assert np.array_equal(first, pages.raster(path, 1))
    assert pages.count(path) == 1
    found = only_page(path)
    assert found.reason is None
    assert found.page is not None
    assert found.page.quality["rows"] == 4
    with pytest.raises(ImageError, match="page 2 of 1"):
        pages.raster(path, 2)


def test_the_drawing_has_the_scale_of_paper(tmp_path: Path) -> None:
    # 1 mV for the second half of every second.
    square = np.tile(np.repeat([0, 1000], 250), 10)
    ds = twelve_lead(np.tile(square, (12, 1)), 500.0)
    raster = pages.raster(waveforms.save(ds, tmp_path / "square.dcm"), 1)
    ink = raster.max(axis=2) < 90
    # The rhythm strip is the lowest of the four rows.
    strip = ink[-round(0.22 * len(ink)) :]
    steps = np.flatnonzero(strip.sum(axis=0) > 40)
    # A column of ink at every step, 25 mm/s and 6 pixels a millimetre, between pulse and pulse.
    far = np.diff(steps[steps > 120])
    assert np.median(far[far > 5]) == pytest.approx(0.5 * 25 * 6, abs=2)
    assert strip.sum(axis=0)[steps].max() == pytest.approx(10 * 6, abs=4)


def test_what_the_recorder_measured_is_told() -> None:
    assert "QRS duration 75 ms" in pages.statements(waveforms.recorded())
    assert only_page(waveforms.recorded()).page is not None


@pytest.mark.parametrize("uid", [waveforms.GENERAL_ECG, waveforms.HEMODYNAMIC])
def test_an_ecg_in_another_waveform_class_is_the_same_page(
    tmp_path: Path, ecg: Dataset, uid: str
) -> None:
    expected = pages.raster(waveforms.save(ecg, tmp_path / "ecg.dcm"), 1)
    other = waveform_object(group(heart(), 250.0), sop_class_uid=uid)
    assert np.array_equal(pages.raster(waveforms.save(other, tmp_path / "o.dcm"), 1), expected)


def test_of_a_short_recording_every_lead_is_drawn(tmp_path: Path) -> None:
    ds = twelve_lead(heart()[:, :1300], 250.0)
    path = waveforms.save(ds, tmp_path / "short.dcm")
    raster = pages.raster(path, 1)
    ink = (raster.max(axis=2) < 90).sum(axis=0)
    quarters = np.array_split(ink[80:], 4)
    assert min(part.sum() for part in quarters) > 0.5 * max(part.sum() for part in quarters)
    assert pages.statements(path) == ("Read: 5.2 s from second 0 of a recording of 5.2 s",)


@pytest.mark.parametrize("name", ["ecg.pdf", "ecg.dcm"])
def test_every_page_of_a_pdf_is_a_page(tmp_path: Path, name: str) -> None:
    blank = np.full((1100, 1700, 3), 255, np.uint8)
    path = pdfs.save_pdf(
        tmp_path / name, pdfs.pdf_of(blank, pictures.page(), pictures.page("6x2", "orange", 2))
    )
    found = list(pages.pages(path))
    assert [one.number for one in found] == [1, 2, 3]
    assert (found[0].reason or "").startswith("blank picture")
    assert all(one.page is not None for one in found[1:])
    usable = pages.first_usable(path)
    assert usable.number == 2
    assert not renderers()
    assert pages.count(path) == 3
    assert pages.statements(path) == ()


def test_of_five_hundred_pages_the_first_are_looked_at_and_it_is_said(tmp_path: Path) -> None:
    path = pdfs.save_pdf(tmp_path / "long.pdf", pdfs.drawn(b"0 0 m 99 99 l S", count=500))
    assert len(list(pages.rasters(path))) == MAX_PAGES
    assert pages.count(path) == 500
    assert pages.statements(path) == ("Looked at: the first 8 of 500 pages",)
    assert pages.raster(path, 500).ndim == 3


def test_of_two_thousand_frames_the_first_are_looked_at_and_it_is_said(tmp_path: Path) -> None:
    ds = pictures.picture(np.zeros((60, 80), np.uint8))
    ds.NumberOfFrames = "2000"
    ds.PixelData = bytes(60 * 80 * 2000)
    ds.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    found = list(pages.pages(tmp_path / "film.dcm"))
    assert len(found) == MAX_PAGES
    assert {one.page for one in found} == {None}
    assert pages.statements(tmp_path / "film.dcm") == ("Looked at: the first 8 of 2000 pages",)


def test_a_pdf_inside_a_waveform_object_is_read(tmp_path: Path) -> None:
    ds = pdfs.encapsulated(pdfs.pdf_of(pictures.page()), waveforms.TWELVE_LEAD)
    path = tmp_path / "inside.dcm"
    ds.save_as(path, enforce_file_format=True)
    assert only_page(path).page is not None


def test_an_object_with_a_waveform_and_a_pdf_is_read_from_the_waveform(
    tmp_path: Path, ecg: Dataset
) -> None:
    expected = pages.raster(waveforms.save(ecg, tmp_path / "ecg.dcm"), 1)
    ds = pdfs.encapsulated(pdfs.pdf_of(pictures.page()), waveforms.TWELVE_LEAD)
    ds.WaveformSequence = ecg.WaveformSequence
    path = waveforms.save(ds, tmp_path / "both.dcm")
    assert np.array_equal(pages.raster(path, 1), expected)
    # A waveform that cannot be read gives way to the document.
    del ds.WaveformSequence[0].ChannelDefinitionSequence[3:]
    path = waveforms.save(ds, tmp_path / "damaged.dcm")
    assert pages.raster(path, 1).shape != expected.shape
    assert only_page(path).page is not None


def test_an_object_without_any_page_is_named(tmp_path: Path, ecg: Dataset) -> None:
    del ecg.WaveformSequence
    with pytest.raises(ImageError, match="no picture, waveform or document"):
        pages.first_usable(waveforms.save(ecg, tmp_path / "report.dcm"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "neither"),
        (b"hello", "neither"),
        (b"\x89PNG\r\n\x1a\n", "neither"),
        (b"%PDF-1.7\nnothing", "broken or has no pages"),
        (pdfs.locked(), "encrypted"),
        (bytes(128) + b"DICM", "transfer syntax"),
    ],
)
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    for read in (pages.first_usable, pages.count, pages.statements):
        with pytest.raises(ImageError, match=reason):
            read(path)


def test_what_the_machine_cannot_open_is_no_fault_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "absent.png"
    for read in (pages.first_usable, pages.count, pages.statements):
        with pytest.raises(FileNotFoundError):
            read(path)
    with pytest.raises(SystemExit):
        call_command("classify", str(path))
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["reason"] == "cannot be opened: No such file or directory"


def test_a_full_disk_is_no_fault_of_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(np.zeros((300, 300), np.uint8)).save(path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pages, "raster_of", full)
    with pytest.raises(OSError, match="No space left"):
        pages.first_usable(path)


@pytest.mark.parametrize(("high", "wide"), [(1, 2), (2, 1), (3, 2)])
def test_pixels_that_are_not_square_are_drawn_out_and_the_region_hits_the_stored_picture(
    tmp_path: Path, high: int, wide: int
) -> None:
    square = pictures.page()
    rows, columns = square.shape[:2]
    size = (round(columns / wide), round(rows / high))
    stored = np.asarray(Image.fromarray(square).resize(size, Image.Resampling.BOX))
    ds = pictures.picture(stored)
    ds.PixelAspectRatio = [str(high), str(wide)]
    path = tmp_path / "narrow.dcm"
    ds.save_as(path, enforce_file_format=True)
    found = only_page(path).page
    assert found is not None
    expected = np.array(find_page(square).region) / [wide, high]
    assert np.abs(np.array(found.region) - expected).max() < 0.02 * max(size)
    (raster,) = pages.rasters(path)
    assert isinstance(raster, np.ndarray)
    assert raster.shape == stored.shape


def test_a_trace_in_an_overlay_is_a_trace(tmp_path: Path) -> None:
    drawn = pictures.page()
    ink = drawn.max(axis=2) < 110
    paper = drawn.copy()
    paper[ink] = (255, 250, 248)
    ds = pictures.picture(paper)
    ds.save_as(tmp_path / "paper.dcm", enforce_file_format=True)
    assert only_page(tmp_path / "paper.dcm").page is None
    ds.add_new(0x60000010, "US", ink.shape[0])
    ds.add_new(0x60000011, "US", ink.shape[1])
    ds.add_new(0x60000040, "CS", "G")
    ds.add_new(0x60000050, "SS", [1, 1])
    ds.add_new(0x60000100, "US", 1)
    ds.add_new(0x60000102, "US", 0)
    bits = np.packbits(ink.ravel(), bitorder="little").tobytes()
    ds.add_new(0x60003000, "OW", bits + bytes(len(bits) % 2))
    ds.save_as(tmp_path / "both.dcm", enforce_file_format=True)
    assert only_page(tmp_path / "both.dcm").page is not None


def ct_slice() -> npt.NDArray[np.uint8]:
    """Return something like a slice of a chest: ellipses of grey on black, with noise."""
    rows, columns = np.mgrid[:512, :512] / 256 - 1
    slice_ = np.zeros((512, 512))
    for row, column, high, wide, level in (
        (0.0, 0.0, 0.6, 0.8, 130.0),
        (-0.05, -0.35, 0.35, 0.25, 20.0),
        (-0.05, 0.35, 0.35, 0.25, 20.0),
        (0.05, 0.1, 0.2, 0.2, 190.0),
        (0.45, 0.0, 0.09, 0.09, 250.0),
    ):
        slice_[((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 < 1] = level
    noise = np.random.default_rng(1).normal(0, 12, slice_.shape)
    return np.asarray(np.clip(slice_ + noise, 0, 255), np.uint8)


@pytest.mark.parametrize("strip_rows", [60, 120, 300])
def test_a_gating_strip_under_a_ct_image_is_no_ecg_page(tmp_path: Path, strip_rows: int) -> None:
    picture = np.zeros((512 + strip_rows, 512), np.uint8)
    picture[:512] = ct_slice()
    trace = heart()[1, : 512 * 4 : 4]
    places = 512 + strip_rows * 0.7 - trace / np.ptp(trace) * strip_rows * 0.5
    picture[places.round().astype(int).clip(512, 511 + strip_rows), np.arange(512)] = 255
    ds = pictures.picture(picture)
    ds.Modality = "CT"
    ds.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    found = only_page(tmp_path / "ct.dcm")
    assert found.page is None
    assert found.reason


def test_a_gating_strip_alone_is_no_ecg_page(tmp_path: Path) -> None:
    strip = draw_page(heart(), 250.0, "12x1", "plain", 1)
    # One of the twelve rows.
    ds = pictures.picture(np.ascontiguousarray(strip[230:330]))
    ds.save_as(tmp_path / "strip.dcm", enforce_file_format=True)
    assert only_page(tmp_path / "strip.dcm").page is None


@pytest.mark.parametrize("modality", [None, "CT", "HD"])
def test_an_ecg_is_a_page_whatever_modality_it_names(tmp_path: Path, modality: str | None) -> None:
    ds = pictures.picture()
    del ds.Modality
    if modality is not None:
        ds.Modality = modality
    ds.save_as(tmp_path / "ecg.dcm", enforce_file_format=True)
    assert only_page(tmp_path / "ecg.dcm").page is not None


def test_classify_reads_waveforms_and_pdfs(tmp_path: Path, capsys: Any, ecg: Dataset) -> None:
    paths = [
        waveforms.save(ecg, tmp_path / "ecg.dcm"),
        pdfs.save_pdf(tmp_path / "ecg.pdf", pdfs.pdf_of(pictures.page())),
        pdfs.save_pdf(tmp_path / "pdf.dcm", pdfs.pdf_of(pictures.page())),
    ]
    call_command("classify", *map(str, paths))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["path"] for line in lines] == [str(path) for path in paths]
    assert all(line["readable"] and len(line["probabilities"]) == 10 for line in lines)


def as_twelve_leads(signal_uv: npt.NDArray[np.int16]) -> Dataset:
    return twelve_lead(signal_uv, 250.0)


def as_eight_leads(signal_uv: npt.NDArray[np.int16]) -> Dataset:
    recorded = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
    kept = signal_uv[[LEADS.index(lead) for lead in recorded]]
    return waveform_object(group(kept, 250.0, recorded), sop_class_uid=waveforms.GENERAL_ECG)


def as_a_fast_recording(signal_uv: npt.NDArray[np.int16]) -> Dataset:
    time = np.arange(10_000) / 1000
    fast = [np.interp(time, np.arange(2500) / 250, lead) for lead in signal_uv]
    return twelve_lead(np.array(fast) / 2.5, 1000.0, sensitivity="0.0025", unit="mV")


@pytest.mark.corpus
@pytest.mark.parametrize("store", [as_twelve_leads, as_eight_leads, as_a_fast_recording])
def test_a_real_ecg_is_read_as_a_waveform_as_it_is_read_as_a_picture(
    tmp_path: Path, store: Callable[[npt.NDArray[np.int16]], Dataset]
) -> None:
    from os import environ

    signals = np.load(find_real_ecgs(environ) / "waveforms" / "cinc2020_2021.npz")["signal_uv"]
    for signal_uv in signals[20:220:40]:
        as_picture = find_page(draw_page(signal_uv, 250.0, "3x4+1", pages.PAPER, 0))
        as_waveform = only_page(waveforms.save(store(signal_uv), tmp_path / "ecg.dcm")).page
        assert as_waveform is not None
        one, other = network.predictor().classify([as_picture, as_waveform])
        assert one.readable
        assert other.readable
        difference = [
            abs(a.probability - b.probability)
            for a, b in zip(one.findings, other.findings, strict=True)
        ]
        assert max(difference) < 0.15
        assert sum(difference) / 10 < 0.02


@pytest.mark.parametrize("frames", [1, 3])
def test_the_pages_of_a_tiff_are_counted(frames: int, tmp_path: Path) -> None:
    first, *others = (Image.new("L", (40, 30), n) for n in range(frames))
    first.save(tmp_path / "a.tiff", save_all=True, append_images=others)
    assert pages.count(tmp_path / "a.tiff") == frames
    greys = [np.asarray(one).max() for one in pages.rasters(tmp_path / "a.tiff")]
    assert greys == list(range(frames))


@pytest.mark.timeout(20)
def test_a_tiff_that_claims_pages_without_end_is_refused_and_not_counted(tmp_path: Path) -> None:
    endless_pages(tmp_path / "a.tiff")
    with pytest.raises(ImageError, match="at most 1000 pages, received more"):
        pages.count(tmp_path / "a.tiff")
