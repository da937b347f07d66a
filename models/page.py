"""Find the tracing on a picture: crop to it, right the polarity, or refuse with the reason.

What makes a picture a page is decided by `models.traces`; this module prepares the ink for it and
cuts the page out. Rules only, no learning; every refusal is a sentence a person can act on.
"""

from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.traces import NotReadable, Traces, find_traces

__all__ = ["MIN_SIDE_PX", "Corner", "NotReadable", "Page", "find_page"]

Corner = tuple[float, float]

MIN_SIDE_PX: Final = 200
_WORK_COLUMNS_PX: Final = 1100
_MAX_UNEVENNESS: Final = 20.0
#: What stands out less than this, in greys, is no line.
_FAINT: Final = 12.0


@dataclass(frozen=True)
class Page:
    """The tracing cut out of a picture.

    Attributes
    ----------
    grey : uint8 (rows, columns)
        Dark trace on light paper, time from left to right.
    region : four (column, row) corners
        Where it lies in the picture, clockwise from the top left, in pixels of the picture.
    quality : dict
        ``contrast`` 0..1 of trace against paper, ``rows`` of trace found, ``coverage`` 0..1 of the
        width that the traces cover, ``sharpness`` 0..1, ``inverted`` 0 or 1.
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
    rows, columns = raster.shape[:2]
    scale = min(1.0, _WORK_COLUMNS_PX / columns)
    small = _brightest(_shrink(raster, scale))
    inverted = _is_light_on_dark(small)
    if inverted:
        small = 255 - small
    paper = _paper(small)
    if _unevenness(paper) > _MAX_UNEVENNESS:
        raise NotReadable("not an ECG page: no even paper behind the lines")
    darkness = np.asarray(cv2.subtract(paper, small))
    darkest = float(np.percentile(darkness, 99.7))
    if darkest < 25.0:
        raise NotReadable("blank picture: nothing darker than its surroundings")
    traces = find_traces(darkness, darkest)
    box = _grown(traces, small.shape, margin=0.022)
    left, top, right, bottom = (round(edge / scale) for edge in box)
    right, bottom = min(right, columns), min(bottom, rows)
    quality = {
        "contrast": round(min(1.0, darkest / 255.0), 3),
        "rows": float(traces.rows),
        "coverage": round(traces.coverage, 3),
        "inverted": float(inverted),
    }
    region: tuple[Corner, Corner, Corner, Corner] = (
        (float(left), float(top)),
        (float(right), float(top)),
        (float(right), float(bottom)),
        (float(left), float(bottom)),
    )
    return Page(_grey(raster[top:bottom, left:right], inverted), region, quality)


def _check(raster: NDArray[np.uint8]) -> None:
    if raster.dtype != np.uint8 or raster.ndim not in (2, 3) or 0 in raster.shape:
        raise NotReadable("no picture: expected uint8 rows and columns")
    if raster.ndim == 3 and raster.shape[2] != 3:
        raise NotReadable("no picture: expected grey or RGB")
    rows, columns = raster.shape[:2]
    if min(rows, columns) < MIN_SIDE_PX:
        raise NotReadable(f"picture too small: {columns} x {rows} pixels")


def _brightest(raster: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The brightest channel: on it a coloured grid is nearly as light as paper."""
    if raster.ndim == 2:
        return raster
    red, green, blue = cv2.split(raster)
    return np.asarray(cv2.max(cv2.max(red, green), blue))


def _grey(raster: NDArray[np.uint8], inverted: bool) -> NDArray[np.uint8]:
    """Luminance; of a dark screen the brightest channel, turned over: a coloured trace is dark."""
    cut = np.ascontiguousarray(raster)
    if inverted:
        return np.asarray(255 - _brightest(cut))
    return cut if cut.ndim == 2 else np.asarray(cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY))


def _is_light_on_dark(small: NDArray[np.uint8]) -> bool:
    """Whether the lines are lighter than what surrounds them.

    Lines stand out from their surroundings on one side only; the third power says on which. How
    dark the whole picture is says nothing: a page photographed in a dim room is still ink on paper.
    """
    side = max(9, small.shape[1] // 28) | 1
    stands_out = small.astype(np.float32) - cv2.blur(small.astype(np.float32), (side, side))
    stands_out[np.abs(stands_out) < _FAINT] = 0.0
    return float((stands_out**3).sum(dtype=np.float64)) > 0.0


def _shrink(raster: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    whole = np.ascontiguousarray(raster)
    if scale >= 1.0:
        return whole
    size = (max(1, round(whole.shape[1] * scale)), max(1, round(whole.shape[0] * scale)))
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA))


def _paper(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture without its lines: what is darker than this is ink, shadows and folds are not."""
    side = max(9, small.shape[1] // 40) | 1
    closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    return np.asarray(cv2.blur(closed, (side, side)))


def _unevenness(paper: NDArray[np.uint8]) -> float:
    """How much the paper changes over an eighth of the width, in greys.

    Real pages, photographed ones with shadows and folds included, stay below 6; photographs of
    anything else lie above 35.
    """
    side = (paper.shape[1] // 8) | 1
    return float(np.percentile(cv2.absdiff(paper, cv2.blur(paper, (side, side))), 90))


def _grown(traces: Traces, shape: tuple[int, ...], *, margin: float) -> tuple[int, int, int, int]:
    by = round(margin * shape[1])
    return (
        max(0, traces.left - by),
        max(0, traces.top - by),
        min(shape[1], traces.right + by),
        min(shape[0], traces.bottom + by),
    )
