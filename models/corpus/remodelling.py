"""Beats that a real heart does not show, made of those that it does.

Every builder starts from the patient's own QRS, T and P (`dissection.Dissected`): their size, what
each lead sees of them and their details stay. What is added is a dipole seen through Dower's
matrix (`beats.DOWER`), corrected by how this patient's leads differ from that mean torso. Axes: X
to the left, Y to the feet, Z to the back; microvolts; 250 Hz.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.corpus.beatfinder import RATE_HZ, smooth
from models.corpus.beats import DOWER, Wave, left_block_qrs, ventricular_qrs
from models.corpus.dissection import Complex, Dissected
from models.corpus.remainder import Leads

_TO_VECTOR: Final = np.linalg.pinv(DOWER)
#: Samples before R in a complex that is made here.
_LEAD_IN: Final = 50

#: Where an accessory pathway sits, and the way its delta wave points.
PATHWAYS: Final = {
    "left lateral": (-0.25, 0.7, -0.75),
    "left posterior": (0.35, -0.55, -0.85),
    "right posteroseptal": (0.75, -0.7, 0.25),
    "right lateral": (0.95, 0.25, 0.5),
    "anteroseptal": (0.6, 0.85, 0.45),
}


@dataclass(frozen=True)
class Torso:
    """How large this heart is, and how its leads see a dipole.

    Attributes
    ----------
    size_uv : float
        Length of the longest QRS vector.
    sight : (8, 3)
        Dipole to leads.
    """

    size_uv: float
    sight: NDArray[np.float64]


def torso_of(heart: Dissected) -> Torso:
    """Fit Dower's leads to the patient's QRS, within reason."""
    qrs = heart.qrs.astype(np.float64)
    vector = _TO_VECTOR @ qrs
    seen = DOWER @ vector
    ratio = np.sqrt(((qrs**2).mean(axis=1) + 900.0) / ((seen**2).mean(axis=1) + 900.0))
    gain = np.clip(ratio, 0.5, 1.7)
    size = float(np.linalg.norm(vector, axis=0).max())
    return Torso(float(np.clip(size, 500.0, 2600.0)), DOWER * gain[:, None])


def ectopic_p(heart: Dissected, rng: np.random.Generator) -> tuple[Leads, int]:
    """A P wave of another focus, (8, n), and the sample of its peak.

    Low in the atria (negative below), left (negative in I), or high on the right (pointed, of
    another axis); never like the sinus P.
    """
    own = heart.p_uv
    strength = float(np.percentile(np.linalg.norm(_TO_VECTOR @ own, axis=0), 97))
    strength = float(np.clip(strength, 70.0, 220.0))
    time = np.arange(-17, 18) / RATE_HZ
    ways = (
        (0.15, -1.0, -0.1), (0.45, -0.85, 0.2), (-0.25, -0.9, -0.35), (-0.75, 0.35, -0.5),
        (-0.8, -0.45, -0.3), (0.35, 1.15, 0.55),
    )  # fmt: skip
    for _ in range(12):
        way = np.array(ways[int(rng.integers(len(ways)))]) + rng.normal(0.0, 0.15, 3)
        turned = way + rng.normal(0.0, 0.45, 3)
        size = strength * float(rng.uniform(0.8, 1.35))
        gap, wide = float(rng.uniform(0.006, 0.018)), float(rng.uniform(0.012, 0.018))
        early = np.exp(-0.5 * ((time + gap) / wide) ** 2)
        late = np.exp(-0.5 * ((time - gap) / wide) ** 2)
        loop = 0.6 * size * (np.outer(way, early) + np.outer(turned, late))
        made = (DOWER @ loop).astype(np.float32) * np.hanning(len(time)).astype(np.float32) ** 0.4
        if _unlike(made, own, heart.p_peak):
            break
    return made, 17


def _unlike(made: Leads, own: Leads, peak: int) -> bool:
    width = min(peak, own.shape[1] - peak - 1, 15)
    ours, theirs = made[:, 17 - width : 18 + width], own[:, peak - width : peak + width + 1]
    # Limb leads and V1: where the eye compares P waves.
    ours, theirs = ours[:3].ravel(), theirs[:3].ravel()
    scale = float(np.linalg.norm(ours) * np.linalg.norm(theirs)) + 1e-6
    return float(ours @ theirs) / scale < 0.55


def ventricular(heart: Dissected, rng: np.random.Generator) -> Complex:
    """A beat born in a ventricle: broad, slow from its start, T against the QRS."""
    torso = torso_of(heart)
    waves, main = ventricular_qrs(rng)
    length = _LEAD_IN + 150
    size = torso.size_uv * float(rng.uniform(0.85, 1.5)) / float(np.linalg.norm(main))
    loop = _loop(waves, length) * size
    if rng.random() < 0.5:
        # The patient's own loop, slow and turned into the main direction, lends its details.
        own = _TO_VECTOR @ heart.qrs
        slow = _stretched(own, float(rng.uniform(1.5, 1.9)))
        peak = int(np.argmax(np.linalg.norm(slow, axis=0)))
        turned = _turn_onto(slow[:, peak], main) @ slow * float(rng.uniform(0.4, 0.8))
        first = _LEAD_IN - peak
        loop *= 0.7
        start, stop = max(first, 0), min(first + turned.shape[1], length)
        loop[:, start:stop] += turned[:, start - first : stop - first]
    qrs = smooth((torso.sight @ loop).astype(np.float32), 7)
    return _with_discordant_t(qrs, heart, float(rng.uniform(0.3, 0.5)), own_t=0.0, late=10)


def left_block(heart: Dissected, rng: np.random.Generator) -> Complex:
    """Complete LBBB: no septal q, broad and often notched on the left, QS or rS in V1."""
    torso = torso_of(heart)
    length = _LEAD_IN + 150
    loop = _loop(left_block_qrs(rng), length, pace=0.84) * torso.size_uv
    aside = np.array([0.85, 0.0, 1.0]) + rng.normal(0.0, (0.15, 0.25, 0.2))
    loop = _turn_onto(np.array([1.0, 0.0, 0.8]), aside) @ loop * float(rng.uniform(0.65, 0.95))
    # The right ventricle comes first: a small r in V1 of most.
    first = Wave(-0.062, 0.009, (0.05, 0.0, -float(rng.uniform(0.05, 0.45))))
    loop += _loop((first,), length) * torso.size_uv
    qrs = (torso.sight @ loop).astype(np.float32)
    own = smooth(_stretched(heart.qrs, float(rng.uniform(1.35, 1.55))).astype(np.float32), 5)
    peak = int(np.argmax(np.abs(own).sum(axis=0)))
    later = _step(np.arange(own.shape[1]), 9.0, 2.5)
    start = _LEAD_IN - peak
    qrs[:, start : start + own.shape[1]] += (0.3 * own * later).astype(np.float32)
    strength = float(rng.uniform(0.2, 0.36))
    return _with_discordant_t(smooth(qrs, 5), heart, strength, own_t=0.2, late=0)


def right_block(heart: Dissected, rng: np.random.Generator) -> Complex:
    """Complete RBBB: the own QRS, then slow forces to the right and to the front."""
    torso = torso_of(heart)
    base, r = _own_on_grid(heart)
    own = heart.own
    onset = r + heart.marks.qrs_onset
    late_s = float(rng.uniform(0.088, 0.112))
    peak = onset + late_s * RATE_HZ
    wide = float(rng.uniform(0.013, 0.019)) * RATE_HZ
    time = np.arange(base.shape[1])
    pulse = np.exp(-0.5 * ((time - peak) / np.where(time < peak, 0.85 * wide, 1.15 * wide)) ** 2)
    way = np.array([-0.42, rng.normal(0.05, 0.12), -0.72]) + rng.normal(0.0, 0.06, 3)
    size = torso.size_uv * float(rng.uniform(0.45, 0.85))
    terminal = torso.sight @ np.outer(way * size, pulse)
    # What the left ventricle alone leaves of S, least of it over the right one (V1 to V3).
    less = np.full((len(base), 1), float(rng.uniform(0.2, 0.5)))
    less[2:5] = float(rng.uniform(0.5, 0.9))
    fades = 1.0 - less * _step(time, r, 2.0)
    j = int(peak + 2.0 * wide)
    tail = _step(time, r + own.j - own.r + 4.0, 3.0)
    t = base * (0.65 * tail).astype(np.float32)
    qrs = base * (fades * (1.0 - tail)).astype(np.float32)
    against = _discordant(terminal, heart, r, j, float(rng.uniform(0.35, 0.7)))
    return Complex(qrs + terminal.astype(np.float32) + t + against, r, j)


def preexcited(heart: Dissected, rng: np.random.Generator) -> tuple[Complex, int]:
    """The own QRS begun early over an accessory pathway, and the sample where delta begins."""
    torso = torso_of(heart)
    base, r = _own_on_grid(heart)
    onset = r + heart.marks.qrs_onset
    name = tuple(PATHWAYS)[int(rng.integers(len(PATHWAYS)))]
    way = np.array(PATHWAYS[name]) + rng.normal(0.0, 0.12, 3)
    way /= float(np.linalg.norm(way))
    early = float(rng.uniform(0.034, 0.06)) * RATE_HZ
    start = int(onset - early)
    time = np.arange(base.shape[1], dtype=np.float64)
    rise = np.clip((time - start) / (early + 0.024 * RATE_HZ), 0.0, 1.0) ** 1.1
    fall = 1.0 - _step(time, r + 4.0, 3.5)
    share = float(rng.uniform(0.28, 0.62))
    delta = smooth(
        (torso.sight @ np.outer(way * share * torso.size_uv, rise * fall)).astype(np.float32), 5
    )
    # The normal front finds the first part of the ventricles already excited.
    taken = float(rng.uniform(0.4, 0.9)) * (1.0 - _step(time, r - 3.0, 2.0))
    fused = base * (1.0 - taken).astype(np.float32) + delta
    j = r + heart.own.j - heart.own.r + 1
    against = _discordant(delta, heart, r, j, float(rng.uniform(0.35, 0.75)))
    return Complex(fused + against, r, j), start


def _own_on_grid(heart: Dissected) -> tuple[Leads, int]:
    """The own QRS-T with room before it, and its R."""
    room = max(0, _LEAD_IN - heart.own.r)
    return np.pad(heart.own.uv, ((0, 0), (room, 30))), heart.own.r + room


def _loop(waves: tuple[Wave, ...], length: int, *, pace: float = 1.0) -> NDArray[np.float64]:
    """A dipole's way (3, length), R at `_LEAD_IN`, `pace` times as long as the waves say."""
    time = (np.arange(length) - _LEAD_IN) / (RATE_HZ * pace)
    out = np.zeros((3, length))
    for wave in waves:
        out += np.outer(wave.dipole_mv, np.exp(-0.5 * ((time - wave.at_s) / wave.sigma_s) ** 2))
    return out


