"""The pages of a PDF become rasters, and no PDF can harm whoever asks for them."""

from __future__ import annotations

import os
import subprocess
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pdfs
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pdfs import drawn, pdf_of, save_pdf, stream
from peers import eventually, require

from dicom_node import pdf, pdf_child
from dicom_node.errors import ImageError
from dicom_node.image import read_header
from dicom_node.pdf import StoredPdf
from dicom_node.pixels import Raster

SQUARE = b"72 72 144 144 re f"
"""A black square of two inches, an inch from the page's left and lower edge."""


def fault(path: Path, index: int = 0) -> str:
    """Return why a page cannot be read."""
    with pytest.raises(ImageError) as failure, StoredPdf(path) as stored:
        stored.read(index)
    assert not failure.value.retryable
    assert not children()
    return failure.value.reason


def children() -> list[psutil.Process]:
    """Return the processes that render for this one."""
    ours = psutil.Process().children()
    return [one for one in ours if "pdf_child" in " ".join(one.cmdline())]


@pytest.mark.parametrize("name", ["page.pdf", "page.dcm"])
def test_a_page_is_rendered_at_200_dots_an_inch(tmp_path: Path, name: str) -> None:
    with StoredPdf(save_pdf(tmp_path / name, drawn(SQUARE))) as stored:
        assert stored.page_count == 1
        raster = stored.read(0)
    assert raster.dtype == np.uint8
    assert raster.shape == (1653, 2339, 3)
    square = raster[1653 - 600 + 3 : 1653 - 200 - 3, 200 + 3 : 600 - 3]
    assert (square == 0).all()
    raster = raster.copy()
    raster[1653 - 600 - 3 : 1653 - 200 + 3, 200 - 3 : 600 + 3] = 255
    assert (raster == 255).all()


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    path = save_pdf(tmp_path / "red.pdf", drawn(b"1 0.5 0 rg 0 0 842 595 re f"))
    with StoredPdf(path) as stored:
        assert stored.read()[800, 1000].tolist() == pytest.approx([255, 127, 0], abs=1)


def test_every_page_of_a_scan_is_the_scanned_picture(tmp_path: Path, paper: Raster) -> None:
    scans = [paper, 255 - paper, np.ascontiguousarray(paper[::-1])]
    with StoredPdf(save_pdf(tmp_path / "scan.pdf", pdf_of(*scans))) as stored:
        assert stored.page_count == 3
        # Any order, and again.
        for index in (2, 0, 1, 2):
            raster = stored.read(index).astype(int)
            assert np.abs(raster - scans[index]).mean() < 8
        with pytest.raises(ImageError, match="page 4 of 3"):
            stored.read(3)
    assert not children()


def test_a_pdf_that_dcmtk_wrapped_is_read_in_every_syntax(tmp_path: Path, paper: Raster) -> None:
    plain = save_pdf(tmp_path / "scan.pdf", pdf_of(paper, 255 - paper))
    wrapped = tmp_path / "wrapped.dcm"
    subprocess.run([require("pdf2dcm"), "-q", plain, wrapped], check=True, timeout=60)
    for option in ("+te", "+ti", "+tb", "+td"):
        other = tmp_path / "other.dcm"
        subprocess.run([require("dcmconv"), option, wrapped, other], check=True, timeout=60)
        assert read_header(other).MIMETypeOfEncapsulatedDocument == "application/pdf"
        assert "EncapsulatedDocument" not in read_header(other)
        with StoredPdf(plain) as bare, StoredPdf(other) as stored:
            assert stored.page_count == 2
            assert np.array_equal(stored.read(1), bare.read(1))


def test_a_pdf_may_begin_after_a_few_other_bytes(tmp_path: Path) -> None:
    path = save_pdf(tmp_path / "late.pdf", b"\r\n" * 100 + drawn(SQUARE))
    with StoredPdf(path) as stored:
        assert stored.read().min() == 0


def test_an_enormous_page_is_rendered_smaller(tmp_path: Path) -> None:
    path = save_pdf(tmp_path / "huge.pdf", drawn(SQUARE, size=(14_400.0, 7_200.0)))
    with StoredPdf(path) as stored:
        rows, columns, _ = stored.read().shape
    assert rows * columns == pytest.approx(pdf_child.MAX_PAGE_PIXELS, rel=0.001)
    assert columns == pytest.approx(2 * rows, abs=2)


