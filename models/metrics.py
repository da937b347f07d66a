"""Figures on a set of ECGs, with how uncertain they are.

Every figure comes with the number of positives behind it, and with an interval from resampling
the ECGs (the bootstrap). A figure on fewer positives than can carry it is NaN, not a number.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 400
NAN: Final = float("nan")


@dataclass(frozen=True)
class Figures:
    """What is known about one finding on one set of ECGs.

    Attributes
    ----------
    positives, negatives : int
        How many ECGs stand behind the figures.
    auroc, auprc, f1, sensitivity, specificity : float
        At the frozen threshold where one is needed; 0..1 or NaN.
    sensitivity_at_95 : float
        Sensitivity at a specificity of 95 %.
    auroc_interval : (float, float)
        95 % bootstrap interval.
    """

    positives: int
    negatives: int
    auroc: float
    auroc_interval: tuple[float, float]
    auprc: float
    f1: float
    sensitivity: float
    specificity: float
    sensitivity_at_95: float


def figures(
    probability: NDArray[Any], truth: NDArray[Any], *, threshold: float, seed: int = 0
) -> Figures:
    """Compute the figures of one finding.

    Parameters
    ----------
    probability : (n,) 0..1
    truth : (n,) bool or 0/1
    threshold : float
        Frozen before these ECGs were looked at.
    """
    y = np.asarray(truth) > 0
    said = probability >= threshold
    hit, n = float((said & y).sum()), int(y.sum())
    negatives = len(y) - n
    return Figures(
        positives=n,
        negatives=negatives,
        auroc=auroc(probability, y),
        auroc_interval=_interval(probability, y, seed=seed),
        auprc=average_precision(probability, y),
        f1=2 * hit / (said.sum() + n) if n else NAN,
        sensitivity=hit / n if n else NAN,
        specificity=float((~said & ~y).sum()) / negatives if negatives else NAN,
        sensitivity_at_95=_sensitivity_at(probability, y, specificity=0.95),
    )


def auroc(scores: NDArray[Any], truth: NDArray[Any]) -> float:
    """Area under the ROC curve, ties counted half; NaN without both classes."""
    y = np.asarray(truth) > 0
    n, m = int(y.sum()), int((~y).sum())
    if n == 0 or m == 0:
        return NAN
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks = (last - (count - 1) / 2.0)[place]
    return float((ranks[y].sum() - n * (n + 1) / 2) / (n * m))


def average_precision(scores: NDArray[Any], truth: NDArray[Any]) -> float:
    """Area under the precision-recall curve by steps; NaN without positives."""
    y = np.asarray(truth) > 0
    if not y.any():
        return NAN
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.cumsum(y[order])
    precision = hits / np.arange(1, len(y) + 1)
    return float(precision[y[order]].sum() / y.sum())


def _sensitivity_at(scores: NDArray[Any], y: NDArray[np.bool_], *, specificity: float) -> float:
    if not y.any() or y.all():
        return NAN
    limit = np.quantile(scores[~y], specificity, method="higher")
    return float((scores[y] > limit).mean())


def _interval(scores: NDArray[Any], y: NDArray[np.bool_], *, seed: int) -> tuple[float, float]:
    if y.sum() < 2 or y.all():
        return (NAN, NAN)
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(y), len(y))
        if y[rows].any() and not y[rows].all():
            values.append(auroc(scores[rows], y[rows]))
    low, high = np.quantile(values, [0.025, 0.975])
    return (float(low), float(high))


def calibration_error(probability: NDArray[Any], truth: NDArray[Any], *, bins: int = 10) -> float:
    """Expected calibration error: mean gap between said and seen over equally full bins."""
    order = np.argsort(probability)
    gap = 0.0
    for rows in np.array_split(order, bins):
        if len(rows):
            gap += abs(float(probability[rows].mean() - truth[rows].mean())) * len(rows)
    return gap / max(1, len(order))
