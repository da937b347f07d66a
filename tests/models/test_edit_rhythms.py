"""Each edited rhythm keeps the intervals that define it, measured on the signal it makes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from edited_hearts import (
    HEARTS,
    SEEDS,
    beats_of,
    busy_ms,
    edited,
    heart,
    p_size,
    times_of,
    typical,
    waves_of,
)

from models.corpus.beatfinder import RATE_HZ, find_r_peaks


def test_sinus_stays_sinus() -> None:
    rates = []
    for seed in SEEDS:
        rr = np.diff(times_of("sinus", seed))
        rates.append(60.0 / rr.mean())
        assert 43.0 < rates[-1] < 143.0
        assert np.abs(np.diff(rr)).max() < 0.2 * rr.mean()
        assert edited("sinus", seed).usual_rate == pytest.approx(50.0 <= rates[-1] <= 100.0) or (
            min(abs(rates[-1] - 50.0), abs(rates[-1] - 100.0)) < 2.0
        )
    assert max(rates) - min(rates) > 25.0


def test_the_control_keeps_the_shape_of_the_beat() -> None:
    for seed in SEEDS[:12]:
        source, laid = heart(seed % len(HEARTS)), edited("sinus", seed).signal_uv
        one = typical(source, list(find_r_peaks(source) / RATE_HZ))[:, 50:140]
        two = typical(laid, list(find_r_peaks(laid) / RATE_HZ))[:, 50:140]
        one, two = one - one.mean(axis=1, keepdims=True), two - two.mean(axis=1, keepdims=True)
        assert float((one * two).sum() / np.linalg.norm(one) / np.linalg.norm(two)) > 0.97


def test_t_ends_earlier_at_a_faster_rate() -> None:
    ends = []
    for seed in range(60):
        rr = float(np.median(np.diff(times_of("sinus", seed))))
        m = waves_of(edited("sinus", seed).signal_uv)
        source = waves_of(heart(seed % len(HEARTS)))
        source_rr = float(np.median(np.diff(find_r_peaks(heart(seed % len(HEARTS))))) / RATE_HZ)
        ends.append((np.log(rr / source_rr), np.log(m.t_peak / source.t_peak)))
    longer, later = np.array(ends).T
    slope = float(np.polyfit(longer, later, 1)[0])
    assert 0.2 < slope < 0.75


def test_a_pvc_is_early_and_broad_and_its_pause_compensates() -> None:
    lone = 0
    for seed in SEEDS:
        shown = beats_of("pvc", seed)
        assert any(beat.role == "premature" for beat, _ in shown)
        normal = [at for beat, at in shown if beat.role == "sinus"]
        sinus = [b - a for (x, a), (y, b) in pairwise(shown) if x.role == y.role == "sinus"]
        for (a, ta), (b, tb), (c, tc) in zip(shown, shown[1:], shown[2:], strict=False):
            if (a.role, b.role, c.role) != ("sinus", "premature", "sinus") or len(sinus) < 2:
                continue
            lone += 1
            rr = float(np.median(sinus))
            assert tb - ta < 0.92 * rr
            assert tc - ta == pytest.approx(2.0 * rr, rel=0.1)
            signal = edited("pvc", seed).signal_uv
            assert busy_ms(signal, tb) > busy_ms(signal, *normal) + 24.0
    assert lone >= 10


def test_a_pac_is_early_and_its_pause_does_not_compensate() -> None:
    alone, narrow = 0, 0
    for seed in SEEDS:
        shown = beats_of("pac", seed)
        assert any(beat.role == "premature" for beat, _ in shown)
        sinus = [b - a for (x, a), (y, b) in pairwise(shown) if x.role == y.role == "sinus"]
        for (a, ta), (b, tb), (c, tc) in zip(shown, shown[1:], shown[2:], strict=False):
            if (a.role, b.role, c.role) != ("sinus", "premature", "sinus") or len(sinus) < 3:
                continue
            rr = float(np.median(sinus))
            alone += 1
            narrow += b.shape == "own"
            assert tb - ta < 0.9 * rr
            assert 1.0 * rr < tc - ta < 2.0 * rr
    assert alone >= 10
    assert narrow >= 0.6 * alone


@pytest.mark.parametrize(("key", "role"), [("pac", "premature"), ("atrial_escape", "escape"),
                                           ("at", "run")])  # fmt: skip
def test_the_p_of_another_focus_looks_different(key: str, role: str) -> None:
    unlike = []
    for seed in SEEDS:
        shown = beats_of(key, seed)
        ours = [at - b.pr_s for b, at in shown if b.role == role and b.p == "ectopic"]
        if not ours:
            continue
        source = heart(seed % len(HEARTS))
        own_pr = -waves_of(source).p_peak / RATE_HZ
        sinus = typical(source, list(find_r_peaks(source) / RATE_HZ - own_pr))[:3, 88:113]
        other = typical(edited(key, seed).signal_uv, ours)[:3, 88:113]
        sinus, other = sinus - sinus.mean(1, keepdims=True), other - other.mean(1, keepdims=True)
        alike = (sinus * other).sum() / np.linalg.norm(sinus) / np.linalg.norm(other)
        unlike.append(float(alike) < 0.85)
    assert len(unlike) >= 12
    assert np.mean(unlike) >= 0.8


def test_an_escape_beat_ends_a_pause_and_is_narrow() -> None:
    for seed in SEEDS:
        shown = beats_of("atrial_escape", seed)
        late = [(ta, tb, a) for (a, ta), (b, tb) in pairwise(shown) if b.role == "escape"]
        assert late
        signal = edited("atrial_escape", seed).signal_uv
        sinus = [b - a for (x, a), (y, b) in pairwise(shown) if x.role == y.role == "sinus"]
        for ta, tb, before in late:
            assert 0.95 < tb - ta < 1.85  # 32 to 63 a minute
            if before.role == "sinus" and sinus:
                assert tb - ta > 1.2 * float(np.median(sinus))
        assert busy_ms(signal, *[tb for _, tb, _ in late]) < 125.0


def test_an_atrial_tachycardia_runs_at_130_to_250() -> None:
    salvos, halves = 0, 0
    for seed in SEEDS:
        one = edited("at", seed)
        run = [at for beat, at in beats_of("at", seed) if beat.role == "run"]
        assert run[-1] - run[0] >= 2.5
        salvos += any(beat.role == "sinus" for beat, _ in beats_of("at", seed))
        atrial = [p for p in one.atria_s if run[0] - 0.3 < p < run[-1]]
        assert 125.0 < 60.0 / float(np.median(np.diff(atrial))) < 255.0
        ratio = float(np.median(np.diff(run))) / float(np.median(np.diff(atrial)))
        assert min(abs(ratio - 1.0), abs(ratio - 2.0)) < 0.08
        halves += ratio > 1.5
    assert 3 <= salvos <= len(SEEDS) - 3
    assert 1 <= halves <= len(SEEDS) // 2


def test_flutter_conducts_every_second_to_fourth_wave() -> None:
    for seed in SEEDS:
        cycle = float(np.median(np.diff(edited("afl", seed).atria_s)))
        assert 240.0 <= 60.0 / cycle <= 340.0
        ratio = np.diff([at for _, at in beats_of("afl", seed)]) / cycle
        assert np.abs(ratio - np.rint(ratio)).max() < 0.2
        assert set(np.rint(ratio).astype(int)) <= {2, 3, 4}


def test_flutter_waves_stand_in_the_spectrum_of_the_trace() -> None:
    seen = 0
    for seed in SEEDS:
        signal = edited("afl", seed).signal_uv
        hertz = 1.0 / float(np.median(np.diff(edited("afl", seed).atria_s)))
        leads = signal[[1, 5, 6]].astype(np.float64)
        time = np.arange(2500)
        keep = np.ones(2500, bool)
        for at in find_r_peaks(signal):
            keep[max(0, at - 14) : at + 16] = False
        quiet = np.stack([np.interp(time, time[keep], lead[keep]) for lead in leads])
        quiet -= quiet.mean(axis=1, keepdims=True)
        power = (np.abs(np.fft.rfft(quiet * np.hanning(2500), axis=1)) ** 2).max(axis=0)
        grid = np.fft.rfftfreq(2500, 1 / RATE_HZ)
        band = (grid > 3.4) & (grid < 7.0)
        seen += abs(grid[band][np.argmax(power[band])] - hertz) < 0.2
    assert seen >= 0.75 * len(SEEDS)


def test_fibrillation_is_irregular_and_without_p() -> None:
    rates = []
    for seed in SEEDS:
        rr = np.diff(times_of("af", seed))
        rates.append(60.0 / rr.mean())
        assert rr.std() / rr.mean() > 0.08
        assert 45.0 < rates[-1] < 170.0
        source = heart(seed % len(HEARTS))
        assert not edited("af", seed).atria_s
        p = p_size(source, find_r_peaks(source), waves_of(source))
        left = p_size(edited("af", seed).signal_uv, find_r_peaks(edited("af", seed).signal_uv),
                      waves_of(source))  # fmt: skip
        # At fast rates the T before stands where P would be.
        assert rates[-1] > 110.0 or left < 0.6 * p or left < 50.0
    assert max(rates) - min(rates) > 40.0
    spread = [np.std(rr) / np.mean(rr) for rr in (np.diff(times_of("af", s)) for s in SEEDS)]
    assert np.median(spread) > 0.13


def test_preexcitation_shortens_pr_and_slurs_the_qrs() -> None:
    ways, shorter, short, wider = set(), list[float](), list[float](), list[float]()
    for seed in SEEDS:
        source, signal = heart(seed % len(HEARTS)), edited("preexcitation", seed).signal_uv
        before, after = waves_of(source), waves_of(signal)
        shorter.append(before.pr_ms - after.pr_ms)
        short.append(after.pr_ms)
        wider.append(after.qrs_ms - before.qrs_ms)
        beat = typical(signal, [at for _, at in beats_of("preexcitation", seed)])
        delta = beat[:, 100 + after.qrs_onset + 8] - beat[:, 100 + after.qrs_onset - 1]
        ways.add(tuple(np.sign(delta[[0, 1, 2]]).astype(int)))
    # A slurred start is seen some samples late, and in a few only the steep part is seen.
    assert np.median(short) < 120.0
    assert np.mean(np.array(short) < 140.0) > 0.7
    assert np.median(shorter) > 25.0
    assert np.median(wider) > 24.0
    assert np.mean(np.array(wider) > 8.0) > 0.85
    assert len(ways) >= 4


@pytest.mark.parametrize("key", ["clbbb", "crbbb"])
def test_a_bundle_branch_block_is_broad_late_and_discordant(key: str) -> None:
    for seed in SEEDS:
        signal = edited(key, seed).signal_uv
        m = waves_of(signal)
        assert m.qrs_ms >= 116.0
        beat = typical(signal, [at for _, at in beats_of(key, seed)])
        beat -= beat[:, 100 + m.qrs_onset - 4 : 100 + m.qrs_onset].mean(axis=1, keepdims=True)
        late = beat[:, 100 + (m.qrs_onset + m.qrs_end) // 2 : 100 + m.qrs_end]
        t = beat[:, 100 + m.t_peak]
        if key == "clbbb":
            assert beat[2, 100 + m.qrs_onset : 100 + m.qrs_end].min() < -300.0
            assert beat[7, 100 + m.qrs_onset : 100 + m.qrs_end].max() > 300.0
            assert t[2] > 0 > t[7]
        else:
            assert late[2].max() > 250.0
            assert late[7].min() < -80.0
            assert late[0].min() < -60.0
            assert t[2] < 0.3 * late[2].max()
