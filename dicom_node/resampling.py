"""Samples of one rate -> the same signal at another, without aliasing.

A windowed sinc (A. V. Oppenheim, R. W. Schafer, Discrete-Time Signal Processing, section 4.6): each
new sample is a weighted sum of the old ones around it. Where the new rate is lower, the same sum
takes away what it cannot hold.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

# Zero crossings on either side, the share of the band that passes, and the window's shape: what
# lies above half of the lower rate comes out 60 dB down or more.
_CROSSINGS: Final = 24
_PASS: Final = 0.86
_KAISER_BETA: Final = 8.0
# New samples at a time: bounds the weights of a very fast recording to some megabytes.
_BLOCK: Final = 512


def resample(
    signal: npt.NDArray[np.float64], rate_hz: float, new_rate_hz: float
) -> npt.NDArray[np.float64]:
    """Resample along the last axis.

    Parameters
    ----------
    signal : (leads, n) float64
        The first sample is at time zero; before and after, the signal stays as it is at its ends.
    rate_hz, new_rate_hz : float
        Samples a second, before and after.

    Returns
    -------
    (leads, round(n * new_rate_hz / rate_hz)) float64
    """
    if rate_hz == new_rate_hz:
        return signal
    count = round(signal.shape[-1] * new_rate_hz / rate_hz)
    band = min(1.0, new_rate_hz / rate_hz) * _PASS
    reach = math.ceil(_CROSSINGS / band)
    padded = np.pad(signal, ((0, 0), (reach, reach + 1)), mode="edge")
    resampled = np.empty((signal.shape[0], count))
    around = np.arange(-reach + 1, reach + 1)
    for first in range(0, count, _BLOCK):
        places = np.arange(first, min(first + _BLOCK, count)) * (rate_hz / new_rate_hz)
        whole = np.floor(places).astype(np.int64)
        # Rates that are multiples of each other share a few sets of weights.
        phases, phase = np.unique(np.round(places - whole, 9), return_inverse=True)
        distance = phases[:, None] - around
        window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (distance / reach) ** 2, 0, None)))
        weights = np.sinc(distance * band) * window
        weights = (weights / weights.sum(axis=1, keepdims=True))[phase]
        at = np.clip(whole[:, None] + around + reach, 0, padded.shape[-1] - 1)
        for lead, values in enumerate(padded):
            resampled[lead, first : first + len(places)] = (values[at] * weights).sum(axis=1)
    return resampled
