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

from models.page.rows import Rows, find_rows

#: Tried from middle to generous to strict: a faint trace falls to pieces above the limit, what is
#: left of a grey grid joins everything below it.
_DARKEST_SHARES: Final = (0.4, 0.28, 0.55)
#: Enough to stop trying further limits.
_GOOD_COVERAGE: Final = 0.9
_GOOD_EXTENT: Final = 0.6
_GOOD_UNEVENNESS: Final = 1.5
#: Ink is joined over gaps of four columns and two rows.
_JOIN: Final = np.ones((3, 5), np.uint8)
#: A column that is ink over this share of its height is the side of a frame.
_UPRIGHT: Final = 0.85
#: Share of a column that a piece fills: rows joined by tall waves fill it together, a grid more.
_MAX_FILL: Final = 0.2
#: The broadest strokes, as a share of the picture's width.
_MAX_STROKE_SHARE: Final = 0.009
#: Lettering has 1.2 to 1.6 strokes above each other in a column and fills 0.91 of its columns or
#: less; traces have 1.0 to 1.25, and fill nearly all. The second number is for pieces no higher
#: than a line of print, 5 mm.
_MAX_STROKES_A_COLUMN: Final = (1.33, 1.1)
_LETTERING_SHARE: Final = 0.022
_MIN_FILLED: Final = 0.93
#: About one millimetre of a page 250 mm wide.
_MIN_WANDER: Final = 0.004
#: A piece shorter than this, as a share of the width, is no trace.
_MIN_PIECE: Final = 0.08
#: A printed rule or a frame's edge stays within this.
_RULE_PX: Final = 2.0
#: Share of a piece's pixels that may lie deep inside; share of all width that may be such pieces.
_MAX_BROAD: Final = 0.02
_MAX_BROAD_WIDTH: Final = 0.3
#: Letters of 2 to 6 mm, joined to words or not.
_LETTER_SHARES: Final = (0.006, 0.03)
_NEAR_SHARE: Final = 0.008
_MAX_SPECKS: Final = 60_000


class NotReadable(ValueError):
    """The picture is not a page this package reads.

    `reason` is a short sentence for people.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Traces:
    """The box around all trace in the level picture, and the rows inside.

    Attributes
    ----------
    left, top, right, bottom : int
        In pixels of the level picture.
    rows : Rows
        The traces above each other; baselines in pixels of the level picture.
    mask : uint8
        1 where a trace is, the whole level picture.
    letters : (n, 4) int
        Left, top, width, height of what has the size of letters.
    """

    left: int
    top: int
    right: int
    bottom: int
    rows: Rows
    mask: NDArray[np.uint8]
    letters: NDArray[np.int32]

    @property
    def coverage(self) -> float:
        """Share of the width between first and last ink that the middle row fills, 0..1."""
        return float(np.median(self.rows.covered)) if len(self.rows.covered) else 0.0

    @property
    def extent(self) -> float:
        """Share of the picture's width from first to last ink, 0..1."""
        return (self.right - self.left) / int(self.mask.shape[1])

    @property
    def is_good(self) -> bool:
        """Whether no other limit of darkness needs to be tried."""
        return (
            self.coverage >= _GOOD_COVERAGE
            and self.extent >= _GOOD_EXTENT
            and self.rows.unevenness <= _GOOD_UNEVENNESS
        )


@dataclass(frozen=True)
class _Piece:
    """A long connected piece of ink: its box, and how it passes the columns of the box.

    `strokes` counts the strokes above each other in a column that has any, `filled` is the share
    of columns that have any, `wander` how far the upper edge moves, in pixels (most of it, and
    all of it).
    """

    left: int
    top: int
    width: int
    height: int
    strokes: float
    filled: float
    wander: float
    reach: float

    @property
    def is_rule(self) -> bool:
        return self.reach <= _RULE_PX

    def is_lettering(self, low: float) -> bool:
        """Whether it passes its columns like letters; `low` is the height of a line of print."""
        most = _MAX_STROKES_A_COLUMN[int(self.height < low)]
        return self.strokes > most and self.filled < _MIN_FILLED


def find_traces(darkness: NDArray[np.uint8], darkest: float) -> Traces:
    """Find the traces of a page, whatever their number.

    Parameters
    ----------
    darkness : uint8 (rows, columns)
        How much darker than the paper each pixel of the level picture is.
    darkest : float
        What the ink of this picture reaches.

    Raises
    ------
    NotReadable
        There are none.
    """
    refusals: list[NotReadable] = []
    found: list[Traces] = []
    for share in _DARKEST_SHARES:
        try:
            found.append(_traces((darkness > share * darkest).view(np.uint8)))
        except NotReadable as refusal:
            refusals.append(refusal)
        else:
            if found[-1].is_good:
                return found[-1]
    if not found:
        raise max(refusals, key=lambda refusal: len(refusal.reason))
    return max(found, key=lambda traces: traces.coverage * traces.extent / traces.rows.unevenness)


