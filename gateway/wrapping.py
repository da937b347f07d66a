"""A picture or PDF file -> a DICOM object of the patient and order it was handed in for.

The UIDs are functions of the file's bytes, the patient's ID and its issuer, the accession number,
the requested procedure and its study: the same file for the same patient and order is the same
object, and for another patient or order another one.
"""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from django.utils import timezone
from PIL import Image, UnidentifiedImageError
from pydicom import Dataset

from dicom_node.capture import jpeg_capture, mark_lossy, multi_frame_capture, secondary_capture
from dicom_node.document import encapsulated_pdf, is_pdf
from dicom_node.image import MAX_FRAME_PIXELS
from dicom_node.jpeg import JpegFrame, read_jpeg
from dicom_node.order import Order
from models.picture import raster_of

MAX_PAGES: Final = 8
"""As many as are looked at of any object (:mod:`gateway.pages`)."""

MAX_RASTER_BYTES: Final = 240 << 20
"""All pages of a file together, decoded: what is kept decoded is hardly larger, and is held in
memory twice."""

_FORMATS: Final = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = 1
# Of which `models.picture.raster_of` makes grey rasters.
_GREY_MODES: Final = frozenset({"1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


class NotTaken(ValueError):
    """A file cannot become an ECG here; the message says what was expected and received."""


def wrap(content: bytes, order: Order) -> Dataset:
    """Make an object of a file.

    Raises
    ------
    NotTaken
        It is no picture and no PDF, or damaged, or too large.
    """
    seed = [hashlib.sha256(content).hexdigest(), order.patient_id, order.accession_number]
    seed += [
        f"{name}={value}"
        for name, value in (
            ("issuer", order.issuer_of_patient_id),
            ("study", order.study_instance_uid),
            ("procedure", order.requested_procedure_id),
        )
        if value
    ]
    # Files of one order share its study, whether a worklist knows it or not.
    is_ordered = order.accession_number or order.requested_procedure_id
    study_seed = seed[1:] if is_ordered else seed
    study = order.study_instance_uid or _uid("study", *study_seed)
    now = timezone.localtime()
    if is_pdf(content) and not _is_picture(content):
        return encapsulated_pdf(
            content,
            order,
            study_instance_uid=study,
            series_instance_uid=_uid("series", *seed),
            sop_instance_uid=_uid("instance", *seed),
            made_at=now,
        )
    picture = _Picture.read(content)
    ds = secondary_capture(
        picture.rasters[0],
        patient_id=order.patient_id,
        study_instance_uid=study,
        series_instance_uid=_uid("series", *seed),
        sop_instance_uid=_uid("instance", *seed),
        acquired_at=now,
    )
    order.describe(ds)
    return picture.fill(ds)


def _is_picture(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS):
            return True
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return False


def _uid(purpose: str, *parts: str) -> str:
    """Return a UID that is a function of its parts: a UUID as a number (PS3.5 section B.2)."""
    # JSON keeps the parts apart: no part can reach into the next.
    digest = hashlib.sha256(json.dumps([purpose, *parts]).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


@dataclass(frozen=True)
class _Picture:
    """The pages of a picture file, upright, and the coded picture where it is kept as it is."""

    rasters: Sequence[npt.NDArray[np.uint8]]
    frame: JpegFrame | None
    lossy_bytes: int

    @classmethod
    def read(cls, content: bytes) -> _Picture:
        """Decode every page.

        Raises
        ------
        NotTaken
            No picture, a damaged one, or one too large.
        """
        try:
            with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
                rasters = _rasters(picture)
                is_jpeg = picture.format in ("JPEG", "MPO")
                is_upright = picture.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
                frame = read_jpeg(content) if is_jpeg and is_upright else None
                if frame is not None:
                    rasters = [rasters[0][:1, :1]]  # the rest has shown that it can be decoded
                return cls(rasters, frame, len(content) if is_jpeg else 0)
        except UnidentifiedImageError:
            raise NotTaken(
                "expected a picture (PNG, JPEG, TIFF, BMP or WebP), a PDF or a DICOM file, "
                f"received {_guess(content)}"
            ) from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise NotTaken(_too_large()) from None
        except (NotTaken, MemoryError):
            raise
        except Exception as error:
            raise NotTaken(f"damaged picture ({type(error).__name__})") from error

    def fill(self, ds: Dataset) -> Dataset:
        """Put the pages into an object made of the first."""
        if len(self.rasters) > 1:
            return multi_frame_capture(self.rasters, ds)
        if self.frame is not None:
            return jpeg_capture(self.frame, ds)
        if self.lossy_bytes:
            # Turned upright, or coded in a way that DICOM has no syntax for: decoded, and not
            # coded again.
            mark_lossy(ds, self.lossy_bytes)
        return ds


def _rasters(picture: Image.Image) -> list[npt.NDArray[np.uint8]]:
    # Only a TIFF has pages; what else has frames is a film or a phone's second exposure.
    count = 1
    if picture.format == "TIFF":
        count = _check_pages(picture)
    else:
        _check_page(picture)
    rasters = []
    for number in range(count):
        picture.seek(number)
        rasters.append(_raster(picture))
    if len({raster.shape[:2] for raster in rasters}) > 1:
        raise NotTaken("expected pages of one size in a file; hand these in one file a page")
    if len({raster.ndim for raster in rasters}) > 1:
        rasters = [r if r.ndim == 3 else np.stack([r] * 3, axis=-1) for r in rasters]
    return rasters


def _check_pages(picture: Image.Image) -> int:
    """Return how many pages a TIFF has, having looked at no more than we take, and decoded none.

    Pillow's own count goes through all that a file claims, each against those before it.
    """
    sizes_bytes = 0
    for number in range(MAX_PAGES + 1):
        try:
            picture.seek(number)
        except EOFError:
            return number
        if number == MAX_PAGES:
            break
        sizes_bytes += _check_page(picture)
        if sizes_bytes > MAX_RASTER_BYTES:
            raise NotTaken(
                f"expected pages of together at most {MAX_RASTER_BYTES >> 20} MB when decoded, "
                "received more; hand these in one file a page"
            )
    raise NotTaken(f"expected at most {MAX_PAGES} pages, received more")


def _check_page(picture: Image.Image) -> int:
    """Return how many bytes the raster of a page will take, at most."""
    if picture.width * picture.height > MAX_FRAME_PIXELS:
        raise NotTaken(_too_large(picture.width, picture.height))
    is_grey = picture.mode in _GREY_MODES and not picture.has_transparency_data
    return picture.width * picture.height * (1 if is_grey else 3)


def _raster(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """Return what `raster_of` returns, without its copies where the picture is that already."""
    is_plain = picture.mode in ("L", "RGB") and not picture.has_transparency_data
    if is_plain and picture.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT:
        return np.asarray(picture)
    return raster_of(picture)


def _too_large(width: int = 0, height: int = 0) -> str:
    received = f", received {width} x {height}" if width else ""
    return f"expected at most {MAX_FRAME_PIXELS // 1_000_000} million pixels{received}"


def _guess(content: bytes) -> str:
    """Say what a file that is nothing of ours looks like."""
    if content[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"):
        return "a HEIC or AVIF photo; save it as JPEG"
    if content.startswith(b"GIF8"):
        return "a GIF; save it as PNG"
    if content.startswith(b"PK"):
        return "a ZIP archive or an office document; hand in the picture itself"
    return "none of these"
