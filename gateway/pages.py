"""Any file that holds ECGs -> its pages, for the Analyst and for ``classify`` alike.

One path for all: pictures, frames of a DICOM object, pages of a PDF, and a waveform drawn as paper
come out as rasters, and no caller knows which kind it was. What an object holds decides, not its
SOP Class: PDFs have been seen in waveform objects, and ECGs in classes of other signals.

What is wrong with a file is an ImageError. What is wrong with the machine that should read it (a
missing right, a full disk, no processor time) is an OSError or MemoryError: such a file is looked
at again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from dicom_node import waveform
from dicom_node.errors import ImageError
from dicom_node.image import StoredImage
from dicom_node.part10 import StoredObject, is_of_the_machine
from dicom_node.pdf import StoredPdf, is_dicom, is_pdf
from models.corpus.draw import draw_page
from models.corpus.styles import Style
from models.page import NotReadable, Page, find_page
from models.picture import raster_of

Raster = npt.NDArray[np.uint8]

MAX_PIXELS = 100_000_000
MAX_PAGES = 8
"""More frames than this are no ECG of a few pages but a film; the rest is not looked at."""

_MAX_COUNTED = 1000

PICTURE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")

PAPER = Style(header=False)
"""Waveforms are drawn on pink millimetre paper, 25 mm/s and 10 mm/mV, always alike."""


@dataclass(frozen=True)
class PageOrReason:
    """One page of a file: readable, or the reason why not."""

    number: int
    page: Page | None
    reason: str | None


@dataclass(frozen=True)
class _Opened:
    """A file while its pages are read.

    Attributes
    ----------
    count : int
        Pages it holds.
    read : callable
        Returns one page, counted from 0, or raises ImageError.
    aspect : float
        Height of a stored pixel over its width; 1 for nearly every object.
    statements : tuple of str
        What the object itself says of the ECG.
    """

    count: int
    read: Callable[[int], Raster]
    aspect: float = 1.0
    statements: tuple[str, ...] = ()


def pages(path: Path) -> Generator[PageOrReason, None, None]:
    """Yield every page of a file, first to last, numbered from 1.

    A page's region is in coordinates of the raster that :func:`rasters` yields, which for a
    picture is the stored one, whatever the shape of its pixels.

    Raises
    ------
    ImageError
        The file as a whole cannot be read.
    """
    with _opened(path) as opened:
        for number, raster in enumerate(_each(opened), start=1):
            if isinstance(raster, ImageError):
                yield PageOrReason(number, None, str(raster))
                continue
            try:
                yield PageOrReason(number, _find(raster, opened.aspect), None)
            except NotReadable as refusal:
                yield PageOrReason(number, None, refusal.reason)


def first_usable(path: Path) -> PageOrReason:
    """Return the first readable page, or the first page's reason when none is readable.

    Raises
    ------
    ImageError
        The file as a whole cannot be read.
    """
    first: PageOrReason | None = None
    with closing(pages(path)) as candidates:
        for candidate in candidates:
            if candidate.page is not None:
                return candidate
            first = first or candidate
    return first or PageOrReason(1, None, "no picture in the object")


def rasters(path: Path) -> Iterator[Raster | ImageError]:
    """Yield the pages of a file as rasters, or why one of them cannot be read.

    Raises
    ------
    ImageError
        The file as a whole cannot be read.
    """
    with _opened(path) as opened:
        yield from _each(opened)


def raster(path: Path, number: int) -> Raster:
    """Return one page, numbered from 1.

    Raises
    ------
    ImageError
        It is not there or cannot be read.
    """
    with _opened(path) as opened:
        if not 1 <= number <= opened.count:
            raise ImageError(f"page {number} of {opened.count} does not exist")
        return opened.read(number - 1)


def count(path: Path) -> int:
    """Return how many pages a file holds, looked at or not.

    Raises
    ------
    ImageError
        The file as a whole cannot be read.
    """
    with _opened(path) as opened:
        return opened.count


def statements(path: Path) -> tuple[str, ...]:
    """Return what an object itself says of its ECG: a recorder's rate and intervals, as sentences.

    Also what was not looked at of it. Never a machine's diagnosis.

    Raises
    ------
    ImageError
        The file as a whole cannot be read.
    """
    with _opened(path) as opened:
        said = opened.statements
        if opened.count > MAX_PAGES:
            said = (*said, f"Looked at: the first {MAX_PAGES} of {opened.count} pages")
        return said


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    holds_dicom, holds_pdf = is_dicom(path), is_pdf(path)
    if not holds_dicom and not holds_pdf:
        with _picture(path) as opened:
            yield opened
        return
    recording = None
    if holds_dicom:
        with StoredObject(path) as stored:
            has_pixels = stored.pixels is not None
            if not has_pixels and stored.header.get("WaveformSequence"):
                try:
                    recording = waveform.recording_of(stored.header)
                except ImageError:
                    if stored.document is None:
                        raise
            elif not has_pixels and stored.document is None:
                raise ImageError("the object holds no picture, waveform or document")
            if has_pixels:
                image = StoredImage.within(stored)
                yield _Opened(image.frame_count, image.read, image.aspect)
                return
    if recording is not None:
        drawn = recording
        yield _Opened(1, lambda _: _draw(drawn), statements=recording.statements)
        return
    with StoredPdf(path) as pdf:
        yield _Opened(pdf.page_count, pdf.read)


def _each(opened: _Opened) -> Iterator[Raster | ImageError]:
    """Read page after page; a damaged one is its error, the others go on."""
    for index in range(min(opened.count, MAX_PAGES)):
        try:
            yield opened.read(index)
        except ImageError as error:
            yield error


def _draw(recording: waveform.Recording) -> Raster:
    """Draw a recording as a page of paper.

    A page has ten seconds, four columns one after the other. Of a shorter recording every column
    shows the beginning: else the last leads would be blank.
    """
    seconds = recording.leads_uv.shape[1] / recording.rate_hz
    layout = "3x4+1" if seconds >= waveform.PAGE_S - 0.1 else "3x4+1 simultaneous"
    return draw_page(recording.leads_uv, recording.rate_hz, layout, PAPER, 0)


def _find(raster: Raster, aspect: float) -> Page:
    """Find the page of a raster whose pixels may be higher or wider than square ones."""
    if aspect == 1.0:
        return find_page(raster)
    rows, columns = raster.shape[:2]
    # The coarser side is drawn out, so that nothing is lost; of an enormous picture, the finer side
    # gives way.
    fit = min(1.0, (MAX_PIXELS / (rows * columns * max(aspect, 1 / aspect))) ** 0.5)
    wide, high = (fit, aspect * fit) if aspect > 1 else (fit / aspect, fit)
    size = (max(1, round(columns * wide)), max(1, round(rows * high)))
    squared = np.asarray(Image.fromarray(raster).resize(size, Image.Resampling.BICUBIC))
    page = find_page(squared)
    one, two, three, four = ((x * columns / size[0], y * rows / size[1]) for x, y in page.region)
    return dataclasses.replace(page, region=(one, two, three, four))


@contextmanager
def _picture(path: Path) -> Iterator[_Opened]:
    """Open a picture file; its frames are uint8 grey or RGB."""
    with ExitStack() as stack:
        with _picture_faults_named():
            picture = stack.enter_context(Image.open(path, formats=PICTURE_FORMATS))
            if picture.width * picture.height > MAX_PIXELS:
                raise ImageError(
                    f"picture of {picture.width} x {picture.height} pixels; "
                    f"at most {MAX_PIXELS // 1_000_000} million are read"
                )
            frames = _frames(picture)

        def read(index: int) -> Raster:
            with _picture_faults_named():
                picture.seek(index)
                return raster_of(picture)

        yield _Opened(frames, read)


def _frames(picture: Image.Image) -> int:
    """Count the frames of a picture file, those of a TIFF only as far as a scanner makes any.

    Pillow's own count holds every page that a TIFF claims against all those before it.
    """
    if picture.format != "TIFF":
        return int(getattr(picture, "n_frames", 1))
    for index in range(1, _MAX_COUNTED + 1):
        try:
            picture.seek(index)
        except EOFError:
            return index
    raise ImageError(f"expected a TIFF of at most {_MAX_COUNTED} pages, received more")


@contextmanager
def _picture_faults_named() -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError:
        raise ImageError(
            "neither a DICOM object nor a PDF nor a picture (PNG, JPEG, BMP, TIFF)"
        ) from None
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and is_of_the_machine(error):
            raise
        raise ImageError(f"damaged picture ({type(error).__name__})") from error
