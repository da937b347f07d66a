"""Small clean charts without a plotting library: panels with axes, lines, dots, tables of cells.

Everything is drawn twice as large and scaled down, which makes strokes and letters smooth.
Measures are in pixels of the finished picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

from models.corpus import lettering

Colour = tuple[int, int, int]

INK: Final[Colour] = (38, 42, 50)
GREY: Final[Colour] = (128, 134, 144)
FAINT: Final[Colour] = (226, 229, 234)
BLUE: Final[Colour] = (31, 98, 178)
PALE_BLUE: Final[Colour] = (206, 222, 243)
RED: Final[Colour] = (200, 62, 48)
PAPER: Final[Colour] = (255, 255, 255)

_SCALE: Final = 2
_SANS: Final = 1
_BOLD: Final = 4


class Chart:
    """A white sheet to draw on.

    Parameters
    ----------
    width, height : int
        Of the finished picture.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._sheet = Image.new("RGB", (width * _SCALE, height * _SCALE), PAPER)
        self._pen = ImageDraw.Draw(self._sheet)

    def text(
        self,
        at: tuple[float, float],
        words: str,
        *,
        size: int = 13,
        colour: Colour = INK,
        anchor: str = "la",
        bold: bool = False,
        within: float = math.inf,
    ) -> None:
        """Write words, smaller where they are longer than `within`.

        The anchor is Pillow's: l m r, then a m s d.
        """
        face = _BOLD if bold else _SANS
        font = lettering.font(size * _SCALE, face)
        while size > 7 and self._pen.textlength(words, font=font) > within * _SCALE:
            size -= 1
            font = lettering.font(size * _SCALE, face)
        self._pen.text(_twice([at])[0], words, fill=colour, font=font, anchor=anchor)

    def upright_text(self, at: tuple[float, float], words: str, *, size: int = 13) -> None:
        """Write words that run upwards, centred on `at`."""
        font = lettering.font(size * _SCALE, _SANS)
        left, top, right, bottom = font.getbbox(words)
        strip = Image.new("RGB", (int(right - left) + 4, int(bottom - top) + 4), PAPER)
        ImageDraw.Draw(strip).text((2 - left, 2 - top), words, fill=GREY, font=font)
        turned = strip.rotate(90, expand=True)
        x, y = _twice([at])[0]
        self._sheet.paste(turned, (round(x - turned.width / 2), round(y - turned.height / 2)))

    def line(
        self, points: Sequence[tuple[float, float]], *, colour: Colour = INK, width: float = 1.0
    ) -> None:
        """Draw a line through points."""
        pixels = round(width * _SCALE)
        self._pen.line(_twice(points), fill=colour, width=max(1, pixels), joint="curve")

    def area(self, points: Sequence[tuple[float, float]], *, colour: Colour) -> None:
        """Fill a polygon."""
        self._pen.polygon(_twice(points), fill=colour)

    def box(
        self,
        corner: tuple[float, float],
        opposite: tuple[float, float],
        *,
        fill: Colour | None = None,
        outline: Colour | None = None,
    ) -> None:
        """Draw a rectangle."""
        self._pen.rectangle((*_twice([corner])[0], *_twice([opposite])[0]), fill, outline, _SCALE)

    def dot(
        self,
        at: tuple[float, float],
        radius: float,
        *,
        colour: Colour = BLUE,
        edge: Colour = PAPER,
    ) -> None:
        """Draw a filled circle with an edge."""
        (x, y), r = _twice([at])[0], radius * _SCALE
        self._pen.ellipse((x - r, y - r, x + r, y + r), fill=colour, outline=edge, width=_SCALE)

    def paste(self, raster: Any, corner: tuple[float, float], size: tuple[int, int]) -> None:
        """Lay a picture, uint8 (rows, columns, 3), into a box, its proportions kept."""
        picture = Image.fromarray(raster)
        factor = min(size[0] / picture.width, size[1] / picture.height) * _SCALE
        wanted = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        x, y = _twice([corner])[0]
        self._sheet.paste(picture.resize(wanted, Image.Resampling.LANCZOS), (round(x), round(y)))

    def save(self, path: Path) -> None:
        """Write a PNG, in few colours where few are used."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._finished().save(path, optimize=True)

    def save_photograph(self, path: Path) -> None:
        """Write a JPEG: for sheets of pages."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._finished().save(path, quality=88)

    def _finished(self) -> Image.Image:
        return self._sheet.resize((self.width, self.height), Image.Resampling.LANCZOS)


def _twice(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(float(x) * _SCALE, float(y) * _SCALE) for x, y in points]


@dataclass(frozen=True)
class Panel:
    """A square field of a chart whose axes both run from 0 to 1.

    Attributes
    ----------
    chart : Chart
    left, top, side : float
        Of the field itself; names and numbers stand around it.
    """

    chart: Chart
    left: float
    top: float
    side: float

    def frame(self, title: str, note: str, *, across: str, up: str) -> None:
        """Draw the axes with their names, the diagonal, a title and a note below it."""
        chart, end = self.chart, 1.0
        for tick in np.linspace(0.0, end, 6):
            (x, y) = self.at(float(tick), float(tick))
            chart.line([(x, self.top), (x, self.top + self.side)], colour=FAINT)
            chart.line([(self.left, y), (self.left + self.side, y)], colour=FAINT)
            label = f"{tick:.1f}"
            below = (x, self.top + self.side + 5)
            chart.text(below, label, size=10, colour=GREY, anchor="ma")
            chart.text((self.left - 5, y), label, size=10, colour=GREY, anchor="rm")
        chart.box(
            (self.left, self.top), (self.left + self.side, self.top + self.side), outline=GREY
        )
        chart.line([self.at(0, 0), self.at(1, 1)], colour=GREY)
        chart.text((self.left, self.top - 36), title, size=13, bold=True, within=self.side)
        chart.text((self.left, self.top - 17), note, size=11, colour=GREY)
        middle = (self.left + self.side / 2, self.top + self.side + 20)
        chart.text(middle, across, size=11, colour=GREY, anchor="ma")
        chart.upright_text((self.left - 34, self.top + self.side / 2), up, size=11)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where (x, y) of 0..1 lies on the chart."""
        return (self.left + x * self.side, self.top + (1.0 - y) * self.side)


def panels(count: int, *, columns: int, side: int = 220) -> tuple[Chart, list[Panel]]:
    """A chart with so many panels, row by row."""
    rows = -(-count // columns)
    left, top, right, bottom = 62, 52, 22, 48
    width, height = left + side + right, top + side + bottom
    chart = Chart(columns * width, rows * height)
    return chart, [
        Panel(chart, (n % columns) * width + left, (n // columns) * height + top, side)
        for n in range(count)
    ]
