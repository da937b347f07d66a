"""How the lines of a page run across its picture, and the warp that lays them straight.

Rows of trace and lines of the grid are level and upright on paper. Tilting and keystone are found
where the ink, projected along the supposed direction, falls together most sharply: first in
narrow strips, where a rough direction is enough, then over ever wider ones.
"""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

#: Steepest row that is followed, as rise over run: a little more than 15 degrees.
_STEEPEST: Final = 0.30
#: An upright stroke may lean this much more than the rows' tilt alone says.
_SHEAR: Final = 0.12
_POINTS: Final = 4000
#: Directions closer to the picture's own than this leave the picture as it is: a quarter degree
#: moves the end of a row by half a per cent of its length.
_LEVEL: Final = 0.0045
_EVEN: Final = 0.012
_BIN_PX: Final = 2
#: Of a dense grid only its stronger lines count, this share of all pixels.
_STROKE_SHARE: Final = 0.08
#: A direction other than the expected one has to gather the ink this much more sharply.
_MIN_GAIN: Final = 1.04
#: Where the picture's own direction gathers it this much better than its neighbours, it is right.
_CLEAR: Final = 1.06

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Direction:
    """Slope of nearly parallel lines.

    Attributes
    ----------
    slope : float
        Rise over run in the middle of the picture.
    fan : float
        How much the slope grows from one edge of the picture to the other.
    """

    slope: float = 0.0
    fan: float = 0.0


@dataclass(frozen=True)
class Skew:
    """The warp from the working picture to one with level rows.

    Attributes
    ----------
    matrix : (3, 3) float
        Homography, working picture to level picture, pixel centres.
    size : (columns, rows)
        Of the level picture.
    degrees : float
        How far the rows were tilted, clockwise positive.
    """

    matrix: Matrix
    size: tuple[int, int]
    degrees: float

    @property
    def is_straight(self) -> bool:
        """Whether nothing needs to be warped."""
        return bool(np.array_equal(self.matrix, np.eye(3)))


def find_skew(darkness: NDArray[np.uint8], darkest: float) -> Skew:
    """Find how the rows and the upright strokes of a page run.

    Parameters
    ----------
    darkness : uint8 (rows, columns)
        How much darker than the paper each pixel is.
    darkest : float
        What the ink of this picture reaches.
    """
    rows, columns = darkness.shape
    level_strokes, upright_strokes = _strokes(darkness, darkest)
    level = _direction(*_points(level_strokes), (columns, rows), around=0.0)
    across, along = _points(upright_strokes)
    is_level = not (level.slope or level.fan)
    upright = _direction(along, across, (rows, columns), around=-level.slope, likely=is_level)
    if not (_is_askew(level) or _is_askew(upright)):
        return Skew(np.eye(3), (columns, rows), 0.0)
    return _warp(level, upright, (columns, rows))


def _is_askew(direction: Direction) -> bool:
    return abs(direction.slope) > _LEVEL or abs(direction.fan) > _EVEN


