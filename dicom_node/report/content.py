"""Content items, the bricks of a Structured Report (PS3.3 section C.17.3).

Every item has a concept name: an item without one crashes a widely used viewer.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydicom.dataset import Dataset

from dicom_node.codes import Concept
from dicom_node.elements import data_set

Relationship = Literal[
    "CONTAINS",
    "HAS OBS CONTEXT",
    "HAS ACQ CONTEXT",
    "HAS CONCEPT MOD",
    "HAS PROPERTIES",
    "INFERRED FROM",
    "SELECTED FROM",
]

ReferenceType = Literal["IMAGE", "WAVEFORM", "COMPOSITE"]


def _item(
    relationship: Relationship | None,
    value_type: str,
    name: Concept,
    children: Sequence[Dataset],
    **values: Any,
) -> Dataset:
    if relationship is not None:
        values["RelationshipType"] = relationship
    if children:
        values["ContentSequence"] = children
    return data_set(ValueType=value_type, ConceptNameCodeSequence=[name.as_item()], **values)


def container(
    relationship: Relationship | None,
    name: Concept,
    children: Sequence[Dataset],
    *,
    template: str | None = None,
) -> Dataset:
    """A CONTAINER, its items separate; `template` is a TID of DCMR (PS3.16)."""
    values: dict[str, Any] = {"ContinuityOfContent": "SEPARATE"}
    if template is not None:
        identification = data_set(MappingResource="DCMR", TemplateIdentifier=template)
        values["ContentTemplateSequence"] = [identification]
    return _item(relationship, "CONTAINER", name, children, **values)


def text(relationship: Relationship, name: Concept, value: str) -> Dataset:
    """A TEXT item; lines are parted by CR LF (PS3.3 Table C.17-5)."""
    return _item(relationship, "TEXT", name, (), TextValue=value)


def code(
    relationship: Relationship, name: Concept, value: Concept, children: Sequence[Dataset] = ()
) -> Dataset:
    """A CODE item."""
    coded = [value.as_item()]
    return _item(relationship, "CODE", name, children, ConceptCodeSequence=coded)


def num(
    relationship: Relationship,
    name: Concept,
    value: str,
    unit: Concept,
    children: Sequence[Dataset] = (),
) -> Dataset:
    """A NUM item; `value` is the decimal string as printed elsewhere."""
    measured = data_set(MeasurementUnitsCodeSequence=[unit.as_item()], NumericValue=value)
    return _item(relationship, "NUM", name, children, MeasuredValueSequence=[measured])


def uidref(relationship: Relationship, name: Concept, value: str) -> Dataset:
    """A UIDREF item."""
    return _item(relationship, "UIDREF", name, (), UID=value)


def pname(relationship: Relationship, name: Concept, value: str) -> Dataset:
    """A PNAME item."""
    return _item(relationship, "PNAME", name, (), PersonName=value)


def reference(
    relationship: Relationship,
    value_type: ReferenceType,
    name: Concept,
    referenced: Dataset,
    children: Sequence[Dataset] = (),
) -> Dataset:
    """An item that refers to an object; `referenced` is an item of a Referenced SOP Sequence."""
    return _item(relationship, value_type, name, children, ReferencedSOPSequence=[referenced])


def outline(
    relationship: Relationship,
    name: Concept,
    corners: Sequence[tuple[float, float]],
    source: Dataset,
) -> Dataset:
    """A SCOORD item: a closed POLYLINE of (column, row) corners on the IMAGE item `source`."""
    closed = [float(value) for corner in (*corners, corners[0]) for value in corner]
    values = {"GraphicData": closed, "GraphicType": "POLYLINE"}
    return _item(relationship, "SCOORD", name, [source], **values)
