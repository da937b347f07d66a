"""When the heart beats: a schedule of beats for each of the ten findings.

Intervals follow the textbook definition of each rhythm; `tests/models` measures them. Times are
in seconds from the start of the ten; a beat's time is that of its R wave.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

_START_S: Final = -1.2
_END_S: Final = 11.0


@dataclass(frozen=True)
class Beat:
    """One ventricular beat.

    Attributes
    ----------
    at_s : float
        Time of the R wave.
    rr_s : float
        Time since the beat before; the QT follows it.
    kind : "conducted" or "ventricular"
        Through the conduction system, or born in a ventricle.
    p : "sinus", "ectopic" or "none"
        The P wave in front of it.
    pr_s : float
        From the peak of P to R; meaningless where `p` is "none".
    role : str
        "sinus", "premature", "escape", "run", "fibrillation" or "flutter".
    """

    at_s: float
    rr_s: float
    kind: str = "conducted"
    p: str = "sinus"
    pr_s: float = 0.15
    role: str = "sinus"


@dataclass(frozen=True)
class Schedule:
    """All beats, and what the atria do besides."""

    beats: tuple[Beat, ...]
    flutter_hz: float = 0.0
    flutter_phase_s: float = 0.0
    fibrillates: bool = False


def schedule(key: str, rng: np.random.Generator) -> Schedule:
    """The beats of a rhythm showing the finding `key`."""
    return _RHYTHMS[key](rng)


def _sinus(rng: np.random.Generator, low_bpm: float = 55.0, high_bpm: float = 98.0) -> list[Beat]:
    rr = 60.0 / float(rng.uniform(low_bpm, high_bpm))
    pr = float(rng.uniform(0.12, 0.17))
    depth = float(rng.uniform(0.005, 0.04))
    at, beats = _START_S + float(rng.uniform(0.0, rr)), []
    while at < _END_S:
        step = rr * (1.0 + depth * np.sin(2 * np.pi * 0.25 * at) + rng.normal(0.0, 0.006))
        beats.append(Beat(at, float(step), pr_s=pr))
        at += float(step)
    return _with_intervals(beats)


def _with_intervals(beats: list[Beat]) -> list[Beat]:
    """Set every beat's interval to the beat before it."""
    out = beats[:1]
    for before, beat in pairwise(beats):
        out.append(replace(beat, rr_s=beat.at_s - before.at_s))
    return out


def _picks(rng: np.random.Generator, beats: list[Beat], most: int) -> list[int]:
    """Indices of one to `most` beats well inside the ten seconds, never two in a row."""
    inside = [i for i, beat in enumerate(beats) if 1.0 < beat.at_s < 8.2]
    count = int(rng.integers(1, most + 1))
    chosen: list[int] = []
    for index in rng.permutation(inside):
        if all(abs(int(index) - other) > 2 for other in chosen) and len(chosen) < count:
            chosen.append(int(index))
    return sorted(chosen)


def _pvc(rng: np.random.Generator) -> Schedule:
    """Early wide beat; the sinus node runs on, so the pause is fully compensatory."""
    beats = _sinus(rng)
    for index in _picks(rng, beats, 4):
        before, beat = beats[index - 1], beats[index]
        coupling = (beat.at_s - before.at_s) * float(rng.uniform(0.5, 0.72))
        early = before.at_s + max(coupling, 0.36)
        beats[index] = Beat(early, coupling, "ventricular", "none", 0.0, "premature")
    return Schedule(tuple(_with_intervals(beats)))


def _pac(rng: np.random.Generator) -> Schedule:
    """Early P of another axis; it resets the sinus node, so the pause is not compensatory."""
    beats = _sinus(rng)
    for index in _picks(rng, beats, 4):
        before, beat = beats[index - 1], beats[index]
        rr = beat.at_s - before.at_s
        early = before.at_s + max(rr * float(rng.uniform(0.55, 0.78)), 0.38)
        pr = min(beat.pr_s + float(rng.uniform(-0.02, 0.04)), 0.2)
        shift = early + rr * float(rng.uniform(1.02, 1.2)) - beats[index + 1].at_s
        beats[index] = Beat(early, rr, p="ectopic", pr_s=pr, role="premature")
        beats[index + 1 :] = [replace(x, at_s=x.at_s + shift) for x in beats[index + 1 :]]
    return Schedule(tuple(_with_intervals(beats)))