def _strokes(
    darkness: NDArray[np.uint8], darkest: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels of thin level and of thin upright strokes, those of the grid included."""
    found = []
    for before, after in (((0, -2), (0, 2)), ((-2, 0), (2, 0))):
        sides = [_shifted(darkness, *by) for by in (before, after)]
        ridge = cv2.subtract(darkness, cv2.max(*sides))
        counts = np.cumsum(cv2.calcHist([ridge], [0], None, [256], [0, 256]))
        strongest = float(np.searchsorted(counts, (1.0 - _STROKE_SHARE) * ridge.size))
        least = max(6.0, 0.12 * darkest, strongest)
        found.append((ridge > least).view(np.uint8))
    return found[0], found[1]


def _shifted(picture: NDArray[np.uint8], by_columns: int, by_rows: int) -> NDArray[np.uint8]:
    moved = np.full_like(picture, 255)
    rows, columns = picture.shape
    target = moved[
        max(0, by_rows) : rows + min(0, by_rows), max(0, by_columns) : columns + min(0, by_columns)
    ]
    target[:] = picture[
        max(0, -by_rows) : rows + min(0, -by_rows),
        max(0, -by_columns) : columns + min(0, -by_columns),
    ]
    return moved


def _points(strokes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row of some thousand stroke pixels, spread evenly over them."""
    found = cv2.findNonZero(strokes)
    if found is None:
        empty = np.zeros(0, np.float32)
        return empty, empty
    step = max(1, len(found) // _POINTS)
    x, y = found.reshape(-1, 2)[::step].T
    return x.astype(np.float32), y.astype(np.float32)


def _direction(
    along: NDArray[np.float32],
    across: NDArray[np.float32],
    size: tuple[int, int],
    *,
    around: float,
    likely: bool = False,
) -> Direction:
    """Slope and fan of the lines through points; `along` the lines and `across` them.

    Where the slope is `likely` the one expected, it need only be the best one near.
    """
    if len(along) < 200:
        return Direction(around)
    score = _Score(along - size[0] / 2, across - size[1] / 2, size)
    expected = [(0.0, 0.0), (around, 0.0)]
    near = [(0.004, 0.0), (-0.004, 0.0), (0.008, 0.0), (-0.008, 0.0), (0.0, -0.03), (0.0, 0.03)]
    sharp = score(expected + near, 1)
    margin = 1.0 if likely else _CLEAR
    if around == 0.0 and sharp[0] > margin * sharp[2:].max():
        return Direction()
    reach = _STEEPEST if around == 0.0 else _SHEAR
    best = (around, 0.0)
    for strips, slopes, fans in (
        (8, np.arange(-reach, reach + 0.01, 0.02), np.arange(-0.15, 0.16, 0.15)),
        (4, np.arange(-0.015, 0.016, 0.005), np.arange(-0.12, 0.121, 0.04)),
        (2, np.arange(-0.005, 0.0051, 0.0025), np.arange(-0.03, 0.031, 0.015)),
        (1, np.arange(-0.0025, 0.0026, 0.00125), np.arange(-0.01, 0.011, 0.005)),
    ):
        tried = [(best[0] + s, best[1] + f) for s in slopes for f in fans]
        scores = score(tried, strips)
        best = tried[int(np.argmax(scores))]
    if scores.max() > _MIN_GAIN * sharp[:2].max():
        return Direction(float(best[0]), float(best[1]))
    return Direction(expected[int(sharp[0] < _MIN_GAIN * sharp[1])][0])


class _Score:
    """How sharply points fall together along supposed lines."""

    def __init__(
        self, along: NDArray[np.float32], across: NDArray[np.float32], size: tuple[int, int]
    ) -> None:
        self._along, self._across = along, across
        self._length, self._breadth = size
        self._fanning = along * across / np.float32(size[1])

    def __call__(self, tried: list[tuple[float, float]], strips: int) -> NDArray[np.float64]:
        slopes = np.array(tried, np.float32)
        bins = int(self._breadth * 2 / _BIN_PX)
        lanes = self._across - slopes[:, :1] * self._along - slopes[:, 1:] * self._fanning
        lanes = (lanes + np.float32(self._breadth)) * np.float32(1 / _BIN_PX)
        place = np.clip(lanes, 0, bins - 1).astype(np.int32)
        strip = ((self._along / self._length + 0.5) * strips).astype(np.int32)
        np.clip(strip, 0, strips - 1, out=strip)
        place += (strip * bins)[None, :]
        place += (np.arange(len(tried), dtype=np.int32) * (strips * bins))[:, None]
        counts = np.bincount(place.ravel(), minlength=len(tried) * strips * bins)
        counts = counts.reshape(len(tried), -1).astype(np.float64)
        return np.asarray((counts * counts).sum(axis=1))


def _warp(level: Direction, upright: Direction, size: tuple[int, int]) -> Skew:
    """The homography that moves the picture's corners to where level rows want them."""
    columns, rows = size
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float64)
    x, y = corners[:, 0] - columns / 2, corners[:, 1] - rows / 2
    moved_y = y - x * (level.slope + level.fan * y / rows)
    moved_x = x - y * (upright.slope + upright.fan * x / columns)
    target = np.stack([moved_x, moved_y], axis=1)
    target -= target.min(axis=0)
    extent = np.ceil(target.max(axis=0)).astype(int)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), target.astype(np.float32))
    degrees = float(np.degrees(np.arctan(level.slope)))
    return Skew(np.asarray(matrix, np.float64), (int(extent[0]), int(extent[1])), degrees)


def level_picture(picture: NDArray[np.uint8], skew: Skew) -> NDArray[np.uint8]:
    """Warp a working picture to level rows; what lies outside it is 0."""
    if skew.is_straight:
        return picture
    return np.asarray(cv2.warpPerspective(picture, skew.matrix, skew.size, flags=cv2.INTER_LINEAR))


def to_picture(points: NDArray[Any], skew: Skew) -> NDArray[np.float64]:
    """Points (n, 2) of the level picture, in the working picture."""
    back = np.linalg.inv(skew.matrix)
    moved = cv2.perspectiveTransform(np.asarray(points, np.float64).reshape(-1, 1, 2), back)
    return np.asarray(moved.reshape(-1, 2), np.float64)
