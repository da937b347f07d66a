"""Where the beats of an ECG stand, and where the waves of its typical beat begin and end.

Made to prepare real ECGs for editing and to measure what came of it, not to diagnose: it looks at
all leads together, so that one noisy lead does not move a beat, and works on any rhythm. The wave
borders are those of the median beat of a regular rhythm.
"""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

RATE_HZ: Final = 250.0
#: Rows of the leads that carry everything: I, II, V1..V6. The rest follows from I and II.
INDEPENDENT: Final = (0, 1, 6, 7, 8, 9, 10, 11)
#: No two beats are nearer than this, in samples: 200 ms.
_APART: Final = 50
#: As steep as this, against a QRS of the usual kind, is a beat without further questions.
_STEEP: Final = 0.45


@dataclass(frozen=True)
class Landmarks:
    """Wave borders of a beat, in samples from its R peak (before it: negative)."""

    p_onset: int
    p_peak: int
    p_end: int
    qrs_onset: int
    qrs_end: int
    t_peak: int
    t_end: int

    @property
    def qrs_ms(self) -> float:
        """Width of the QRS."""
        return (self.qrs_end - self.qrs_onset) * 1000.0 / RATE_HZ

    @property
    def pr_ms(self) -> float:
        """From the onset of P to that of the QRS."""
        return (self.qrs_onset - self.p_onset) * 1000.0 / RATE_HZ


