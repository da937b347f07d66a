"""Whether an object is a result of ours that came back: it must never be analysed again.

An archive sends what it was given on to whom it likes, and a picture of a result page looks enough
like an ECG to be read as one. What is ours is known by its UID where it was made here and came back
as it was, and by what its header says of the equipment where another installation made it or an
archive gave it another UID.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydicom import Dataset

from dicom_node import codes
from gateway.models import Installation, Report

MANUFACTURER: Final = "ECG Gateway"
MODEL: Final = "ECG Gateway"
"""As :func:`gateway.sources.device` names us in everything we make."""

OWN: Final = "our own result"
OTHER: Final = "our own result, of another installation"


def own_result(header: Dataset, sop_instance_uid: str) -> str | None:
    """Return the reason to reject an object that we made; None for every other.

    A picture that a person handed in through us is wrapped by us, but is no result: it names us
    nowhere.

    Parameters
    ----------
    header
        The object's Data Set without its pixels.
    sop_instance_uid
        As the C-STORE announced it.
    """
    if Report.objects.filter(sop_instance_uid=sop_instance_uid).exists():
        return OWN
    devices = set(_device_uids(header))
    is_ours = any(_is_ours(item) for item in _makers(header)) or _observes_as_us(header)
    if not devices and not is_ours:
        return None
    installation = Installation.load()
    serials = {_text(item, "DeviceSerialNumber") for item in _makers(header)}
    if installation.device_uid in devices or (is_ours and installation.serial in serials):
        return OWN
    return OTHER if is_ours else None


def _makers(header: Dataset) -> Iterator[Dataset]:
    """Yield what says who made or processed the object as a result."""
    # PS3.3 C.12.1: 109102 is the equipment that processed; 109101 would be what acquired.
    for item in _items(header, "ContributingEquipmentSequence"):
        purposes = _items(item, "PurposeOfReferenceCodeSequence")
        if any(_text(code, "CodeValue") == codes.PROCESSING_EQUIPMENT.value for code in purposes):
            yield item
    yield from _items(header, "AuthorObserverSequence")
    yield header


def _is_ours(item: Dataset) -> bool:
    return (
        _text(item, "Manufacturer") == MANUFACTURER
        and _text(item, "ManufacturerModelName") == MODEL
    )


def _device_uids(header: Dataset) -> Iterator[str]:
    for item in _items(header, "AuthorObserverSequence"):
        if uid := _text(item, "DeviceUID"):
            yield uid
    for item in _content(header):
        if _concept(item) == codes.DEVICE_UID.value:
            yield _text(item, "UID")


def _observes_as_us(header: Dataset) -> bool:
    """Return whether a document's Device Observer (TID 1004) is called as we are."""
    said = {_concept(item): _text(item, "TextValue") for item in _content(header)}
    return (
        said.get(codes.DEVICE_MANUFACTURER.value) == MANUFACTURER
        and said.get(codes.DEVICE_MODEL.value) == MODEL
    )


def _content(header: Dataset) -> list[Dataset]:
    return [
        item
        for item in _items(header, "ContentSequence")
        if _text(item, "RelationshipType") == "HAS OBS CONTEXT"
    ]


def _concept(item: Dataset) -> str:
    return next((_text(c, "CodeValue") for c in _items(item, "ConceptNameCodeSequence")), "")


def _items(ds: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where something else stands in its place."""
    if keyword not in ds or ds[keyword].VR != "SQ":
        return []
    return list(ds[keyword].value)


def _text(ds: Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    return "" if value is None else str(value).replace("\x00", "").strip()
