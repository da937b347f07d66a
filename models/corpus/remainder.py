"""What is left of a recording when its beats are taken out, and how to keep it clean.

A typical beat never fits every beat: without care each QRS would leave a trace where it stood, and
the beats cut off by the edges of the page their T or P. `BEFORE` and `AFTER` give the window that
all beats are looked at through, in samples around R.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.corpus.beatfinder import Landmarks, smooth

Leads = NDArray[np.float32]

BEFORE: Final = 100
AFTER: Final = 205


def add(signal: Leads, wave: Leads, at: int) -> None:
    """Add a wave that begins at sample `at`, in place; what lies outside is lost."""
    first, last = max(0, at), min(signal.shape[1], at + wave.shape[1])
    if first < last:
        signal[:, first:last] += wave[:, first - at : last - at]


def take_cut_off(rest: Leads, r: NDArray[np.intp], beat: Leads, rr: int) -> list[int]:
    """Remove what the beats before the first and after the last left on the page, in place.

    Returns
    -------
    list of int
        Where the R of those beats must be, on the page or off it.
    """
    n, found = rest.shape[1], list[int]()
    head, tail = max(int(r[0]) - 45, 0), min(int(r[-1]) + 90, n)
    for away, part in ((-1, slice(0, head)), (1, slice(tail, n))):
        if part.stop - part.start < 8:
            continue
        nominal = int(r[0] if away < 0 else r[-1]) + away * rr
        target = rest[:, part]
        target = target - target.mean(axis=1, keepdims=True)
        best, best_left = None, float((target**2).sum()) * 0.97
        for shift in range(-rr // 5, rr // 5 + 1, 3):
            trial = np.zeros_like(rest[:, part])
            add(trial, beat, nominal + shift - BEFORE - part.start)
            level = trial - trial.mean(axis=1, keepdims=True)
            left = float(((target - level) ** 2).sum())
            if left < best_left:
                best, best_left = nominal + shift, left
        if best is not None:
            add(rest, -beat, best - BEFORE)
        # A QRS whose R is off the page may still reach onto it.
        found.append(nominal if best is None else best)
    return found


def qrs_share(marks: Landmarks) -> Leads:
    """1 within the QRS, fading to 0 around it, (n,) over the beat's window."""
    time = np.arange(BEFORE + AFTER, dtype=np.float32) - BEFORE
    rise = ramp((time - (marks.qrs_onset - 6)) / 6.0)
    return rise * (1.0 - ramp((time - (marks.qrs_end + 2)) / 10.0))


def quirks_of(rest: Leads, r: NDArray[np.intp], marks: Landmarks) -> Leads:
    """What the rest holds within each QRS, without the slow part."""
    share = qrs_share(marks)
    quick = rest - smooth(rest, 61)
    out = np.zeros((len(r), len(rest), len(share)), np.float32)
    for row, at in enumerate(r):
        start = int(at) - BEFORE
        if start >= 0 and start + len(share) <= rest.shape[1]:
            out[row] = quick[:, start : start + len(share)] * share
    return out


def without_qrs(rest: Leads, r: NDArray[np.intp], marks: Landmarks) -> Leads:
    """The rest with the QRS's leftovers replaced by the noise that stood before them."""
    mask = np.zeros((1, rest.shape[1]), np.float32)
    share = qrs_share(marks)[None]
    for at in r:
        add(mask, share, int(at) - BEFORE)
    mask = np.minimum(mask, 1.0)
    open_share = smooth(1.0 - mask, 75) + 1e-3
    slow = smooth(rest * (1.0 - mask), 75) / open_share
    quick = (rest - slow) * (1.0 - mask)
    ahead = np.roll(quick, marks.qrs_end - marks.qrs_onset + 22, axis=1)
    return np.asarray(slow + quick + ahead * mask, np.float32)


def ramp(u: Leads) -> Leads:
    """From 0 to 1 as `u` does, smoothly."""
    v = np.clip(u, 0.0, 1.0)
    return np.asarray(v * v * (3.0 - 2.0 * v), np.float32)
