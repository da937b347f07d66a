"""The dark lines of a picture: what stands out of its paper, whatever the light and the polarity.

One small working picture serves every decision about a page. Paper is what remains when thin dark
lines are closed; ink is what is darker than that, as a share of the paper's own brightness, so that
shadows, folds and dim rooms cancel.
"""

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

#: Longest side of the working picture: a page 270 mm wide has 3.7 pixels a millimetre.
WORK_PX: Final = 1000
#: What stands out less than this, in greys, is no line.
_FAINT: Final = 12.0
#: Paper is the median over this many pixels a side of every third pixel: 9 mm, in which thin
#: lines are never the half, and which follows the edge of a sheet on a desk.
_PAPER_STEP: Final = 3
_PAPER_SIDE: Final = 11
#: What is darker than this share of the picture's light paper is compared with that.
_DIMMEST: Final = 0.3
#: Traces and lettering cover 2 to 5 % of a page, a grid that shows 10 % or more.
_GRID_SHARE: Final = 0.08
_STRAIGHT_PX: Final = 31
#: Five-millimetre lines are darker than the median of all lines by up to this.
_GRID_DEPTH: Final = 1.5
_CUBES: Final = np.where(np.arange(256) < _FAINT, 0, np.arange(256)).astype(np.float64) ** 3


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
    paper : uint8
        What lies behind the lines, light, at a third of the working picture's size.
    scale : (across, down)
        Working pixels per pixel of the picture, at most 1.
    """

    darkness: NDArray[np.uint8]
    darkest: float
    inverted: bool
    paper: NDArray[np.uint8]
    scale: tuple[float, float]

    def turned(self, quarters: int) -> "Ink":
        """The ink of the picture turned counter-clockwise by so many quarters."""
        scale = self.scale if quarters % 2 == 0 else (self.scale[1], self.scale[0])
        darkness = np.ascontiguousarray(np.rot90(self.darkness, quarters))
        return replace(self, darkness=darkness, scale=scale)


def find_ink(raster: NDArray[np.uint8]) -> Ink:
    """Find the ink of a picture, uint8 (rows, columns) or (rows, columns, 3)."""
    small = _small(raster)
    scale = small.shape[1] / raster.shape[1], small.shape[0] / raster.shape[0]
    coarse = np.ascontiguousarray(small[::_PAPER_STEP, ::_PAPER_STEP])
    paper = np.asarray(cv2.medianBlur(coarse, _PAPER_SIDE))
    inverted = _is_light_on_dark(coarse, paper)
    if inverted:
        small, paper = np.asarray(cv2.bitwise_not(small)), np.asarray(cv2.bitwise_not(paper))
    # Beside the edge of a sheet the darker side counts, or the edge would be a line.
    behind = cv2.erode(paper, np.ones((3, 3), np.uint8))
    behind = cv2.resize(behind, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_LINEAR)
    least = max(20.0, _DIMMEST * float(np.percentile(paper, 95)))
    darkness = cv2.divide(cv2.subtract(behind, small), cv2.max(behind, least), scale=255.0)
    return Ink(np.asarray(darkness), _darkest(np.asarray(darkness)), inverted, paper, scale)


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
    most = _GRID_DEPTH * float(np.median(lines))
    return np.asarray(cv2.subtract(darkness, cv2.min(grid, most)))


def _small(raster: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The working picture: whole steps first, they cost a tenth of broken ones."""
    longest = max(raster.shape[:2])
    whole = np.ascontiguousarray(raster)
    step = longest // WORK_PX
    if step > 1:
        size = (whole.shape[1] // step, whole.shape[0] // step)
        even = whole[: size[1] * step, : size[0] * step]
        whole = np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA))
    whole = brightest(whole)
    scale = WORK_PX / max(whole.shape)
    if scale >= 1.0:
        return whole
    size = (max(1, round(whole.shape[1] * scale)), max(1, round(whole.shape[0] * scale)))
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA))


def _is_light_on_dark(coarse: NDArray[np.uint8], paper: NDArray[np.uint8]) -> bool:
    """Whether the lines are lighter than what surrounds them.

    Lines stand out from their surroundings on one side only; the third power says on which. How
    dark the whole picture is says nothing: a page photographed in a dim room is still ink on
    paper.
    """
    sums = []
    for over in (cv2.subtract(coarse, paper), cv2.subtract(paper, coarse)):
        counts = np.bincount(np.asarray(over).ravel(), minlength=256).astype(np.float64)
        sums.append(float((counts * _CUBES).sum()))
    return sums[0] > sums[1]


def _darkest(darkness: NDArray[np.uint8]) -> float:
    """The 99.7th percentile, from the histogram."""
    counts = cv2.calcHist([darkness], [0], None, [256], [0, 256]).ravel()
    return float(np.searchsorted(np.cumsum(counts), 0.997 * darkness.size))
