"""When a real heart would beat in another rhythm: plans of its beats.

Like `models.corpus.rhythms`, but starting from the intervals of one real sinus rhythm. Times are
in seconds from the start of the ten; a beat's time is that of its R wave. Plans begin before the
page and end after it.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np

from models.corpus.laying import LaidBeat, P, Pace, Plan, Shape

_START_S: Final = -2.0
_END_S: Final = 11.5
#: Where an event must fall to be seen with what follows it.
_SEEN_S: Final = (0.9, 7.9)


def plan(key: str, pace: Pace, rng: np.random.Generator) -> Plan:
    """A rhythm of this heart showing `key`, one of `PLANNED`."""
    made = _PLANS[key](pace, rng)
    beats = [made.beats[0]]
    for before, beat in pairwise(made.beats):
        beats.append(replace(beat, rr_s=beat.at_s - before.at_s))
    return replace(made, beats=tuple(beats))


def _sinus(
    pace: Pace, rng: np.random.Generator, rr: float, breathes: float = 0.04
) -> list[LaidBeat]:
    """Sinus rhythm with respiratory arrhythmia; PR shortens a little as the rate rises."""
    pr = pace.pr_s * float(np.clip(rr / pace.rr_s, 0.5, 1.5) ** 0.15)
    depth, breath = float(rng.uniform(0.003, breathes)), float(rng.uniform(0.18, 0.33))
    turn, at = float(rng.uniform(0.0, 6.3)), _START_S - float(rng.uniform(0.0, rr))
    beats = []
    while at < _END_S:
        beats.append(LaidBeat(at, rr, pr_s=pr))
        swing = depth * float(np.sin(2 * np.pi * breath * at + turn))
        at += rr * (1.0 + swing + float(rng.normal(0.0, 0.007)))
    return beats


def _rr(pace: Pace, rng: np.random.Generator, low: float, high: float) -> float:
    """An interval like the heart's own, within limits."""
    return float(np.clip(pace.rr_s * rng.uniform(0.76, 1.14), low, high))


def _chosen(rng: np.random.Generator, count: int, rr: float, *, apart: int) -> set[int]:
    """Which beats of a regular rhythm that starts at `_START_S` something follows."""
    first = int(np.ceil((_SEEN_S[0] - _START_S) / rr))
    last = max(first + 1, int((_SEEN_S[1] - _START_S) / rr))
    pattern = rng.random()
    if pattern < 0.13:
        return set(range(0, count, 2))
    if pattern < 0.25:
        return set(range(int(rng.integers(3)), count, 3))
    most, chosen = int(rng.integers(1, 4)), set[int]()
    for index in rng.permutation(np.arange(first, last)):
        if all(abs(int(index) - other) >= apart for other in chosen) and len(chosen) < most:
            chosen.add(int(index))
    return chosen


def _plain(pace: Pace, rng: np.random.Generator) -> Plan:
    if rng.random() < 0.65:
        rr = float(np.clip(pace.rr_s * rng.uniform(0.8, 1.25), 60.0 / 99.0, 60.0 / 51.0))
    else:
        rr = 60.0 / float(rng.uniform(45.0, 140.0))
    return Plan(tuple(_sinus(pace, rng, rr, breathes=0.12 if rr > 0.6 else 0.02)))


def _conducted(pace: Pace, rng: np.random.Generator) -> Plan:
    return Plan(tuple(_sinus(pace, rng, _rr(pace, rng, 60.0 / 110.0, 60.0 / 48.0))))


def _pvc(pace: Pace, rng: np.random.Generator) -> Plan:
    """Early wide beats; the sinus node runs on, so that the pause compensates."""
    rr = _rr(pace, rng, 0.62, 1.25)
    sinus = _sinus(pace, rng, rr)
    chosen = _chosen(rng, len(sinus), rr, apart=3)
    coupling = float(np.clip(rr * rng.uniform(0.48, 0.74), max(0.4, pace.qt_s + 0.02), 0.8 * rr))
    couplets, two_forms = rng.random() < 0.2, rng.random() < 0.2
    beats: list[LaidBeat] = []
    lone: list[tuple[float, P]] = []
    index = position = 0
    while index < len(sinus):
        beat = sinus[index]
        beats.append(beat)
        index, position = index + 1, position + 1
        if position - 1 not in chosen:
            continue
        at = beat.at_s + coupling * float(rng.normal(1.0, 0.015))
        shape: Shape = "second ventricular" if two_forms and rng.random() < 0.5 else "ventricular"
        beats.append(LaidBeat(at, coupling, shape, "none", 0.0, "premature"))
        if couplets and rng.random() < 0.7:
            at += float(np.clip(coupling * rng.uniform(0.85, 1.1), 0.36, 0.6))
            beats.append(LaidBeat(at, coupling, shape, "none", 0.0, "premature"))
        while index < len(sinus) and sinus[index].at_s < max(at + 0.4, beat.at_s + 1.5 * rr):
            lone.append((sinus[index].at_s - sinus[index].pr_s, "sinus"))
            index, position = index + 1, position + 1
    return Plan(tuple(beats), tuple(lone))


