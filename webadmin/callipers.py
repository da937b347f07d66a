"""How large a picture's paper is, where the object itself says so: what callipers measure by."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np

from dicom_node.errors import ImageError
from dicom_node.part10 import StoredObject
from gateway.models import Instance
from gateway.pages import PAPER
from gateway.retention import AgedOut, picture_file
from gateway.spool import SpoolError
from models.corpus.draw import draw_page

_RATE_HZ: Final = 100
_LEAST_MM, _MOST_MM = 50.0, 1000.0
"""A page of ten seconds at 25 mm/s is 250 mm wide; what claims to be a stamp or a wall is wrong."""


@dataclass(frozen=True)
class Calibration:
    """The size of the whole picture in millimetres of paper, and how we know it."""

    across_mm: float
    down_mm: float
    source: str
    speed_is_known: bool = False


def calibration_of(instance: Instance) -> Calibration | None:
    """Return how large a picture is on paper; None: the object does not say.

    A waveform is drawn by us, at 25 mm/s and 10 mm/mV. A scan may have Nominal Scanned Pixel
    Spacing, millimetres of the paper that was scanned (PS3.3 section C.8.6.2).
    """
    try:
        with StoredObject(picture_file(instance)) as stored:
            header = stored.header
            if stored.pixels is None:
                is_drawn = stored.document is None and bool(header.get("WaveformSequence"))
                return _drawn() if is_drawn else None
    except (AgedOut, ImageError, SpoolError, OSError):
        return None
    try:
        down, across = (float(value) for value in header.get("NominalScannedPixelSpacing") or ())
        across_mm, down_mm = across * int(header.Columns), down * int(header.Rows)
    except (TypeError, ValueError):
        return None
    if not all(_LEAST_MM < side < _MOST_MM for side in (across_mm, down_mm)):
        return None
    return Calibration(across_mm, down_mm, "the scanner says how large the paper was")


@functools.cache
def _drawn() -> Calibration:
    """The paper that waveforms are drawn on, always alike."""
    still = np.zeros((12, 10 * _RATE_HZ), np.int16)
    rows, columns = draw_page(still, float(_RATE_HZ), "3x4+1", PAPER, 0).shape[:2]
    return Calibration(
        columns / PAPER.px_per_mm,
        rows / PAPER.px_per_mm,
        "drawn by the gateway from the recording",
        speed_is_known=True,
    )
