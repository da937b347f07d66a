"""Two networks on the same ECGs: is the candidate to take the champion's place?

Figures of both stand on the ECGs that both of them answer; the share that each refuses stands
beside them. Differences are paired: the same patients are drawn for both in each bootstrap sample,
so that an ECG that is hard for everybody tells nothing.

The rule
--------
* A finding with fewer than ten ECGs that show it, or that do not, is not judged. What cannot be
  judged must be answered as before, on each ECG and with the same verdict, or a network could
  forget it unseen.
* No judged finding may have an AUROC lower by more than the margin.
* Readers see verdicts: at its own threshold no judged finding may be found less often (sensitivity)
  or called wrongly more often (specificity) by more than the margin.
* At least one must be better: its paired interval lies above zero. The more findings are judged,
  the wider is the interval that decides (Bonferroni): one of ten that are all alike would look
  better by chance once in four or five evaluations.
* The calibration is kept: the mean error over the judged findings is not larger by more than the
  margin, nor that of any of them by more than the margin and than chance explains.
* What is refused is not more by more than the margin: who answers the easy ones alone looks good.
* Nearly all ECGs of the set could be read: what is left of a set judges something else.

"Worse" is the figure itself, not its interval: on few ECGs an interval would excuse any loss. What
may be worse, by the interval, is said.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.evaluation.judgement import MARK_POSITIVES, Answers, Truth, mean, plain
from models.labels import KEYS, LABELS
from models.metrics import (
    auroc_of_samples,
    calibration_error,
    calibration_error_by_chance,
    figures,
    interval,
    resamples,
    share,
)

DRAWS: Final = 2000
"""Bootstrap samples of a difference: the interval that decides lies far out."""

_MEANINGS: Final = {label.key: label.meaning for label in LABELS}


@dataclass(frozen=True)
class Margins:
    """By how much a candidate may fall behind; each 0..1.

    ``auroc``, ``calibration`` (error) and ``refused`` (share) as they are called; ``verdicts``:
    sensitivity and specificity; ``unjudged``: by how much the probability of a finding that is not
    judged may differ on any one; ``missing``: the share of ECGs that could not be read.
    """

    auroc: float = 0.01
    verdicts: float = 0.05
    calibration: float = 0.01
    refused: float = 0.01
    unjudged: float = 0.05
    missing: float = 0.05


@dataclass(frozen=True)
class Side:
    """One of the two: what it answers, and the thresholds its card has."""

    answers: Answers
    threshold: Mapping[str, float]


@dataclass(frozen=True)
class Contest:
    """How it ended.

    Attributes
    ----------
    results : dict
        Plain JSON: ``ecgs``, ``missing``, ``answered``, ``refused``, ``margins``, ``calibration``,
        and ``findings`` by key, each with the figures of both, the paired difference and its
        intervals, of 95 % and the one that decides, and a ``verdict``: ``better``, ``as good``,
        ``worse`` or ``unjudged``.
    is_better : bool
        Whether the rule is met.
    reasons : tuple of str
        Why, or why not; each a sentence.
    """

    results: dict[str, Any]
    is_better: bool
    reasons: tuple[str, ...]


def contest(
    candidate: Side, champion: Side, truth: Truth, margins: Margins, *, missing: int = 0
) -> Contest:
    """Compare two networks on the same ECGs and apply the rule.

    Parameters
    ----------
    candidate, champion
    truth
        Of the ECGs that both were given.
    margins
    missing
        How many ECGs of the set could be given to neither.
    """
    rows = np.flatnonzero(candidate.answers.answered & champion.answers.answered)
    found = {key: _finding(key, candidate, champion, truth, rows) for key in KEYS}
    judged = [key for key in KEYS if found[key]["is_judged"]]
    calibration = {
        name: mean([found[key][name]["calibration_error"] for key in judged])
        for name in ("candidate", "champion")
    }
    refused = {
        "candidate": share(~candidate.answers.answered),
        "champion": share(~champion.answers.answered),
    }
    level = 1.0 - 0.05 / max(1, len(judged))
    for key in KEYS:
        found[key]["deciding_interval"] = interval(found[key].pop("drawn"), level=level)
    worse = {key: list(_worse(key, found[key], margins)) for key in judged}
    better = [key for key in judged if _is_above_zero(found[key]["deciding_interval"])]
    for key in KEYS:
        found[key]["verdict"] = (
            "unjudged"
            if key not in judged
            else "worse"
            if worse[key]
            else "better"
            if key in better
            else "as good"
        )
    against = [
        *(reason for reasons in worse.values() for reason in reasons),
        *(
            _beyond("the mean calibration error", calibration, margins.calibration)
            if judged
            else ()
        ),
        *_beyond("the share of ECGs refused", refused, margins.refused),
    ]
    gone = missing / max(1, missing + len(truth.patients))
    if gone > margins.missing:
        against.append(
            f"{missing} of the {missing + len(truth.patients)} ECGs cannot be read any more: "
            "the rest is another set."
        )
    if not judged:
        against.append(
            f"No finding has {MARK_POSITIVES} ECGs that show it and as many that do not: "
            "nothing can be judged."
        )
    elif not better:
        against.append("No finding is better beyond doubt: each interval reaches zero or below.")
    against += _forgotten(found, judged, margins)
    in_favour = [f"{_MEANINGS[key]} is better{_told(found[key])}." for key in better]
    unsure = [
        f"{_MEANINGS[key]} may be worse by more than {margins.auroc:g}{_told(found[key])}; "
        "more ECGs would tell."
        for key in judged
        if found[key]["difference"] >= -margins.auroc
        and found[key]["difference_interval"][0] < -margins.auroc
    ]
    unjudged = [_MEANINGS[key] for key in KEYS if key not in judged]
    notes = [f"Not judged, too few ECGs: {', '.join(unjudged)}."] if unjudged else []
    results: dict[str, Any] = plain(
        {
            "ecgs": len(truth.patients),
            "missing": missing,
            "patients": len(set(truth.patients)),
            "answered": len(rows),
            "refused": refused,
            "calibration": calibration,
            "margins": asdict(margins),
            "findings": found,
        }
    )
    return Contest(results, not against, (*against, *in_favour, *unsure, *notes))


def _finding(
    key: str, candidate: Side, champion: Side, truth: Truth, rows: NDArray[np.int64]
) -> dict[str, Any]:
    column = KEYS.index(key)
    own = rows[truth.known[rows, column] > 0]
    y = truth.targets[own, column]
    patients = [truth.patients[row] for row in own]
    sides = {"candidate": candidate, "champion": champion}
    out: dict[str, Any] = {}
    for name, side in sides.items():
        p = side.answers.probability[own, column]
        out[name] = {
            **asdict(figures(p, y, threshold=side.threshold[key], patients=patients)),
            "calibration_error": calibration_error(p, y) if len(own) else float("nan"),
            "calibration_error_by_chance": calibration_error_by_chance(p)
            if len(own)
            else float("nan"),
        }
    positives, negatives = int((y > 0).sum()), int((y <= 0).sum())
    difference = out["candidate"]["auroc"] - out["champion"]["auroc"]
    drawn: list[float] = []
    if min(positives, negatives) >= 2:
        samples = resamples(patients, count=DRAWS)
        ours, theirs = (
            auroc_of_samples(side.answers.probability[own, column], y, samples)
            for side in (candidate, champion)
        )
        drawn = list(ours - theirs)
    return {
        "positives": positives,
        "negatives": negatives,
        "is_judged": min(positives, negatives) >= MARK_POSITIVES,
        "largest_change": _largest_change(column, candidate, champion, rows),
        "changed_calls": _changed_calls(key, candidate, champion, rows),
        "difference": difference,
        "difference_interval": interval(drawn),
        "drawn": drawn,
        **out,
    }


def _largest_change(column: int, candidate: Side, champion: Side, rows: NDArray[np.int64]) -> float:
    """Return by how much the two differ in one finding at most, 0..1, over all ECGs they answer."""
    both = [side.answers.probability[rows, column] for side in (candidate, champion)]
    return float(np.abs(both[0] - both[1]).max(initial=0.0))


def _changed_calls(key: str, candidate: Side, champion: Side, rows: NDArray[np.int64]) -> int:
    """Return how many ECGs lie on another side of the threshold than before."""
    calls = [
        side.answers.probability[rows, KEYS.index(key)] >= side.threshold[key]
        for side in (candidate, champion)
    ]
    return int((calls[0] != calls[1]).sum())


def _forgotten(found: Mapping[str, Any], judged: list[str], margins: Margins) -> Iterator[str]:
    for key in KEYS:
        if key in judged:
            continue
        # Written so that what is no number counts as changed.
        if not found[key]["largest_change"] <= margins.unjudged:
            yield (
                f"{_MEANINGS[key]} cannot be judged, too few ECGs, and is answered otherwise than "
                f"before: its probability differs by up to {found[key]['largest_change']:.2f}."
            )
        elif found[key]["changed_calls"]:
            yield (
                f"{_MEANINGS[key]} cannot be judged, too few ECGs, and is called otherwise than "
                f"before in {found[key]['changed_calls']} of them."
            )


def _worse(key: str, found: Mapping[str, Any], margins: Margins) -> Iterator[str]:
    """Yield in what a candidate is worse at one judged finding."""
    meaning, ours, theirs = _MEANINGS[key], found["candidate"], found["champion"]
    if not found["difference"] >= -margins.auroc:
        yield f"{meaning} is worse by more than {margins.auroc:g}{_told(found)}."
    for figure in ("sensitivity", "specificity"):
        if not theirs[figure] - ours[figure] <= margins.verdicts:
            yield (
                f"{meaning}: the {figure} at the threshold falls from {theirs[figure]:.2f} to "
                f"{ours[figure]:.2f}, by more than {margins.verdicts:g}."
            )
    by_chance = ours["calibration_error_by_chance"]
    excused = max(theirs["calibration_error"], by_chance)
    if not ours["calibration_error"] - excused <= margins.calibration:
        yield (
            f"{meaning}: the calibration error rises from {theirs['calibration_error']:.3f} to "
            f"{ours['calibration_error']:.3f}, by more than {margins.calibration:g} and than "
            f"chance explains ({by_chance:.3f})."
        )


def _beyond(what: str, of: Mapping[str, float], margin: float) -> list[str]:
    if of["candidate"] - of["champion"] <= margin:
        return []
    return [
        f"{what.capitalize()} rises from {of['champion']:.3f} to {of['candidate']:.3f}, "
        f"by more than {margin:g}."
    ]


def _is_above_zero(bounds: tuple[float, float]) -> bool:
    return bounds[0] > 0.0


def _told(found: Mapping[str, Any]) -> str:
    low, high = found["difference_interval"]
    return (
        f" (AUROC {found['champion']['auroc']:.3f} to {found['candidate']['auroc']:.3f}, "
        f"difference {found['difference']:+.3f}, 95 % interval {low:+.3f} to {high:+.3f})"
    )
