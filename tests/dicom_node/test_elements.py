"""Data sets made fast: the same as pydicom makes, and the same bytes as pydicom writes."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from report_cases import KEYS, multi_frame, result, source, waveform

from dicom_node import elements, report

PIXELS = np.full((900, 1200), 255, np.uint8)


def written_by_pydicom(ds: Dataset) -> bytes:
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = False, True
    write_dataset(out, ds, "utf_8")
    return out.getvalue()


def with_everything() -> Dataset:
    """Return a header with several values, other scripts, numbers, and sequences in sequences."""
    ds = source(patient_name="Wang^XiaoDong=王^小东", patient_id="Ä-1")
    ds.OtherPatientNames = ["A^B", "C^D"]
    ds.PatientWeight = "72.5"
    ds.PatientAge = "076Y"
    ds.PatientComments = "several\r\nlines\\and more"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "müsli"
    request = Dataset()
    request.AccessionNumber = "A1"
    request.RequestedProcedureID = "R1"
    request.RequestedProcedureCodeSequence = [code]
    ds.RequestAttributesSequence = [request, request]
    ds.ProcedureCodeSequence = [code]
    return ds


@pytest.mark.parametrize("make", [source, with_everything, multi_frame, waveform])
@pytest.mark.parametrize("present", [(), ("af",), KEYS])
def test_reports_are_the_bytes_that_pydicom_would_write(make, present) -> None:  # type: ignore[no-untyped-def]
    made = report.compose(
        make(), result(present), outputs=list(report.OUTPUTS), picture=lambda: PIXELS
    )
    for ds in made.values():
        expected = BytesIO()
        dcmwrite(expected, ds, enforce_file_format=True)
        assert elements.to_file(ds) == expected.getvalue()


def test_data_sets_are_those_that_pydicom_makes() -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "%", "UCUM", "Percent"
    expected = Dataset()
    expected.SpecificCharacterSet = "ISO_IR 192"
    expected.SOPInstanceUID = "2.25.7"
    expected.ManufacturerModelName = ["of two", "values"]
    expected.SeriesNumber = 9001
    expected.NumericValue = "93.1"
    expected.GraphicData = [1.0, 2.5]
    expected.InstitutionCodeSequence = []
    expected.MeasurementUnitsCodeSequence = [code]
    made = elements.data_set(
        SpecificCharacterSet="ISO_IR 192",
        SOPInstanceUID="2.25.7",
        ManufacturerModelName="of two\\values",
        SeriesNumber=9001,
        NumericValue="93.1",
        GraphicData=[1.0, 2.5],
        InstitutionCodeSequence=[],
        MeasurementUnitsCodeSequence=[code],
    )
    assert made == expected
    for element in expected:
        assert type(made[element.tag].value) is type(element.value)
    assert elements.encode(made) == written_by_pydicom(expected)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientName", "Wang^XiaoDong=王^小东"),
        ("PatientID", ""),
        ("PatientBirthDate", None),
        ("OtherPatientNames", ["A^B", "C^D"]),
        ("AdmittingDiagnosesDescription", ["one", "two"]),
        ("TextValue", "x" * 70_001),
        ("PatientComments", "odd"),
        ("SOPInstanceUID", "1.2.3"),
        ("PixelData", b"\x00\x01\x02\x03"),
        ("PixelAspectRatio", [3, 4]),
        ("FrameIncrementPointer", 0x00182001),
        ("WindowCenter", "40.50"),
        ("ReferencedStudySequence", []),
        ("ReferencedStudySequence", [Dataset(), Dataset()]),
    ],
)
def test_an_element_is_written_as_pydicom_writes_it(keyword: str, value: object) -> None:
    ds = Dataset()
    setattr(ds, keyword, value)
    if keyword == "PixelData":
        ds[keyword].VR = "OB"
    assert elements.encode(ds) == written_by_pydicom(ds)


def test_a_value_too_long_for_its_representation_is_left_to_pydicom() -> None:
    ds = elements.data_set(StudyDescription="x" * 70_000)
    with pytest.warns(UserWarning, match="64 kByte"):
        content = elements.encode(ds)
    assert content[4:6] == b"UN"


def test_what_was_read_and_not_looked_at_is_written_in_unicode() -> None:
    out = BytesIO()
    ds = source(patient_name="Müller^Jörg")
    ds.SpecificCharacterSet = "ISO_IR 100"
    dcmwrite(out, ds, enforce_file_format=True)
    read = dcmread(BytesIO(out.getvalue()))
    assert "Müller^Jörg".encode() in elements.encode(read)


def test_group_lengths_are_not_written() -> None:
    ds = elements.data_set(PatientID="P-1")
    ds.add_new(0x00100000, "UL", 4)
    assert elements.encode(ds) == written_by_pydicom(elements.data_set(PatientID="P-1"))
