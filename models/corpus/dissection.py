"""A real ECG taken apart: its typical P wave, its typical QRS-T, and what is left.

What is left (`Dissected.rest_uv`) is everything that makes a recording look recorded: wandering
baseline, muscle noise, mains. Signal = rest + P waves + QRS-Ts, so that moving the waves leaves
no step behind: every wave starts and ends at zero.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.corpus.beatfinder import (
    INDEPENDENT,
    RATE_HZ,
    Landmarks,
    find_r_peaks,
    find_waves,
    smooth,
)
from models.corpus.remainder import (
    AFTER,
    BEFORE,
    Leads,
    add,
    qrs_share,
    quirks_of,
    ramp,
    take_cut_off,
    without_qrs,
)

_RATES: Final = (42.0, 112.0)


class NotEditable(ValueError):
    """This ECG cannot be taken apart; `reason` says why, in a short stable sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Complex:
    """A QRS with its T in the eight independent leads.

    Attributes
    ----------
    uv : (8, n)
        Zero at both ends.
    r, j : int
        Samples of the R peak, and of the J point, from which on the rate stretches it.
    """

    uv: Leads
    r: int
    j: int


@dataclass(frozen=True)
class Dissected:
    """The parts of one ECG; leads as in `beatfinder.INDEPENDENT`, microvolts, 250 Hz.

    Attributes
    ----------
    own : Complex
        QRS and T of this heart.
    p_uv : (8, n)
        Its P wave; the peak is at sample `p_peak`.
    rest_uv : (8, samples)
        The recording without its beats.
    r : (beats,)
        Where the beats were.
    gains : (beats, 8)
        Size of each QRS-T against the typical one: breathing, mostly.
    quirks : (beats, 8, n)
        What each real QRS had beyond the typical one; as long as `own`.
    marks : Landmarks
        Wave borders of the typical beat.
    rr_s : float
        Median interval.
    """

    own: Complex
    p_uv: Leads
    p_peak: int
    rest_uv: Leads
    r: NDArray[np.intp]
    gains: Leads
    quirks: Leads
    marks: Landmarks
    rr_s: float

    @property
    def pr_s(self) -> float:
        """From the peak of P to R."""
        return -self.marks.p_peak / RATE_HZ

    @property
    def qrs(self) -> Leads:
        """The QRS alone, (8, n), from its onset to its end."""
        first = self.own.r + self.marks.qrs_onset
        return self.own.uv[:, first : self.own.j]


def dissect(signal_uv: NDArray[Any]) -> Dissected:
    """Take a sinus rhythm apart.

    Parameters
    ----------
    signal_uv : (12, n)
        Microvolts at 250 Hz.

    Raises
    ------
    NotEditable
        The beats cannot be found reliably, or the rhythm is no plain sinus rhythm.
    ValueError
        The shape is another.
    """
    if np.ndim(signal_uv) != 2 or len(signal_uv) != 12:
        raise ValueError(f"expected a signal of shape (12, n); received {np.shape(signal_uv)}")
    x = np.asarray(signal_uv, np.float32)[list(INDEPENDENT)]
    if (x.std(axis=1) < 8.0).any():
        raise NotEditable("a lead is flat")
    if np.abs(x).max() > 8000.0:
        raise NotEditable("a lead runs off")
    r = find_r_peaks(x)
    rr = _regular(r)
    y, r = _levelled(x, r, before=_guess_level(x, r))
    beat = _median_beat(y, r)
    marks = find_waves(beat, BEFORE, rr=rr)
    # A second look, with the baseline tied to the quiet stretch before P.
    y, r = _levelled(x, r, before=max(18 - BEFORE, marks.p_onset) - 6)
    beat = _median_beat(y, r)
    marks = find_waves(beat, BEFORE, rr=rr)
    _check(beat, y, r, marks)
    full, p_share = _tapered(beat, marks)
    p, own = full * p_share, full * (1.0 - p_share)

    own_gains, p_gains, p_shifts = _sizes(y, r, own, p, marks)
    rest = x.copy()
    for at, gain, p_gain, p_shift in zip(r, own_gains, p_gains, p_shifts, strict=True):
        add(rest, own * -gain[:, None], int(at) - BEFORE)
        add(rest, p * -p_gain, int(at) - BEFORE + int(p_shift))
    cut_off = take_cut_off(rest, r, own + p, rr)
    quirks = quirks_of(rest, r, marks)
    rest = without_qrs(rest, np.concatenate([r, np.array(cut_off, np.intp)]), marks)
    first = BEFORE + marks.qrs_onset - 12
    last = min(BEFORE + marks.t_end + 20, full.shape[1])
    p_first = max(0, BEFORE + marks.p_onset - 12)
    p_last = BEFORE + marks.qrs_onset + 3
    return Dissected(
        own=Complex(own[:, first:last], BEFORE - first, BEFORE + marks.qrs_end - first),
        p_uv=p[:, p_first:p_last],
        p_peak=BEFORE + marks.p_peak - p_first,
        rest_uv=rest,
        r=r,
        gains=own_gains,
        quirks=quirks[:, :, first:last],
        marks=marks,
        rr_s=rr / RATE_HZ,
    )