def _pac(pace: Pace, rng: np.random.Generator) -> Plan:
    """Early P of another axis; it resets the sinus node, so the pause does not compensate."""
    while True:
        made = _premature_atrial(pace, rng)
        if any(_SEEN_S[0] < b.at_s < _SEEN_S[1] + 0.6 for b in made.beats if b.role == "premature"):
            return made


def _premature_atrial(pace: Pace, rng: np.random.Generator) -> Plan:
    rr = _rr(pace, rng, 0.62, 1.25)
    chosen = _chosen(rng, round((_END_S - _START_S) / rr) + 2, rr, apart=3)
    early = float(rng.uniform(0.5, 0.75))
    couplets, hidden = rng.random() < 0.18, rng.random() < 0.1
    blocks, aberrant = rng.random() < 0.15, rng.random() < 0.25
    intervals = np.diff([beat.at_s for beat in _sinus(pace, rng, rr)])
    pr, late_pr = _sinus(pace, rng, rr)[0].pr_s, float(rng.uniform(-0.03, 0.05))
    at, beats, lone = _START_S, list[LaidBeat](), list[tuple[float, P]]()
    for position, step in enumerate(intervals):
        beats.append(LaidBeat(at, step, pr_s=pr))
        if position not in chosen:
            at += float(step)
            continue
        coupling = max(rr * early * float(rng.normal(1.0, 0.02)), 0.37)
        own_pr = float(np.clip(pr + late_pr, 0.08, coupling - 0.2))
        if blocks and rng.random() < 0.5:
            p_at = at + max(0.44 * rr, 0.3)
            lone.append((p_at, "ectopic"))
            at = p_at + rr * float(rng.uniform(0.98, 1.12)) + pr
            continue
        shape: Shape = "aberrant" if aberrant and rng.random() < 0.7 else "own"
        kind: P = "none" if hidden else "ectopic"
        before, at = at, at + coupling
        beats.append(LaidBeat(at, coupling, shape, kind, own_pr, "premature"))
        if couplets and rng.random() < 0.7:
            before, at = at, at + coupling * float(rng.uniform(0.95, 1.1))
            beats.append(LaidBeat(at, coupling, "own", kind, own_pr, "premature"))
        pause = rr * float(rng.uniform(1.02, 1.2))
        at += min(pause, 1.93 * rr - (at - before))
    return Plan(tuple(beats), tuple(lone))


def _escape(pace: Pace, rng: np.random.Generator) -> Plan:
    """The sinus node pauses; a late beat of another atrial focus, or several, ends the pause."""
    rr = _rr(pace, rng, 0.62, 1.05)
    slow = float(np.clip(rng.uniform(1.02, 1.5), 1.3 * rr, 1.7))
    sinus = _sinus(pace, rng, rr)
    pr = max(sinus[0].pr_s - float(rng.uniform(-0.01, 0.04)), 0.09)
    steps = np.diff([beat.at_s for beat in sinus])
    run = int(rng.integers(2, 8)) if rng.random() < 0.4 else 1
    pauses = 1 if run > 1 else int(rng.integers(1, 3))
    starts = sorted(float(t) for t in rng.uniform(0.3, 6.0, pauses))
    if pauses == 2 and starts[1] - starts[0] < slow + 2.5 * rr:
        starts = starts[:1]
    at, beats = _START_S - rr, list[LaidBeat]()
    for step in steps:
        beats.append(LaidBeat(at, step, pr_s=sinus[0].pr_s))
        if starts and at >= starts[0]:
            starts.pop(0)
            for _ in range(run):
                at += slow * float(rng.normal(1.0, 0.015))
                beats.append(LaidBeat(at, slow, p="ectopic", pr_s=pr, role="escape"))
            at += min(rr * float(rng.uniform(1.0, 1.2)), 0.95 * slow)
        else:
            at += float(step)
    return Plan(tuple(beats))


