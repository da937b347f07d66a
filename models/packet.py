"""Page to packet: three equal parts of the time axis become red, green and blue.

This is the only definition of the packet; training, evaluation and serving all call `pack`.
The packet is the one interface of the network: what is stored, passed and documented.
"""

from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE_PX: Final = 224
SLICES: Final = 3


def pack(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut a page along time and stack the parts as the channels of one picture.

    A part that already has the set size is copied unchanged; any other is scaled to it. Nothing
    else happens to the pixels: no filter, no feature.

    Parameters
    ----------
    grey : uint8 (rows, columns)
        A page: dark trace on light, time from left to right. At least one row, three columns.

    Returns
    -------
    uint8 (224, 224, 3)
        Channel R, G, B = first, second, third part of the time axis.

    Raises
    ------
    ValueError
        If `grey` is no uint8 array of that shape.
    """
    if grey.dtype != np.uint8 or grey.ndim != 2 or grey.shape[0] < 1 or grey.shape[1] < SLICES:
        raise ValueError(
            f"expected a uint8 page (rows, columns >= {SLICES}); received {grey.dtype} {grey.shape}"
        )
    columns = grey.shape[1]
    cuts = [round(part * columns / SLICES) for part in range(SLICES + 1)]
    parts = [_to_set_size(grey[:, a:b]) for a, b in pairwise(cuts)]
    return np.stack(parts, axis=-1)


def unpack(packet: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay the three parts side by side again: (224, 224, 3) to (224, 672), for people to see."""
    rows, columns, slices = packet.shape
    return np.ascontiguousarray(packet.transpose(0, 2, 1).reshape(rows, slices * columns))


def _to_set_size(part: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if part.shape == (SIDE_PX, SIDE_PX):
        return part
    shrinks = part.shape[0] > SIDE_PX or part.shape[1] > SIDE_PX
    # Averaging over the covered area keeps a thin trace visible when a page shrinks tenfold.
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    scaled = cv2.resize(np.ascontiguousarray(part), (SIDE_PX, SIDE_PX), interpolation=method)
    return np.asarray(scaled, dtype=np.uint8)
