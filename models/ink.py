"""The dark lines of a picture: what stands out of its paper, whatever the light and the polarity.

One small working picture serves every decision about a page. Paper is what remains when thin dark
lines are closed; ink is what is darker than that, as a share of the paper's own brightness, so that
shadows, folds and dim rooms cancel.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

#: Longest side of the working picture: a page 270 mm wide has 3.7 pixels a millimetre.
WORK_PX: Final = 1000
#: What stands out less than this, in greys, is no line.
_FAINT: Final = 12.0
#: Paper is looked for at this fraction of the working picture.
_PAPER_STEP: Final = 4
#: Traces and lettering cover 2 to 5 % of a page, a grid that shows 10 % or more.
_GRID_SHARE: Final = 0.08
_STRAIGHT_PX: Final = 31
#: Behind lines a paper changes by less than this over an eighth of the width, in greys.
MAX_UNEVENNESS: Final = 20.0


@dataclass(frozen=True)
class Ink:
    """What is drawn on a picture, in the working picture's pixels.

    Attributes
    ----------
    darkness : uint8 (rows, columns)
        How much darker than the paper behind it each pixel is, 0 to 255 of black on white.
    darkest : float
        What the darkest lines reach.
    inverted : bool
        Whether the lines are lighter than their surroundings.
    unevenness : float
        How much the paper changes over an eighth of the width, in greys.
    scale : float
        Working pixels per pixel of the picture, at most 1.
    """

    darkness: NDArray[np.uint8]
    darkest: float
    inverted: bool
    unevenness: float
    scale: float


def find_ink(raster: NDArray[np.uint8]) -> Ink:
    """Find the ink of a picture, uint8 (rows, columns) or (rows, columns, 3)."""
    scale = min(1.0, WORK_PX / max(raster.shape[:2]))
    small = brightest(_shrink(raster, scale))
    inverted = _is_light_on_dark(small)
    if inverted:
        small = np.asarray(cv2.bitwise_not(small))
    coarse = _coarse_paper(small)
    sheet = _sheet(coarse)
    unevenness = _unevenness(coarse, sheet)
    size = (small.shape[1], small.shape[0])
    paper = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR))
    lines = cv2.subtract(paper, small)
    darkness = np.asarray(cv2.divide(lines, cv2.max(paper, 40), scale=255.0))
    if sheet is not None:
        inside = cv2.resize(sheet, size, interpolation=cv2.INTER_NEAREST)
        darkness = np.asarray(cv2.bitwise_and(darkness, inside))
    darkest = _darkest(darkness)
    return Ink(darkness, darkest, inverted, unevenness, scale)


def brightest(raster: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The brightest channel: on it a coloured grid is nearly as light as paper."""
    if raster.ndim == 2:
        return raster
    red, green, blue = cv2.split(raster)
    return np.asarray(cv2.max(cv2.max(red, green), blue))


def without_grid(darkness: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take a dark grid off level ink: what is as dark along 8 mm of a straight line.

    No more is taken than the grid has, so that a level stretch of trace, darker than it, remains.
    """
    if np.count_nonzero(darkness > _FAINT) < _GRID_SHARE * darkness.size:
        return darkness
    upright = cv2.morphologyEx(darkness, cv2.MORPH_OPEN, np.ones((_STRAIGHT_PX, 1), np.uint8))
    level = cv2.morphologyEx(darkness, cv2.MORPH_OPEN, np.ones((1, _STRAIGHT_PX), np.uint8))
    grid = np.asarray(cv2.max(upright, level))
    lines = grid[grid > _FAINT]
    if lines.size < _GRID_SHARE * grid.size:
        return darkness
    most = float(np.percentile(lines, 80))
    return np.asarray(cv2.subtract(darkness, cv2.min(grid, most)))


def _shrink(raster: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    whole = np.ascontiguousarray(raster)
    if scale >= 1.0:
        return whole
    size = (max(1, round(whole.shape[1] * scale)), max(1, round(whole.shape[0] * scale)))
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA))


def _is_light_on_dark(small: NDArray[np.uint8]) -> bool:
    """Whether the lines are lighter than what surrounds them.

    Lines stand out from their surroundings on one side only; the third power says on which. How
    dark the whole picture is says nothing: a page photographed in a dim room is still ink on paper.
    """
    half = small[::2, ::2].astype(np.float32)
    side = max(5, half.shape[1] // 28) | 1
    stands_out = half - np.asarray(cv2.blur(half, (side, side)))
    stands_out[np.abs(stands_out) < _FAINT] = 0.0
    return float((stands_out * stands_out * stands_out).sum(dtype=np.float64)) > 0.0


def _coarse_paper(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture without its lines, at a quarter of the working size."""
    step = _PAPER_STEP
    grown = cv2.dilate(small, np.ones((step + 1, step + 1), np.uint8))[::step, ::step]
    side = max(3, max(small.shape) // 40 // step) | 1
    closed = cv2.morphologyEx(grown, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    return np.asarray(cv2.blur(closed, (side, side)))


def _sheet(paper: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Where the sheet lies when it stands out of a darker desk; None when it fills the picture."""
    level, bright = cv2.threshold(paper, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    share = float(np.count_nonzero(bright)) / bright.size
    if not 0.2 < share < 0.97:
        return None
    above, below = float(paper[bright > 0].mean()), float(paper[bright == 0].mean())
    if below > 0.55 * above or level < 50:
        return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=4)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    sheet = np.asarray((labels == largest) * np.uint8(255))
    width, height = (int(v) for v in stats[largest][[cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]])
    if stats[largest, cv2.CC_STAT_AREA] < 0.55 * width * height:
        return None
    filled = cv2.morphologyEx(sheet, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    return np.asarray(cv2.erode(filled, np.ones((5, 5), np.uint8), borderValue=255))


def _unevenness(paper: NDArray[np.uint8], sheet: NDArray[np.uint8] | None) -> float:
    """How much the paper changes over an eighth of the width, in greys.

    Real pages, photographed ones with shadows and folds included, stay below 6; photographs of
    anything else lie above 35.
    """
    side = (max(paper.shape) // 8) | 1
    changes = cv2.absdiff(paper, cv2.blur(paper, (side, side)))
    if sheet is not None:
        inner = cv2.erode(sheet, np.ones((side, side), np.uint8), borderValue=255)
        if np.count_nonzero(inner) > 0.1 * inner.size:
            changes = changes[inner > 0]
    return float(np.percentile(changes, 90))


def _darkest(darkness: NDArray[np.uint8]) -> float:
    """The 99.7th percentile, from the histogram."""
    counts = cv2.calcHist([darkness], [0], None, [256], [0, 256]).ravel()
    return float(np.searchsorted(np.cumsum(counts), 0.997 * darkness.size))
