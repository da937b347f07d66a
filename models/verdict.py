"""Whether traces are those of a twelve-lead page: number, length and regularity of the rows."""

from typing import Final

import numpy as np

from models.traces import NotReadable, Traces

_MIN_ROWS: Final = 3
_MAX_ROWS: Final = 16
_MIN_COVERAGE: Final = 0.6
#: A photographed page fills two thirds of the picture or more; what is narrower is a detail.
_MIN_EXTENT: Final = 0.4
#: Ten seconds are 250 mm and rows stand 10 to 45 mm apart.
_LEAST_LENGTH_PITCHES: Final = 2.8
_MAX_UNEVEN_PITCH: Final = 2.2


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
    if count < _MIN_ROWS:
        raise NotReadable(
            f"not a 12-lead page: {count} row(s) of trace, expected {_MIN_ROWS} or more"
        )
    gaps = np.diff(rows.baselines)
    if gaps.max() > _MAX_UNEVEN_PITCH * np.median(gaps):
        raise NotReadable("not an ECG page: lines at irregular distances")
    if traces.right - traces.left < _LEAST_LENGTH_PITCHES * rows.pitch:
        raise NotReadable("cut off: the rows are too short for ten seconds")
