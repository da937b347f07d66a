"""ECG waveform objects of every make, for tests."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from dicom_node.contexts import IMPLEMENTATION_CLASS_UID
from dicom_node.leads import LEADS
from models.corpus import simulate

TWELVE_LEAD = "1.2.840.10008.5.1.4.1.1.9.1.1"
GENERAL_ECG = "1.2.840.10008.5.1.4.1.1.9.1.2"
HEMODYNAMIC = "1.2.840.10008.5.1.4.1.1.9.2.1"

NUMBERS = {"I": 1, "II": 2, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64} | {
    f"V{n}": n + 2 for n in range(1, 7)
}

DTYPES = {"SB": "i1", "UB": "u1", "SS": "<i2", "US": "<u2", "SL": "<i4", "UL": "<u4"}
"""Waveform Sample Interpretation -> how the samples are stored."""

Namer = Callable[[str], Dataset]


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return an item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def scpecg(lead: str) -> Dataset:
    """Name a lead as SCP-ECG does."""
    return code(f"5.6.3-9-{NUMBERS[lead]}", "SCPECG", f"Lead {lead}")


def mdc(lead: str) -> Dataset:
    """Name a lead as ISO/IEEE 11073 does."""
    return code(f"2:{NUMBERS[lead]}", "MDC", f"Lead {lead}")


@functools.cache
def heart(kind: str = "normal", seed: int = 1) -> npt.NDArray[np.int16]:
    """Return a simulated ECG: (12, 2500) microvolts at 250 Hz."""
    return np.asarray(simulate(kind, seed), np.int16)


def samples_uv(rate_hz: float, seconds: float = 10.0) -> npt.NDArray[np.float64]:
    """Return twelve leads of a smooth signal known at every rate: (12, n) microvolts.

    Every lead is a sum of three waves below 40 Hz of its own phases; the limb leads obey
    Einthoven's and Goldberger's laws.
    """
    time = np.arange(round(rate_hz * seconds)) / rate_hz
    own = {}
    for place, lead in enumerate(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")):
        waves = [
            size * np.sin(2 * np.pi * hertz * time + place)
            for hertz, size in ((1.2, 400.0), (9.0, 120.0), (35.0, 60.0))
        ]
        own[lead] = np.sum(waves, axis=0)
    one, two = own["I"], own["II"]
    own |= {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    return np.stack([own[lead] for lead in LEADS])


def channel(
    source: Dataset | None,
    *,
    sensitivity: str | None = "1",
    unit: str | None = "uV",
    correction: str = "1",
    baseline: str = "0",
    bits_stored: int = 16,
    label: str | None = None,
) -> Dataset:
    """Return an item of the Channel Definition Sequence; what is None is left out."""
    item = Dataset()
    if source is not None:
        item.ChannelSourceSequence = [source]
    if label is not None:
        item.ChannelLabel = label
    if sensitivity is not None:
        item.ChannelSensitivity = sensitivity
        item.ChannelSensitivityCorrectionFactor = correction
        item.ChannelBaseline = baseline
        item.ChannelSampleSkew = "0"
    if unit is not None:
        item.ChannelSensitivityUnitsSequence = [code(unit, "UCUM", unit)]
    item.WaveformBitsStored = bits_stored
    return item


def group(
    samples: npt.NDArray[Any],
    rate_hz: float,
    leads: Sequence[str] = LEADS,
    *,
    name: Namer = scpecg,
    kind: str = "SS",
    label: str = "RHYTHM",
    padding: int | None = None,
    **channels: Any,
) -> Dataset:
    """Return an item of the Waveform Sequence.

    Parameters
    ----------
    samples : (leads, n)
        Stored values; rounded to integers.
    kind : str
        Waveform Sample Interpretation.
    channels
        See `channel`.
    """
    dtype = np.dtype(
        {"SB": "i1", "UB": "u1", "SS": "<i2", "US": "<u2", "SL": "<i4", "UL": "<u4"}[kind]
    )
    bits = dtype.itemsize * 8
    item = Dataset()
    item.WaveformOriginality = "ORIGINAL"
    item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = samples.shape
    item.SamplingFrequency = str(rate_hz)
    item.MultiplexGroupLabel = label
    channels = {"bits_stored": bits, **channels}
    item.ChannelDefinitionSequence = [channel(name(lead), **channels) for lead in leads]
    item.WaveformBitsAllocated = bits
    item.WaveformSampleInterpretation = kind
    if padding is not None:
        item.add_new("WaveformPaddingValue", "OB" if bits == 8 else "OW", _even(dtype, padding))
    data = np.rint(samples).astype(dtype).T.tobytes()
    item.add_new("WaveformData", "OB" if bits == 8 else "OW", data + bytes(len(data) % 2))
    return item


def _even(dtype: np.dtype[Any], value: int) -> bytes:
    data = np.array([value]).astype(dtype).tobytes()
    return data + bytes(len(data) % 2)


def waveform_object(*groups: Dataset, sop_class_uid: str = TWELVE_LEAD, **values: Any) -> Dataset:
    """Return a waveform object of these multiplex groups."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = UID(sop_class_uid), generate_uid()
    ds.StudyDate = ds.ContentDate = "20260102"
    ds.StudyTime = ds.ContentTime = "030405"
    ds.AcquisitionDateTime = "20260102030405"
    ds.AccessionNumber, ds.Modality, ds.Manufacturer = "ACC-1", "ECG", "Tests"
    ds.ReferringPhysicianName = ""
    ds.PatientName, ds.PatientID = "Test^Patient", "PID-1"
    ds.PatientBirthDate = ds.PatientSex = ""
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", "1", "1"
    ds.AcquisitionContextSequence = []
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    if groups:
        ds.WaveformSequence = list(groups)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    ds.file_meta.MediaStorageSOPInstanceUID = UID(ds.SOPInstanceUID)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    return ds


def twelve_lead(
    samples: npt.NDArray[Any] | None = None, rate_hz: float = 500.0, **options: Any
) -> Dataset:
    """Return a twelve-lead ECG of one group: the given samples, or `samples_uv`."""
    return waveform_object(
        group(samples_uv(rate_hz) if samples is None else samples, rate_hz, **options)
    )


def save(ds: Dataset, path: Path) -> Path:
    """Write a data set as a DICOM file."""
    ds.save_as(path, enforce_file_format=True)
    return path


def recorded() -> Path:
    """Return the twelve-lead object of a real recorder that pydicom's wheel carries."""
    path = get_testdata_file("waveform_ecg.dcm")
    assert isinstance(path, str), "pydicom's wheel has no waveform_ecg.dcm"
    return Path(path)
