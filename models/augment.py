"""The four augmentations of the method: translate, scale, rotate, brighten or darken.

They work on a page at the network's resolution, before it is packed, so that the cuts between the
three slices fall elsewhere each time, as they do when a page is cropped by another hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Strength:
    """How far each augmentation goes at most.

    Attributes
    ----------
    translate : float
        Share of the side, both directions.
    scale : float
        Share by which a side grows or shrinks; the sides vary a little independently.
    rotate_deg : float
        Degrees, both directions.
    contrast, brightness : float
        Shares of the grey range.
    noise : float
        Standard deviation of sensor noise, share of the grey range.
    """

    translate: float = 0.035
    scale: float = 0.09
    rotate_deg: float = 1.6
    contrast: float = 0.3
    brightness: float = 0.15
    noise: float = 0.02


def augment(
    grey: NDArray[np.uint8], rng: np.random.Generator, strength: Strength | None = None
) -> NDArray[np.uint8]:
    """Return a page moved, scaled, turned and lit a little differently.

    Parameters
    ----------
    grey : uint8 (rows, columns)
        A page. What comes in from outside the page is its own border.
    rng : numpy.random.Generator
        The same state gives the same picture.
    """
    by = strength or Strength()
    rows, columns = grey.shape
    scale = 1.0 + rng.uniform(-by.scale, by.scale)
    x_scale = scale * (1.0 + 0.4 * rng.uniform(-by.scale, by.scale))
    turn = np.deg2rad(rng.uniform(-by.rotate_deg, by.rotate_deg))
    # The sides differ threefold, so a turn is taken in the square the page is cut from.
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.array([[x_scale * cos, -scale * sin, 0.0], [x_scale * sin, scale * cos, 0.0]])
    centre = np.array([columns / 2, rows / 2])
    shift = rng.uniform(-by.translate, by.translate, 2) * (columns, rows)
    matrix[:, 2] = centre + shift - matrix[:, :2] @ centre
    moved = cv2.warpAffine(
        grey, matrix, (columns, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    light = moved.astype(np.float32)
    gain = 1.0 + rng.uniform(-by.contrast, by.contrast)
    light = (light - 160.0) * gain + 160.0 + 255.0 * rng.uniform(-by.brightness, by.brightness)
    if rng.random() < 0.5:
        light += 255.0 * rng.uniform(0, by.noise) * rng.standard_normal(grey.shape, np.float32)
    if rng.random() < 0.3:
        light = np.asarray(cv2.GaussianBlur(light, (3, 3), float(rng.uniform(0.3, 0.9))))
    return np.asarray(np.clip(light, 0, 255).astype(np.uint8))
