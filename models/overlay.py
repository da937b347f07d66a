"""Lay a map over the picture it came from, for people to see.

The mark is one hue that every kind of colour vision tells from the paper, blue or, on blue paper,
orange; it is multiplied into light paper and added to a dark screen, so that no line of the trace
is covered. A contour at half strength says the same without any colour.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.page import Corner

#: Blue and orange of the palette of Okabe and Ito, made for every colour vision.
_BLUE: Final = (0, 114, 178)
_ORANGE: Final = (230, 159, 0)
_STRENGTH: Final = 0.75
#: Of a layer at the strongest place: black ink still stands out below it.
_DENSITY: Final = 0.5
_CONTOUR_AT: Final = 0.5
_BAND_SHARE: Final = 0.05


def overlay(
    raster: NDArray[np.uint8],
    region: Sequence[Corner],
    heat: NDArray[np.float32],
    *,
    title: str,
) -> NDArray[np.uint8]:
    """Draw a map over the whole picture, below a band with a title.

    Parameters
    ----------
    raster : uint8 (rows, columns) or (rows, columns, 3)
        The decoded picture.
    region : four (column, row) corners
        Where the page lies in it, clockwise from the tracing's own top left; it may be turned or
        in perspective, see `models.page.Page`.
    heat : float32 (rows, columns), 0..1
        In page coordinates, of `models.explain`.
    title : str
        What the map is about.

    Returns
    -------
    uint8 (band + rows, columns, 3)
    """
    colour = np.asarray(raster if raster.ndim == 3 else cv2.cvtColor(raster, cv2.COLOR_GRAY2RGB))
    placed = _placed(heat, region, colour.shape[:2])
    marked = _marked(colour, placed)
    level = (placed >= _CONTOUR_AT).astype(np.uint8)
    outlines, _ = cv2.findContours(level, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hue = _hue(colour, placed)
    width = max(1, colour.shape[1] // 700)
    cv2.drawContours(marked, outlines, -1, hue, width, cv2.LINE_AA)
    return np.concatenate([_band(title, colour.shape, hue), marked])


def layer(
    raster: NDArray[np.uint8], region: Sequence[Corner], heat: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Draw a map alone, to be laid over the picture it belongs to.

    Parameters
    ----------
    raster, region, heat
        As for `overlay`; of the raster only the colours count, for the hue.

    Returns
    -------
    uint8 (rows, columns, 4)
        RGBA; transparent where nothing speaks for the finding, never so dense that it hides a line.
    """
    colour = np.asarray(raster if raster.ndim == 3 else cv2.cvtColor(raster, cv2.COLOR_GRAY2RGB))
    placed = _placed(heat, region, colour.shape[:2])
    hue = _hue(colour, placed)
    drawn = np.zeros((*placed.shape, 4), np.uint8)
    drawn[..., :3] = hue
    drawn[..., 3] = np.rint(255.0 * _DENSITY * placed)
    level = (placed >= _CONTOUR_AT).astype(np.uint8)
    outlines, _ = cv2.findContours(level, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, (*hue, 255), max(1, colour.shape[1] // 700), cv2.LINE_AA)
    return drawn


def _placed(
    heat: NDArray[np.float32], region: Sequence[Corner], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """The map in picture coordinates, 0 outside the page."""
    rows, columns = heat.shape
    corners = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], np.float32)
    turn = cv2.getPerspectiveTransform(corners, np.array(region, np.float32))
    placed = cv2.warpPerspective(heat, turn, (shape[1], shape[0]), flags=cv2.INTER_LINEAR)
    return np.asarray(np.clip(placed, 0.0, 1.0), np.float32)


def _marked(colour: NDArray[np.uint8], placed: NDArray[np.float32]) -> NDArray[np.uint8]:
    share = (_STRENGTH * placed)[..., None]
    hue = np.array(_hue(colour, placed), np.float32) / 255.0
    values = colour.astype(np.float32)
    if _is_dark(colour):
        mixed = 255.0 - (255.0 - values) * (1.0 - share * hue)
    else:
        mixed = values * (1.0 - share * (1.0 - hue))
    return np.ascontiguousarray(np.rint(mixed).astype(np.uint8))


def _is_dark(colour: NDArray[np.uint8]) -> bool:
    """Whether most of the picture is a dark screen; paper in shadow is not."""
    return float(np.median(colour)) < 64.0


def _hue(colour: NDArray[np.uint8], placed: NDArray[np.float32]) -> tuple[int, int, int]:
    """Orange on blue paper, blue on any other."""
    there = placed > 0.0
    if not there.any():
        return _BLUE
    red, _, blue = np.median(colour[there], axis=0)
    return _ORANGE if blue > red + 8 and not _is_dark(colour) else _BLUE


def _band(title: str, shape: tuple[int, ...], hue: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A white band as wide as the picture with the title, made smaller until it fits."""
    columns = shape[1]
    height = max(24, round(_BAND_SHARE * min(shape[0], columns)))
    band = Image.new("RGB", (columns, height), "white")
    pen = ImageDraw.Draw(band)
    pen.rectangle((0, 0, height // 3, height), fill=hue)
    left, size = height // 2, height * 0.6
    font = ImageFont.load_default(size)
    while size > 6 and left + pen.textlength(title, font=font) > columns:
        size *= 0.9
        font = ImageFont.load_default(size)
    pen.text((left, height // 2), title, fill="black", font=font, anchor="lm")
    return np.asarray(band)