def _regular(r: NDArray[np.intp]) -> int:
    """The median interval, if all of them are a sinus node's."""
    if len(r) < 6:
        raise NotEditable("too few beats")
    steps = np.diff(r).astype(np.float64)
    rr = float(np.median(steps))
    if not _RATES[0] <= 60.0 * RATE_HZ / rr <= _RATES[1]:
        raise NotEditable("the rate is outside 42 to 112")
    sudden = np.abs(np.diff(steps)) / rr
    if steps.max() > 1.45 * steps.min() or sudden.max() > 0.22:
        raise NotEditable("the rhythm is irregular")
    return round(rr)


def _guess_level(x: Leads, r: NDArray[np.intp]) -> int:
    """Samples before R at which the level between P and QRS is about to end."""
    inside = r[(r >= BEFORE) & (r < x.shape[1] - AFTER)]
    if len(inside) < 4:
        raise NotEditable("too few beats")
    beat = np.median(np.stack([x[:, at - BEFORE : at + AFTER] for at in inside]), axis=0)
    return find_waves(beat.astype(np.float32), BEFORE, rr=150).qrs_onset - 3


def _levelled(x: Leads, r: NDArray[np.intp], *, before: int) -> tuple[Leads, NDArray[np.intp]]:
    """Subtract the line through the level `before` each R (negative), and align the beats."""
    spots = r + before
    use = (spots >= 4) & (spots < x.shape[1] - 4)
    spots = spots[use]
    soft = smooth(x, 7)
    time = np.arange(x.shape[1])
    level = np.stack([np.interp(time, spots, lead[spots]) for lead in soft]).astype(np.float32)
    y = x - level
    pieces = [y[:, at - 18 : at + 19] for at in r if 18 <= at < y.shape[1] - 18]
    typical = np.median(np.stack(pieces), axis=0).astype(np.float32)
    typical = typical - typical.mean(axis=1, keepdims=True)
    moved = []
    for at in r:
        if at - 23 < 0 or at + 24 > x.shape[1]:
            moved.append(int(at))
            continue
        piece = y[:, at - 23 : at + 24]
        views = np.lib.stride_tricks.sliding_window_view(piece, typical.shape[1], axis=1)
        fit = np.einsum("lsw,lw->s", views, typical)
        moved.append(int(at) + int(np.argmax(fit)) - 5)
    return y, np.array(moved, np.intp)


def _median_beat(y: Leads, r: NDArray[np.intp]) -> Leads:
    inside = r[(r >= BEFORE) & (r < y.shape[1] - AFTER)]
    beats = np.stack([y[:, at - BEFORE : at + AFTER] for at in inside])
    return np.asarray(np.median(beats, axis=0), np.float32)