def _escape(rng: np.random.Generator) -> Schedule:
    """The sinus node pauses; a late beat with a P of another axis ends the pause."""
    beats = _sinus(rng, 55.0, 85.0)
    for index in _picks(rng, beats, 2):
        before, beat = beats[index - 1], beats[index]
        rr = beat.at_s - before.at_s
        late = before.at_s + max(rr * float(rng.uniform(1.4, 1.9)), 1.25)
        pr = max(beat.pr_s - float(rng.uniform(0.0, 0.04)), 0.09)
        shift = late + rr * float(rng.uniform(1.0, 1.25)) - beats[index + 1].at_s
        beats[index] = Beat(late, rr, p="ectopic", pr_s=pr, role="escape")
        beats[index + 1 :] = [replace(x, at_s=x.at_s + shift) for x in beats[index + 1 :]]
    return Schedule(tuple(_with_intervals(beats)))


def _tachycardia(rng: np.random.Generator) -> Schedule:
    """A run of ectopic P and QRS at 130 to 250/min; often the whole page, else a long salvo."""
    rate = float(rng.uniform(130.0, 250.0))
    rr = 60.0 / rate
    pr = min(float(rng.uniform(0.09, 0.14)), 0.5 * rr)
    whole = rng.random() < 0.55
    sinus = _sinus(rng)
    first = _START_S if whole else float(rng.uniform(1.0, 4.0))
    last = _END_S if whole else first + max(float(rng.uniform(2.0, 5.0)), 6 * rr)
    beats = [beat for beat in sinus if beat.at_s < first - 0.1]
    at = (beats[-1].at_s + float(rng.uniform(0.4, 0.55))) if beats else first
    while at < last:
        beats.append(Beat(at, rr, p="ectopic", pr_s=pr, role="run"))
        at += rr * float(1.0 + rng.normal(0.0, 0.008))
    resume = at + float(rng.uniform(0.4, 0.9))
    later = [beat for beat in sinus if beat.at_s > last]
    if later:
        shift = resume - later[0].at_s
        beats += [replace(x, at_s=x.at_s + shift) for x in later]
    return Schedule(tuple(_with_intervals(beats)))


def _fibrillation(rng: np.random.Generator) -> Schedule:
    """No P, each interval independent of the one before it."""
    mean = 60.0 / float(rng.uniform(55.0, 150.0))
    spread = float(rng.uniform(0.16, 0.28))
    at, beats = _START_S, []
    while at < _END_S:
        step = max(mean * float(rng.gamma(1 / spread**2, spread**2)), 0.3)
        beats.append(Beat(at, step, p="none", pr_s=0.0, role="fibrillation"))
        at += step
    return Schedule(tuple(_with_intervals(beats)), fibrillates=True)


def _flutter(rng: np.random.Generator) -> Schedule:
    """F waves at 240 to 340/min; every second, third or fourth is conducted, or it varies."""
    rate_hz = float(rng.uniform(240.0, 340.0)) / 60.0
    cycle = 1.0 / rate_hz
    ratios = [[2], [3], [4], [2, 4], [2, 3, 4]][int(rng.integers(5))]
    phase = float(rng.uniform(0.0, cycle))
    lag = float(rng.uniform(0.3, 0.9)) * cycle
    count = round((_START_S - phase) / cycle)
    beats = []
    while phase + count * cycle + lag < _END_S:
        at = phase + count * cycle + lag
        ratio = int(rng.choice(ratios))
        beats.append(Beat(at, ratio * cycle, p="none", pr_s=0.0, role="flutter"))
        count += ratio
    return Schedule(tuple(_with_intervals(beats)), flutter_hz=rate_hz, flutter_phase_s=phase)


def _preexcitation(rng: np.random.Generator) -> Schedule:
    """Sinus rhythm with a short PR: QRS begins 60 ms before R, P peaks just before that."""
    pr = float(rng.uniform(0.095, 0.12))
    return Schedule(tuple(replace(beat, pr_s=pr) for beat in _sinus(rng)))


def _plain_sinus(rng: np.random.Generator) -> Schedule:
    return Schedule(tuple(_sinus(rng)))


def _block(rng: np.random.Generator) -> Schedule:
    """Sinus rhythm; P stands earlier because the broad QRS begins earlier."""
    return Schedule(tuple(replace(beat, pr_s=beat.pr_s + 0.04) for beat in _sinus(rng)))


_RHYTHMS: Final[dict[str, Callable[[np.random.Generator], Schedule]]] = {
    "normal": _plain_sinus,
    "pvc": _pvc,
    "preexcitation": _preexcitation,
    "clbbb": _block,
    "crbbb": _block,
    "af": _fibrillation,
    "afl": _flutter,
    "atrial_escape": _escape,
    "pac": _pac,
    "at": _tachycardia,
}
