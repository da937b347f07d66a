"""The rule by which a candidate takes the champion's place."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.contest import Contest, Margins, Side, contest
from models.evaluation.judgement import Answers, Truth
from models.labels import KEYS, index_of

ECGS = 80
HALF = dict.fromkeys(KEYS, 0.5)


def truth(positives: dict[str, int]) -> Truth:
    """Return ECGs of as many patients, the first of which show each finding."""
    targets = np.zeros((ECGS, len(KEYS)), np.float32)
    for key, count in positives.items():
        targets[:count, index_of(key)] = 1.0
    names = tuple(f"P{number}" for number in range(ECGS))
    return Truth(targets, np.ones_like(targets), names, names)


def side(of: Truth, noise: dict[str, float], *, refused: int = 0, seed: int = 1) -> Side:
    """Return a network that tells findings the worse the more noise it has; none: perfectly."""
    rng = np.random.default_rng(seed)
    probability: NDArray[np.float64] = np.where(of.targets > 0, 0.95, 0.05)
    for key, amount in noise.items():
        column = index_of(key)
        mixed = probability[:, column] + amount * rng.normal(0, 1, ECGS)
        probability[:, column] = 1.0 / (1.0 + np.exp(-4.0 * (mixed - 0.5)))
    reasons = ["unlike"] * refused + [""] * (ECGS - refused)
    return Side(Answers(probability, tuple(reasons)), HALF)


def ended(candidate: Side, champion: Side, of: Truth) -> Contest:
    return contest(candidate, champion, of, Margins())


def test_a_candidate_that_is_better_at_one_and_worse_at_none_is_better() -> None:
    of = truth({"af": 40, "clbbb": 30})
    found = ended(side(of, {"af": 0.2}), side(of, {"af": 1.5}), of)
    assert found.is_better, found.reasons
    assert found.results["findings"]["af"]["difference_interval"][0] > 0
    assert found.results["findings"]["clbbb"]["difference"] == 0
    assert any(reason.startswith("Atrial fibrillation is better") for reason in found.reasons)
    assert found.results == json.loads(json.dumps(found.results)), "plain JSON, no NaN"
    assert "NaN" not in json.dumps(found.results)


def test_what_is_better_at_one_and_worse_at_another_is_not_better() -> None:
    of = truth({"af": 40, "clbbb": 30})
    found = ended(side(of, {"af": 0.2, "clbbb": 0.6}), side(of, {"af": 1.5}), of)
    assert not found.is_better
    assert found.reasons[0].startswith("Complete left bundle branch block is worse by more")


def test_two_that_are_alike_change_nothing() -> None:
    of = truth({"af": 40})
    same = side(of, {"af": 0.6})
    found = ended(same, same, of)
    assert not found.is_better
    assert found.reasons[0].startswith("No finding is better beyond doubt")


def test_too_few_ecgs_judge_nothing_and_that_is_said() -> None:
    of = truth({"af": 9})
    found = ended(side(of, {}), side(of, {"af": 3.0}), of)
    assert not found.is_better
    assert not found.results["findings"]["af"]["is_judged"]
    assert found.reasons[0].startswith("No finding has 10 ECGs that show it")
    assert "Atrial fibrillation" in found.reasons[-1]


def test_what_cannot_be_judged_must_be_answered_as_before() -> None:
    of = truth({"af": 40})
    champion = side(of, {"af": 1.5})
    forgetful = side(of, {"af": 0.2})
    forgetful.answers.probability[0, index_of("pvc")] = 0.4
    found = ended(forgetful, champion, of)
    assert not found.is_better
    assert found.reasons[0] == (
        "Premature ventricular complexes cannot be judged, too few ECGs, and is answered otherwise "
        "than before: its probability differs by up to 0.35."
    )


def test_what_cannot_be_judged_must_be_called_as_before() -> None:
    of = truth({"af": 40})
    champion, caller = side(of, {"af": 1.5}), side(of, {"af": 0.2})
    champion = dataclasses.replace(champion, threshold=HALF | {"pvc": 0.04})
    found = ended(caller, champion, of)
    assert not found.is_better
    assert "is called otherwise than before in 80 of them" in found.reasons[0]
    caller.answers.probability[3, index_of("pvc")] = float("nan")
    assert not contest(caller, side(of, {"af": 1.5}), of, Margins()).is_better


def test_who_answers_the_easy_ones_alone_is_not_better() -> None:
    of = truth({"af": 40})
    found = ended(side(of, {"af": 0.2}, refused=5), side(of, {"af": 1.5}), of)
    assert not found.is_better
    assert "refused rises from 0.000 to 0.062" in found.reasons[0]
    assert found.results["answered"] == ECGS - 5


def test_who_tells_apart_better_and_is_sure_of_what_is_wrong_is_not_better() -> None:
    of = truth({"af": 40})
    sure = side(of, {"af": 0.2})
    column = index_of("af")
    # The order is as good as before; what it says is not what is seen.
    sure.answers.probability[:, column] = 0.5 + sure.answers.probability[:, column] / 2
    found = ended(sure, side(of, {"af": 0.8}, seed=2), of)
    assert not found.is_better
    assert found.results["findings"]["af"]["difference"] > 0
    assert any("calibration error rises" in reason for reason in found.reasons)


def test_a_finding_that_alone_says_what_is_not_seen_is_not_hidden_by_the_mean() -> None:
    of = truth(dict.fromkeys(KEYS[:4], 40))
    champion = side(of, {KEYS[0]: 1.5})
    drifted = side(of, {KEYS[0]: 0.2})
    drifted.answers.probability[:, index_of(KEYS[1])] = np.where(of.targets[:, 0] > 0, 0.8, 0.2)
    found = contest(drifted, champion, of, Margins(calibration=0.05))
    assert not found.is_better
    (reason,) = [one for one in found.reasons if "calibration" in one]
    assert "than chance explains" in reason
    assert found.results["findings"][KEYS[1]]["verdict"] == "worse"
    assert found.results["findings"][KEYS[0]]["verdict"] == "better"


@pytest.mark.parametrize(("figure", "moved"), [("sensitivity", -0.4), ("specificity", 0.4)])
def test_who_ranks_as_well_but_calls_otherwise_is_not_better(figure: str, moved: float) -> None:
    of = truth({"af": 40, "clbbb": 30})
    caller = side(of, {"af": 0.2})
    column = index_of("clbbb")
    # A fifth of them slide over the threshold together with their neighbours: no rank changes.
    rows = np.flatnonzero((of.targets[:, column] > 0) == (figure == "sensitivity"))
    caller.answers.probability[rows, column] += moved
    caller.answers.probability[rows[::5], column] += 0.1 * np.sign(moved)
    found = contest(caller, side(of, {"af": 1.5}), of, Margins(calibration=1.0))
    assert found.results["findings"]["clbbb"]["difference"] == 0
    assert not found.is_better
    assert f"the {figure} at the threshold falls" in found.reasons[0]


def test_the_more_findings_are_judged_the_surer_it_has_to_be() -> None:
    """Of ten that are alike one looks better by chance oftener than of one."""
    found = {}
    for judged in (("af",), KEYS):
        of = truth(dict.fromkeys(judged, 30))
        two = side(of, {"af": 0.45}), side(of, {"af": 0.6}, seed=2)
        found[judged] = contest(*two, of, Margins(verdicts=1.0, calibration=1.0))
        low, _ = found[judged].results["findings"]["af"]["difference_interval"]
        assert low > 0, "by the interval that is shown it is better in both"
    assert found["af",].is_better
    assert not found[KEYS].is_better
    assert found[KEYS].results["findings"]["af"]["verdict"] == "as good"


def test_what_is_left_of_a_set_is_another_set() -> None:
    of = truth({"af": 40})
    two = side(of, {"af": 0.2}), side(of, {"af": 1.5})
    assert contest(*two, of, Margins(), missing=4).is_better
    found = contest(*two, of, Margins(), missing=5)
    assert not found.is_better
    assert found.reasons[0].startswith("5 of the 85 ECGs cannot be read any more")


@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_the_margin_is_what_may_be_lost(margin: float) -> None:
    of = truth({"af": 40, "clbbb": 30})
    both = side(of, {"af": 0.1, "clbbb": 0.5}), side(of, {"af": 1.5})
    found = contest(*both, of, Margins(auroc=margin, verdicts=1.0, calibration=1.0))
    assert found.is_better == (margin > 0)
    assert found.results["margins"]["auroc"] == margin
