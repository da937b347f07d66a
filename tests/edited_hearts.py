"""Simulated hearts laid in other rhythms, and what can be measured on the signal that comes out."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.corpus.beatfinder import INDEPENDENT, RATE_HZ, Landmarks, find_r_peaks, find_waves
from models.corpus.edit import Edited, edit
from models.corpus.laying import LaidBeat
from models.corpus.simulate import simulate

#: Simulated hearts to be edited.
HEARTS: Final = range(12)
SEEDS: Final = range(24)


@cache
def heart(number: int) -> NDArray[np.int16]:
    return simulate("normal", number)


@cache
def edited(key: str, seed: int) -> Edited:
    return edit(key, heart(seed % len(HEARTS)), seed)


@cache
def beats_of(key: str, seed: int) -> tuple[tuple[LaidBeat, float], ...]:
    """Planned beats well inside the page, each with the time at which the signal shows it."""
    one = edited(key, seed)
    found = find_r_peaks(one.signal_uv) / RATE_HZ
    shown = []
    for beat in one.beats:
        if 0.15 < beat.at_s < 9.8:
            at = float(found[np.abs(found - beat.at_s).argmin()])
            shown.append((beat, at))
    return tuple(shown)


def times_of(key: str, seed: int) -> NDArray[np.float64]:
    found = find_r_peaks(edited(key, seed).signal_uv) / RATE_HZ
    return found[(found > 0.1) & (found < 9.9)]


def typical(signal: NDArray[np.int16], at_s: list[float]) -> NDArray[np.float32]:
    """Median of the beats at these times; R is at sample 100."""
    leads = signal[list(INDEPENDENT)].astype(np.float32)
    starts = [round(at * RATE_HZ) - 100 for at in at_s]
    pieces = [leads[:, s : s + 300] for s in starts if s >= 0 and s + 300 <= leads.shape[1]]
    return np.median(np.stack(pieces), axis=0).astype(np.float32)


def waves_of(signal: NDArray[np.int16]) -> Landmarks:
    r = find_r_peaks(signal)
    beat = typical(signal, list(r / RATE_HZ))
    beat -= beat[:, 40:46].mean(axis=1, keepdims=True)
    return find_waves(beat, 100, rr=int(np.median(np.diff(r))))


def busy_ms(signal: NDArray[np.int16], *at_s: float) -> float:
    """How long the leads together move at more than a fifth of their top speed around R."""
    leads = signal[list(INDEPENDENT)].astype(np.float32)
    spans = []
    for at in at_s:
        first = round(at * RATE_HZ) - 40
        if first < 0 or first + 80 > leads.shape[1]:
            continue
        piece = leads[:, first : first + 80]
        kernel = np.ones(5) / 5
        soft = np.stack([np.convolve(lead, kernel, "valid") for lead in piece])
        speed = np.sqrt((np.diff(soft, axis=1) ** 2).mean(axis=0))
        quick = np.flatnonzero(speed > 0.2 * speed[20:60].max())
        spans.append((quick[-1] - quick[0]) * 1000.0 / RATE_HZ)
    return float(np.median(spans)) if spans else float("nan")


def p_size(signal: NDArray[np.int16], r: NDArray[np.intp], marks: Landmarks) -> float:
    """How far the mean beat swings where P would be, limb leads, microvolts."""
    leads = signal[list(INDEPENDENT)].astype(np.float32)[:2]
    pieces = [leads[:, at + marks.p_onset : at + marks.qrs_onset - 3] for at in r if at > 100]
    mean = np.mean(np.stack(pieces), axis=0)
    return float(np.ptp(mean, axis=1).max())
