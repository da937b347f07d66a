"""One heartbeat as moving dipoles, seen by twelve leads.

Each wave is a Gaussian pulse of a dipole with a direction in space; the leads follow by Dower's
matrix from the three orthogonal components (X to the left, Y to the feet, Z to the back), and
Einthoven and Goldberger give the remaining limb leads. All of a beat's leads therefore agree with
each other as those of a real heart do. Amplitudes are in millivolt, times in seconds.

References
----------
Dower, Machado, Osborne, *On deriving the electrocardiogram from vectorcardiographic leads*, 1980.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Rows I, II, V1..V6; columns X, Y, Z.
DOWER: Final = np.array(
    [
        (0.632, -0.235, 0.059),
        (0.235, 1.066, -0.132),
        (-0.515, 0.157, -0.917),
        (0.044, 0.164, -1.387),
        (0.882, 0.098, -1.277),
        (1.213, 0.127, -0.601),
        (1.125, 0.127, -0.086),
        (0.831, 0.076, 0.230),
    ]
)


@dataclass(frozen=True)
class Wave:
    """A pulse: where its peak stands relative to the R wave, how long, how strong."""

    at_s: float
    sigma_s: float
    dipole_mv: tuple[float, float, float]


@dataclass(frozen=True)
class Heart:
    """What stays the same from beat to beat in one person.

    Attributes
    ----------
    gain : float
        Overall amplitude.
    turn : (3, 3)
        Rotation of the heart in the chest.
    pr_s : float
        From P peak to R peak.
    p_mv, t_gain : float
        Size of P and T.
    """

    gain: float
    turn: NDArray[np.float64]
    pr_s: float
    p_mv: float
    t_gain: float


def any_heart(rng: np.random.Generator) -> Heart:
    """A heart with the spread of a clinic's patients."""
    return Heart(
        gain=float(rng.lognormal(-0.05, 0.25)),
        turn=_rotation(rng.normal(0.0, (12.0, 12.0, 20.0))),
        pr_s=float(rng.uniform(0.12, 0.17)),
        p_mv=float(rng.uniform(0.09, 0.17)),
        t_gain=float(rng.uniform(0.6, 1.3)),
    )


def sinus_p(heart: Heart, *, at_s: float | None = None) -> tuple[Wave, ...]:
    """Sinus P: upright in I, II and aVF, biphasic in V1."""
    at = -heart.pr_s if at_s is None else at_s
    size = heart.p_mv
    return (
        Wave(at - 0.014, 0.018, (0.25 * size, 0.75 * size, -0.35 * size)),
        Wave(at + 0.016, 0.018, (0.45 * size, 0.55 * size, 0.35 * size)),
    )


def ectopic_p(heart: Heart, rng: np.random.Generator, *, at_s: float) -> tuple[Wave, ...]:
    """P from elsewhere in the atria: another axis, often inverted below."""
    size = heart.p_mv * float(rng.uniform(0.8, 1.4))
    inferior = float(rng.choice([-1.0, -0.7, 0.25])) * size
    sideways = float(rng.uniform(-0.7, 0.7)) * size
    return (Wave(at_s, float(rng.uniform(0.014, 0.022)), (sideways, inferior, -0.2 * size)),)


def narrow_qrs() -> tuple[Wave, ...]:
    """Septum, free wall, base: a QRS of 80 to 100 ms."""
    return (
        Wave(-0.022, 0.008, (-0.16, -0.06, -0.26)),
        Wave(0.0, 0.011, (1.05, 0.85, 0.35)),
        Wave(0.024, 0.010, (-0.22, -0.12, 0.42)),
    )


def left_block_qrs(rng: np.random.Generator) -> tuple[Wave, ...]:
    """Complete LBBB: no septal q, broad notched R laterally, QS or rS in V1; 130 to 170 ms."""
    wide = float(rng.uniform(0.95, 1.2))
    return (
        Wave(-0.048 * wide, 0.015 * wide, (0.35, 0.22, 0.02)),
        Wave(-0.018 * wide, 0.019 * wide, (0.85, 0.25, 0.75)),
        Wave(0.032 * wide, 0.020 * wide, (0.95, 0.05, 0.95)),
    )


