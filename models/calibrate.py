"""From logits to probabilities that mean what they say, and to verdicts.

The network is trained on findings that are all equally frequent; a hospital's are not. Each
finding therefore gets its own line, ``logit' = scale * logit + shift`` (Platt 1999), fitted on
validation ECGs and held towards the shift that the two frequencies alone would ask for, so that a
finding with three positives in validation is not calibrated by those three.

Three verdicts follow, each with a meaning that the validation ECGs gave it:

present
    from the threshold on, where sensitivity and precision are best balanced (F1), or, with too few
    positives to place it, where 99 % of the ECGs without the finding stay below.
undetermined
    below the threshold, but not below the probability that 95 % of the ECGs with the finding
    reach; so far down only as no more than one in ten ECGs without it is undetermined.
absent
    the rest: below what nearly all with the finding reach.

Everything is set on validation ECGs and frozen in the artifact. An ECG may be drawn on several
pages: they count together as one ECG.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.labels import KEYS

Verdict = Literal["present", "absent", "undetermined"]

ENOUGH_POSITIVES: Final = 10
"""Fewer positive ECGs in validation than this cannot place a threshold by F1."""
CAUTIOUS_SPECIFICITY: Final = 0.99
ENOUGH_NEGATIVES: Final = 100
BAND_SENSITIVITY: Final = 0.95
"""Share of the ECGs with a finding that are at least undetermined."""
WIDEST_BAND: Final = 0.10
"""Share of the ECGs without a finding that may be undetermined."""
_RESAMPLES: Final = 200


@dataclass(frozen=True)
class Calibration:
    """Frozen with the weights; each a value by key.

    Attributes
    ----------
    scale, shift : dict
        Of the logit.
    threshold : dict
        Probability, 0..1, from which a finding is present.
    undetermined_from : dict
        Probability, 0..1, from which it is at least undetermined.
    """

    scale: dict[str, float]
    shift: dict[str, float]
    threshold: dict[str, float]
    undetermined_from: dict[str, float]

    def __post_init__(self) -> None:
        for name in ("scale", "shift", "threshold", "undetermined_from"):
            values: Mapping[str, float] = getattr(self, name)
            if set(values) != set(KEYS) or not np.isfinite(list(values.values())).all():
                raise ValueError(f"{name}: expected a finite number for each of the ten findings")
        for key in KEYS:
            if not 0.0 < self.undetermined_from[key] <= self.threshold[key] < 1.0:
                raise ValueError(f"{key}: expected 0 < undetermined_from <= threshold < 1")

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated probabilities (n, 10) of logits (n, 10), strictly between 0 and 1."""
        scale = np.array([self.scale[key] for key in KEYS])
        shift = np.array([self.shift[key] for key in KEYS])
        line = np.clip(logits.astype(np.float64) * scale + shift, -30.0, 30.0)
        return np.asarray(1.0 / (1.0 + np.exp(-line)))

    def verdict(self, key: str, probability: float) -> Verdict:
        """What a probability says about a finding."""
        if probability >= self.threshold[key]:
            return "present"
        return "undetermined" if probability >= self.undetermined_from[key] else "absent"


@dataclass(frozen=True)
class OperatingPoint:
    """What the verdicts on one finding bought on the validation ECGs; shares 0..1 or NaN.

    Attributes
    ----------
    positives, negatives : int
        ECGs (not pages) with and without the finding.
    sensitivity, specificity : float
        Present among those with the finding, not present among those without.
    sensitivity_with_band : float
        Present or undetermined among those with the finding.
    undetermined : float
        Undetermined among all.
    positive_predictive_value, negative_predictive_value : float
        With the finding among the present, without it among the absent.
    """

    positives: int
    negatives: int
    sensitivity: float
    specificity: float
    sensitivity_with_band: float
    undetermined: float
    positive_predictive_value: float
    negative_predictive_value: float


def calibrate(
    logits: NDArray[np.float32],
    targets: NDArray[np.float32],
    known: NDArray[np.float32],
    *,
    frequency: Sequence[float],
    trained_frequency: Sequence[float],
    ecgs: Sequence[int] | NDArray[np.int64] | None = None,
) -> Calibration:
    """Fit the lines and place the thresholds on pages of validation ECGs.

    Parameters
    ----------
    logits, targets, known : (n, 10)
        Of the pages; what is not known does not count.
    frequency : ten numbers, 0..1
        How frequent each finding is among real ECGs.
    trained_frequency : ten numbers, 0..1
        How frequent it was among the samples the network was trained on.
    ecgs : n numbers, optional
        Which ECG each page shows; without, each shows another.
    """
    owner = np.arange(len(logits)) if ecgs is None else np.asarray(ecgs)
    scale, shift, threshold, undetermined = {}, {}, {}, {}
    for column, key in enumerate(KEYS):
        rows = known[:, column] > 0
        x, y = logits[rows, column].astype(np.float64), targets[rows, column].astype(np.float64)
        weights = _page_weights(owner[rows])
        prior = _logit(frequency[column]) - _logit(trained_frequency[column])
        scale[key], shift[key] = _fit_line(x, y, weights, prior)
        probability = 1.0 / (1.0 + np.exp(-(scale[key] * x + shift[key])))
        threshold[key] = _place_threshold(probability, y, owner[rows])
        undetermined[key] = _place_band(probability, y, weights, threshold[key])
    return Calibration(scale, shift, threshold, undetermined)


