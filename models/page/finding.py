"""Find the tracing on a picture: lay it straight, crop to it, right the polarity, or refuse.

What makes a picture a page is decided by `models.page.traces`, how it lies by `models.page.skew`;
this module cuts the page out. Rules only, no learning; every refusal is a sentence a person can act
on.
"""

from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.page.ink import Ink, brightest, find_ink, without_grid
from models.page.outline import find_outline
from models.page.skew import Skew, find_skew, level_picture, to_picture
from models.page.traces import NotReadable, Traces, find_traces
from models.page.upright import is_upside_down
from models.page.verdict import MIN_SHARPNESS, check_rows, find_sharpness

__all__ = ["MIN_SIDE_PX", "Corner", "NotReadable", "Page", "find_page"]

Corner = tuple[float, float]

MIN_SIDE_PX: Final = 200
#: A page that has to be warped is cut with at most this many columns: two for each of the packet's.
_CUT_COLUMNS_PX: Final = 1344
#: What stands out less than a tenth of black, and paper darker than this, shows nothing.
_LEAST_DARKNESS: Final = 25.0
_TOO_DARK: Final = 24.0


@dataclass(frozen=True)
class Page:
    """The tracing cut out of a picture.

    Attributes
    ----------
    grey : uint8 (rows, columns)
        Dark trace on light paper, rows level, time from left to right.
    region : four (column, row) corners
        Where it lies in the picture, clockwise from the tracing's own top left, in pixels of the
        picture.
    quality : dict
        ``contrast`` 0..1 of trace against paper, ``rows`` of trace found, ``coverage`` 0..1 of the
        width that the traces cover, ``sharpness`` 0..1, ``skew_deg`` how far rows were tilted
        (clockwise positive), ``turned_deg`` 0, 90, 180 or 270 how far the page was turned
        counter-clockwise to stand upright, ``inverted`` 0 or 1.
    """

    grey: NDArray[np.uint8]
    region: tuple[Corner, Corner, Corner, Corner]
    quality: dict[str, float] = field(default_factory=dict)


def find_page(raster: NDArray[np.uint8]) -> Page:
    """Find the tracing of a twelve-lead page.

    Parameters
    ----------
    raster : uint8 (rows, columns) or (rows, columns, 3)
        A decoded picture, grey or RGB.

    Returns
    -------
    Page

    Raises
    ------
    NotReadable
        The picture is no such page; ``reason`` says why.
    """
    _check(raster)
    ink = find_ink(raster)
    _check_light(ink)
    quarters, found = _lay(ink)
    ink = ink.turned(quarters)
    outline = find_outline(found.traces, slanting=not found.skew.is_straight)
    grey, corners = _cut(np.rot90(raster, quarters), ink, found.skew, outline)
    quality = {
        "contrast": round(min(1.0, ink.darkest / 255.0), 3),
        "sharpness": round(found.sharpness, 3),
        "rows": float(len(found.traces.rows.baselines)),
        "coverage": round(found.traces.coverage, 3),
        "skew_deg": round(found.skew.degrees, 2),
        "turned_deg": 90.0 * quarters,
        "inverted": float(ink.inverted),
    }
    return Page(grey, _region(corners, quarters, raster.shape), quality)


@dataclass(frozen=True)
class _Laid:
    """A page laid straight: how, what is on it, and how sharp it is."""

    skew: Skew
    traces: Traces
    sharpness: float


def _lay(ink: Ink) -> tuple[int, _Laid]:
    """Lay the page straight and upright; the quarters it has to be turned counter-clockwise."""
    quarters = 0
    try:
        laid = _laid(ink)
    except NotReadable as refusal:
        quarters = 1
        try:
            laid = _laid(ink.turned(quarters))
        except NotReadable:
            raise refusal from None
    if is_upside_down(laid.traces):
        try:
            return quarters + 2, _laid(ink.turned(quarters + 2))
        except NotReadable:
            return quarters, laid
    return quarters, laid


