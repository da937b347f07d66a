"""Beats and wave borders are found where the simulated heart put them, and in real ECGs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.corpus.beatfinder import INDEPENDENT, RATE_HZ, Landmarks, find_r_peaks, find_waves
from models.corpus.records import load
from models.corpus.simulate import simulate, simulate_annotated
from models.labels import KEYS, index_of


def worst_miss_ms(found: NDArray[np.intp], truth: list[float]) -> float:
    """The farthest that a true beat is from any found one."""
    return max(float(np.abs(found / RATE_HZ - at).min()) * 1000.0 for at in truth)


def waves_of(signal: NDArray[np.int16]) -> Landmarks:
    r = find_r_peaks(signal)
    leads = signal[list(INDEPENDENT)].astype(np.float32)
    level = [leads[:, at - 100 : at + 200] - leads[:, at - 18 : at - 14].mean(1, keepdims=True)
             for at in r if at >= 100 and at + 200 <= leads.shape[1]]  # fmt: skip
    beat = np.median(np.stack(level), axis=0).astype(np.float32)
    return find_waves(beat, 100, rr=int(np.median(np.diff(r))))


@given(key=st.sampled_from([key for key in KEYS if key != "pvc"]), seed=st.integers(0, 500))
@settings(max_examples=60, deadline=None)
def test_every_beat_of_every_rhythm_is_found_once(key: str, seed: int) -> None:
    heart = simulate_annotated(key, seed)
    found = find_r_peaks(heart.signal_uv)
    truth = [beat.at_s for beat in heart.beats if 0.15 < beat.at_s < 9.85]
    inside = found[(found > 0.1 * RATE_HZ) & (found < 9.9 * RATE_HZ)]
    assert worst_miss_ms(found, truth) < 80.0
    assert len(truth) <= len(inside) <= len(truth) + 2


def test_slow_beats_born_in_a_ventricle_are_found_too() -> None:
    """All but the few whose QRS is as small and slow as a T wave."""
    missed = beats = 0
    for seed in range(80):
        heart = simulate_annotated("pvc", seed)
        found = find_r_peaks(heart.signal_uv)
        early = [b.at_s for b in heart.beats if b.kind == "ventricular" and 0.2 < b.at_s < 9.8]
        beats += len(early)
        missed += sum(worst_miss_ms(found, [at]) > 80.0 for at in early)
    assert missed <= 0.04 * beats


def test_one_noisy_lead_moves_no_beat() -> None:
    signal = simulate("normal", 3)
    before = find_r_peaks(signal)
    rough = signal.copy()
    rough[7] = np.random.default_rng(0).normal(0.0, 900.0, 2500).astype(np.int16)
    after = find_r_peaks(rough)
    assert len(before) == len(after)
    assert np.abs(before - after).max() <= 2


def test_a_flat_signal_has_no_beats() -> None:
    assert not len(find_r_peaks(np.zeros((12, 2500), np.int16)))
    assert not len(find_r_peaks(np.zeros((12, 40), np.int16)))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a signal of shape \(12, n\)"):
        find_r_peaks(np.zeros((3, 2500)))


def test_wave_borders_stand_in_their_order() -> None:
    for seed in range(30):
        m = waves_of(simulate("normal", seed))
        assert m.p_onset < m.p_peak < m.p_end <= m.qrs_onset < 0 < m.qrs_end < m.t_peak <= m.t_end


def test_pr_is_measured_as_it_was_simulated() -> None:
    for seed in range(20):
        heart = simulate_annotated("normal", seed)
        measured = -waves_of(heart.signal_uv).p_peak / RATE_HZ
        assert measured == pytest.approx(heart.beats[2].pr_s, abs=0.024)


@pytest.mark.parametrize(("key", "broad"), [("normal", False), ("clbbb", True), ("crbbb", True)])
def test_a_broad_qrs_is_told_from_a_narrow_one(key: str, broad: bool) -> None:
    widths = np.array([waves_of(simulate(key, seed)).qrs_ms for seed in range(20)])
    assert ((widths >= 116.0) == broad).mean() >= 0.9, widths


@pytest.mark.corpus
def test_limb_and_chest_leads_of_real_ecgs_show_the_same_beats() -> None:
    """Two independent readings of each ECG agree: limb leads alone and chest leads alone."""
    records = load(Path(os.environ["ECG_CORPUS_DIR"]), parts=("train",))
    sinus = [r for r in records if r.targets[index_of("normal")] and r.judges][:200]
    agreed = 0
    for record in sinus:
        limbs, chest = record.signal_uv.copy(), record.signal_uv.copy()
        limbs[6:], chest[:6] = 0, 0
        one, two = find_r_peaks(limbs), find_r_peaks(chest)
        agreed += len(one) == len(two) and int(np.abs(one - two).max()) <= 15
    assert agreed >= 0.93 * len(sinus)
