"""What happens to a page between the printer and us: scanners, cameras, screens, hands.

Each effect takes a page and a random generator and gives the page as it would arrive. `VARIANTS`
are what the evaluation reports one by one; `degrade` is their mixture, for training.
"""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Raster = NDArray[np.uint8]
Effect = Callable[[Raster, np.random.Generator], Raster]

#: A photograph wider than this is scaled down first: an effect costs by the pixel.
_MOST_COLUMNS_PX: Final = 1300


def clean(raster: Raster, _rng: np.random.Generator) -> Raster:
    """The page as it was drawn."""
    return raster


def export(raster: Raster, rng: np.random.Generator) -> Raster:
    """A screenshot or an export: scaled, now and then grey, saved as JPEG or not."""
    raster = _resized(raster, float(rng.uniform(0.45, 1.0)) if rng.random() < 0.5 else 1.0)
    if rng.random() < 0.25:
        raster = _greyed(raster)
    return _jpeg(raster, rng, 35, 95) if rng.random() < 0.6 else raster


def scan(raster: Raster, rng: np.random.Generator) -> Raster:
    """A flatbed scan: a little turned, a little soft, tinted, with sensor noise."""
    raster = _fit(raster)
    raster = _turned(raster, float(rng.normal(0.0, 1.2)))
    if rng.random() < 0.3:
        raster = _cropped(raster, rng, 0.03)
    raster = _blurred(raster, float(rng.uniform(0.3, 1.0)))
    raster = _lit(raster, float(rng.uniform(0.85, 1.1)), float(rng.uniform(-18, 12)))
    if rng.random() < 0.3:
        raster = _greyed(raster)
    return _jpeg(_noisy(raster, rng, float(rng.uniform(1, 6))), rng, 40, 92)


def bw_scan(raster: Raster, rng: np.random.Generator) -> Raster:
    """A fax or a copier: black and white by a threshold, the grid often gone or in specks."""
    raster = _turned(_fit(raster), float(rng.normal(0.0, 1.0)))
    grey = _noisy(
        np.asarray(cv2.cvtColor(raster, cv2.COLOR_RGB2GRAY)), rng, float(rng.uniform(2, 9))
    )
    if float(grey.mean()) < 110:
        grey = 255 - grey
    # Somewhere between ink and paper; high lets a coarse grid through.
    ink, paper = np.percentile(grey, (1.0, 60.0))
    limit = ink + (paper - ink) * float(rng.uniform(0.4, 0.72))
    two = np.where(grey > limit, 255, 0).astype(np.uint8)
    if rng.random() < 0.3:
        specks = rng.random(two.shape, np.float32) < float(rng.uniform(2e-4, 2e-3))
        two = np.where(specks, 255 - two, two).astype(np.uint8)
    return np.asarray(cv2.cvtColor(two, cv2.COLOR_GRAY2RGB))


def low_contrast(raster: Raster, rng: np.random.Generator) -> Raster:
    """A faded thermal print or an empty ribbon: ink hardly darker than paper."""
    raster = _turned(_fit(raster), float(rng.normal(0.0, 0.8)))
    paper = np.median(raster[::7, ::7], axis=(0, 1))
    keep = float(rng.uniform(0.25, 0.5))
    light = float(rng.uniform(0.75, 1.0))
    greys = paper[None] + (np.arange(256)[:, None] - paper[None]) * keep
    table = np.clip(greys * light, 0, 255).astype(np.uint8)
    out = np.asarray(cv2.LUT(raster, table[None]))
    return _jpeg(_noisy(out, rng, float(rng.uniform(1, 4))), rng, 50, 92)


