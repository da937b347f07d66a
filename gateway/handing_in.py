"""An ECG that is in no archive: a picture, a PDF or a DICOM file that a person hands in.

A picture becomes a Secondary Capture object and a PDF an Encapsulated PDF object, described by the
order it was made for; a DICOM file is taken as it is. From there on it is an object like any other
(:mod:`gateway.keeping`).

The UIDs are functions of the file's bytes, the patient ID and the accession number: the same file
handed in twice for one patient and order is one ECG, and for another patient another one.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt
from django.utils import timezone
from PIL import Image, UnidentifiedImageError
from pydicom import Dataset
from pydicom.uid import UID

from dicom_node import contexts
from dicom_node.capture import jpeg_capture, mark_lossy, multi_frame_capture, secondary_capture
from dicom_node.charset import decode_dataset
from dicom_node.document import encapsulated_pdf
from dicom_node.errors import ImageError
from dicom_node.image import MAX_FRAME_PIXELS, read_header
from dicom_node.jpeg import JpegFrame, read_jpeg
from dicom_node.order import Order
from dicom_node.reception import Reception
from gateway import spool
from gateway.keeping import Arrival, Kept, keep
from gateway.loops import own_result
from gateway.models import Door
from models.picture import raster_of

MAX_PICTURE_BYTES: Final = 64 << 20
MAX_OBJECT_BYTES: Final = 256 << 20
"""The largest file: a page scanned at 600 dpi, or a DICOM object of several such pages."""

MAX_PAGES: Final = 8
"""As many as are looked at of any object (:mod:`gateway.pages`)."""

_FORMATS: Final = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = 1
_CHUNK_BYTES: Final = 1 << 20
_LONG_LENGTHS: Final = frozenset({b"OB", b"OW", b"OF", b"SQ", b"UN", b"UT"})


class NotTaken(ValueError):
    """A file cannot become an ECG here; the message says what was expected and received."""


@dataclass(frozen=True)
class _Object:
    """A DICOM file as a stream that stands at its data set, and what it is called."""

    stream: BinaryIO
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


def hand_in(source: Path, *, order: Order | None, door: Door, actor: str) -> Kept:
    """Make an object of a file and keep it.

    Parameters
    ----------
    source
        A PNG, JPEG, TIFF, BMP or WebP picture, a PDF, or a DICOM file; it stays as it is. What it
        is shows in its first bytes, not in its name.
    order
        Whose ECG it is. A DICOM file says that itself: `order` may be ``None``, and what it says
        must agree with the file.
    door
        ``SUBMIT`` or ``UPLOAD``; in capitals it is the sender that lists and rules show.
    actor
        Who did it, for the trail.

    Returns
    -------
    Kept
        The ECG, and whether it is new.

    Raises
    ------
    NotTaken
        The file is none of these or damaged, or its patient is another.
    DatabaseError, OSError
        It could not be kept.
    """
    try:
        with source.open("rb") as file:
            size_bytes = file.seek(0, io.SEEK_END)
            file.seek(0)
            start = file.read(132)
            file.seek(0)
            if start[128:] == b"DICM":
                _check_size(size_bytes, MAX_OBJECT_BYTES)
                return _keep(_as_it_is(source, file, order), door, actor, is_ours=False)
            _check_size(size_bytes, MAX_PICTURE_BYTES)
            if order is None:
                raise NotTaken("expected the patient's ID with a picture or a PDF, received none")
            wrapped = _wrap(file.read(), order)
    except OSError as error:
        if error.filename is None:
            raise
        raise NotTaken(f"cannot be opened: {error.strerror}") from None
    uids = (wrapped.SOPClassUID, wrapped.SOPInstanceUID, wrapped.file_meta.TransferSyntaxUID)
    with tempfile.TemporaryFile(dir=spool.incoming()) as stream:
        wrapped.save_as(stream, enforce_file_format=True)
        del wrapped  # a page at 600 dpi is 100 MB
        _seek_data_set(stream)
        return _keep(_Object(stream, *uids), door, actor, is_ours=True)


def _check_size(size_bytes: int, limit_bytes: int) -> None:
    if size_bytes == 0:
        raise NotTaken("the file is empty")
    if size_bytes > limit_bytes:
        raise NotTaken(
            f"expected at most {limit_bytes >> 20} MB, received {size_bytes / (1 << 20):.0f} MB"
        )


def _keep(made: _Object, door: Door, actor: str, *, is_ours: bool) -> Kept:
    """Write the object into the spool as a C-STORE is written, and make its row."""
    sender = door.value.upper()
    reception = Reception(
        spool.incoming(),
        sop_class_uid=made.sop_class_uid,
        sop_instance_uid=made.sop_instance_uid,
        transfer_syntax_uid=made.transfer_syntax_uid,
        calling_title=sender,
        max_bytes=MAX_OBJECT_BYTES,
    )
    try:
        while chunk := made.stream.read(_CHUNK_BYTES):
            reception.write(chunk)
        return keep(
            Arrival(
                sha256=reception.complete(),
                path=reception.path,
                sop_class_uid=made.sop_class_uid,
                sop_instance_uid=made.sop_instance_uid,
                transfer_syntax_uid=made.transfer_syntax_uid,
                sender=sender,
                door=door,
                actor=actor,
                is_named_by_content=is_ours,
            )
        )
    finally:
        reception.discard()


# --- a DICOM file --------------------------------------------------------------------------------


def _as_it_is(path: Path, file: BinaryIO, order: Order | None) -> _Object:
    """Look whether a DICOM file is one we take, and of the patient it is handed in for."""
    try:
        header = decode_dataset(read_header(path))
    except ImageError as error:
        raise NotTaken(f"not an ECG object we can read: {error}") from None
    sop_class = str(header.get("SOPClassUID", "") or "")
    syntax = str(header.file_meta.TransferSyntaxUID)
    uid = str(header.get("SOPInstanceUID", "") or "")
    if not contexts.accepts(sop_class, syntax):
        named = UID(sop_class).name if sop_class else "no SOP Class"
        raise NotTaken(
            f"expected one of {', '.join(sorted(contexts.STORAGE_CLASSES.values()))}; "
            f"received {named} in {UID(syntax).name}"
        )
    for name, value in (("SOP", uid), ("Study", str(header.get("StudyInstanceUID", "") or ""))):
        if not UID(value).is_valid:
            raise NotTaken(f"expected a {name} Instance UID, received {value!r}")
    if reason := own_result(header, uid):
        raise NotTaken(f"expected an ECG, received {reason}")
    if order is not None:
        _compare(header, order)
    _seek_data_set(file)
    return _Object(file, sop_class, uid, syntax)


def _compare(header: Dataset, order: Order) -> None:
    """Refuse a file of another patient or order than it is handed in for."""
    pairs = (
        ("patient ID", order.patient_id, "PatientID"),
        ("accession number", order.accession_number, "AccessionNumber"),
    )
    for name, wanted, keyword in pairs:
        found = str(header.get(keyword, "") or "").strip()
        if wanted and found != wanted:
            raise NotTaken(
                f"expected a DICOM file of {name} {wanted!r}, the file says {found!r}; "
                "a DICOM file is taken as it is, so leave the option out or correct it"
            )


def _seek_data_set(file: BinaryIO) -> None:
    """Go behind the File Meta Information (PS3.10 section 7.1), whatever its length claims."""
    file.seek(132)
    while True:
        start = file.tell()
        head = file.read(8)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            file.seek(start)
            return
        if head[4:6] in _LONG_LENGTHS:
            length = int.from_bytes(file.read(4), "little")
        else:
            length = int.from_bytes(head[6:8], "little")
        file.seek(length, io.SEEK_CUR)


# --- a picture or a PDF --------------------------------------------------------------------------


def _wrap(content: bytes, order: Order) -> Dataset:
    seed = [hashlib.sha256(content).hexdigest(), order.patient_id, order.accession_number]
    # Files of one order share its study, whether a worklist knows it or not.
    study_seed = seed[1:] if order.accession_number else seed
    study = order.study_instance_uid or _uid("study", *study_seed)
    now = timezone.localtime()
    if content.startswith(b"%PDF-"):
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
    count = getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
    if count > MAX_PAGES:
        raise NotTaken(f"expected at most {MAX_PAGES} pages, received {count}")
    rasters = []
    for number in range(count):
        picture.seek(number)
        if picture.width * picture.height > MAX_FRAME_PIXELS:
            raise NotTaken(_too_large(picture.width, picture.height))
        rasters.append(raster_of(picture))
    if len({raster.shape[:2] for raster in rasters}) > 1:
        raise NotTaken("expected pages of one size in a file; hand these in one file a page")
    if len({raster.ndim for raster in rasters}) > 1:
        rasters = [r if r.ndim == 3 else np.stack([r] * 3, axis=-1) for r in rasters]
    return rasters


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
