"""Tell the traces of a twelve-lead page from everything else that is dark.

A page is known by what makes it one: several thin dark lines that wander up and down while they
run across most of the width, one above the other. Nothing about colours, layouts or lettering is
assumed. The limits were set on real pages, scans and photographs on one side and lettering,
slices, textures and charts on the other.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_MIN_ROWS: Final = 3
_MAX_ROWS: Final = 16
_DARKEST_SHARES: Final = (0.4, 0.55, 0.7)
_MIN_COVERAGE: Final = 0.7
#: A piece may hold all rows when tall waves join them, but a frame around the page is none.
_MAX_HEIGHT: Final = 0.95
#: Share of a column that a piece fills: rows joined by tall waves fill it together, a grid more.
_MAX_FILL: Final = 0.1
#: Half the width of the broadest strokes, as a share of the picture's width.
_MAX_STROKE_SHARE: Final = 0.0036
#: Lettering has 1.4 strokes above each other in a column and fills 0.85 of its columns or less;
#: traces have 1.0 to 1.25, and fill nearly all, also where rows overlap.
_MAX_STROKES_A_COLUMN: Final = 1.33
_MIN_FILLED: Final = 0.93
#: About one millimetre of a page 250 mm wide.
_MIN_WANDER: Final = 0.004


class NotReadable(ValueError):
    """The picture is not a page this package reads.

    Attributes
    ----------
    reason : str
        A short sentence for people.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Traces:
    """The box around all trace in the working picture, and what was measured inside.

    Attributes
    ----------
    left, top, right, bottom : int
        In pixels of the working picture.
    rows : int
        How many traces lie above each other.
    coverage : float
        Share of the width that traces cover, 0..1.
    """

    left: int
    top: int
    right: int
    bottom: int
    rows: int
    coverage: float


def find_traces(darkness: NDArray[np.uint8], darkest: float) -> Traces:
    """Find the traces of a page.

    Tries from generous to strict: a grey grid joins everything until it falls below the limit.

    Parameters
    ----------
    darkness : uint8 (rows, columns)
        How much darker than the paper each pixel is.
    darkest : float
        What the ink of this picture reaches.

    Raises
    ------
    NotReadable
        There are none, or they are not those of a twelve-lead page.
    """
    refusals: list[NotReadable] = []
    found: list[Traces] = []
    for share in _DARKEST_SHARES:
        try:
            found.append(_traces((darkness > share * darkest).astype(np.uint8)))
        except NotReadable as refusal:
            refusals.append(refusal)
    if not found:
        raise max(refusals, key=lambda refusal: len(refusal.reason))
    return max(
        found, key=lambda traces: (traces.coverage > 0.6, traces.rows >= _MIN_ROWS, traces.coverage)
    )


def _traces(ink: NDArray[np.uint8]) -> Traces:
    rows, columns = ink.shape
    joined = cv2.dilate(ink, np.ones((3, 5), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    if len(stats) > 60_000:
        raise NotReadable("not an ECG page: specks all over")
    boxes = stats[1:]
    widths, heights = boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT]
    areas = boxes[:, cv2.CC_STAT_AREA]
    fill = areas / np.maximum(1, widths)
    is_trace = (
        (widths > 0.11 * columns)
        & (heights > 3)
        & (heights < _MAX_HEIGHT * rows)
        & (fill < _MAX_FILL * rows + 6)
    )
    wide = boxes[is_trace]
    if len(wide) == 0:
        raise NotReadable("not an ECG page: no trace runs across the picture")
    pieces = np.isin(labels, np.flatnonzero(is_trace) + 1) & (ink > 0)
    strokes = cv2.distanceTransform(ink, cv2.DIST_L2, 3)[pieces]
    if np.percentile(strokes, 95) > _MAX_STROKE_SHARE * columns:
        raise NotReadable("not an ECG page: broad shapes, no thin traces")
    _check_writing(labels, ink, stats, np.flatnonzero(is_trace) + 1)
    left = int(wide[:, cv2.CC_STAT_LEFT].min())
    right = int((wide[:, cv2.CC_STAT_LEFT] + wide[:, cv2.CC_STAT_WIDTH]).max())
    top = int(wide[:, cv2.CC_STAT_TOP].min())
    bottom = int((wide[:, cv2.CC_STAT_TOP] + wide[:, cv2.CC_STAT_HEIGHT]).max())
    # Strokes above each other, not pieces: rows whose tall waves touch are one piece.
    crossings = (pieces & ~np.pad(pieces, ((1, 0), (0, 0)))[:-1]).sum(axis=0)
    covered = np.zeros(columns, dtype=bool)
    for box in wide:
        start = int(box[cv2.CC_STAT_LEFT])
        covered[start : start + int(box[cv2.CC_STAT_WIDTH])] = True
    coverage = float(covered.sum()) / columns
    count = int(np.percentile(crossings[left:right], 75))
    if count > 3 * _MAX_ROWS:
        raise NotReadable(f"not an ECG page: {count} lines above each other")
    if coverage < _MIN_COVERAGE:
        raise NotReadable(
            f"not an ECG page: traces cover {100 * coverage:.0f} % of the width, "
            f"expected {100 * _MIN_COVERAGE:.0f} % or more"
        )
    if count < _MIN_ROWS:
        raise NotReadable(
            f"not a 12-lead page: {count} row(s) of trace, expected {_MIN_ROWS} or more"
        )
    return Traces(left, top, right, bottom, count, coverage)


def _check_writing(
    labels: NDArray[np.int32],
    ink: NDArray[np.uint8],
    stats: NDArray[np.int32],
    pieces: NDArray[np.intp],
) -> None:
    """Refuse what wanders like lettering, and what does not wander at all.

    A trace passes each column once and leaves none out; letters have strokes above each other and
    gaps between them. A trace without any heartbeat moves by no millimetre.
    """
    columns = ink.shape[1]
    strokes, filled, wander = [], [], []
    for piece in pieces:
        left, top, width, height = (int(value) for value in stats[piece][:4])
        box = (slice(top, top + height), slice(left, left + width))
        inside = (labels[box] == piece) & (ink[box] > 0)
        begins = inside & ~np.pad(inside, ((1, 0), (0, 0)))[:-1]
        a_column = begins.sum(axis=0)
        has_ink = a_column > 0
        upper = np.argmax(inside, axis=0)[has_ink]
        strokes.append(float(a_column[has_ink].mean()) if has_ink.any() else 0.0)
        filled.append(float(has_ink.mean()))
        low, high = np.percentile(upper, (5, 95)) if has_ink.any() else (0.0, 0.0)
        wander.append(float(high - low) / columns)
    widths = stats[pieces, cv2.CC_STAT_WIDTH]
    if (
        np.average(strokes, weights=widths) > _MAX_STROKES_A_COLUMN
        and np.median(filled) < _MIN_FILLED
    ):
        raise NotReadable("not an ECG page: lettering or shapes, no traces")
    if max(wander) < _MIN_WANDER:
        raise NotReadable("no heartbeat: the traces are flat")