def photo(raster: Raster, rng: np.random.Generator) -> Raster:
    """A phone's photograph of the page on a desk: perspective, uneven light, colour cast, blur."""
    raster = _in_perspective(_fit(raster), rng, float(rng.uniform(0.01, 0.07)))
    raster = _shaded(raster, rng, float(rng.uniform(0.5, 0.9)))
    cast = [
        np.clip(np.arange(256) * by, 0, 255).astype(np.uint8) for by in rng.uniform(0.86, 1.05, 3)
    ]
    raster = np.asarray(cv2.LUT(raster, np.stack(cast, axis=-1)[None]))
    raster = _blurred(raster, float(rng.uniform(0.4, 1.4)))
    if rng.random() < 0.2:
        raster = _smeared(raster, rng)
    return _jpeg(_noisy(raster, rng, float(rng.uniform(2, 8))), rng, 40, 90)


def photo_stained(raster: Raster, rng: np.random.Generator) -> Raster:
    """A photograph of a page that was folded, spilt on, written on."""
    raster = _fit(raster).copy()
    for _ in range(int(rng.integers(1, 4))):
        raster = _folded(raster, rng)
    for _ in range(int(rng.integers(0, 3))):
        raster = _stained(raster, rng)
    if rng.random() < 0.5:
        _written_on(raster, rng)
    return photo(raster, rng)


def screen(raster: Raster, rng: np.random.Generator) -> Raster:
    """A photograph of a monitor: its pixel grid against the camera's, glare, a bright cast."""
    raster = _fit(raster)
    rows, columns = raster.shape[:2]
    y, x = (axis.astype(np.float32) for axis in np.ogrid[0:rows, 0:columns])
    period, angle = float(rng.uniform(2.2, 9.0)), float(rng.uniform(0, np.pi))
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    bent = along + np.float32(rng.uniform(0, 4)) * np.sin(y / np.float32(rng.uniform(60, 240)))
    depth = float(rng.uniform(0.03, 0.13))
    moire = 1.0 - depth * (0.5 + 0.5 * np.sin(bent * np.float32(2 * np.pi / period)))
    out = _times(raster, moire.astype(np.float32))
    out = _in_perspective(out, rng, float(rng.uniform(0.005, 0.05)))
    out = _glared(out, rng)
    out = _lit(out, float(rng.uniform(0.8, 1.1)), float(rng.uniform(-10, 25)))
    return _jpeg(_noisy(_blurred(out, float(rng.uniform(0.3, 1.0))), rng, 4.0), rng, 45, 90)


VARIANTS: Final[dict[str, Effect]] = {
    "clean": clean,
    "scan": scan,
    "bw_scan": bw_scan,
    "low_contrast": low_contrast,
    "photo": photo,
    "photo_stained": photo_stained,
    "screen": screen,
}

#: How often each stands in the mixture. Exports are most of what an archive holds.
_MIXTURE: Final[tuple[tuple[Effect, float], ...]] = (
    (export, 0.40),
    (scan, 0.15),
    (bw_scan, 0.07),
    (low_contrast, 0.06),
    (photo, 0.16),
    (photo_stained, 0.08),
    (screen, 0.08),
)


def degrade(raster: Raster, rng: np.random.Generator) -> Raster:
    """Pass a page through one of the effects, by lot."""
    shares = [share for _, share in _MIXTURE]
    effect = _MIXTURE[int(rng.choice(len(_MIXTURE), p=shares))][0]
    return effect(raster, rng)


def _fit(raster: Raster) -> Raster:
    return _resized(raster, min(1.0, _MOST_COLUMNS_PX / raster.shape[1]))


def _resized(raster: Raster, factor: float) -> Raster:
    if factor >= 1.0:
        return raster
    size = (max(1, round(raster.shape[1] * factor)), max(1, round(raster.shape[0] * factor)))
    return np.asarray(cv2.resize(raster, size, interpolation=cv2.INTER_AREA))


def _greyed(raster: Raster) -> Raster:
    grey = cv2.cvtColor(raster, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))


def _jpeg(raster: Raster, rng: np.random.Generator, low: int, high: int) -> Raster:
    quality = int(rng.integers(low, high))
    _, code = cv2.imencode(".jpg", raster, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))


