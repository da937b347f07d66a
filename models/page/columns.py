"""Whether two rows of trace are a twelve-lead page of six columns, or two rhythm strips.

A page of six columns has a lead's name at the same place of every column, in both rows.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.page.traces import Traces

_COLUMNS: Final = 6
#: Names that have to stand in their place, of six in a row and of twelve: some touch the trace.
_MIN_NAMES: Final = 3
_MIN_ALL_NAMES: Final = 7
#: How far from its place a name may stand, as a share of a column.
_TOLERANCE: Final = 0.05


#: Calibration pulses beside the tracing make it look longer than six columns.
_STEPS: Final = (1.0, 0.97, 0.94)


def has_six_columns(traces: Traces) -> bool:
    """Whether lead names divide each of the two rows into six."""
    letters, rows = traces.letters, traces.rows
    if len(rows.baselines) != 2 or len(letters) == 0:
        return False
    column = (traces.right - traces.left) / _COLUMNS
    place = (letters[:, 0] - traces.left) / column
    down = letters[:, 1] + letters[:, 3] / 2
    inside = (place > -_TOLERANCE) & (place < _COLUMNS)
    nearest = np.argmin(np.abs(down[:, None] - rows.baselines[None]), axis=1)
    near = np.abs(down - rows.baselines[nearest]) < rows.pitch / 2
    place, nearest = place[inside & near], nearest[inside & near]
    return any(
        _names(place / step, nearest, phase)
        for step in _STEPS
        for phase in np.arange(0.0, 0.5, _TOLERANCE)
    )


def _names(place: NDArray[np.float64], row: NDArray[np.intp], phase: float) -> bool:
    """Whether both rows have names at this share of their columns."""
    offset = place - phase
    fits = np.abs(offset - np.rint(offset)) < _TOLERANCE
    columns = np.rint(offset).astype(int)
    names = [len(np.unique(columns[fits & (row == r)])) for r in (0, 1)]
    return min(names) >= _MIN_NAMES and sum(names) >= _MIN_ALL_NAMES
