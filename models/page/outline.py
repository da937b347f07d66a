"""The outline to cut along: from the ends of the rows, half a row above and below.

The network cuts a page into three equal parts in time, so both ends have to lie where the rows
begin and end. On a page in perspective they lie on slanting lines.
"""

from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.page.traces import Traces

#: Paper left around the traces, as shares of the working width: beside them, above and below.
_BESIDE: Final = 0.012
_ABOVE: Final = 0.01
#: Of the way to the next row: what is cut off at a wave's tip is found again, and a header has
#: no place so near.
_HALF: Final = 0.45
#: Ends of rows on one line lie this near to it, as a share of the length; a row that ends early
#: or a calibration pulse lies farther.
_ON_LINE: Final = 0.012
_MIN_ON_LINE: Final = 0.7


def find_outline(traces: Traces, *, slanting: bool) -> NDArray[np.float64]:
    """Corners (4, 2) of the tracing in the level picture, clockwise from the top left.

    Parameters
    ----------
    traces : Traces
        What was found.
    slanting : bool
        Whether the ends may slant; on a page that lies straight they never do.
    """
    rows, columns = traces.mask.shape
    beside, above = _BESIDE * columns, _ABOVE * columns
    half = _HALF * traces.rows.pitch
    baselines = traces.rows.baselines
    top = max(0.0, min(traces.top - above, baselines[0] - half))
    bottom = min(float(rows), max(traces.bottom + above, baselines[-1] + half))
    left: NDArray[np.float64] = np.full(2, max(0.0, traces.left - beside))
    right: NDArray[np.float64] = np.full(2, min(float(columns), traces.right + beside))
    if slanting and len(baselines) >= 3:
        ends = _ends(traces)
        at = np.array([top, bottom])
        left = _edge(baselines, ends[:, 0], at, traces, -1) - beside
        right = _edge(baselines, ends[:, 1], at, traces, 1) + beside
    return np.array([(left[0], top), (right[0], top), (right[1], bottom), (left[1], bottom)])


def _ends(traces: Traces) -> NDArray[np.float64]:
    """First and last column with ink of each row (n, 2)."""
    baselines = traces.rows.baselines
    middles = (baselines[1:] + baselines[:-1]) // 2
    edges = [0, *middles.tolist(), traces.mask.shape[0]]
    ends = []
    for top, bottom in pairwise(edges):
        columns = np.asarray(cv2.reduce(traces.mask[top:bottom], 0, cv2.REDUCE_MAX)).ravel()
        inked = np.flatnonzero(columns)
        ends.append((inked[0], inked[-1] + 1) if len(inked) else (traces.left, traces.right))
    return np.array(ends, np.float64)


def _edge(
    down: NDArray[np.intp],
    ends: NDArray[np.float64],
    at: NDArray[np.float64],
    traces: Traces,
    outward: int,
) -> NDArray[np.float64]:
    """Column of the line through most of the ends at two heights; upright when they are on none."""
    first, second = np.triu_indices(len(down), 1)
    slope = float(np.median((ends[second] - ends[first]) / (down[second] - down[first])))
    offsets = ends - slope * down
    middle = float(np.median(offsets))
    near = np.abs(offsets - middle) < _ON_LINE * (traces.right - traces.left)
    if near.mean() < _MIN_ON_LINE:
        return np.full(2, float(traces.left if outward < 0 else traces.right))
    outermost = outward * float((outward * offsets[near]).max())
    return np.asarray(outermost + slope * at)
