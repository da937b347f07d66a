"""Figures on a set of ECGs, with how uncertain they are.

Every figure comes with the numbers of positives and negatives behind it, and with a 95 % interval
from resampling *patients* (the bootstrap by clusters: two ECGs of one heart are not two pieces of
evidence). A figure on fewer positives than can carry it is NaN, not a number.

References
----------
Hanley and McNeil 1982 (area under the ROC curve by ranks); Field and Welsh 2007 (bootstrapping
clustered data); Kull et al. 2019 (class-wise calibration error).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 400
NAN: Final = float("nan")
Interval = tuple[float, float]


@dataclass(frozen=True)
class Figures:
    """What is known about one finding on one set of ECGs.

    Each figure is 0..1 or NaN and has beside it ``<figure>_interval``, its 95 % bootstrap interval.

    Attributes
    ----------
    positives, negatives : int
        How many ECGs stand behind the figures.
    auroc, auprc : float
        Areas under the ROC and the precision-recall curve.
    f1, sensitivity, specificity : float
        At the frozen threshold.
    sensitivity_at_95 : float
        Sensitivity at a specificity of 95 %.
    """

    positives: int
    negatives: int
    auroc: float
    auroc_interval: Interval
    auprc: float
    auprc_interval: Interval
    f1: float
    f1_interval: Interval
    sensitivity: float
    sensitivity_interval: Interval
    specificity: float
    specificity_interval: Interval
    sensitivity_at_95: float
    sensitivity_at_95_interval: Interval


def figures(
    probability: NDArray[Any],
    truth: NDArray[Any],
    *,
    threshold: float,
    patients: Sequence[str] | None = None,
    seed: int = 0,
) -> Figures:
    """Compute the figures of one finding.

    Parameters
    ----------
    probability : (n,) 0..1
    truth : (n,) bool or 0/1
    threshold : float
        Frozen before these ECGs were looked at.
    patients : n names, optional
        Whose ECG each is; without, each is another patient's.
    """
    scores, y = np.asarray(probability, np.float64), np.asarray(truth) > 0
    draws = resamples(patients if patients is not None else range(len(y)), seed=seed)
    parts: dict[str, Callable[[NDArray[Any], NDArray[np.bool_]], float]] = {
        "auroc": auroc,
        "auprc": average_precision,
        "f1": lambda p, t: f1(p >= threshold, t),
        "sensitivity": lambda p, t: share(p[t] >= threshold),
        "specificity": lambda p, t: share(p[~t] < threshold),
        "sensitivity_at_95": sensitivity_at_95,
    }
    values: dict[str, Any] = {}
    # A single case tells nothing of how other cases would fare.
    tells = min(int(y.sum()), int((~y).sum())) >= 2
    for name, figure in parts.items():
        values[name] = figure(scores, y)
        values[f"{name}_interval"] = (
            interval([figure(scores[r], y[r]) for r in draws]) if tells else (NAN, NAN)
        )
    return Figures(positives=int(y.sum()), negatives=int((~y).sum()), **values)


def resamples(
    patients: Sequence[Any], *, seed: int = 0, count: int = RESAMPLES
) -> list[NDArray[np.int64]]:
    """Rows of `count` bootstrap samples: patients drawn with replacement, each with all its ECGs.

    The same patients and seed give the same samples, so that two figures on the same ECGs are
    compared sample by sample.
    """
    _, owner = np.unique(np.asarray(patients), return_inverse=True)
    order = np.argsort(owner, kind="stable")
    sizes = np.bincount(owner)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        drawn = rng.integers(0, len(sizes), len(sizes))
        if len(sizes) == len(order):  # an ECG of each: the common case, and the quick one
            samples.append(order[drawn])
            continue
        rows = [order[starts[one] : starts[one + 1]] for one in drawn]
        samples.append(np.concatenate(rows))
    return samples


def interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Interval of bootstrap values; NaN when most samples could not carry the figure."""
    finite = np.array([value for value in values if np.isfinite(value)])
    if len(finite) < 0.5 * max(1, len(values)):
        return (NAN, NAN)
    low, high = np.quantile(finite, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return (float(low), float(high))


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


def auroc_of_samples(
    scores: NDArray[Any], truth: NDArray[Any], samples: Sequence[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Return the AUROC of each bootstrap sample, as `auroc` of its rows does one by one.

    The scores are sorted once: a sample says only how often each ECG is in it.
    """
    order = np.argsort(scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(np.asarray(scores)[order]) != 0, True))
    counts = np.stack([np.bincount(rows, minlength=len(order)) for rows in samples])[:, order]
    positive = np.asarray(truth)[order] > 0
    # How many of either kind lie at or below each distinct score.
    up_to = [np.cumsum(counts * side, axis=1)[:, ends] for side in (positive, ~positive)]
    here, below = np.diff(up_to[0], axis=1, prepend=0), up_to[1]
    ties = np.diff(below, axis=1, prepend=0)
    won = (here * (below - ties / 2.0)).sum(axis=1)
    pairs = up_to[0][:, -1] * up_to[1][:, -1]
    out: NDArray[np.float64] = np.full(len(won), NAN)
    np.divide(won, pairs, out=out, where=pairs > 0)
    return out


def roc_curve(
    scores: NDArray[Any], truth: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of false and of true positives as the threshold falls, from (0, 0) to (1, 1)."""
    y = np.asarray(truth) > 0
    order = np.argsort(-np.asarray(scores), kind="stable")
    sorted_scores, hits = np.asarray(scores)[order], y[order]
    ends = np.append(np.flatnonzero(np.diff(sorted_scores)), len(y) - 1)
    true = np.concatenate([[0.0], np.cumsum(hits)[ends] / max(1, int(y.sum()))])
    false = np.concatenate([[0.0], np.cumsum(~hits)[ends] / max(1, int((~y).sum()))])
    return false, true


def average_precision(scores: NDArray[Any], truth: NDArray[Any]) -> float:
    """Area under the precision-recall curve by steps, tied scores as one; NaN without positives."""
    y = np.asarray(truth) > 0
    if not y.any():
        return NAN
    order = np.argsort(-np.asarray(scores), kind="stable")
    sorted_scores, hits = np.asarray(scores)[order], y[order]
    ends = np.append(np.flatnonzero(np.diff(sorted_scores)), len(y) - 1)
    found = np.cumsum(hits)[ends]
    precision = found / (ends + 1)
    return float((precision * np.diff(np.concatenate([[0], found]))).sum() / y.sum())


def f1(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Harmonic mean of precision and sensitivity; NaN without positives."""
    n = int(true.sum())
    return 2.0 * float((said & true).sum()) / (float(said.sum()) + n) if n else NAN


def share(those: NDArray[np.bool_]) -> float:
    """Share of true values; NaN of nothing."""
    return float(those.mean()) if len(those) else NAN


def sensitivity_at_95(scores: NDArray[Any], truth: NDArray[Any]) -> float:
    """Sensitivity where 95 % of the negatives, or more, lie at or below the threshold."""
    y = np.asarray(truth) > 0
    if not y.any() or y.all():
        return NAN
    limit = np.quantile(np.asarray(scores)[~y], 0.95, method="higher")
    return share(np.asarray(scores)[y] > limit)


def calibration_error(probability: NDArray[Any], truth: NDArray[Any], *, bins: int = 10) -> float:
    """Expected calibration error: mean gap between said and seen over equally full bins."""
    order = np.argsort(probability, kind="stable")
    gap = 0.0
    for rows in np.array_split(order, bins):
        if len(rows):
            gap += abs(float(probability[rows].mean() - truth[rows].mean())) * len(rows)
    return gap / max(1, len(order))


def calibration_error_by_chance(
    probability: NDArray[Any], *, bins: int = 10, draws: int = 200, seed: int = 0
) -> float:
    """The error these probabilities would show, on average, if every one of them were right.

    A few hundred ECGs never show the shares that were said: an error of this size is none.
    """
    rng = np.random.default_rng(seed)
    p = np.asarray(probability, np.float64)
    return float(
        np.mean([calibration_error(p, rng.random(len(p)) < p, bins=bins) for _ in range(draws)])
    )


def reliability(
    probability: NDArray[Any], truth: NDArray[Any], *, bins: int = 8
) -> list[dict[str, float]]:
    """Said and seen in bins of equally many ECGs, with the number in each (no empty bins)."""
    order = np.argsort(probability, kind="stable")
    return [
        {
            "said": round(float(probability[rows].mean()), 4),
            "seen": round(float(truth[rows].mean()), 4),
            "ecgs": len(rows),
        }
        for rows in np.array_split(order, bins)
        if len(rows)
    ]