def operating_points(
    calibration: Calibration,
    probability: NDArray[np.float64],
    targets: NDArray[np.float32],
    known: NDArray[np.float32],
    *,
    ecgs: Sequence[int] | NDArray[np.int64] | None = None,
) -> dict[str, OperatingPoint]:
    """What the frozen thresholds buy on some pages; arguments as `calibrate`'s."""
    owner = np.arange(len(probability)) if ecgs is None else np.asarray(ecgs)
    points = {}
    for column, key in enumerate(KEYS):
        rows = known[:, column] > 0
        p, y, weights = probability[rows, column], targets[rows, column], _page_weights(owner[rows])
        present = p >= calibration.threshold[key]
        noticed = p >= calibration.undetermined_from[key]
        yes, no = weights * (y > 0), weights * (y <= 0)
        points[key] = OperatingPoint(
            positives=round(float(yes.sum())),
            negatives=round(float(no.sum())),
            sensitivity=_part(yes, present),
            specificity=_part(no, ~present),
            sensitivity_with_band=_part(yes, noticed),
            undetermined=_part(weights, noticed & ~present),
            positive_predictive_value=_part(weights * present, y > 0),
            negative_predictive_value=_part(weights * ~noticed, y <= 0),
        )
    return points


def _part(weights: NDArray[np.float64], chosen: NDArray[np.bool_]) -> float:
    total = float(weights.sum())
    return float(weights[chosen].sum()) / total if total > 0 else float("nan")


def _page_weights(ecgs: NDArray[np.int64]) -> NDArray[np.float64]:
    """All pages of an ECG weigh one ECG."""
    _, owner, count = np.unique(ecgs, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / count[owner])


def _logit(share: float) -> float:
    bounded = min(max(share, 1e-4), 1.0 - 1e-4)
    return float(np.log(bounded / (1.0 - bounded)))


def _fit_line(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    weights: NDArray[np.float64],
    prior_shift: float,
) -> tuple[float, float]:
    """Newton's method for Platt's line, pulled towards (1, prior_shift) by a few ECGs' weight."""
    centre, pull = np.array([1.0, prior_shift]), np.diag([4.0, 1.0])
    line = centre.copy()
    design = np.stack([x, np.ones_like(x)], axis=1)
    for _ in range(80):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ line, -30, 30)))
        gradient = design.T @ (weights * (p - y)) + pull @ (line - centre)
        curvature = (design * (weights * p * (1 - p))[:, None]).T @ design + pull
        step = np.linalg.solve(curvature, gradient)
        line -= np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-6:
            break
    # A negative slope would turn the network's opinion over; that is no calibration.
    return max(0.2, float(line[0])), float(line[1])


def _place_threshold(
    probability: NDArray[np.float64], y: NDArray[np.float64], ecgs: NDArray[np.int64]
) -> float:
    """The best F1 where there are positives enough; else a specificity of 99 %.

    The threshold of the best F1 jumps from ECG to ECG; the middle one of many samples of the ECGs
    is placed, which a single ECG cannot move.

    A hundredth of a few ECGs is none: where even the negatives are few, the highest of them is no
    limit for those to come, and the threshold lies midway to the positives, or at one half.
    """
    weights, below = _page_weights(ecgs), y <= 0
    if (weights * y).sum() >= ENOUGH_POSITIVES:
        rng = np.random.default_rng(0)
        each, owner = np.unique(ecgs, return_inverse=True)
        samples = [rng.poisson(1.0, len(each))[owner] * weights for _ in range(_RESAMPLES)]
        chosen = float(np.median([_best_f1(probability, y, sample) for sample in samples]))
    elif below.any():
        chosen = _quantile(probability[below], weights[below], CAUTIOUS_SPECIFICITY) + 1e-6
        if (weights * below).sum() < ENOUGH_NEGATIVES:
            chosen = max(chosen, _best_f1(probability, y, weights) if (y > 0).any() else 0.5)
    else:
        chosen = 0.5
    return round(min(max(chosen, 0.02), 0.95), 4)


def _best_f1(
    probability: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    """Midway between the lowest probability that is present at the best F1 and the next below."""
    order = np.argsort(-probability, kind="stable")
    p, hit, all_of_them = probability[order], (weights * y)[order], weights[order]
    score = 2.0 * np.cumsum(hit) / (np.cumsum(all_of_them) + max(1e-9, float(hit.sum())))
    ends = np.append(np.flatnonzero(np.diff(p)), len(p) - 1)
    best = int(ends[np.argmax(score[ends])])
    return float((p[best] + p[min(best + 1, len(p) - 1)]) / 2)


def _place_band(
    probability: NDArray[np.float64],
    y: NDArray[np.float64],
    weights: NDArray[np.float64],
    threshold: float,
) -> float:
    """Where the undetermined band begins: 95 % sensitivity, but no wider than is of use."""
    with_it, without = y > 0, y <= 0
    if (weights * y).sum() >= ENOUGH_POSITIVES:
        reached = _quantile(probability[with_it], weights[with_it], 1.0 - BAND_SENSITIVITY)
    else:
        reached = threshold / 2
    below = without & (probability < threshold)
    if below.any():
        most = WIDEST_BAND * float(weights[without].sum()) / float(weights[below].sum())
        reached = max(
            reached, _quantile(probability[below], weights[below], max(0.0, 1.0 - most)) + 1e-6
        )
    return round(min(max(reached, 1e-4), threshold), 4)


def _quantile(values: NDArray[np.float64], weights: NDArray[np.float64], at: float) -> float:
    """The value that a share `at` of the weights lies at or below."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / max(1e-12, float(weights.sum()))
    return float(values[order][min(int(np.searchsorted(reached, at - 1e-12)), len(values) - 1)])
