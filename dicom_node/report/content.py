"""Content items, the bricks of a Structured Report (PS3.3 section C.17.3).

Every item has a concept name: an item without one crashes a widely used viewer.
"""

from collections.abc import Sequence
from typing import Literal

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as ItemSequence
from pydicom.uid import UID

from dicom_node.codes import Concept

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
    relationship: Relationship | None, value_type: str, name: Concept, children: Sequence[Dataset]
) -> Dataset:
    ds = Dataset()
    if relationship is not None:
        ds.RelationshipType = relationship
    ds.ValueType = value_type
    ds.ConceptNameCodeSequence = ItemSequence([name.as_item()])
    if children:
        ds.ContentSequence = ItemSequence(list(children))
    return ds


def container(
    relationship: Relationship | None,
    name: Concept,
    children: Sequence[Dataset],
    *,
    template: str | None = None,
) -> Dataset:
    """A CONTAINER, its items separate; `template` is a TID of DCMR (PS3.16)."""
    ds = _item(relationship, "CONTAINER", name, children)
    ds.ContinuityOfContent = "SEPARATE"
    if template is not None:
        identification = Dataset()
        identification.MappingResource = "DCMR"
        identification.TemplateIdentifier = template
        ds.ContentTemplateSequence = ItemSequence([identification])
    return ds


def text(relationship: Relationship, name: Concept, value: str) -> Dataset:
    """A TEXT item; lines are parted by CR LF (PS3.3 Table C.17-5)."""
    ds = _item(relationship, "TEXT", name, ())
    ds.TextValue = value
    return ds


def code(
    relationship: Relationship, name: Concept, value: Concept, children: Sequence[Dataset] = ()
) -> Dataset:
    """A CODE item."""
    ds = _item(relationship, "CODE", name, children)
    ds.ConceptCodeSequence = ItemSequence([value.as_item()])
    return ds


def num(
    relationship: Relationship,
    name: Concept,
    value: str,
    unit: Concept,
    children: Sequence[Dataset] = (),
) -> Dataset:
    """A NUM item; `value` is the decimal string as printed elsewhere."""
    ds = _item(relationship, "NUM", name, children)
    measured = Dataset()
    measured.MeasurementUnitsCodeSequence = ItemSequence([unit.as_item()])
    measured.NumericValue = value
    ds.MeasuredValueSequence = ItemSequence([measured])
    return ds


def uidref(relationship: Relationship, name: Concept, value: str) -> Dataset:
    """A UIDREF item."""
    ds = _item(relationship, "UIDREF", name, ())
    ds.UID = UID(value)
    return ds


def reference(
    relationship: Relationship,
    value_type: ReferenceType,
    name: Concept,
    referenced: Dataset,
    children: Sequence[Dataset] = (),
) -> Dataset:
    """An item that refers to an object; `referenced` is an item of a Referenced SOP Sequence."""
    ds = _item(relationship, value_type, name, children)
    ds.ReferencedSOPSequence = ItemSequence([referenced])
    return ds


def outline(
    relationship: Relationship,
    name: Concept,
    corners: Sequence[tuple[float, float]],
    source: Dataset,
) -> Dataset:
    """A SCOORD item: a closed POLYLINE of (column, row) corners on the IMAGE item `source`."""
    ds = _item(relationship, "SCOORD", name, [source])
    closed = [*corners, corners[0]]
    ds.GraphicData = [float(value) for corner in closed for value in corner]
    ds.GraphicType = "POLYLINE"
    return ds
