"""A wrapped picture is a valid Secondary Capture object and gives the picture back."""

from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from peers import require

from dicom_node.capture import secondary_capture
from dicom_node.image import read_raster
from dicom_node.pixels import Raster

SHAPES = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)),
)


@given(SHAPES.flatmap(lambda shape: hnp.arrays(np.uint8, shape)))
def test_the_picture_comes_back(raster: Raster) -> None:
    assert np.array_equal(read_raster(secondary_capture(raster, patient_id="1")), raster)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_dciodvfy_finds_no_error(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "capture.dcm"
    ds = secondary_capture(
        np.zeros(shape, np.uint8),
        patient_id="PID-1",
        patient_name="Zhang^San=张^三",
        patient_birth_date="19700101",
        patient_sex="F",
        accession_number="A-1",
        study_id="S1",
        study_description="ECG",
        series_description="Page",
    )
    ds.save_as(path, enforce_file_format=True)
    judged = subprocess.run(
        [require("dciodvfy"), path], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Error" not in judged.stdout + judged.stderr


@pytest.mark.parametrize(
    "raster",
    [
        np.zeros((2, 2), np.float64),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_what_is_no_raster_is_refused(raster: Raster) -> None:
    with pytest.raises(ValueError, match=r"raster|side"):
        secondary_capture(raster, patient_id="PID-1")


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        secondary_capture(
            np.zeros((2, 2), np.uint8), patient_id="1", acquired_at=datetime(2026, 1, 1)
        )