def find_r_peaks(signal_uv: NDArray[Any]) -> NDArray[np.intp]:
    """Samples at which the ventricles beat.

    Parameters
    ----------
    signal_uv : (12, n) or (8, n)
        Microvolts at 250 Hz: all leads, or only those of `INDEPENDENT`.

    Returns
    -------
    (beats,) samples, rising
        Empty where no lead moves. A beat cut off by the first or last 40 ms may be missing.
    """
    leads = _independent(signal_uv)
    if leads.shape[1] < 2 * _APART:
        return np.zeros(0, np.intp)
    # Slow enough for a QRS born in a ventricle, too quick for T waves and baselines.
    quick = smooth(leads, 5) - smooth(leads, 41)
    slope = np.zeros_like(quick)
    slope[:, 4:-4] = np.abs(quick[:, 8:] - quick[:, :-8])
    steep = np.percentile(slope, 97, axis=1, keepdims=True) + 1e-6
    quiet = np.median(slope, axis=1, keepdims=True)
    # A lead speaks as loudly as its QRS stands out from what lies between.
    voice = np.clip((steep / (quiet + 0.5) - 2.0) / 10.0, 0.02, 1.0)
    voice[steep < 5.0] = 0.0
    if not voice.any():
        return np.zeros(0, np.intp)
    shared = (voice * np.minimum(slope / steep, 1.5)).sum(axis=0) / voice.sum()
    found = smooth(shared[None], 19)[0]
    highest = cv2.dilate(found[None], np.ones((1, 2 * _APART - 1), np.uint8))[0]
    tops = np.flatnonzero((found >= highest) & (found > 0.0))
    if not len(tops):
        return np.zeros(0, np.intp)
    tops = tops[np.concatenate([[True], np.diff(tops) > _APART // 2])]
    tops = _beats_among(tops, found)
    size = np.sqrt((voice * (quick / steep) ** 2).sum(axis=0))
    return np.unique([_highest(size, int(top), 15) for top in tops])


def _beats_among(tops: NDArray[np.intp], found: NDArray[np.float32]) -> NDArray[np.intp]:
    """The steep ones; and between them those that are steeper than any T, if there is room."""
    level = float(np.median(np.sort(found[tops])[-7:]))
    steep = tops[found[tops] > _STEEP * level]
    t_waves = [found[at + 38 : at + 86].max() for at in steep if at + 100 <= len(found)]
    if len(steep) < 4 or not t_waves:
        return steep
    rr, t_level = float(np.median(np.diff(steep))), float(np.median(t_waves))
    kept = list(steep)
    for top in tops[(found[tops] > 0.14 * level) & (found[tops] <= _STEEP * level)]:
        after = int(np.searchsorted(steep, top))
        before = int(steep[after - 1]) if after else -_APART
        behind = int(steep[after]) if after < len(steep) else len(found) + _APART
        at_an_edge = before < 0 or behind > len(found)
        least = 1.45 if behind - before > 1.45 * rr and not at_an_edge else 2.2
        if found[top] > least * t_level and top - before > 75 and behind - top > 75:
            kept.append(top)
    return np.sort(np.array(kept, np.intp))


def find_waves(beat_uv: NDArray[np.float32], r: int, *, rr: int) -> Landmarks:
    """Wave borders of a median beat.

    Parameters
    ----------
    beat_uv : (8, n)
        The leads of `INDEPENDENT`; R at sample `r`, with at least 320 ms before it.
    rr : int
        Samples between two beats; T ends before the next P begins.
    """
    soft = smooth(beat_uv, 3)
    speed = np.zeros(beat_uv.shape[1], np.float32)
    speed[1:-1] = np.sqrt(np.mean((soft[:, 2:] - soft[:, :-2]) ** 2, axis=0))
    top = float(speed[r - 15 : r + 16].max())
    still = max(0.055 * top, 1.3 * float(np.percentile(speed[max(0, r - 70) : r + 90], 25)))
    qrs_onset = _first_still(speed, r - 6, -1, still, most=28)
    qrs_end = _first_still(speed, r + 6, 1, still, most=48)

    # What comes before the QRS alone: the QRS itself would ring in the slow average.
    low = max(2, r - min(84, round(0.46 * rr)))
    high = max(low + 12, qrs_onset - 1)
    before = beat_uv[:, low:high]
    bumps = np.sqrt(np.mean((smooth(before, 7) - smooth(before, 45)) ** 2, axis=0))
    bumps[:3] = bumps[-7:] = 0.0
    p_peak = low + int(np.argmax(bumps))
    wavy = float(speed[max(0, p_peak - 18) : min(qrs_onset, p_peak + 18)].max())
    p_onset = _first_still(speed, p_peak - 7, -1, 0.22 * wavy, most=18)
    p_end = min(_first_still(speed, p_peak + 5, 1, 0.22 * wavy, most=18), qrs_onset)

    longest = round(0.5 * RATE_HZ * float(np.sqrt(rr / RATE_HZ)))
    last = min(beat_uv.shape[1] - 2, p_onset + rr - 4, qrs_onset + longest)
    first = min(qrs_end + 12, last - 8)
    rest = beat_uv[:, last - 3 : last + 1].mean(axis=1, keepdims=True)
    size = np.sqrt(np.mean(smooth(beat_uv - rest, 7) ** 2, axis=0))
    t_peak = first + int(np.argmax(size[first : max(first + 1, min(last, r + round(0.62 * rr)))]))
    over = np.flatnonzero(size[t_peak:last] < 0.13 * size[t_peak])
    t_end = min(t_peak + (int(over[0]) if len(over) else last - t_peak), last)
    spots = (p_onset, p_peak, p_end, qrs_onset, qrs_end, t_peak, t_end)
    return Landmarks(*(int(spot) - r for spot in spots))


def smooth(leads: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Moving average over `width` samples, mirrored at the ends."""
    return np.asarray(cv2.blur(leads, (width, 1)), np.float32)


def _independent(signal_uv: NDArray[Any]) -> NDArray[np.float32]:
    signal = np.asarray(signal_uv, np.float32)
    if signal.ndim != 2 or len(signal) not in (8, 12):
        raise ValueError(f"expected a signal of shape (12, n) or (8, n); received {signal.shape}")
    return signal[list(INDEPENDENT)] if len(signal) == 12 else signal


def _highest(size: NDArray[np.float32], at: int, around: int) -> int:
    first = max(0, at - around)
    return first + int(np.argmax(size[first : at + around + 1]))


def _first_still(
    speed: NDArray[np.float32], start: int, way: int, still: float, *, most: int
) -> int:
    """Walk from `start` until three samples in a row are slower than `still`."""
    path = np.arange(start, start + way * most, way)
    path = path[(path >= 2) & (path < len(speed) - 2)]
    slow = speed[path] < still
    if len(path) < 3:
        return start
    calm = np.flatnonzero(slow[:-2] & slow[1:-1] & slow[2:])
    return int(path[calm[0]] if len(calm) else path[-1])