def _laid(ink: Ink) -> _Laid:
    skew = find_skew(ink.darkness, ink.darkest)
    level = level_picture(ink.darkness, skew)
    clear = without_grid(level)
    try:
        return _on(clear, skew, ink)
    except NotReadable as refusal:
        if clear is level:
            raise
        # Broad strokes on a faint grid look like a dark one, and their level parts go with it.
        try:
            return _on(level, skew, ink)
        except NotReadable:
            raise refusal from None


def _on(level: NDArray[np.uint8], skew: Skew, ink: Ink) -> _Laid:
    traces = find_traces(level, ink.darkest)
    check_rows(traces)
    sharpness = find_sharpness(level, traces.mask)
    if sharpness < MIN_SHARPNESS:
        raise NotReadable("too blurred: take the picture again, in focus")
    return _Laid(skew, traces, sharpness)


def _check_light(ink: Ink) -> None:
    if ink.darkest < _LEAST_DARKNESS:
        raise NotReadable("blank picture: nothing darker than its surroundings")
    if not ink.inverted and float(np.percentile(ink.paper, 95)) < _TOO_DARK:
        raise NotReadable("too dark: take the picture again, with more light")


def _check(raster: NDArray[np.uint8]) -> None:
    if raster.dtype != np.uint8 or raster.ndim not in (2, 3) or 0 in raster.shape:
        raise NotReadable("no picture: expected uint8 rows and columns")
    if raster.ndim == 3 and raster.shape[2] != 3:
        raise NotReadable("no picture: expected grey or RGB")
    rows, columns = raster.shape[:2]
    if min(rows, columns) < MIN_SIDE_PX:
        raise NotReadable(f"picture too small: {columns} x {rows} pixels")


def _cut(
    raster: NDArray[np.uint8], ink: Ink, skew: Skew, corners: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut the level picture's outline out of the picture; say where its corners lie there."""
    rows, columns = raster.shape[:2]
    if skew.is_straight:
        edges = np.rint(corners / np.array(ink.scale))
        edges = np.clip(edges, 0, (columns, rows))
        (left, top), (right, bottom) = edges[0].astype(int), edges[2].astype(int)
        return _grey(raster[top:bottom, left:right], ink.inverted), edges
    edges = to_picture(corners, skew) / np.array(ink.scale)
    return _warped(raster, edges, ink.inverted), np.clip(edges, 0, (columns, rows))


def _region(
    corners: NDArray[np.float64], quarters: int, shape: tuple[int, ...]
) -> tuple[Corner, Corner, Corner, Corner]:
    """Corners of the turned picture, in the picture as it came."""
    rows, columns = shape[:2]
    x, y = corners[:, 0], corners[:, 1]
    back = ((x, y), (columns - y, x), (columns - x, rows - y), (y, rows - x))[quarters]
    first, second, third, fourth = ((float(x), float(y)) for x, y in zip(*back, strict=True))
    return first, second, third, fourth


def _warped(
    raster: NDArray[np.uint8], edges: NDArray[np.float64], inverted: bool
) -> NDArray[np.uint8]:
    """The quadrilateral as a rectangle, no larger than the network can use."""
    sides = np.linalg.norm(edges - np.roll(edges, -1, axis=0), axis=1)
    width, height = max(sides[0], sides[2]), max(sides[1], sides[3])
    factor = min(1.0, _CUT_COLUMNS_PX / width)
    grey = _grey(raster, inverted)
    if factor < 0.75:
        size = (round(grey.shape[1] * factor), round(grey.shape[0] * factor))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
        edges = edges * factor
        width, height = width * factor, height * factor
    size = (max(3, round(width)), max(1, round(height)))
    target = np.array([(0, 0), (size[0], 0), size, (0, size[1])], np.float32)
    matrix = cv2.getPerspectiveTransform(edges.astype(np.float32), target)
    return np.asarray(
        cv2.warpPerspective(
            grey,
            matrix,
            size,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=float(np.median(grey[::8, ::8])),
        )
    )


def _grey(raster: NDArray[np.uint8], inverted: bool) -> NDArray[np.uint8]:
    """Luminance; of a dark screen the brightest channel, turned over: a coloured trace is dark."""
    cut = np.ascontiguousarray(raster)
    if inverted:
        return np.asarray(255 - brightest(cut))
    return cut if cut.ndim == 2 else np.asarray(cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY))
