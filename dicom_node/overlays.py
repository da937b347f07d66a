"""Overlay planes -> ink on the picture (PS3.3 section C.9.2).

Some senders keep the lettering, and some the whole trace, in a plane of bits beside the picture.
"""

from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset

from dicom_node.pixels import Raster
from dicom_node.values import first_number, numbers

_GROUPS: Final = range(0x6000, 0x6020, 2)
_BLACK, _WHITE = 0, 255


def burn(raster: Raster, header: Dataset, *, frame: int, swaps: bool) -> Raster:
    """Draw the graphic overlays of a frame, dark on a light picture and light on a dark one.

    Regions of interest are no ink and are left out, as are planes that contradict themselves and
    those in unused bits of the pixels (retired in 2004).

    Parameters
    ----------
    raster : uint8 (rows, columns) or (rows, columns, 3)
        Not changed; a copy is returned where there is an overlay.
    frame : int
        Counted from 0.
    swaps : bool
        Whether bytes in words (VR OW) are in the other order: big endian.
    """
    planes = [group for group in _GROUPS if (group, 0x3000) in header]
    if not planes:
        return raster
    burnt = raster.copy()
    ink = _BLACK if np.median(raster[::4, ::4]) > 127 else _WHITE
    for group in planes:
        plane = _plane(header, group, frame=frame, swaps=swaps)
        if plane is None:
            continue
        bits, top, left = plane
        bits = bits[max(0, -top) :, max(0, -left) :]
        top, left = max(0, top), max(0, left)
        bits = bits[: max(0, raster.shape[0] - top), : max(0, raster.shape[1] - left)]
        burnt[top : top + bits.shape[0], left : left + bits.shape[1]][bits] = ink
    return burnt


def _plane(
    header: Dataset, group: int, *, frame: int, swaps: bool
) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], int, int] | None:
    """Return the bits of a plane and where their corner lies, ``None`` if there are none."""

    def value(element: int) -> Any:
        found = header.get((group, element))
        return None if found is None else found.value

    rows, columns, data = first_number(value(0x0010)), first_number(value(0x0011)), value(0x3000)
    if not rows or not columns or not isinstance(data, bytes):
        return None
    if str(value(0x0040) or "G").strip() != "G" or (first_number(value(0x0100)) or 1) != 1:
        return None
    frames = first_number(value(0x0015))
    if frames is not None:
        # A plane for each of some frames, and not one for all (PS3.3 section C.9.2).
        frame -= int(first_number(value(0x0051)) or 1) - 1
        if not 0 <= frame < frames:
            return None
    first = int(rows) * int(columns) * (0 if frames is None else frame)
    last = first + int(rows) * int(columns)
    if int(rows) < 1 or int(columns) < 1 or len(data) * 8 < last:
        return None
    stored = np.frombuffer(data, np.uint8)
    if swaps and header[group, 0x3000].VR == "OW":
        stored = stored[: len(stored) // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1)
    bits = np.unpackbits(stored[first // 8 : -(-last // 8)], bitorder="little")
    plane = bits[first % 8 : first % 8 + last - first].reshape(int(rows), int(columns))
    origin = numbers(value(0x0050))
    top, left = (int(origin[0]), int(origin[1])) if len(origin) == 2 else (1, 1)
    return plane.astype(bool), top - 1, left - 1
