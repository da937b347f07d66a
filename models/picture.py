"""A picture file's frame as a raster: upright, on white paper, grey or RGB.

The one way from Pillow's pictures to what `find_page` takes; training and serving both use it.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def raster_of(picture: Image.Image) -> NDArray[np.uint8]:
    """The frame a picture stands at: uint8 (rows, columns) or (rows, columns, 3).

    A phone's note of how it was held (EXIF Orientation) is followed. What is transparent is paper.
    More than eight bits are spread over the range that is used.
    """
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in ("L", "1"):
        return np.asarray(upright.convert("L"))
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
        values = np.asarray(upright, dtype=np.float64)
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) / (high - low or 1.0) * 255.0
        return np.asarray(np.round(scaled).astype(np.uint8))
    if not upright.has_transparency_data:
        return np.asarray(upright.convert("RGB"))
    rgba = upright.convert("RGBA")
    paper = Image.new("RGBA", rgba.size, "white")
    return np.asarray(Image.alpha_composite(paper, rgba).convert("RGB"))