def test_of_five_hundred_pages_those_asked_for_are_rendered(tmp_path: Path) -> None:
    with StoredPdf(save_pdf(tmp_path / "long.pdf", drawn(SQUARE, count=500))) as stored:
        assert stored.page_count == 500
        for index in (0, 7, 499):
            assert stored.read(index).min() == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "1 to 67108864 were expected"),
        (b"hello", "no PDF"),
        (b"<html>" * 300 + b"%PDF-1.7", "no PDF"),
        (b"%PDF-1.7\n" + b"garbage " * 100, "broken or has no pages"),
        (drawn(SQUARE, count=0), "broken or has no pages"),
        (drawn(SQUARE)[:200], "broken or has no pages"),
        (pdfs.locked(), "the PDF is encrypted"),
        (drawn(SQUARE, size=(1_000_000.0, 1.0)), "impossible"),
    ],
    ids=["empty", "text", "late", "broken", "no pages", "cut off", "encrypted", "a line"],
)
def test_what_cannot_be_rendered_is_a_named_fault(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    assert reason in fault(save_pdf(tmp_path / "bad.pdf", content))
    if content:
        assert reason in fault(save_pdf(tmp_path / "bad.dcm", content))


def test_an_object_without_a_document_is_a_fault(pictures: Path) -> None:
    assert fault(pictures / "rgb.explicit.dcm") == "the object holds no document"


def test_a_document_that_was_cut_off_is_a_fault(tmp_path: Path) -> None:
    path = save_pdf(tmp_path / "cut.dcm", drawn(SQUARE))
    path.write_bytes(path.read_bytes()[:-400])
    assert "broken" in fault(path)


def test_a_document_of_gigabytes_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "large.pdf"
    path.write_bytes(b"%PDF-1.7\n")
    os.truncate(path, 3 << 30)
    assert "were expected" in fault(path)


def test_a_pdf_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_pdf(
        tmp_path / "slow.pdf", drawn(b"0 0 m " + b"842 595 l 0 300 l " * 200_000 + b"S")
    )
    monkeypatch.setattr(pdf, "MAX_CPU_S", 1)
    assert fault(path) == "the PDF takes too long to render"


def test_a_renderer_that_gets_no_turn_says_nothing_of_the_pdf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "MAX_WAIT_S", 1.0)
    path = save_pdf(tmp_path / "page.pdf", drawn(SQUARE, count=2))
    began = time.monotonic()
    with StoredPdf(path) as stored:
        (child,) = children()
        child.suspend()
        for index in range(2):
            with pytest.raises(TimeoutError):
                stored.read(index)
    assert time.monotonic() - began < 10
    assert not children()


