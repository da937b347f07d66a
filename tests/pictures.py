"""ECG pictures as Secondary Capture objects, for tests and benchmarks."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from dicom_node.capture import secondary_capture
from gateway.demonstration import bundled_recording
from models.corpus import draw_page
from models.corpus.layouts import Layout


@functools.cache
def page(
    layout: str | Layout = "3x4+1", style: str = "pink", seed: int = 1
) -> npt.NDArray[np.uint8]:
    """Return the recording of pydicom's wheel drawn as paper: (rows, columns, 3) uint8."""
    signal_uv, rate_hz = bundled_recording()
    return draw_page(signal_uv, rate_hz, layout, style, seed)


def picture(raster: npt.NDArray[np.uint8] | None = None, **values: Any) -> Dataset:
    """Return `raster`, or the drawn recording, as a new Secondary Capture object."""
    described = {"patient_id": "TEST-1", "patient_name": "Test^Patient", **values}
    return secondary_capture(page() if raster is None else raster, **described)


def save_picture(path: Path, raster: npt.NDArray[np.uint8] | None = None, **values: Any) -> Dataset:
    """Save a picture as a DICOM file and return it."""
    ds = picture(raster, **values)
    ds.save_as(path, enforce_file_format=True)
    return ds
