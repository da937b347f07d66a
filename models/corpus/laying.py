"""The words in which the plan of a rhythm is written: beats to be laid, and what the atria do.

Times are in seconds from the start of the page; a beat's time is that of its R wave.
"""

from dataclasses import dataclass
from typing import Literal

Shape = Literal["own", "aberrant", "ventricular", "second ventricular"]
P = Literal["sinus", "ectopic", "none"]


@dataclass(frozen=True)
class LaidBeat:
    """One ventricular beat to be laid.

    Attributes
    ----------
    at_s : float
        Time of its R wave.
    rr_s : float
        Time since the beat before.
    shape, p : str
        What its QRS-T is made of, and the P wave in front of it.
    pr_s : float
        From the peak of P to R; meaningless where `p` is "none".
    role : str
        "sinus", "premature", "escape", "run", "fibrillation" or "flutter".
    """

    at_s: float
    rr_s: float
    shape: Shape = "own"
    p: P = "sinus"
    pr_s: float = 0.15
    role: str = "sinus"


@dataclass(frozen=True)
class Plan:
    """All beats of a rhythm, and what the atria do besides.

    Attributes
    ----------
    beats : tuple of LaidBeat
        In time.
    lone_p : tuple of (time of the peak in seconds, "sinus" or "ectopic")
        P waves that are not conducted.
    flutter_hz, flutter_phase_s : float
        F waves, where there are any; one begins at the phase.
    fibrillates : bool
        Whether the atria do.
    """

    beats: tuple[LaidBeat, ...]
    lone_p: tuple[tuple[float, P], ...] = ()
    flutter_hz: float = 0.0
    flutter_phase_s: float = 0.0
    fibrillates: bool = False


@dataclass(frozen=True)
class Pace:
    """The intervals of the real heart: median RR, P peak to R, QT."""

    rr_s: float
    pr_s: float
    qt_s: float
