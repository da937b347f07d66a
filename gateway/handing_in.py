"""An ECG that is in no archive: a picture, a PDF or a DICOM file that a person hands in.

A picture becomes a Secondary Capture object and a PDF an Encapsulated PDF object, described by the
order it was made for; a DICOM file is taken as it is. From there on it is an object like any other
(:mod:`gateway.keeping`).
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pydicom import Dataset
from pydicom.uid import UID

from dicom_node import contexts
from dicom_node.charset import decode_dataset
from dicom_node.errors import ImageError
from dicom_node.image import read_header
from dicom_node.order import Order
from dicom_node.reception import Reception
from gateway import spool
from gateway.keeping import Arrival, Kept, keep
from gateway.loops import own_result
from gateway.models import Door, Instance
from gateway.wrapping import NotTaken, wrap

__all__ = ["MAX_OBJECT_BYTES", "MAX_PICTURE_BYTES", "NotTaken", "hand_in"]

MAX_PICTURE_BYTES: Final = 64 << 20
MAX_OBJECT_BYTES: Final = 256 << 20
"""The largest file: a page scanned at 600 dpi, or a DICOM object of several such pages."""

_CHUNK_BYTES: Final = 1 << 20
_PERSON: Final = {
    "patient's name": "PatientName",
    "birth date": "PatientBirthDate",
    "sex": "PatientSex",
}
_LONG_LENGTHS: Final = frozenset({b"OB", b"OW", b"OF", b"SQ", b"UN", b"UT"})


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
        The file is none of these or damaged, or its patient is another, or it is here already and
        says something else of its patient.
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
            wrapped = wrap(file.read(), order)
            _compare_person(wrapped)
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


def _compare_person(wrapped: Dataset) -> None:
    """Refuse a file that is here already for the same patient ID and order but another person.

    A correction would be lost otherwise: what is here stays as it is.
    """
    known = Instance.objects.filter(
        sop_instance_uid=wrapped.SOPInstanceUID, conflict_of__isnull=True
    ).first()
    if known is None:
        return
    try:
        earlier = decode_dataset(read_header(spool.locate(known.spool_name)))
    except (spool.SpoolError, ImageError):
        return  # with nothing to compare with, the file replaces what was lost
    differing = [
        name
        for name, keyword in _PERSON.items()
        if _value(wrapped, keyword) and _value(wrapped, keyword) != _value(earlier, keyword)
    ]
    if differing:
        raise NotTaken(
            f"this file is here already as ECG {known.pk} of the same patient ID and order, with "
            f"another {' and '.join(differing)}; what is here is not changed, so correct it where "
            "the archive keeps it"
        )


def _value(ds: Dataset, keyword: str) -> str:
    return str(ds.get(keyword, "") or "").rstrip("^= ")


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
