"""What rate, regularity and QRS width alone give away: the rule a network has to beat.

Written by hand, nothing learned. From the R peaks follow the RR intervals, early and late beats,
the width of the QRS complexes and the side on which they end. Each finding gets a score that grows
with what a first-year student looks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.corpus.beatfinder import find_r_peaks
from models.corpus.layouts import LEADS
from models.corpus.records import RATE_HZ, Record
from models.labels import KEYS

_SMOOTH_S: Final = 0.1


@dataclass(frozen=True)
class Beats:
    """What was measured on one ECG.

    Attributes
    ----------
    rr_ms : (n - 1,)
        Between R peaks.
    width_ms : (n,)
        Of each QRS complex.
    shape : (n, 12, m)
        Of each, all leads around the peak, in millivolts.
    """

    rr_ms: NDArray[np.float64]
    width_ms: NDArray[np.float64]
    shape: NDArray[np.float64]


def measure(signal_uv: NDArray[np.int16]) -> Beats:
    """Find the beats of an ECG (12, 2500) and measure them."""
    slope = _slope(signal_uv)
    peaks = find_r_peaks(signal_uv)
    half = round(0.16 * RATE_HZ)
    inside = peaks[(peaks >= half) & (peaks < signal_uv.shape[1] - half)]
    widths, shapes = [], []
    for peak in inside:
        around = slope[peak - half : peak + half]
        widths.append(1000.0 / RATE_HZ * float((around > 0.12 * around.max()).sum()))
        beat = signal_uv[:, peak - half : peak + half].astype(np.float64) / 1000.0
        shapes.append(beat - np.median(beat, axis=1, keepdims=True))
    return Beats(
        np.diff(peaks) * 1000.0 / RATE_HZ,
        np.array(widths),
        np.array(shapes).reshape(len(inside), 12, 2 * half),
    )


def _slope(signal_uv: NDArray[np.int16]) -> NDArray[np.float64]:
    """Steepness of all leads together, smoothed over a QRS complex's length."""
    steps = np.abs(np.gradient(signal_uv.astype(np.float64), axis=1))
    # A lead with an artefact must not speak for all.
    steps = np.minimum(steps, np.quantile(steps, 0.995, axis=1, keepdims=True) + 1e-9)
    box = np.ones(round(_SMOOTH_S * RATE_HZ / 2))
    return np.asarray(np.convolve(steps.sum(axis=0), box / len(box), mode="same"))


def scores(signal_uv: NDArray[np.int16]) -> NDArray[np.float64]:
    """A score for each of the ten findings (10,); higher means more like it."""
    beats = measure(signal_uv)
    if len(beats.rr_ms) < 3 or len(beats.width_ms) < 3:
        return np.zeros(len(KEYS))
    rr = beats.rr_ms
    middle = float(np.median(rr))
    rate = 60_000.0 / middle
    # Successive differences without the two largest: one early beat is no fibrillation.
    changes = np.sort(np.abs(np.diff(rr)))[: max(1, len(rr) - 3)]
    irregular = float(np.mean(changes)) / middle
    early = 1.0 - float(rr.min()) / middle
    late = float(rr.max()) / middle - 1.0
    usual = float(np.median(beats.width_ms))
    template = np.median(beats.shape, axis=0)
    odd = _unlike(beats.shape, template)
    wide = float(beats.width_ms.max()) - usual
    v1, v6 = (_last_deflection(template[LEADS.index(name)]) for name in ("V1", "V6"))
    width_score = (usual - 90.0) / 20.0
    found = {
        "normal": -abs(rate - 70.0) / 40.0 - 4.0 * irregular - max(0.0, width_score) - 2.0 * odd,
        "pvc": 3.0 * odd + wide / 40.0 + early,
        "preexcitation": width_score - irregular,
        "clbbb": width_score - 2.0 * v1 + 2.0 * v6,
        "crbbb": width_score + 2.0 * v1 - 2.0 * v6,
        "af": irregular,
        "afl": (rate - 75.0) / 40.0 + 3.0 * irregular,
        "atrial_escape": late - early + (50.0 - rate) / 50.0,
        "pac": early,
        "at": (rate - 100.0) / 40.0 - 3.0 * irregular,
    }
    return np.array([found[key] for key in KEYS])


def _unlike(shapes: NDArray[np.float64], template: NDArray[np.float64]) -> float:
    """How far the least typical beat is from the middle one, 0..2."""
    flat, usual = shapes.reshape(len(shapes), -1), template.ravel()
    length = np.linalg.norm(flat, axis=1) * np.linalg.norm(usual) + 1e-9
    return float(1.0 - (flat @ usual / length).min())


def _last_deflection(beat: NDArray[np.float64]) -> float:
    """Sign and share of the second half of a QRS complex, -1..1: where conduction ends."""
    middle = len(beat) // 2
    end = beat[middle : middle + round(0.08 * RATE_HZ)]
    return float(end.sum() / (np.abs(beat[middle - 15 : middle + 20]).sum() + 1e-9))


def rule_scores(records: Sequence[Record]) -> NDArray[np.float64]:
    """Scores (n, 10) of some records."""
    return np.stack([scores(record.signal_uv) for record in records])
