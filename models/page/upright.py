"""Which way up a page lies: by where its lettering stands.

Lead names stand at the left of their strips and nothing stands at the right end; the header
stands above the tracing, at most a line below. Only where both speak against a page, or names
stand at the right alone, it is turned; in doubt it stays as it came.
"""

from typing import Final

from models.page.traces import Traces

#: Names stand within this share of the tracing's length from its end.
_BESIDE: Final = 0.06
#: Six leads have six names at the least; specks of a grid are on both sides.
_MIN_NAMES: Final = 3


def is_upside_down(traces: Traces) -> bool:
    """Whether the lettering says that a level page hangs head down."""
    letters, baselines, pitch = traces.letters, traces.rows.baselines, traces.rows.pitch
    if len(letters) == 0 or len(baselines) == 0:
        return False
    across = letters[:, 0] + letters[:, 2] / 2
    down = letters[:, 1] + letters[:, 3] / 2
    inside = (down > baselines[0] - pitch / 2) & (down < baselines[-1] + pitch / 2)
    along = (across - traces.left) / max(1, traces.right - traces.left)
    at_left = int((inside & (along > -0.01) & (along < _BESIDE)).sum())
    at_right = int((inside & (along > 1 - _BESIDE) & (along < 1.01)).sum())
    above = int((down < traces.top).sum())
    below = int((down > traces.bottom).sum())
    if at_right < _MIN_NAMES or at_right < 2 * at_left + 2:
        return False
    if above + below == 0:
        return at_left == 0
    return below >= 2 * above + 2