def _check(beat: Leads, y: Leads, r: NDArray[np.intp], marks: Landmarks) -> None:
    """Refuse what is no sinus rhythm with one kind of beat, or is too noisy to tell."""
    if not (marks.p_onset + 12 < marks.qrs_onset < 0 < marks.qrs_end < marks.t_peak < marks.t_end):
        raise NotEditable("the waves of the beat cannot be told apart")
    window = slice(BEFORE + marks.qrs_onset, BEFORE + marks.qrs_end + 1)
    typical = beat[:, window].ravel()
    quiet = slice(max(0, BEFORE + marks.p_onset - 6), BEFORE + marks.qrs_onset - 2)
    p = beat[:, quiet] - np.median(beat[:, quiet], axis=1, keepdims=True)
    p_size = float(np.percentile(np.sqrt((p**2).mean(axis=0)), 95))
    if np.abs(typical).max() < 250.0:
        raise NotEditable("the beats are too small")
    if p_size < 12.0:
        raise NotEditable("no P wave stands out")
    inside = r[(r >= BEFORE) & (r < y.shape[1] - AFTER)]
    for at in inside:
        own = y[:, at - BEFORE : at + AFTER]
        qrs, before = own[:, window].ravel(), own[:, quiet]
        alike = float(typical @ qrs / (np.linalg.norm(typical) * np.linalg.norm(qrs) + 1e-6))
        if alike < 0.9:
            raise NotEditable("the beats are not alike")
        centred = before - before.mean(axis=1, keepdims=True)
        error = centred - (p - p.mean(axis=1, keepdims=True))
        if float(np.sqrt((error**2).mean())) > max(60.0, 1.6 * p_size):
            raise NotEditable("too noisy")


def _tapered(beat: Leads, marks: Landmarks) -> tuple[Leads, Leads]:
    """The beat faded out before P and after T, and the share of it that is P, (n,)."""
    time = np.arange(beat.shape[1], dtype=np.float32) - BEFORE
    fade_in = ramp((time - max(marks.p_onset - 12, -BEFORE)) / 10.0)
    fade_out = 1.0 - ramp((time - (marks.t_end + 4)) / 15.0)
    p_share = 1.0 - ramp((time - (marks.qrs_onset - 9)) / 10.0)
    # P and T are slow: what is quick outside the QRS is noise, and belongs to the rest.
    inner = qrs_share(marks)
    calm = beat * inner + smooth(beat, 7) * (1.0 - inner)
    return calm * (fade_in * fade_out), p_share


def _sizes(
    y: Leads, r: NDArray[np.intp], own: Leads, p: Leads, marks: Landmarks
) -> tuple[Leads, Leads, NDArray[np.intp]]:
    """Size of each beat's QRS-T by lead, of its P, and how many samples its P is late."""
    ridge = 60.0**2 * 40.0
    power = (own**2).sum(axis=1) + ridge
    p_power = float((p**2).sum()) + 1.0
    gains, p_gains, p_shifts = [], [], []
    first, last = BEFORE + marks.p_onset - 12, BEFORE + marks.qrs_onset + 2
    first = max(first, 5)
    for at in r:
        start = int(at) - BEFORE
        if start < 0 or start + own.shape[1] > y.shape[1]:
            gains.append(np.ones(len(y), np.float32))
            p_gains.append(1.0)
            p_shifts.append(0)
            continue
        piece = y[:, start : start + own.shape[1]]
        gains.append(np.clip(((piece * own).sum(axis=1) + ridge) / power, 0.75, 1.3))
        views = np.lib.stride_tricks.sliding_window_view(
            piece[:, first - 4 : last + 4], last - first, axis=1
        )
        fits = np.einsum("lsw,lw->s", views, p[:, first:last])
        best = int(np.argmax(fits))
        p_gains.append(float(np.clip(fits[best] / p_power, 0.5, 1.5)))
        p_shifts.append(best - 4)
    return (
        np.asarray(gains, np.float32),
        np.asarray(p_gains, np.float32),
        np.asarray(p_shifts, np.intp),
    )
