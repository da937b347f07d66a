"""Simulated twelve-lead ECGs of each of the ten findings.

For the demonstration, for tests and to show rare rhythms to the network while it trains. Never
for claims: a network that reads these well may read real ECGs badly.

A rhythm is first a schedule of beats (`schedule`), each with its kind and its P wave, then a
signal. Keeping the schedule lets a test compare the drawn intervals with the intended ones.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.corpus import beats as b
from models.corpus.rhythms import Beat, schedule
from models.labels import index_of

RATE_HZ: Final = 250.0
SAMPLES: Final = 2500


@dataclass(frozen=True)
class Simulation:
    """A simulated ECG and what was meant by it.

    Attributes
    ----------
    signal_uv : int16 (12, 2500)
        Microvolts at 250 Hz, leads I II III aVR aVL aVF V1..V6.
    beats : tuple of Beat
        Every ventricular beat, in time.
    """

    signal_uv: NDArray[np.int16]
    beats: tuple[Beat, ...]


def simulate(key: str, seed: int) -> NDArray[np.int16]:
    """A simulated ECG showing the finding `key`.

    Parameters
    ----------
    key : str
        One of `models.labels.KEYS`.
    seed : int
        The same key and seed give the same samples.

    Returns
    -------
    int16 (12, 2500)
        Microvolts, 10 s at 250 Hz, leads I II III aVR aVL aVF V1..V6.

    Raises
    ------
    KeyError
        If `key` is unknown.
    """
    return simulate_annotated(key, seed).signal_uv


def simulate_annotated(key: str, seed: int) -> Simulation:
    """As `simulate`, with the schedule of the beats."""
    rng = np.random.default_rng((index_of(key), seed))
    heart = b.any_heart(rng)
    plan = schedule(key, rng)
    vector = np.zeros((3, SAMPLES))
    shared = _shared_qrs(key, rng)
    ventricular = b.ventricular_qrs(rng)
    spread = rng.uniform(0.0, 0.06)
    focus = int(rng.integers(2**31))
    for beat in plan.beats:
        waves = _beat_waves(beat, heart, shared, ventricular, focus)
        breath = 1.0 + spread * float(np.sin(2 * np.pi * 0.25 * beat.at_s))
        live = b.Heart(heart.gain * breath, heart.turn, heart.pr_s, heart.p_mv, heart.t_gain)
        b.add_waves(vector, RATE_HZ, live, beat.at_s, waves)
    if plan.flutter_hz:
        vector += _flutter(plan.flutter_hz, plan.flutter_phase_s, heart, rng)
    if plan.fibrillates:
        vector += _fibrillation(heart, rng)
    signal = b.leads_from_vector(vector) + _noise(rng)
    limited = np.clip(np.rint(signal * 1000.0), -32000, 32000)
    return Simulation(limited.astype(np.int16), plan.beats)


def _shared_qrs(
    key: str, rng: np.random.Generator
) -> tuple[tuple[b.Wave, ...], tuple[float, float, float]]:
    """QRS and T of the conducted beats."""
    if key == "clbbb":
        return b.left_block_qrs(rng), b.LEFT_BLOCK_T
    if key == "crbbb":
        return b.right_block_qrs(rng), b.RIGHT_BLOCK_T
    if key == "preexcitation":
        return b.delta_qrs(rng), b.DELTA_T
    return b.narrow_qrs(), b.NORMAL_T


def _beat_waves(
    beat: Beat,
    heart: b.Heart,
    shared: tuple[tuple[b.Wave, ...], tuple[float, float, float]],
    ventricular: tuple[tuple[b.Wave, ...], NDArray[np.float64]],
    focus: int,
) -> tuple[b.Wave, ...]:
    if beat.kind == "ventricular":
        waves, main = ventricular
        discordant = (-0.38 * main[0], -0.38 * main[1], -0.38 * main[2])
        wide = float(np.clip(beat.rr_s, 0.7, 1.2))
        return waves + b.t_wave(heart, wide, discordant)
    qrs, t_dipole = shared
    waves = qrs + b.t_wave(heart, beat.rr_s, t_dipole)
    if beat.p == "sinus":
        waves += b.sinus_p(heart, at_s=-beat.pr_s)
    elif beat.p == "ectopic":
        # One focus keeps one P axis: the same generator for all beats of the ECG.
        waves += b.ectopic_p(heart, np.random.default_rng(focus), at_s=-beat.pr_s)
    return waves


def _flutter(
    rate_hz: float, phase_s: float, heart: b.Heart, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Sawtooth, negative below (II, III, aVF), positive in V1: slow fall, quick rise."""
    time = np.arange(SAMPLES) / RATE_HZ
    turn = ((time - phase_s) * rate_hz) % 1.0
    saw = np.where(turn < 0.7, -turn / 0.7, (turn - 1.0) / 0.3)
    kernel = np.hanning(9)
    saw = np.convolve(saw - saw.mean(), kernel / kernel.sum(), mode="same")
    size = float(rng.uniform(0.14, 0.3)) * max(heart.gain, 0.7)
    direction = np.array([0.1 * rng.normal(), 1.0, 0.45]) * size
    wave: NDArray[np.float64] = direction[:, None] * saw[None, :]
    return wave


def _fibrillation(heart: b.Heart, rng: np.random.Generator) -> NDArray[np.float64]:
    """Fibrillatory waves: 4 to 9 Hz, wandering in rate and size, largest in V1."""
    time = np.arange(SAMPLES) / RATE_HZ
    out = np.zeros((3, SAMPLES))
    for _ in range(4):
        slow = np.interp(time, np.linspace(0, 10, 12), rng.normal(0.0, 0.7, 12))
        rate = float(rng.uniform(4.5, 8.5)) + slow
        size = np.interp(time, np.linspace(0, 10, 15), rng.uniform(0.2, 1.0, 15))
        wave = size * np.sin(2 * np.pi * np.cumsum(rate) / RATE_HZ + rng.uniform(0, 6.3))
        out += rng.normal(0.0, (0.3, 0.7, 0.8))[:, None] * wave[None, :]
    level = float(rng.uniform(0.015, 0.07)) * max(heart.gain, 0.6)
    scaled: NDArray[np.float64] = out * (level / max(float(out.std()), 1e-6))
    return scaled


def _noise(rng: np.random.Generator) -> NDArray[np.float64]:
    """Breathing baseline, muscle and mains, in millivolt."""
    time = np.arange(SAMPLES) / RATE_HZ
    drift = np.zeros((12, SAMPLES))
    for _ in range(3):
        rate = rng.uniform(0.05, 0.4)
        drift += rng.normal(0, 0.03, (12, 1)) * np.sin(2 * np.pi * rate * time + rng.uniform(0, 6))
    muscle = rng.normal(0.0, float(rng.uniform(0.002, 0.014)), (12, SAMPLES))
    mains = float(rng.choice([0.0, 0.0, 0.006])) * np.sin(2 * np.pi * 50.0 * time)
    total: NDArray[np.float64] = drift + muscle + mains[None, :]
    return total
