"""Numbers to a picture: stored values of any photometric interpretation -> uint8 grey or RGB.

PS3.3 section C.7.6.3.1.2 (photometric interpretations), C.11.1 (modality LUT), C.11.2 (VOI LUT
and windows).
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from dicom_node.errors import ImageError
from dicom_node.palette import check_palettes
from dicom_node.values import first_number, numbers

Raster = npt.NDArray[np.uint8]

GREY: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
PALETTE: Final = "PALETTE COLOR"
YCBCR: Final = frozenset({"YBR_FULL", "YBR_FULL_422"})
# JPEG 2000's own transforms, undone by its decoder.
JPEG_2000_COLOUR: Final = frozenset({"YBR_ICT", "YBR_RCT"})
COLOUR: Final = frozenset({"RGB"}) | YCBCR | JPEG_2000_COLOUR

_MAX_WINDOWS: Final = 16
#: A picture drawn out further than this is a wrong number.
_MAX_ASPECT: Final = 5.0


def to_raster(values: npt.NDArray[Any], header: Dataset, photometric: str) -> Raster:
    """Turn stored values into a raster.

    Parameters
    ----------
    values : integer array (rows, columns) or (rows, columns, 3)
        As decoded; bits above High Bit and below the stored bits are cleared already.
    header : Dataset
        With the attributes of the Image Pixel module.
    photometric : str
        The photometric interpretation of ``values``.

    Returns
    -------
    uint8 array (rows, columns) or (rows, columns, 3)
        0 is black. MONOCHROME1 comes out inverted, that is, as it is meant to be seen.
    """
    bits_stored = int(header.BitsStored)
    if photometric in GREY:
        grey = _grey(values, header, bits_stored)
        return np.invert(grey) if photometric == "MONOCHROME1" else grey
    if photometric == PALETTE:
        return _palette(values, header)
    if photometric in COLOUR:
        colour = _to_8_bits(values, bits_stored)
        return _ycbcr_to_rgb(colour) if photometric in YCBCR else colour
    raise ImageError("the photometric interpretation is not supported")


def _grey(values: npt.NDArray[Any], header: Dataset, bits_stored: int) -> Raster:
    slope, intercept = _rescale(header)
    is_signed = values.dtype.kind == "i"
    if bits_stored <= 8 and not is_signed and (slope, intercept) == (1.0, 0.0):
        # A picture, not a measurement: its values are the grey levels.
        return _to_8_bits(values, bits_stored)
    low, high = int(values.min()), int(values.max())
    codes = np.arange(low, high + 1, dtype=np.float64) * slope + intercept
    table = _window(codes, header)
    if table is None:
        table = _stretch(codes)
    return table[values.astype(np.int32) - low]


def _window(codes: npt.NDArray[np.float64], header: Dataset) -> Raster | None:
    """Apply the VOI LUT or the first window that shows anything; ``None`` without one.

    Several are alternatives (PS3.3 C.11.2.1.2); the first is the sender's choice.
    """
    function = str(header.get("VOILUTFunction") or "LINEAR").strip()
    tables = [_voi_lut(codes, header)]
    centres, widths = numbers(header.get("WindowCenter")), numbers(header.get("WindowWidth"))
    for centre, width in zip(centres[:_MAX_WINDOWS], widths, strict=False):
        tables.append(_shade(codes, centre, width, function))
    for table in tables:
        if table is not None and (table.size == 1 or table.min() != table.max()):
            return table
    return None


def _shade(
    codes: npt.NDArray[np.float64], centre: float, width: float, function: str
) -> Raster | None:
    """Apply one window (PS3.3 C.11.2.1.2.1, C.11.2.1.3)."""
    if function == "LINEAR" and width > 1:
        scaled = (codes - (centre - 0.5)) / (width - 1) + 0.5
    elif function == "LINEAR_EXACT" and width > 0:
        scaled = (codes - centre) / width + 0.5
    elif function == "SIGMOID" and width > 0:
        scaled = 1 / (1 + np.exp(np.clip(-4 * (codes - centre) / width, -500, 500)))
    else:
        return None
    return np.clip(np.rint(scaled * 255), 0, 255).astype(np.uint8)


def _voi_lut(codes: npt.NDArray[np.float64], header: Dataset) -> Raster | None:
    """Apply the first VOI LUT (PS3.3 C.11.2.1.1); ``None`` without one that can be used."""
    for item in (header.get("VOILUTSequence") or [])[:1]:
        descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
        if descriptor is None or data is None or len(descriptor) != 3:
            return None
        entries, first = int(descriptor[0]) or 1 << 16, int(descriptor[1])
        if isinstance(data, bytes):
            order = ">" if header.original_encoding[1] is False else "<"
            data = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2")
        table = np.asarray(data, dtype=np.float64)
        if not 0 < len(table) <= entries <= 1 << 16 or table.min() < 0 or table.max() == 0:
            return None
        # What is declared as bits of an entry is often wrong; the entries themselves are not.
        highest = (1 << max(8, int(table.max()).bit_length())) - 1
        places = np.clip(np.rint(codes) - first, 0, len(table) - 1).astype(np.int64)
        shown: Raster = np.rint(table[places] / highest * 255).astype(np.uint8)
        return shown
    return None


def _stretch(codes: npt.NDArray[np.float64]) -> Raster:
    low, high = float(codes.min()), float(codes.max())
    if low == high:
        return np.zeros(codes.shape, np.uint8)
    return np.rint((codes - low) / (high - low) * 255).astype(np.uint8)


def _rescale(header: Dataset) -> tuple[float, float]:
    slope = _number(header, "RescaleSlope")
    intercept = _number(header, "RescaleIntercept")
    return (slope or 1.0), (intercept or 0.0)


def aspect_of(header: Dataset) -> float:
    """Return the height of a pixel over its width: 1 where nothing usable is said.

    PS3.3 section C.7.6.3.1.7: Pixel Aspect Ratio is vertical to horizontal, and absent where a
    spacing says the same.
    """
    for keyword in (
        "PixelAspectRatio",
        "PixelSpacing",
        "ImagerPixelSpacing",
        "NominalScannedPixelSpacing",
    ):
        values = numbers(header.get(keyword))
        if len(values) == 2 and values[0] > 0 and values[1] > 0:
            ratio = values[0] / values[1]
            return ratio if 1 / _MAX_ASPECT <= ratio <= _MAX_ASPECT else 1.0
    return 1.0


def _number(header: Dataset, keyword: str) -> float | None:
    return first_number(header.get(keyword))


def _to_8_bits(values: npt.NDArray[Any], bits_stored: int) -> Raster:
    if bits_stored == 8:
        return values.astype(np.uint8)
    if bits_stored > 8:
        return (values >> (bits_stored - 8)).astype(np.uint8)
    highest = (1 << bits_stored) - 1
    return (values.astype(np.uint16) * 255 // highest).astype(np.uint8)


def _palette(values: npt.NDArray[Any], header: Dataset) -> Raster:
    check_palettes(header)
    low, high = int(values.min()), int(values.max())
    codes = np.arange(low, high + 1, dtype=values.dtype)
    table = apply_color_lut(codes, header)
    if table.dtype != np.uint8 and table.max() > 0xFF:
        # Entries of 16 bits. Some senders declare 16 and use the lower 8, hence the test.
        table = table >> 8
    return table.astype(np.uint8)[values.astype(np.int32) - low]


def _ycbcr_to_rgb(ycbcr: Raster) -> Raster:
    """Convert full-range YCbCr (ITU-R BT.601, as PS3.3 C.7.6.3.1.2 defines YBR_FULL)."""
    rgb = np.empty_like(ycbcr)
    # Row blocks bound the floating point copies of a large picture.
    for start in range(0, ycbcr.shape[0], _BLOCK_ROWS):
        block = ycbcr[start : start + _BLOCK_ROWS].astype(np.float32)
        luma, blue, red = block[..., 0], block[..., 1] - 128, block[..., 2] - 128
        mixed = np.stack(
            (luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue),
            axis=-1,
        )
        rgb[start : start + _BLOCK_ROWS] = np.clip(np.rint(mixed), 0, 255)
    return rgb


_BLOCK_ROWS: Final = 256
