"""Probabilities that mean what they say, thresholds that buy what they promise, a useful band."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.artifact import Artifact, default_artifact
from models.calibrate import (
    BAND_SENSITIVITY,
    CAUTIOUS_SPECIFICITY,
    WIDEST_BAND,
    Calibration,
    calibrate,
    operating_points,
)
from models.labels import KEYS
from models.metrics import auroc, calibration_error


def ecgs(
    count: int, frequency: float, *, seed: int = 1, apart: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = (rng.random((count, 10)) < frequency).astype(np.float32)
    logits = apart * targets - 1.0 + rng.normal(0, 1, targets.shape)
    return logits.astype(np.float32), targets


def fitted(
    logits: np.ndarray, targets: np.ndarray, frequency: float, owners: np.ndarray | None = None
) -> Calibration:
    return calibrate(
        logits,
        targets,
        np.ones_like(targets),
        frequency=[frequency] * 10,
        trained_frequency=[0.1] * 10,
        ecgs=owners,
    )


@settings(max_examples=10)
@given(st.integers(0, 50), st.floats(0.02, 0.4), st.floats(0.0, 4.0))
def test_thresholds_and_bands_lie_in_order_and_never_turn_an_opinion_over(
    seed: int, frequency: float, apart: float
) -> None:
    logits, targets = ecgs(300, frequency, seed=seed, apart=apart)
    made = fitted(logits, targets, frequency)
    for key in KEYS:
        assert 0.0 < made.undetermined_from[key] <= made.threshold[key] < 1.0
        assert made.scale[key] > 0.0
    probability = made.probabilities(logits)
    for column in range(10):
        if 0 < targets[:, column].sum() < len(targets):
            assert auroc(probability[:, column], targets[:, column]) == pytest.approx(
                auroc(logits[:, column], targets[:, column]), abs=1e-9
            )


def test_what_is_undetermined_or_present_holds_95_percent_of_those_with_the_finding() -> None:
    logits, targets = ecgs(2500, 0.05)
    made = fitted(logits, targets, 0.05)
    points = operating_points(made, made.probabilities(logits), targets, np.ones_like(targets))
    for key in KEYS:
        point = points[key]
        assert point.sensitivity_with_band == pytest.approx(BAND_SENSITIVITY, abs=0.02)
        assert point.sensitivity <= point.sensitivity_with_band
        assert point.negative_predictive_value > 0.99


def test_a_band_is_never_wider_than_useful() -> None:
    # A finding the network cannot tell: 95 % sensitivity would leave hardly an ECG determined.
    logits, targets = ecgs(2000, 0.05, apart=0.3)
    made = fitted(logits, targets, 0.05)
    probability = made.probabilities(logits)
    for column, key in enumerate(KEYS):
        p, without = probability[:, column], targets[:, column] == 0
        band = (p >= made.undetermined_from[key]) & (p < made.threshold[key])
        assert band[without].mean() <= WIDEST_BAND + 0.005


def test_with_few_positives_a_finding_is_called_where_almost_none_without_it_reaches() -> None:
    logits, targets = ecgs(2000, 0.002)
    assert targets.sum(axis=0).max() < 10
    made = fitted(logits, targets, 0.002)
    points = operating_points(made, made.probabilities(logits), targets, np.ones_like(targets))
    for point in points.values():
        assert point.specificity >= CAUTIOUS_SPECIFICITY - 0.002


@pytest.mark.parametrize("with_it", [4, 0])
def test_where_even_the_negatives_are_few_the_highest_of_them_is_no_threshold(with_it: int) -> None:
    targets = np.zeros((12, 10), np.float32)
    targets[:with_it] = 1.0
    rng = np.random.default_rng(1)
    logits = (12.0 * targets - 6.0 + rng.normal(0, 0.5, targets.shape)).astype(np.float32)
    made = fitted(logits, targets, 0.3)
    probability = made.probabilities(logits)
    for column, key in enumerate(KEYS):
        highest = probability[with_it:, column].max()
        lowest = probability[:with_it, column].min() if with_it else 1.0
        assert 0.4 < made.threshold[key] < 0.6
        assert highest < 0.1 < made.threshold[key] < lowest


def test_several_pages_of_an_ecg_count_as_one_ecg() -> None:
    logits, targets = ecgs(800, 0.1)
    once = fitted(logits, targets, 0.1)
    owners = np.repeat(np.arange(800), 4)
    often = fitted(np.repeat(logits, 4, axis=0), np.repeat(targets, 4, axis=0), 0.1, owners)
    for key in KEYS:
        assert often.scale[key] == pytest.approx(once.scale[key], abs=1e-6)
        assert often.threshold[key] == pytest.approx(once.threshold[key], abs=0.002)
        assert often.undetermined_from[key] == pytest.approx(once.undetermined_from[key], abs=0.002)
    points = operating_points(
        often,
        often.probabilities(np.repeat(logits, 4, axis=0)),
        np.repeat(targets, 4, axis=0),
        np.ones((3200, 10), np.float32),
        ecgs=owners,
    )
    assert points["af"].positives == targets[:, KEYS.index("af")].sum()


def test_what_is_not_known_neither_calibrates_nor_counts() -> None:
    logits, targets = ecgs(1000, 0.1)
    known = np.ones_like(targets)
    wrong = targets.copy()
    known[:200] = 0.0
    wrong[:200] = 1.0 - wrong[:200]

    def made(truth: np.ndarray) -> Calibration:
        return calibrate(logits, truth, known, frequency=[0.1] * 10, trained_frequency=[0.1] * 10)

    assert made(wrong) == made(targets)


def test_calibrated_probabilities_hold_on_ecgs_that_calibrated_nothing() -> None:
    logits, targets = ecgs(1500, 0.05, seed=1)
    others, truth = ecgs(6000, 0.05, seed=2)
    probability = fitted(logits, targets, 0.05).probabilities(others)
    for column in range(10):
        assert calibration_error(probability[:, column], truth[:, column]) < 0.02


def test_one_ecg_more_or_less_does_not_move_a_threshold_far() -> None:
    logits, targets = ecgs(500, 0.06, seed=5)
    whole = fitted(logits, targets, 0.06)
    less = fitted(logits[1:], targets[1:], 0.06)
    for key in KEYS:
        assert less.threshold[key] == pytest.approx(whole.threshold[key], abs=0.08)


def test_the_calibration_that_ships_is_still_read() -> None:
    made = Artifact.load(default_artifact()).card.calibration
    assert made.verdict("af", 0.999) == "present"
    assert made.verdict("af", 1e-6) == "absent"
