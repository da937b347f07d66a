"""What the atria write when they neither rest nor contract as one: F waves and f waves.

Given lead by lead rather than as one dipole: the atria lie so near V1 that no distant dipole
shows them there as large as they are.
"""

from typing import Final

import numpy as np

from models.corpus.beatfinder import RATE_HZ, smooth
from models.corpus.remainder import Leads

#: How much of a wave that runs down the septum I, II, V1..V6 see; III and aVF follow.
_TYPICAL_SAW: Final = (0.08, -1.0, 0.1, 0.12, 0.0, -0.12, -0.22, -0.3)
_TYPICAL_PULSE: Final = (0.1, -0.15, 0.75, 0.35, 0.1, 0.0, -0.05, -0.1)
#: Fibrillation is best seen in V1, then below.
_FIBRILLATING: Final = (0.3, 0.6, 1.0, 0.6, 0.4, 0.3, 0.25, 0.22)


def flutter_waves(samples: int, rate_hz: float, phase_s: float, rng: np.random.Generator) -> Leads:
    """F waves in eight leads, (8, samples) microvolts.

    Typical (three of four): a slow fall, a steeper one and a quick rise, negative in II, III and
    aVF, with positive waves in V1; the reverse; or atypical, low and rounded, of any axis.
    """
    turn = ((np.arange(samples) / RATE_HZ - phase_s) * rate_hz) % 1.0
    steepness = float(rng.uniform(0.5, 0.75))
    saw = np.where(turn < steepness, turn / steepness, (1.0 - turn) / (1.0 - steepness))
    pulse = np.exp(-0.5 * (((turn - float(rng.uniform(0.35, 0.75))) / 0.14) ** 2))
    size = float(rng.uniform(95.0, 280.0))
    saw_seen, pulse_seen = np.array(_TYPICAL_SAW), np.array(_TYPICAL_PULSE)
    kind = rng.random()
    softening = 9
    if kind > 0.86:
        saw_seen = rng.normal(0.0, 0.35, 8)
        saw_seen[2] = float(rng.choice([-0.7, 0.7]))
        pulse_seen = rng.normal(0.0, 0.25, 8)
        size, softening = size * 0.8, 21
    elif kind > 0.74:
        saw_seen, pulse_seen = -saw_seen, -pulse_seen
    saw_seen = saw_seen * rng.normal(1.0, 0.12, 8)
    pulse_seen = pulse_seen * rng.normal(1.0, 0.2, 8)
    waves = np.outer(saw_seen, saw - saw.mean()) + np.outer(pulse_seen, pulse - pulse.mean())
    soft = smooth(np.asarray(waves * size, np.float32), softening)
    # However atypical, somewhere the waves are seen: in II, III or V1.
    strongest = float(np.ptp(np.stack([soft[1], soft[1] - soft[0], soft[2]]), axis=1).max())
    breath = 1.0 + 0.06 * np.sin(2 * np.pi * 0.25 * np.arange(samples) / RATE_HZ)
    return np.asarray(soft * breath * max(1.0, 130.0 / max(strongest, 1.0)), np.float32)


def fibrillatory_waves(samples: int, rng: np.random.Generator) -> Leads:
    """Fibrillatory waves of 4 to 9 Hz in eight leads, (8, samples) microvolts.

    Coarse or fine. Wavelets of wandering rate and size, each seen from its own side; sharper
    than a sine, as two harmonics make them.
    """
    time = np.arange(samples) / RATE_HZ
    main = float(rng.uniform(4.8, 8.0))
    out = np.zeros((8, samples))
    for index in range(4):
        knots = np.linspace(0.0, time[-1], 16)
        rate = main + rng.normal(0.0, 0.5) + np.interp(time, knots, rng.normal(0.0, 0.6, 16))
        turn = 2 * np.pi * np.cumsum(np.clip(rate, 4.0, 9.0)) / RATE_HZ + rng.uniform(0, 6.3)
        size = np.interp(time, knots, rng.uniform(0.1, 1.0, 16)) * (1.0 if index else 1.6)
        wave = np.sin(turn) + 0.35 * np.sin(2 * turn + rng.uniform(0, 6.3))
        seen = np.array(_FIBRILLATING) * rng.normal(0.6, 0.6, 8)
        out += np.outer(seen, size * wave)
    level = float(rng.uniform(32.0, 80.0) if rng.random() < 0.5 else rng.uniform(11.0, 32.0))
    largest = max(float(out[2].std()), float(out[1].std()), 1e-6)
    return np.asarray(out * (level / largest), np.float32)
