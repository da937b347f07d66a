"""Editing keeps what makes a recording look recorded, and refuses what it cannot take apart."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from edited_hearts import HEARTS, SEEDS, edited, heart, waves_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.corpus.beatfinder import INDEPENDENT, RATE_HZ, find_r_peaks
from models.corpus.edit import EDITS, NotEditable, edit, sheet
from models.corpus.records import load
from models.corpus.simulate import simulate
from models.labels import KEYS, index_of


@given(key=st.sampled_from(EDITS), number=st.sampled_from(HEARTS), seed=st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_the_signal_beats_when_the_plan_says(key: str, number: int, seed: int) -> None:
    one = edit(key, heart(number), seed)
    found = find_r_peaks(one.signal_uv) / RATE_HZ
    planned = [beat for beat in one.beats if 0.15 < beat.at_s < 9.8]
    missed = [b for b in planned if np.abs(found - b.at_s).min() > 0.08]
    slow = [b for b in missed if "ventricular" in b.shape]
    assert len(missed) - len(slow) <= (1 if key in ("preexcitation", "clbbb") else 0), missed
    assert len(planned) - len(slow) - 1 <= len(found) <= len(planned) + 3


def test_beats_of_a_ventricle_come_when_the_plan_says() -> None:
    """Nearly all: some are as slow and small as the T waves among which they are sought."""
    missed = beats = 0
    for seed in range(60):
        one = edit("pvc", heart(seed % len(HEARTS)), seed)
        found = find_r_peaks(one.signal_uv) / RATE_HZ
        early = [b for b in one.beats if "ventricular" in b.shape and 0.2 < b.at_s < 9.7]
        beats += len(early)
        missed += sum(np.abs(found - b.at_s).min() > 0.08 for b in early)
    assert beats > 100
    assert missed <= 0.08 * beats


@given(key=st.sampled_from(EDITS), number=st.sampled_from(HEARTS), seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_the_leads_agree_and_stay_in_range(key: str, number: int, seed: int) -> None:
    one = edit(key, heart(number), seed)
    assert one.signal_uv.shape == (12, 2500)
    assert one.signal_uv.dtype == np.int16
    assert one.synthetic
    assert one.key == key
    i, ii, iii, right, left, foot = one.signal_uv[:6].astype(np.int32)
    assert np.abs(i + iii - ii).max() <= 2
    assert np.abs(right + left + foot).max() <= 3
    assert np.abs(one.signal_uv.astype(np.int32)).max() < 8000


@pytest.mark.parametrize("key", EDITS)
def test_the_same_seed_gives_the_same_samples(key: str) -> None:
    first, again, other = (edit(key, heart(1), seed) for seed in (7, 7, 8))
    assert np.array_equal(first.signal_uv, again.signal_uv)
    assert first.beats == again.beats
    assert not np.array_equal(first.signal_uv, other.signal_uv)


@pytest.mark.parametrize("key", EDITS)
def test_no_step_betrays_a_join(key: str) -> None:
    """Outside the QRS the trace is nowhere much steeper than the source is there."""
    for seed in SEEDS[:12]:
        source = heart(seed % len(HEARTS))
        before = find_r_peaks(source)
        after = [round(b.at_s * RATE_HZ) for b in edited(key, seed).beats]
        rough = steepest_between(source, list(before))
        wave = {"afl": 45.0, "af": 35.0, "pvc": 45.0, "clbbb": 35.0}.get(key, 34.0)
        # A T wave squeezed by a fast rate is steeper by itself.
        assert steepest_between(edited(key, seed).signal_uv, after) < 1.35 * rough + wave


def steepest_between(signal: NDArray[np.int16], beats: list[int]) -> float:
    """The largest change from sample to sample away from any QRS, microvolts."""
    step = np.abs(np.diff(signal[list(INDEPENDENT)].astype(np.int32), axis=1)).max(axis=0)
    for at in beats:
        step[max(0, at - 32) : max(0, at + 38)] = 0
    return float(step.max())


def test_a_record_keeps_its_block_in_another_rhythm() -> None:
    source = simulate("crbbb", 2)
    laid = edit("af", source, 3).signal_uv
    assert waves_of(laid).qrs_ms >= 112.0
    with pytest.raises(NotEditable, match="broad already"):
        edit("clbbb", source, 3)


@pytest.mark.parametrize("key", ["af", "pac", "pvc", "atrial_escape"])
def test_what_is_no_plain_sinus_rhythm_is_refused(key: str) -> None:
    refused = 0
    for seed in range(12):
        try:
            edit("sinus", simulate(key, seed), 1)
        except NotEditable:
            refused += 1
    assert refused >= 11


def test_noise_flat_leads_and_runaway_leads_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(NotEditable):
        edit("af", rng.normal(0, 300, (12, 2500)).astype(np.int16), 1)
    for lead, level in ((1, 0), (8, 20000)):
        signal = heart(0).copy()
        signal[lead] = level
        with pytest.raises(NotEditable, match="a lead"):
            edit("af", signal, 1)
    with pytest.raises(NotEditable, match=r"noisy|alike|irregular") as why:
        edit("af", (heart(0) + rng.normal(0, 400, (12, 2500))).astype(np.int16), 1)
    assert why.value.reason == str(why.value)


@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(["noise", "walk", "loud", "short", "turned"]),
    rhythm=st.sampled_from(KEYS),
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_is_edited_or_refused(seed: int, kind: str, rhythm: str) -> None:
    rng = np.random.default_rng(seed)
    signal = simulate(rhythm, seed % 50).astype(np.float64)
    if kind == "noise":
        signal = rng.normal(0.0, rng.uniform(1.0, 2000.0), signal.shape)
    elif kind == "walk":
        signal += np.cumsum(rng.normal(0.0, 10.0, signal.shape), axis=1)
    elif kind == "loud":
        signal += rng.normal(0.0, rng.uniform(10.0, 300.0), signal.shape)
    elif kind == "short":
        signal = signal[:, : int(rng.integers(1, 2500))]
    else:
        signal = -np.roll(signal, int(rng.integers(2500)), axis=1)
    try:
        one = edit(EDITS[seed % len(EDITS)], signal, seed)
    except NotEditable:
        return
    assert one.signal_uv.shape == signal.shape


def test_other_shapes_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"expected a signal of shape \(12, n\)"):
        edit("af", np.zeros((3, 2500)), 1)


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(KeyError, match="expected one of sinus"):
        edit("asystole", heart(0), 1)


def test_every_finding_but_normal_can_be_made() -> None:
    assert set(EDITS) == set(KEYS) - {"normal"} | {"sinus"}


def test_a_sheet_shows_a_page_for_each_signal() -> None:
    one = sheet("pac", [heart(0)] * 3, [1, 2, 3])
    two = sheet("pac", [heart(0)] * 4, [1, 2, 3, 4])
    assert one.dtype == np.uint8
    assert one.shape[2] == 3
    assert two.shape == (2 * one.shape[0], *one.shape[1:])
    assert len(sheet("pac", [np.zeros((12, 2500), np.int16)], [1])) == 1


@pytest.mark.corpus
def test_most_real_sinus_rhythms_can_be_edited_and_beat_as_planned() -> None:
    records = load(Path(os.environ["ECG_CORPUS_DIR"]), parts=("train",))
    sinus = [
        r
        for r in records
        if r.source.startswith("PTB-XL") and r.judges and r.statements[0]
        and not r.targets[1:].any()
    ][:240]  # fmt: skip
    assert any(r.targets[index_of("normal")] for r in sinus)
    done, hits, beats = 0, 0, 0
    for number, record in enumerate(sinus):
        key = EDITS[number % len(EDITS)]
        try:
            one = edit("sinus" if number % 2 else key, record.signal_uv, number)
        except NotEditable:
            continue
        done += 1
        found = find_r_peaks(one.signal_uv) / RATE_HZ
        planned = [beat.at_s for beat in one.beats if 0.15 < beat.at_s < 9.8]
        beats += len(planned)
        hits += sum(np.abs(found - at).min() < 0.08 for at in planned)
    assert done >= 0.8 * len(sinus)
    assert hits >= 0.985 * beats