def _tachycardia(pace: Pace, rng: np.random.Generator) -> Plan:
    """Ectopic P at 130 to 250/min, all or every second conducted; the whole page or a salvo."""
    rate = float(rng.triangular(131.0, 160.0, 248.0))
    cycle = 60.0 / rate
    halves = rate > 165.0 and rng.random() < (0.5 if rate > 205.0 else 0.25)
    pr = float(rng.uniform(0.1, 0.16)) if not halves else float(rng.uniform(0.12, 0.2))
    pr = min(pr, 0.62 * cycle) if not halves else pr
    whole = rng.random() < 0.55
    rr = _rr(pace, rng, 0.62, 1.1)
    sinus = _sinus(pace, rng, rr)
    beats: list[LaidBeat] = []
    lone: list[tuple[float, P]] = []
    last = _END_S
    at = _START_S
    if not whole:
        first = float(rng.uniform(0.6, 4.5))
        beats = [beat for beat in sinus if beat.at_s < first]
        at = beats[-1].at_s + max(0.6 * rr, 0.37)
        last = at + float(rng.uniform(3.3, 7.0))
    step = 0
    while at < last:
        if halves and step % 2:
            lone.append((at - pr, "ectopic"))
        else:
            beats.append(LaidBeat(at, cycle, p="ectopic", pr_s=pr, role="run"))
        warm = 1.0 + (0.0 if whole else 0.12 * float(np.exp(-step / 2.0)))
        at += cycle * warm * float(rng.normal(1.0, 0.005))
        step += 1
    if not whole:
        resume = beats[-1].at_s + rr * float(rng.uniform(1.05, 1.5))
        lone = [(p, kind) for p, kind in lone if p < resume - 0.5]
        shift = resume - sinus[0].at_s
        beats += [replace(beat, at_s=beat.at_s + shift) for beat in sinus]
        beats = [beat for beat in beats if beat.at_s < _END_S]
    return Plan(tuple(beats), tuple(lone))


def _fibrillation(pace: Pace, rng: np.random.Generator) -> Plan:
    """No P, each interval independent of the one before it."""
    del pace
    mean = 60.0 / float(rng.triangular(50.0, 85.0, 158.0))
    spread = float(rng.uniform(0.17, 0.3))
    shortest = max(0.32, 0.5 * mean)
    at, beats = _START_S, list[LaidBeat]()
    while at < _END_S:
        step = mean * float(rng.gamma(1 / spread**2, spread**2))
        beats.append(LaidBeat(at, step, p="none", pr_s=0.0, role="fibrillation"))
        at += shortest + abs(step - shortest)
    return Plan(tuple(beats), fibrillates=True)


def _flutter(pace: Pace, rng: np.random.Generator) -> Plan:
    """F waves at 240 to 340/min; every second, third or fourth is conducted, or it varies."""
    del pace
    rate_hz = float(rng.uniform(240.0, 340.0)) / 60.0
    cycle = 1.0 / rate_hz
    ratios = [[2], [2], [2], [3], [4], [4], [2, 4], [2, 3, 4]][int(rng.integers(8))]
    phase, lag = float(rng.uniform(0.0, cycle)), float(rng.uniform(0.1, 1.0)) * cycle
    count, beats = round((_START_S - phase) / cycle), list[LaidBeat]()
    while phase + count * cycle + lag < _END_S:
        at = phase + count * cycle + lag + float(rng.normal(0.0, 0.003))
        beats.append(LaidBeat(at, cycle, p="none", pr_s=0.0, role="flutter"))
        count += int(rng.choice(ratios))
    return Plan(tuple(beats), flutter_hz=rate_hz, flutter_phase_s=phase)


_PLANS: Final[dict[str, Callable[[Pace, np.random.Generator], Plan]]] = {
    "sinus": _plain,
    "pvc": _pvc,
    "preexcitation": _conducted,
    "clbbb": _conducted,
    "crbbb": _conducted,
    "af": _fibrillation,
    "afl": _flutter,
    "atrial_escape": _escape,
    "pac": _pac,
    "at": _tachycardia,
}
PLANNED: Final = tuple(_PLANS)
