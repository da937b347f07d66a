"""Figures against cases counted by hand, and what must hold of them whatever the scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.metrics import (
    auroc,
    auroc_of_samples,
    average_precision,
    calibration_error,
    calibration_error_by_chance,
    f1,
    figures,
    reliability,
    resamples,
    roc_curve,
    sensitivity_at_95,
)

# Few distinct scores, so that ties are common.
SCORES = arrays.arrays(
    np.float64, st.integers(4, 40), elements=st.sampled_from(np.linspace(0.01, 0.99, 12).tolist())
)


def with_both(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    scores = draw(SCORES)
    truth = np.array(draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    truth[0], truth[1] = True, False
    return scores, truth


CASES = st.composite(with_both)()


@given(CASES)
def test_areas_depend_on_the_order_of_the_scores_alone(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = case
    for other in (np.log(scores), 3.0 * scores - 7.0, scores**3):
        assert auroc(other, truth) == pytest.approx(auroc(scores, truth))
        assert average_precision(other, truth) == pytest.approx(average_precision(scores, truth))


@given(CASES)
def test_areas_do_not_depend_on_the_order_of_the_ecgs(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, truth = case
    order = np.random.default_rng(len(scores)).permutation(len(scores))
    assert auroc(scores[order], truth[order]) == pytest.approx(auroc(scores, truth))
    assert average_precision(scores[order], truth[order]) == pytest.approx(
        average_precision(scores, truth)
    )


@given(CASES)
def test_turning_scores_over_turns_the_auroc_over(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = case
    assert auroc(-scores, truth) == pytest.approx(1.0 - auroc(scores, truth))
    assert auroc(scores, ~truth) == pytest.approx(1.0 - auroc(scores, truth))


@given(CASES)
def test_the_area_under_the_drawn_roc_curve_is_the_auroc(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, truth = case
    false, true = roc_curve(scores, truth)
    assert (false[0], true[0], false[-1], true[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert np.trapezoid(true, false) == pytest.approx(auroc(scores, truth))


def test_precision_and_recall_of_tied_scores_do_not_depend_on_luck() -> None:
    # Both ECGs share one score: precision there is one half, whichever stands first.
    assert average_precision(np.array([0.5, 0.5]), np.array([1, 0])) == pytest.approx(0.5)
    assert average_precision(np.array([0.5, 0.5]), np.array([0, 1])) == pytest.approx(0.5)


def test_figures_at_a_threshold_are_those_counted_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.6, 0.55, 0.5, 0.3, 0.2, 0.1])
    truth = np.array([1, 0, 1, 1, 0, 0, 1, 0])
    found = figures(scores, truth, threshold=0.55)
    assert (found.positives, found.negatives) == (4, 4)
    assert found.sensitivity == pytest.approx(3 / 4)
    assert found.specificity == pytest.approx(3 / 4)
    assert found.f1 == pytest.approx(2 * 3 / (4 + 4))
    assert found.auroc == pytest.approx((4 + 3 + 3 + 1) / 16)
    assert np.isnan(f1(np.array([True, False]), np.array([False, False])))


def test_sensitivity_at_95_leaves_at_most_one_in_twenty_negatives_above() -> None:
    negatives = np.arange(100) / 100.0
    positives = np.array([0.945, 0.955, 0.99, 2.0])
    scores = np.concatenate([negatives, positives])
    truth = np.repeat([0, 1], [100, 4])
    # The limit is 0.95: five negatives lie at or above it, four above.
    assert sensitivity_at_95(scores, truth) == pytest.approx(3 / 4)


@settings(max_examples=12)
@given(CASES)
def test_an_interval_holds_its_figure_or_is_not_given(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = case
    found = figures(scores, truth, threshold=0.5)
    low, high = found.auroc_interval
    if np.isnan(low):
        assert min(found.positives, found.negatives) < 4
    else:
        assert 0.0 <= low <= high <= 1.0
        assert low - 1e-9 <= found.auroc <= high + 1e-9 or found.positives < 6


def test_a_patient_is_drawn_whole_and_more_ecgs_of_one_heart_are_no_more_evidence() -> None:
    rng = np.random.default_rng(3)
    truth = np.arange(60) % 2
    scores = truth + rng.normal(0, 1.2, 60)
    alone = figures(scores, truth, threshold=0.5, patients=[str(n) for n in range(60)])
    copied = figures(
        np.repeat(scores, 8),
        np.repeat(truth, 8),
        threshold=0.5,
        patients=[str(n) for n in np.repeat(range(60), 8)],
    )
    believed = figures(np.repeat(scores, 8), np.repeat(truth, 8), threshold=0.5)

    def width(of: tuple[float, float]) -> float:
        return of[1] - of[0]

    assert width(copied.auroc_interval) == pytest.approx(width(alone.auroc_interval), rel=0.05)
    assert width(believed.auroc_interval) < 0.6 * width(copied.auroc_interval)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(0, 99))
def test_resamples_hold_whole_patients_and_depend_on_the_seed_alone(
    owners: list[int], seed: int
) -> None:
    samples = resamples(owners, seed=seed, count=5)
    again = resamples(owners, seed=seed, count=5)
    sizes = {owner: owners.count(owner) for owner in owners}
    for sample, same in zip(samples, again, strict=True):
        assert np.array_equal(sample, same)
        drawn = np.bincount(sample, minlength=len(owners))
        for owner, size in sizes.items():
            own = [row for row, one in enumerate(owners) if one == owner]
            assert len(own) == size
            assert len(set(drawn[own])) == 1, "all ECGs of a patient equally often"


def test_right_probabilities_show_no_more_error_than_chance_alone() -> None:
    rng = np.random.default_rng(4)
    p = rng.random(600)
    truth = rng.random(600) < p
    chance = calibration_error_by_chance(p)
    assert calibration_error(p, truth) == pytest.approx(chance, abs=0.02)
    assert calibration_error(p**3, truth) > 3 * chance
    assert calibration_error(np.full(10, 0.3), np.repeat([1, 0], [3, 7]), bins=1) == pytest.approx(
        0.0
    )


@given(CASES)
def test_a_reliability_curve_counts_every_ecg_once(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = case
    curve = reliability(scores, truth)
    assert sum(one["ecgs"] for one in curve) == len(scores)
    seen = sum(one["seen"] * one["ecgs"] for one in curve)
    assert seen == pytest.approx(truth.sum(), abs=0.01 * len(curve))


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30),
    st.integers(0, 100),
)
def test_many_samples_at_once_give_what_each_gives_alone(
    ecgs: list[tuple[int, bool]], seed: int
) -> None:
    scores, truth = np.array([score for score, _ in ecgs]), np.array([is_it for _, is_it in ecgs])
    samples = resamples(range(len(ecgs)), seed=seed, count=20)
    alone = [auroc(scores[rows], truth[rows]) for rows in samples]
    together = auroc_of_samples(scores, truth, samples)
    np.testing.assert_allclose(together, alone, atol=1e-12, equal_nan=True)
