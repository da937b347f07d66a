"""A report's content tree as people read it."""

from dataclasses import dataclass

from pydicom.dataset import Dataset


@dataclass(frozen=True)
class ReportNode:
    """A content item: how it relates to its parent, its type, its name, its value, its children."""

    relationship: str
    value_type: str
    concept: str
    value: str
    children: tuple["ReportNode", ...]


def tree(ds: Dataset) -> ReportNode:
    """Return the content tree of an SR document; `ds` is the root or any content item."""
    names = ds.get("ConceptNameCodeSequence") or []
    return ReportNode(
        relationship=str(ds.get("RelationshipType", "")),
        value_type=str(ds.get("ValueType", "")),
        concept=str(names[0].get("CodeMeaning", "")) if names else "",
        value=_value(ds),
        children=tuple(tree(item) for item in ds.get("ContentSequence") or []),
    )


def render_tree(ds: Dataset) -> str:
    """Return the content tree as indented lines, the values beside their names."""
    return "\n".join(_lines(tree(ds), 0))


def _lines(node: ReportNode, depth: int) -> list[str]:
    pad = "  " * depth
    first, *more = node.value.splitlines() or [""]
    if node.value_type == "CONTAINER":
        lines = [f"{pad}{node.concept}"]
    else:
        lines = [f"{pad}{node.concept}: {first}"]
        lines += [f"{pad}{' ' * (len(node.concept) + 2)}{line}" for line in more]
    for child in node.children:
        lines += _lines(child, depth + 1)
    return lines


def _value(ds: Dataset) -> str:
    match ds.get("ValueType"):
        case "TEXT":
            return str(ds.get("TextValue", ""))
        case "CODE":
            found = ds.get("ConceptCodeSequence") or []
            return str(found[0].get("CodeMeaning", "")) if found else ""
        case "NUM":
            return _number(ds)
        case "UIDREF":
            return str(ds.get("UID", ""))
        case "IMAGE" | "WAVEFORM" | "COMPOSITE":
            found = ds.get("ReferencedSOPSequence") or []
            return _reference(found[0]) if found else ""
        case "SCOORD":
            numbers = list(ds.get("GraphicData") or [])
            pairs = zip(numbers[::2], numbers[1::2], strict=False)
            return " ".join(f"({x:.0f}, {y:.0f})" for x, y in pairs)
        case "PNAME":
            return str(ds.get("PersonName", ""))
        case "DATE" | "TIME" | "DATETIME":
            return str(ds.get("Date") or ds.get("Time") or ds.get("DateTime") or "")
    return ""


def _number(ds: Dataset) -> str:
    found = ds.get("MeasuredValueSequence") or []
    if not found:
        return ""
    units = found[0].get("MeasurementUnitsCodeSequence") or []
    unit = str(units[0].get("CodeValue", "")) if units else ""
    return f"{found[0].get('NumericValue', '')} {unit}".strip()


def _reference(item: Dataset) -> str:
    frame = item.get("ReferencedFrameNumber")
    uid = str(item.get("ReferencedSOPInstanceUID", ""))
    return f"{uid} frame {frame}" if frame else uid