def _noisy(raster: Raster, rng: np.random.Generator, level: float) -> Raster:
    """Sensor noise, the same in all colours, `level` greys strong."""
    # Four times faster than a Generator's normal numbers; seeded anew each time.
    cv2.setRNGSeed(int(rng.integers(1, 2**31)))
    noise = cv2.randn(np.empty(raster.shape[:2], np.int16), 0.0, level)
    if raster.ndim == 2:
        return np.asarray(cv2.add(raster, noise, dtype=cv2.CV_8U))
    return np.asarray(cv2.add(raster, cv2.merge([noise] * 3), dtype=cv2.CV_8U))


def _times(raster: Raster, light: NDArray[np.float32]) -> Raster:
    """The page under a light (rows, columns), 1 leaving it as it is."""
    lit = [cv2.multiply(one, light, dtype=cv2.CV_8U) for one in cv2.split(raster)]
    return np.asarray(cv2.merge(lit))


def _blurred(raster: Raster, sigma: float) -> Raster:
    return np.asarray(cv2.GaussianBlur(raster, (0, 0), sigma))


def _smeared(raster: Raster, rng: np.random.Generator) -> Raster:
    """A hand that moved while the shutter was open."""
    length = int(rng.integers(2, 6))
    kernel = np.zeros((7, 7), np.float32)
    angle = float(rng.uniform(0, np.pi))
    tip = (round(3 + length * np.cos(angle) / 2), round(3 + length * np.sin(angle) / 2))
    end = (round(3 - length * np.cos(angle) / 2), round(3 - length * np.sin(angle) / 2))
    cv2.line(kernel, tip, end, 1.0, 1)
    return np.asarray(cv2.filter2D(raster, -1, kernel / kernel.sum()))


def _lit(raster: Raster, gain: float, offset: float) -> Raster:
    table = np.clip(np.arange(256) * gain + offset, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(raster, table))


def _turned(raster: Raster, degrees: float) -> Raster:
    rows, columns = raster.shape[:2]
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), degrees, 1.0)
    paper = [float(c) for c in np.median(raster.reshape(-1, 3)[:: max(1, rows)], axis=0)]
    return np.asarray(
        cv2.warpAffine(
            raster, matrix, (columns, rows), flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=paper,
        )
    )  # fmt: skip


def _cropped(raster: Raster, rng: np.random.Generator, most: float) -> Raster:
    rows, columns = raster.shape[:2]
    top, bottom = (rng.uniform(0, most, 2) * rows).astype(int)
    left, right = (rng.uniform(0, most / 3, 2) * columns).astype(int)
    return np.ascontiguousarray(raster[top : rows - bottom, left : columns - right])


def _in_perspective(raster: Raster, rng: np.random.Generator, strength: float) -> Raster:
    """Seen from a hand's height beside the page, on a desk or filling the picture."""
    rows, columns = raster.shape[:2]
    on_desk = rng.random() < 0.5
    edge = float(rng.uniform(0.02, 0.09)) if on_desk else 0.0
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    seen = corners * (1 - 2 * edge) + edge + rng.normal(0, strength / 2, (4, 2)).astype(np.float32)
    turn = np.deg2rad(float(rng.normal(0.0, 2.0)))
    cos, sin = np.cos(turn), np.sin(turn)
    aspect = columns / rows
    centred = (seen - 0.5) * np.array([aspect, 1.0])
    seen = centred @ np.array([[cos, sin], [-sin, cos]]) / np.array([aspect, 1.0]) + 0.5
    size = np.array([columns, rows], np.float32)
    matrix = cv2.getPerspectiveTransform(
        (corners * size).astype(np.float32), (seen * size).astype(np.float32)
    )
    desk = rng.integers(20, 200, 3) if on_desk else np.median(raster[::9, ::9], axis=(0, 1))
    out = cv2.warpPerspective(
        raster, matrix, (columns, rows), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=[float(c) for c in desk],
    )  # fmt: skip
    return np.asarray(out)