def _traces(ink: NDArray[np.uint8]) -> Traces:
    rows, columns = ink.shape
    joined = cv2.dilate(ink, _JOIN)
    # The sides of a frame or of a table would tie everything together.
    uprights = np.asarray(cv2.reduce(joined, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)).ravel()
    joined[:, uprights > _UPRIGHT * rows] = 0
    count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        joined, 8, cv2.CV_32S, cv2.CCL_BOLELLI
    )
    if count > _MAX_SPECKS:
        raise NotReadable("not an ECG page: specks all over")
    widths, heights = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]
    fill = stats[:, cv2.CC_STAT_AREA] / np.maximum(1, widths)
    is_long = (widths > _MIN_PIECE * columns) & (heights > 3) & (fill < _MAX_FILL * rows + 6)
    is_long[0] = False
    if not is_long.any():
        raise NotReadable("not an ECG page: no trace runs across the picture")
    long = np.flatnonzero(is_long)
    broad = _broad(labels, ink, count)
    pieces = [_piece(labels, ink, stats[index], int(index)) for index in long]
    is_broad = broad[long] > _MAX_BROAD * stats[long, cv2.CC_STAT_AREA]
    if widths[long][is_broad].sum() > _MAX_BROAD_WIDTH * widths[long].sum():
        raise NotReadable("not an ECG page: broad shapes, no thin traces")
    if max(piece.wander for piece in pieces) < _MIN_WANDER * columns:
        raise NotReadable("no heartbeat: the traces are flat")
    low = _LETTERING_SHARE * columns
    is_trace = ~is_broad & [not (piece.is_lettering(low) or piece.is_rule) for piece in pieces]
    if not is_trace.any():
        raise NotReadable("not an ECG page: lettering or shapes, no traces")
    chosen = np.zeros(count, np.uint8)
    chosen[long[is_trace]] = 1
    mask = np.asarray(cv2.bitwise_and(chosen[labels], ink))
    is_letter = (
        (heights > _LETTER_SHARES[0] * columns)
        & (heights < _LETTER_SHARES[1] * columns)
        & (widths < _MIN_PIECE * columns)
        & ~is_long
    )
    letters = stats[is_letter][:, :4]
    return _boxed([pieces[index] for index in np.flatnonzero(is_trace)], mask, letters)


def _piece(
    labels: NDArray[np.int32], ink: NDArray[np.uint8], box: NDArray[np.int32], label: int
) -> _Piece:
    left, top, width, height = (int(value) for value in box[:4])
    part = (slice(top, top + height), slice(left, left + width))
    inside = (labels[part] == label) & (ink[part] > 0)
    a_column = np.count_nonzero(inside[1:] & ~inside[:-1], axis=0) + inside[0]
    has_ink = a_column > 0
    if not has_ink.any():
        return _Piece(left, top, width, height, 0.0, 0.0, 0.0, 0.0)
    upper = np.argmax(inside, axis=0)[has_ink]
    low, high = np.percentile(upper, (5, 95))
    return _Piece(
        left, top, width, height,
        strokes=float(a_column[has_ink].mean()),
        filled=float(has_ink.mean()),
        wander=float(high - low),
        reach=float(upper.max() - upper.min()),
    )  # fmt: skip


def _broad(labels: NDArray[np.int32], ink: NDArray[np.uint8], count: int) -> NDArray[np.intp]:
    """Pixels of each piece that lie deeper inside it than in any trace."""
    side = max(3, round(_MAX_STROKE_SHARE * ink.shape[1])) | 1
    inner = cv2.erode(ink, np.ones((side, side), np.uint8))
    return np.bincount(labels[inner > 0], minlength=count)


def _boxed(pieces: list[_Piece], mask: NDArray[np.uint8], letters: NDArray[np.int32]) -> Traces:
    left = min(piece.left for piece in pieces)
    right = max(piece.left + piece.width for piece in pieces)
    rows = find_rows(mask[:, left:right])
    # A line of print that passed for a trace lies on no baseline.
    near = _NEAR_SHARE * mask.shape[1]
    on_row = [
        piece
        for piece in pieces
        if any(piece.top - near <= y <= piece.top + piece.height + near for y in rows.baselines)
    ]
    top = min(piece.top for piece in on_row or pieces)
    bottom = max(piece.top + piece.height for piece in on_row or pieces)
    return Traces(left, top, right, bottom, rows, mask, letters)
