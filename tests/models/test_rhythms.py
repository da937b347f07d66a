"""Each simulated rhythm keeps the intervals that define it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from models.corpus.rhythms import Beat, Schedule, schedule
from models.corpus.simulate import simulate
from models.labels import KEYS, index_of

SEEDS = range(25)


def schedules(key: str) -> Iterator[Schedule]:
    for seed in SEEDS:
        yield schedule(key, np.random.default_rng((index_of(key), seed)))


def inside(plan: Schedule) -> list[Beat]:
    """The beats on the page, with the one before the first left out: its interval is unknown."""
    return [beat for beat in plan.beats[1:] if 0.0 <= beat.at_s <= 10.0]


@pytest.mark.parametrize("key", KEYS)
def test_intervals_are_those_between_the_beats(key: str) -> None:
    for plan in schedules(key):
        times = np.array([beat.at_s for beat in plan.beats])
        assert np.allclose(np.diff(times), [beat.rr_s for beat in plan.beats[1:]])
        assert (np.diff(times) > 0.2).all()


def test_a_normal_rhythm_is_regular_between_55_and_100() -> None:
    for plan in schedules("normal"):
        rr = np.array([beat.rr_s for beat in inside(plan)])
        assert 0.55 < rr.mean() < 1.15
        assert rr.std() / rr.mean() < 0.08
        assert all(0.12 <= beat.pr_s <= 0.2 for beat in inside(plan))


def test_a_pvc_is_early_without_p_and_its_pause_compensates() -> None:
    for plan in schedules("pvc"):
        found = [i for i, beat in enumerate(plan.beats) if beat.kind == "ventricular"]
        assert found
        for i in found:
            sinus = np.median([beat.rr_s for beat in plan.beats if beat.role == "sinus"])
            assert plan.beats[i].p == "none"
            assert plan.beats[i].rr_s < 0.85 * sinus
            assert plan.beats[i].rr_s + plan.beats[i + 1].rr_s == pytest.approx(2 * sinus, rel=0.12)


def test_a_pac_is_early_with_another_p_and_resets_the_sinus_node() -> None:
    for plan in schedules("pac"):
        found = [i for i, beat in enumerate(plan.beats) if beat.role == "premature"]
        assert found
        for i in found:
            before = plan.beats[i - 1].rr_s
            assert (plan.beats[i].kind, plan.beats[i].p) == ("conducted", "ectopic")
            assert plan.beats[i].rr_s < 0.9 * before
            assert plan.beats[i].rr_s + plan.beats[i + 1].rr_s < 2.0 * before * 1.06


def test_an_escape_beat_ends_a_pause() -> None:
    for plan in schedules("atrial_escape"):
        found = [beat for beat in plan.beats if beat.role == "escape"]
        assert found
        assert all(beat.rr_s >= 1.2 and beat.p == "ectopic" for beat in found)


def test_an_atrial_tachycardia_runs_at_130_to_250() -> None:
    for plan in schedules("at"):
        run = [beat for beat in inside(plan) if beat.role == "run"][1:]
        assert len(run) >= 5
        assert 130 * 0.97 <= 60.0 / np.mean([beat.rr_s for beat in run]) <= 250 * 1.03
        assert all(beat.p == "ectopic" for beat in run)


def test_fibrillation_is_irregular_without_p() -> None:
    for plan in schedules("af"):
        assert plan.fibrillates
        assert all(beat.p == "none" for beat in plan.beats)
    spread = [np.std(rr) / np.mean(rr) for rr in map(_intervals, schedules("af"))]
    assert np.median(spread) > 0.12


def test_flutter_conducts_every_second_to_fourth_wave() -> None:
    for plan in schedules("afl"):
        assert 240 / 60 <= plan.flutter_hz <= 340 / 60
        ratios = np.array(_intervals(plan)) * plan.flutter_hz
        assert np.allclose(ratios, np.rint(ratios), atol=0.05)
        assert set(np.rint(ratios).astype(int)) <= {2, 3, 4}


def test_preexcitation_has_a_short_pr() -> None:
    assert all(b.pr_s <= 0.12 for plan in schedules("preexcitation") for b in plan.beats)


@pytest.mark.parametrize("key", KEYS)
def test_a_simulated_ecg_is_twelve_leads_of_ten_seconds_that_agree(key: str) -> None:
    signal = simulate(key, 5).astype(float)
    assert signal.shape == (12, 2500)
    assert np.array_equal(simulate(key, 5), simulate(key, 5))
    one, two, three, right, left, foot = signal[:6]
    noise = 120.0  # microvolt: each electrode has its own muscle noise and drift
    assert np.percentile(np.abs(one + three - two), 99) < noise * 3
    assert np.percentile(np.abs(right + left + foot), 99) < noise * 3
    assert 300 < np.abs(signal).max() < 8000


@pytest.mark.parametrize(("key", "broad"), [("normal", False), ("clbbb", True), ("crbbb", True)])
def test_a_bundle_branch_block_has_a_broad_qrs(key: str, broad: bool) -> None:
    widths = [_qrs_ms(key, seed) for seed in range(8)]
    assert (np.median(widths) >= 112) == broad, widths


def _intervals(plan: Schedule) -> list[float]:
    return [beat.rr_s for beat in inside(plan)]


def _qrs_ms(key: str, seed: int) -> float:
    """Time around R in which the leads together move quickly."""
    plan = schedule(key, np.random.default_rng((index_of(key), seed)))
    signal = simulate(key, seed).astype(float)
    # Muscle noise is quick too; averaging over 20 ms and the leads leaves what they share.
    smooth = np.apply_along_axis(lambda lead: np.convolve(lead, np.ones(5) / 5, "same"), 1, signal)
    slope = np.abs(np.gradient(smooth, axis=1)).mean(axis=0)
    widths = []
    for beat in inside(plan):
        at = round(beat.at_s * 250)
        window = slope[max(0, at - 35) : at + 35]
        if len(window) == 70:
            quick = np.flatnonzero(window > 0.25 * window.max())
            widths.append((quick[-1] - quick[0]) * 4.0)
    return float(np.median(widths))
