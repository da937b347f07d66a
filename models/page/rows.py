"""How many traces lie above each other, and how much of the page each of them covers.

A trace spends most of its time near its baseline: summed along the level rows, the ink of a page
has one peak a row, also where tall waves of neighbouring rows cross.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

#: A row's peak reaches this share of the tallest one; below lie waves of the same height and print.
_LEAST_PEAK: Final = 0.22
#: Between two rows the ink falls below this share of the lower peak.
_VALLEY: Final = 0.65
_LEAST_COVERED: Final = 0.4
_WELL_COVERED: Final = 0.7
_SMOOTH_PX: Final = 1.5


@dataclass(frozen=True)
class Rows:
    """The rows of a page, from top to bottom.

    Attributes
    ----------
    baselines : (n,) int
        Where each lies, in pixels from the top.
    covered : (n,) float
        Share of the page's columns in which each has ink, 0..1.
    """

    baselines: NDArray[np.intp]
    covered: NDArray[np.float64]

    @property
    def pitch(self) -> float:
        """Distance from one row to the next, in pixels; 0 of a single row."""
        return float(np.median(np.diff(self.baselines))) if len(self.baselines) > 1 else 0.0

    @property
    def unevenness(self) -> float:
        """The largest distance between two rows as a multiple of the middle one."""
        return float(np.diff(self.baselines).max()) / self.pitch if self.pitch > 0 else 1.0


def find_rows(mask: NDArray[np.uint8]) -> Rows:
    """Find the rows of level traces.

    Where rows bend with the paper, their peaks blur over the whole width; they stay sharp over a
    third of it.

    Parameters
    ----------
    mask : uint8 (rows, columns)
        1 where a trace is, cut to the width that traces cover.
    """
    whole = _rows(mask)
    if len(whole.baselines) == 0 or whole.covered.min() >= _WELL_COVERED:
        return whole
    parts = [_rows(part) for part in np.array_split(mask, 3, axis=1)]
    count = int(np.median([len(part.baselines) for part in parts]))
    alike = [part for part in parts if len(part.baselines) == count > 0]
    if not alike:
        return whole
    covered = np.mean([part.covered for part in alike], axis=0)
    covered *= len(alike) / len(parts)
    if covered.min() <= whole.covered.min():
        return whole
    return Rows(np.mean([part.baselines for part in alike], axis=0).astype(np.intp), covered)


def _rows(mask: NDArray[np.uint8]) -> Rows:
    width = mask.shape[1]
    ink = np.asarray(cv2.reduce(mask, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)) / width
    ink = cv2.GaussianBlur(ink.reshape(1, -1), (0, 0), _SMOOTH_PX).ravel()
    reach = np.flatnonzero(ink > 0)
    if len(reach) == 0:
        return Rows(np.zeros(0, np.intp), np.zeros(0))
    # Sixteen rows and their gaps fit; nothing closer is a row.
    near = max(2, (int(reach[-1]) - int(reach[0])) // 50)
    tallest = cv2.dilate(ink.reshape(1, -1), np.ones((1, 2 * near + 1))).ravel()
    baselines: list[int] = []
    for peak in np.flatnonzero((ink == tallest) & (ink > _LEAST_PEAK * ink.max())):
        if baselines:
            last = baselines[-1]
            if ink[last : peak + 1].min() > _VALLEY * min(ink[peak], ink[last]):
                if ink[peak] > ink[last]:
                    baselines[-1] = int(peak)
                continue
        baselines.append(int(peak))
    covered = _covered(mask, baselines)
    # A line of print or a row of wave tops covers an eighth to a third of the width.
    while len(baselines) > 1 and covered.min() < _LEAST_COVERED * np.median(covered):
        del baselines[int(np.argmin(covered))]
        covered = _covered(mask, baselines)
    return Rows(np.array(baselines, np.intp), covered)


def _covered(mask: NDArray[np.uint8], baselines: list[int]) -> NDArray[np.float64]:
    """Share of columns with ink nearer to this row than to another."""
    middles = [(above + below) // 2 for above, below in pairwise(baselines)]
    edges = [0, *middles, mask.shape[0]]
    return np.array(
        [
            float(np.count_nonzero(mask[top:bottom].any(axis=0))) / mask.shape[1]
            for top, bottom in pairwise(edges)
        ]
    )
