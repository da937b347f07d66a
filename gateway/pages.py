"""Any file that holds pictures -> its pages, for the Analyst and for ``classify`` alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from dicom_node.errors import ImageError
from dicom_node.image import StoredImage
from models.page import NotReadable, Page, find_page
from models.picture import raster_of

Raster = npt.NDArray[np.uint8]

MAX_PIXELS = 100_000_000
MAX_PAGES = 8
"""More frames than this are no ECG of a few pages but a film; the rest is not looked at."""

PICTURE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")


@dataclass(frozen=True)
class PageOrReason:
    """One page of a file: readable, or the reason why not."""

    number: int
    page: Page | None
    reason: str | None


def pages(path: Path) -> Iterator[PageOrReason]:
    """Yield every page of a DICOM object or picture, first to last, numbered from 1.

    Raises
    ------
    ImageError
        The file as a whole cannot be read.
    """
    for number, raster in enumerate(rasters(path), start=1):
        if isinstance(raster, ImageError):
            yield PageOrReason(number, None, str(raster))
            continue
        try:
            yield PageOrReason(number, find_page(raster), None)
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
    for candidate in pages(path):
        if candidate.page is not None:
            return candidate
        first = first or candidate
    return first or PageOrReason(1, None, "no picture in the object")


def rasters(path: Path) -> Iterator[Raster | ImageError]:
    """Yield the pictures of a file as they are, or why one of them cannot be read.

    Raises
    ------
    ImageError
        The file as a whole cannot be read.
    """
    try:
        with path.open("rb") as file:
            is_dicom = file.read(132)[128:] == b"DICM"
    except OSError as error:
        raise ImageError(f"cannot be opened: {error.strerror}") from None
    yield from _frames(path) if is_dicom else _pictures(path)


def _frames(path: Path) -> Iterator[Raster | ImageError]:
    """Yield the frames of a DICOM object; a damaged one is its error, the others go on."""
    with StoredImage(path) as stored:
        for number in range(min(stored.frame_count, MAX_PAGES)):
            try:
                yield stored.read(number)
            except ImageError as error:
                yield error


def _pictures(path: Path) -> Iterator[Raster]:
    """Yield the frames of a picture file as uint8 grey or RGB."""
    try:
        with Image.open(path, formats=PICTURE_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ImageError(
                    f"picture of {picture.width} x {picture.height} pixels; "
                    f"at most {MAX_PIXELS // 1_000_000} million are read"
                )
            for number in range(min(getattr(picture, "n_frames", 1), MAX_PAGES)):
                picture.seek(number)
                yield raster_of(picture)
    except UnidentifiedImageError:
        raise ImageError("neither a DICOM object nor a picture (PNG, JPEG, BMP, TIFF)") from None
    except ImageError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(f"damaged picture ({type(error).__name__})") from error