def right_block_qrs(rng: np.random.Generator) -> tuple[Wave, ...]:
    """Complete RBBB: rsR' in V1, a broad S in I and V6; 125 to 160 ms."""
    late = float(rng.uniform(0.9, 1.15))
    strong = float(rng.uniform(0.8, 1.3))
    return (
        Wave(-0.022, 0.008, (-0.16, -0.06, -0.26)),
        Wave(0.0, 0.011, (1.0, 0.8, 0.25)),
        Wave(0.030, 0.012, (-0.2, -0.05, 0.05)),
        Wave(0.062 * late, 0.019 * late, (-0.5 * strong, 0.02, -0.55 * strong)),
    )


def delta_qrs(rng: np.random.Generator) -> tuple[Wave, ...]:
    """Pre-excited QRS: a slurred first 40 to 60 ms, then the normal front catches up."""
    share = float(rng.uniform(0.3, 0.6))
    left_pathway = rng.random() < 0.55
    way = (0.5, 0.6, -0.9) if left_pathway else (0.9, 0.35, 0.55)
    delta = tuple(share * part for part in way)
    return (
        Wave(-0.052, 0.014, (0.45 * delta[0], 0.45 * delta[1], 0.45 * delta[2])),
        Wave(-0.030, 0.016, (delta[0], delta[1], delta[2])),
        Wave(0.004, 0.013, (0.95, 0.75, 0.2 if left_pathway else 0.5)),
        Wave(0.030, 0.012, (-0.15, -0.1, 0.3)),
    )


def ventricular_qrs(rng: np.random.Generator) -> tuple[tuple[Wave, ...], NDArray[np.float64]]:
    """A QRS born in a ventricle, 140 to 190 ms, and its main direction."""
    from_right = rng.random() < 0.5
    main = np.array([0.9, 0.0, 0.9]) if from_right else np.array([-0.6, 0.0, -0.9])
    main[1] = rng.uniform(-1.1, 1.1)
    main += rng.normal(0.0, 0.2, 3)
    main *= float(rng.uniform(1.2, 1.9)) / float(np.linalg.norm(main))
    wide = float(rng.uniform(1.0, 1.3))
    side = rng.normal(0.0, 0.25, 3)
    waves = (
        Wave(-0.042 * wide, 0.018 * wide, _triple(0.45 * main + side)),
        Wave(0.0, 0.026 * wide, _triple(main)),
        Wave(0.046 * wide, 0.018 * wide, _triple(0.35 * main - side)),
    )
    return waves, main


def t_wave(heart: Heart, rr_s: float, dipole_mv: tuple[float, float, float]) -> tuple[Wave, ...]:
    """T with the rate's QT (Bazett): a slow rise and a faster fall."""
    peak = 0.40 * float(np.sqrt(np.clip(rr_s, 0.3, 1.6))) - 0.11
    size = tuple(heart.t_gain * part for part in dipole_mv)
    return (
        Wave(peak - 0.030, 0.044, (0.55 * size[0], 0.55 * size[1], 0.55 * size[2])),
        Wave(peak, 0.028, (0.6 * size[0], 0.6 * size[1], 0.6 * size[2])),
    )


NORMAL_T: Final = (0.24, 0.22, -0.14)
LEFT_BLOCK_T: Final = (-0.34, -0.08, -0.42)
RIGHT_BLOCK_T: Final = (0.24, 0.2, 0.12)
DELTA_T: Final = (-0.08, -0.06, -0.1)


def add_waves(
    vector_mv: NDArray[np.float64],
    rate_hz: float,
    heart: Heart,
    at_s: float,
    waves: tuple[Wave, ...],
) -> None:
    """Add a beat whose R peak stands at `at_s` to the dipole signal (3, n), in place."""
    for wave in waves:
        centre = at_s + wave.at_s
        first = max(0, int((centre - 5 * wave.sigma_s) * rate_hz))
        last = min(vector_mv.shape[1], int((centre + 5 * wave.sigma_s) * rate_hz) + 2)
        if last <= first:
            continue
        time = np.arange(first, last) / rate_hz
        pulse = np.exp(-0.5 * ((time - centre) / wave.sigma_s) ** 2)
        dipole = heart.turn @ np.array(wave.dipole_mv) * heart.gain
        vector_mv[:, first:last] += dipole[:, None] * pulse[None, :]


def leads_from_vector(vector_mv: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dipole (3, n) to twelve leads (12, n), same unit."""
    seen = DOWER @ vector_mv
    one, two, chest = seen[0], seen[1], seen[2:]
    limbs = np.stack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2])
    return np.concatenate([limbs, chest])


def _rotation(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = np.deg2rad(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn: NDArray[np.float64] = z @ y @ x
    return turn


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return (float(vector[0]), float(vector[1]), float(vector[2]))
