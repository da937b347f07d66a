"""A sheet as pixels."""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from dicom_node.report.sheet import HEIGHT_PX, WIDTH_PX, Box, Picture, Sheet, Text

Raster = npt.NDArray[np.uint8]

_MODES: Final = {2: "L", 3: "RGB"}


def paint(sheet: Sheet, raster: Raster) -> Raster:
    """Return a sheet as (HEIGHT_PX, WIDTH_PX, 3) uint8 RGB, with `raster` as its picture."""
    canvas = Image.new("RGB", (WIDTH_PX, HEIGHT_PX))
    draw = ImageDraw.Draw(canvas)
    for mark in sheet.marks:
        match mark:
            case Box(left, top, width, height, colour):
                # Pillow counts the last row and column in.
                corners = (
                    round(left),
                    round(top),
                    round(left + width) - 1,
                    round(top + height) - 1,
                )
                if corners[2] >= corners[0] and corners[3] >= corners[1]:
                    draw.rectangle(corners, fill=colour)
            case Text(x, y, text, style, family):
                font = family.at(style.size_px, bold=style.bold)
                draw.text((x, y), text, font=font, fill=style.colour, anchor="ls")
            case Picture():
                canvas.paste(_scaled(raster, mark), (round(mark.left), round(mark.top)))
                for outline in mark.outlines:
                    draw.line([*outline, outline[0]], mark.colour, round(mark.line_px), "curve")
    return np.asarray(canvas)


def picture_of(raster: Raster) -> Image.Image:
    """Return a raster, grey or RGB, as an RGB picture."""
    return Image.fromarray(raster, _MODES[raster.ndim]).convert("RGB")


def _scaled(raster: Raster, mark: Picture) -> Image.Image:
    size = (max(1, round(mark.width)), max(1, round(mark.height)))
    return picture_of(raster).resize(size, Image.Resampling.LANCZOS)