def _stretched(waves: NDArray[np.floating], factor: float) -> NDArray[np.float64]:
    """A slower wave, with ends that come from and go to zero."""
    count = waves.shape[1]
    at = np.linspace(0.0, count - 1.0, round(count * factor))
    low = np.minimum(at.astype(np.intp), count - 2)
    part = at - low
    slow = waves[:, low] * (1.0 - part) + waves[:, low + 1] * part
    ends = np.minimum(1.0, np.minimum(np.arange(len(at)), np.arange(len(at))[::-1]) / 6.0)
    return np.asarray(slow * ends, np.float64)


def _turn_onto(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest rotation that turns the direction of `a` into that of `b`."""
    u, v = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis, cosine = np.cross(u, v), float(u @ v)
    if cosine < -0.99:
        return -np.eye(3)
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.asarray(np.eye(3) + k + k @ k / (1.0 + cosine))


def _discordant(
    qrs: NDArray[np.floating], heart: Dissected, r: int, j: int, strength: float, *, late: int = 0
) -> Leads:
    """ST and T against the QRS in every lead, `late` samples later than the patient's own T."""
    # What a QRS of this area, about 120 ms long at half its height, would be high.
    height = qrs.sum(axis=1) / (0.124 * RATE_HZ)
    peak = max(r + heart.marks.t_peak + late, j + round(0.12 * RATE_HZ))
    time = np.arange(qrs.shape[1])
    pulse = np.exp(-0.5 * ((time - peak) / np.where(time < peak, 18.0, 13.0)) ** 2)
    pulse *= np.minimum(1.0, time[::-1] / 12.0) * _step(time, j - 6.0, 3.0)
    return np.asarray(np.outer(-strength * height, pulse), np.float32)


def _with_discordant_t(
    qrs: Leads, heart: Dissected, strength: float, *, own_t: float, late: int
) -> Complex:
    """Complete a broad QRS (R at `_LEAD_IN`) with its T."""
    size = np.abs(qrs).sum(axis=0)
    j = int(np.flatnonzero(size > 0.06 * size.max())[-1])
    out = qrs + _discordant(qrs, heart, _LEAD_IN, j, strength, late=late)
    if own_t:
        base, r = _own_on_grid(heart)
        later = _step(np.arange(base.shape[1]), r + heart.own.j - heart.own.r + 8, 3.0)
        t = base * (own_t * later).astype(np.float32)
        width = min(t.shape[1] - (r - _LEAD_IN), out.shape[1])
        out[:, :width] += t[:, r - _LEAD_IN : r - _LEAD_IN + width]
    time = np.arange(out.shape[1])
    ends = np.minimum(1.0, np.minimum(time, time[::-1]) / 10.0).astype(np.float32)
    return Complex(out * ends, _LEAD_IN, j)


def _step(time: NDArray[Any], at: float, width: float) -> NDArray[np.float64]:
    """From 0 to 1 around `at`, within a few `width`."""
    return np.asarray(1.0 / (1.0 + np.exp(-(time - at) / width)), np.float64)
