"""Whether traces are those of a twelve-lead page: number, length and regularity of the rows."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.page.columns import has_six_columns
from models.page.traces import NotReadable, Traces

_MIN_ROWS: Final = 3
_MAX_ROWS: Final = 16
_MIN_COVERAGE: Final = 0.8
#: A photographed page fills two thirds of the picture or more; what is narrower is a detail.
_MIN_EXTENT: Final = 0.4
#: Ten seconds are 250 mm and rows stand 10 to 45 mm apart.
_LEAST_LENGTH_PITCHES: Final = 2.8
_MAX_UNEVEN_PITCH: Final = 2.2
#: A row passes each column once: 0.84 to 1.25 strokes a row and column on drawn pages, up to 1.35
#: on photographs, 1.6 where bits of a grid hang on them; contour lines 1.7 and more, words 0.6.
_STROKES_A_ROW: Final = (0.72, 1.5)
_STROKES_A_REGULAR_ROW: Final = 1.7
_REGULAR_PITCH: Final = 1.25
#: Thickness of level trace, as a share of its length: up to 0.006; a monitor seen near has 0.0072.
_MAX_THICKNESS: Final = 0.0064
#: Felt pens and faxes: where nothing else is unlike a page.
_MAX_REGULAR_THICKNESS: Final = 0.0095
#: Outlines of slices are 0.0059 thick and leave gaps; a trace as thick as that leaves none.
_MAX_BROKEN_THICKNESS: Final = 0.0056
_UNBROKEN: Final = 0.93
#: Ten seconds show ten steep strokes or more, 2 mm or more high; traces without a heart none.
_MIN_BEATS: Final = 6
_STEEP: Final = 0.007
MIN_SHARPNESS: Final = 0.1


def check_rows(traces: Traces) -> None:
    """Refuse what is no twelve-lead page.

    Raises
    ------
    NotReadable
        Too few rows or too many, too short, or too far from regular.
    """
    rows = traces.rows
    count = len(rows.baselines)
    if count > _MAX_ROWS:
        raise NotReadable(
            f"not a 12-lead page: {count} traces above each other, expected {_MAX_ROWS} at most"
        )
    if traces.coverage < _MIN_COVERAGE or traces.extent < _MIN_EXTENT:
        raise NotReadable(
            f"not an ECG page: traces cover {100 * traces.coverage * traces.extent:.0f} % of the "
            f"width, expected {100 * _MIN_COVERAGE:.0f} % or more"
        )
    strokes, thickness, beats = _strokes(traces)
    if beats < _MIN_BEATS:
        raise NotReadable("no heartbeat: the traces are flat")
    if count < _MIN_ROWS and not has_six_columns(traces):
        raise NotReadable(
            f"not a 12-lead page: {count} row(s) of trace, expected {_MIN_ROWS} or more"
        )
    low, high = _STROKES_A_ROW
    if rows.unevenness < _REGULAR_PITCH:
        high = _STROKES_A_REGULAR_ROW
    if not low <= strokes / count <= high:
        raise NotReadable("not an ECG page: lines that wind or break, no traces")
    most = _MAX_THICKNESS if traces.coverage > _UNBROKEN else _MAX_BROKEN_THICKNESS
    if traces.coverage > _UNBROKEN and rows.unevenness < _REGULAR_PITCH:
        most = _MAX_REGULAR_THICKNESS
    if thickness > most * (traces.right - traces.left):
        raise NotReadable("not an ECG page: broad lines, no thin traces")
    if rows.unevenness > _MAX_UNEVEN_PITCH:
        raise NotReadable("not an ECG page: lines at irregular distances")
    if traces.right - traces.left < _LEAST_LENGTH_PITCHES * rows.pitch:
        raise NotReadable("cut off: the rows are too short for ten seconds")


def _strokes(traces: Traces) -> tuple[float, float, int]:
    """Strokes above each other in a column, their thickness in pixels, and steep places."""
    mask = np.ascontiguousarray(traces.mask[:, traces.left : traces.right])
    begins = cv2.subtract(mask[1:], mask[:-1])
    crossings = np.asarray(cv2.reduce(begins, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)).ravel()
    ink = np.asarray(cv2.reduce(mask, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)).ravel()
    crossings = crossings + mask[0]
    thickness = float(np.percentile(ink, 25)) / max(1.0, float(np.median(crossings)))
    high = max(4, round(max(_STEEP * mask.shape[1], 2.2 * thickness + 2)))
    steep = cv2.erode(mask, np.ones((high, 1), np.uint8), borderValue=0)
    columns = np.asarray(cv2.reduce(steep, 0, cv2.REDUCE_MAX)).ravel()
    beats = int(np.count_nonzero(columns[1:] > columns[:-1]))
    return float(crossings.mean()), thickness, beats


def find_sharpness(level: NDArray[np.uint8], mask: NDArray[np.uint8]) -> float:
    """How steeply ink falls to paper beside the traces: share of its depth within two pixels.

    Parameters
    ----------
    level : uint8 (rows, columns)
        Darkness of the level picture.
    mask : uint8 (rows, columns)
        1 where a trace is.
    """
    within = mask[2:-2] > 0
    depth = level[2:-2][within].astype(np.float32)
    if depth.size == 0:
        return 0.0
    above = level[:-4][within].astype(np.float32)
    below = level[4:][within].astype(np.float32)
    falls = np.clip(depth - np.minimum(above, below), 0.0, None)
    return float(min(1.0, falls.sum() / max(1.0, float(depth.sum()))))