def _shaded(raster: Raster, rng: np.random.Generator, darkest: float) -> Raster:
    rows, columns = raster.shape[:2]
    points = rng.uniform(darkest, 1.08, (3, 4)).astype(np.float32)
    light = cv2.resize(points, (columns, rows), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.3:
        # The edge of somebody's shadow.
        mask = np.zeros((rows, columns), np.float32)
        x0, x1 = rng.uniform(-0.2, 1.2, 2) * columns
        corners = np.array([[x0, 0], [x1, rows], [columns * 1.5, rows], [columns * 1.5, 0]])
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1.0)
        soft = cv2.blur(mask, (max(3, columns // 20),) * 2)
        light = light * (1.0 - float(rng.uniform(0.15, 0.45)) * soft)
    return _times(raster, np.ascontiguousarray(light, np.float32))


def _glared(raster: Raster, rng: np.random.Generator) -> Raster:
    rows, columns = raster.shape[:2]
    if rng.random() < 0.5:
        return raster
    y, x = np.mgrid[0:rows:8, 0:columns:8].astype(np.float32)
    centre = rng.uniform(0, 1, 2) * (rows, columns)
    spread = float(rng.uniform(0.05, 0.18)) * columns
    spot = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / np.float32(2 * spread**2))
    light = cv2.resize(spot.astype(np.float32), (columns, rows)) * float(rng.uniform(60, 150))
    return np.asarray(cv2.add(raster, cv2.merge([light.astype(np.uint8)] * 3)))


def _folded(raster: Raster, rng: np.random.Generator) -> Raster:
    """A fold: one side of a line a little darker, and a light or dark edge."""
    rows, columns = raster.shape[:2]
    upright = rng.random() < 0.6
    at = float(rng.uniform(0.1, 0.9)) * (columns if upright else rows)
    lean = float(rng.normal(0.0, 0.02))
    y, x = np.ogrid[0:rows, 0:columns]
    distance = (x - at - lean * y if upright else y - at - lean * x).astype(np.float32)
    width = columns / 160
    edge = np.exp(-((distance / np.float32(width)) ** 2)) * np.float32(rng.uniform(-0.3, 0.15))
    side = (distance > 0) * np.float32(rng.uniform(-0.12, 0.05))
    light = np.broadcast_to(1.0 + edge + side, (rows, columns))
    return _times(raster, np.ascontiguousarray(light, np.float32))


def _stained(raster: Raster, rng: np.random.Generator) -> Raster:
    """Coffee: a tinted patch or a ring, darker at its border."""
    rows, columns = raster.shape[:2]
    mask = np.zeros((rows, columns), np.float32)
    centre = (int(rng.uniform(0, columns)), int(rng.uniform(0, rows)))
    axes = (int(rng.uniform(0.02, 0.12) * columns), int(rng.uniform(0.02, 0.12) * columns))
    angle = float(rng.uniform(0, 180))
    if rng.random() < 0.5:
        cv2.ellipse(mask, centre, axes, angle, 0, 360, 0.7, -1)
    cv2.ellipse(mask, centre, axes, angle, 0, 360, 1.0, max(2, columns // 150))
    mask = np.asarray(cv2.blur(mask, (max(3, columns // 120),) * 2))
    tint = np.array([0.72, 0.58, 0.4], np.float32) * np.float32(rng.uniform(0.9, 1.2))
    depth = float(rng.uniform(0.3, 0.8))
    parts = [
        cv2.multiply(one, 1.0 - mask * np.float32(depth * (1.0 - share)), dtype=cv2.CV_8U)
        for one, share in zip(cv2.split(raster), tint, strict=True)
    ]
    return np.asarray(cv2.merge(parts))


def _written_on(raster: Raster, rng: np.random.Generator) -> None:
    """A pen's marks across the page, in place."""
    rows, columns = raster.shape[:2]
    ink = ((30, 40, 140), (20, 20, 20), (160, 30, 40))[int(rng.integers(3))]
    for _ in range(int(rng.integers(1, 4))):
        count = int(rng.integers(6, 24))
        steps = rng.normal(0.0, columns / 90, (count, 2))
        steps[:, 0] += columns / 140
        path = np.cumsum(steps, axis=0) + rng.uniform(0, 1, 2) * (columns, rows)
        points = path.astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(raster, [points], False, ink, max(1, columns // 600), cv2.LINE_AA)