def test_a_pdf_that_fills_the_memory_is_ended_alone(tmp_path: Path) -> None:
    deflater = zlib.compressobj(9)
    head = deflater.compress(b"") + deflater.flush(zlib.Z_FULL_FLUSH)
    # Blocks that refer to nothing before them may be repeated.
    megabyte = deflater.compress(bytes(1 << 20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    bomb = head + megabyte * 1024 + deflater.flush()
    path = save_pdf(tmp_path / "bomb.pdf", drawn(stream(bomb, b"/Filter/FlateDecode")))
    before = psutil.Process().memory_info().rss
    assert "memory" in fault(path)
    assert psutil.Process().memory_info().rss - before < 50_000_000


def test_forms_within_forms_ten_thousand_million_times_are_a_fault(tmp_path: Path) -> None:
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 842 595]"
    forms = [
        stream(b"/F Do " * 10, form + b"/Resources<</XObject<</F %d 0 R>>>>" % (6 + depth))
        for depth in range(9)
    ]
    path = save_pdf(
        tmp_path / "forms.pdf",
        drawn(
            b"/F Do " * 10,
            resources=b"/XObject<</F 5 0 R>>",
            more=[*forms, stream(b"0 0 m 800 500 l S", form)],
        ),
    )
    assert fault(path)


def test_a_page_after_a_crash_has_the_same_fault(tmp_path: Path) -> None:
    path = save_pdf(tmp_path / "page.pdf", drawn(SQUARE, count=3))
    with StoredPdf(path) as stored:
        (child,) = children()
        child.send_signal(11)
        for index in range(3):
            with pytest.raises(ImageError, match="crashes its renderer"):
                stored.read(index)


def test_a_renderer_that_the_machine_killed_says_nothing_of_the_pdf(tmp_path: Path) -> None:
    path = save_pdf(tmp_path / "page.pdf", drawn(SQUARE))
    with StoredPdf(path) as stored:
        (child,) = children()
        child.kill()
        with pytest.raises(MemoryError):
            stored.read()
    assert not children()


@pytest.mark.parametrize(
    ("code", "error", "reason"),
    [
        ("raise SystemExit(1)", RuntimeError, "cannot run"),
        ("print('nonsense')", ImageError, "crashes"),
        ("print('[]')", ImageError, "crashes"),
        ("print('{\"pages\": null}')", ImageError, "crashes"),
        ("print('{\"fault\": [1]}')", ImageError, "crashes"),
        ("print('x' * 100_000)", ImageError, "crashes"),
        ("print('{\"pages\": 1}'); print('{\"rows\": 9, \"columns\": 9}')", ImageError, "crashes"),
        (
            # It stays: who is gone when the page is asked for has crashed, whatever it said before.
            "print('{\"pages\": 1}\\n{\"rows\": 30000, \"columns\": 30000}', flush=True);"
            " import time; time.sleep(60)",
            ImageError,
            "impossible",
        ),
        ("import os, time; os.close(1); time.sleep(60)", ImageError, "crashes"),
    ],
)  # fmt: skip
def test_whatever_a_taken_over_renderer_says_is_not_believed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    error: type[Exception],
    reason: str,
) -> None:
    program = tmp_path / "pdf_child.py"
    program.write_text(code)
    monkeypatch.setattr(pdf_child, "__file__", str(program))
    monkeypatch.setattr(pdf, "_END_S", 0.2)
    path = save_pdf(tmp_path / "page.pdf", drawn(SQUARE))
    with pytest.raises(error, match=reason), StoredPdf(path) as stored:
        stored.read()
    assert not children()


def test_the_renderer_can_read_no_secrets_write_no_files_and_start_nothing(tmp_path: Path) -> None:
    with StoredPdf(save_pdf(tmp_path / "page.pdf", drawn(SQUARE))) as stored:
        stored.read()
        (child,) = children()
        assert not child.environ()
        limits = {
            line[:26].strip(): line[26:].split()[0]
            for line in Path(f"/proc/{child.pid}/limits").read_text().splitlines()
        }
        assert limits["Max address space"] == str(pdf_child.MAX_MEMORY_BYTES)
        assert limits["Max cpu time"] == str(pdf.MAX_CPU_S)
        assert limits["Max file size"] == limits["Max processes"] == "0"
        held = {str(one.readlink()) for one in Path(f"/proc/{child.pid}/fd").iterdir()}
        assert {one for one in held if one.startswith("/")} == {
            str(tmp_path / "page.pdf"),
            os.devnull,
        }
    eventually(lambda: not children(), what="the renderer to end")


def test_many_threads_may_each_render_a_document(tmp_path: Path) -> None:
    paths = [
        save_pdf(tmp_path / f"{count}.pdf", drawn(SQUARE, count=count)) for count in range(1, 5)
    ]

    def read(path: Path) -> tuple[int, int]:
        with StoredPdf(path) as stored:
            return stored.page_count, int(stored.read(stored.page_count - 1).min())

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read, paths)) == [(count, 0) for count in range(1, 5)]


SMALL = drawn(
    b"/F Do 1 0 0 RG 20 w 0 0 m 842 595 l S",
    resources=b"/XObject<</F 5 0 R>>",
    more=[
        stream(
            zlib.compress(SQUARE),
            b"/Filter/FlateDecode/Type/XObject/Subtype/Form/BBox[0 0 9 9]",
        )
    ],
)  # fmt: skip


@given(
    mutations=st.lists(
        st.tuples(st.integers(9, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=10
    )
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_pdf_is_a_raster_or_a_fault(
    tmp_path: Path, mutations: list[tuple[int, int]]
) -> None:
    damaged = bytearray(SMALL)
    for place, byte in mutations:
        damaged[place] = byte
    path = save_pdf(tmp_path / "damaged.pdf", bytes(damaged))
    try:
        with StoredPdf(path) as stored:
            assert stored.read(0).ndim == 3
    except ImageError as failure:
        assert failure.reason  # noqa: PT017 (both outcomes are right)
    assert not children()
