"""Where on a picture: corners as (column, row) from its top left corner, in pixels."""

from dicom_node.report.result import Corners


def clip(region: Corners | None, *, rows: int, columns: int) -> Corners:
    """Return the part of a region inside a picture; without any such part, the whole picture."""
    right, bottom = float(columns), float(rows)
    whole = ((0.0, 0.0), (right, 0.0), (right, bottom), (0.0, bottom))
    if region is None:
        return whole
    inside = tuple((min(max(x, 0.0), right), min(max(y, 0.0), bottom)) for x, y in region)
    # A region beside the picture shrinks to a line or a point, which marks nothing.
    return inside if _area_px(inside) > 0.0 else whole


def _area_px(corners: Corners) -> float:
    """The area of a polygon, by the shoelace formula."""
    pairs = zip(corners, [*corners[1:], corners[0]], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2.0
