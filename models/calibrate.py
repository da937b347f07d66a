"""From logits to probabilities that mean what they say, and to verdicts.

The network is trained on findings that are all equally frequent; a hospital's are not. Each
finding therefore gets its own line, ``logit' = scale * logit + shift`` (Platt 1999), fitted on
validation ECGs and held towards the shift that the two frequencies alone would ask for, so that a
finding with three positives in validation is not calibrated by those three. Thresholds are set on
the same validation ECGs and frozen in the artifact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.labels import KEYS

Verdict = Literal["present", "absent", "undetermined"]

ENOUGH_POSITIVES: Final = 10
"""Fewer positives in validation than this cannot place a threshold by F1."""
CAUTIOUS_SPECIFICITY: Final = 0.99
UNDETERMINED_SHARE: Final = 0.5
"""The undetermined band reaches from this share of the threshold up to it."""


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


def calibrate(
    logits: NDArray[np.float32],
    targets: NDArray[np.float32],
    known: NDArray[np.float32],
    *,
    frequency: Sequence[float],
    trained_frequency: Sequence[float],
) -> Calibration:
    """Fit the lines and place the thresholds on validation ECGs.

    Parameters
    ----------
    logits, targets, known : (n, 10)
        Of the validation ECGs; what is not known does not count.
    frequency : ten numbers, 0..1
        How frequent each finding is among real ECGs.
    trained_frequency : ten numbers, 0..1
        How frequent it was among the samples the network was trained on.
    """
    scale, shift, threshold = {}, {}, {}
    for column, key in enumerate(KEYS):
        rows = known[:, column] > 0
        x, y = logits[rows, column].astype(np.float64), targets[rows, column].astype(np.float64)
        prior = _logit(frequency[column]) - _logit(trained_frequency[column])
        scale[key], shift[key] = _fit_line(x, y, prior)
        line = scale[key] * x + shift[key]
        threshold[key] = _place_threshold(1.0 / (1.0 + np.exp(-line)), y)
    undetermined = {key: UNDETERMINED_SHARE * value for key, value in threshold.items()}
    return Calibration(scale, shift, threshold, undetermined)


def _logit(share: float) -> float:
    bounded = min(max(share, 1e-4), 1.0 - 1e-4)
    return float(np.log(bounded / (1.0 - bounded)))


def _fit_line(
    x: NDArray[np.float64], y: NDArray[np.float64], prior_shift: float
) -> tuple[float, float]:
    """Newton's method for Platt's line, pulled towards (1, prior_shift) by a few ECGs' weight."""
    centre, pull = np.array([1.0, prior_shift]), np.diag([4.0, 1.0])
    line = centre.copy()
    design = np.stack([x, np.ones_like(x)], axis=1)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ line, -30, 30)))
        gradient = design.T @ (p - y) + pull @ (line - centre)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + pull
        step = np.linalg.solve(curvature, gradient)
        line -= np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-6:
            break
    # A negative slope would turn the network's opinion over; that is no calibration.
    return max(0.2, float(line[0])), float(line[1])


def _place_threshold(probability: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The best F1 where there are positives enough; else a specificity of 99 %."""
    if y.sum() >= ENOUGH_POSITIVES:
        candidates = np.unique(np.concatenate([probability[y > 0], [0.5]]))
        scores = [_f1(probability >= value, y > 0) for value in candidates]
        chosen = float(candidates[int(np.argmax(scores))])
    else:
        chosen = float(np.quantile(probability[y <= 0], CAUTIOUS_SPECIFICITY)) + 1e-6
    return round(min(max(chosen, 0.02), 0.95), 4)


def _f1(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    hit = float((said & true).sum())
    return 2 * hit / max(1.0, float(said.sum() + true.sum()))
