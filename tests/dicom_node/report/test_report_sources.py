"""What a report takes over from its source, by which rules, and what its UIDs depend on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judges import dcentvfy, dciodvfy
from peers import dcmtk
from pydicom import Dataset, dcmread
from report_cases import CASES, DEVICE, NAMES, multi_frame, named, pair, result, source, with_order

from dicom_node import report
from dicom_node.report.source import Source

PICTURE = source()


def write(documents: Sequence[Dataset], folder: Path) -> list[Path]:
    paths = [folder / f"report-{number}.dcm" for number in range(len(documents))]
    for path, ds in zip(paths, documents, strict=True):
        path.write_bytes(report.to_bytes(ds))
    return paths


def coded(**values: str) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


@pytest.mark.parametrize("character_set", NAMES)
def test_a_name_of_any_character_set_is_written_in_utf8(character_set: str, tmp_path: Path) -> None:
    for path in write(pair(named(character_set), result()), tmp_path):
        ds = dcmread(path)
        assert ds.SpecificCharacterSet == "ISO_IR 192"
        assert str(ds.PatientName).rstrip("=") == NAMES[character_set][2]
        assert b"\x1b" not in path.read_bytes()
        assert dciodvfy(path) == []
        assert dcmtk("dsrdump", path).returncode == 0


def test_everything_a_study_says_of_its_patient_is_in_its_reports(tmp_path: Path) -> None:
    ds = with_order()
    ds.IssuerOfPatientID = "HOSPITAL"
    ds.OtherPatientIDsSequence = [coded(PatientID="P-2", TypeOfPatientID="TEXT")]
    ds.OtherPatientNames = "Earlier^Name"
    ds.PatientAge, ds.PatientSize, ds.PatientWeight = "075Y", "1.7", "80"
    ds.EthnicGroup, ds.PatientComments, ds.Occupation = "unknown", "none", "retired"
    ds.PatientIdentityRemoved = "NO"
    ds.PhysiciansOfRecord = ds.NameOfPhysiciansReadingStudy = "Doctor^A"
    ds.AdmittingDiagnosesDescription, ds.AdmissionID = "chest pain", "AD-1"
    ds.AdditionalPatientHistory = "palpitations"
    known = coded(CodeValue="268400002", CodingSchemeDesignator="SCT", CodeMeaning="12 lead ECG")
    ds.ProcedureCodeSequence = [known]
    original = tmp_path / "source.dcm"
    ds.save_as(original, enforce_file_format=True)
    paths = write(pair(ds, result()), tmp_path)
    assert dcentvfy(original, *paths) == []
    for path in paths:
        assert dciodvfy(path) == []


def test_a_code_without_a_meaning_and_private_attributes_stay_behind(tmp_path: Path) -> None:
    ds = source()
    known = coded(CodeValue="268400002", CodingSchemeDesignator="SCT", CodeMeaning="12 lead ECG")
    known.private_block(0x0009, "SOMEBODY", create=True).add_new(1, "LO", "theirs")
    ds.ProcedureCodeSequence = [known, coded(CodeValue="1", CodingSchemeDesignator="99X")]
    for path in write(pair(ds, result()), tmp_path):
        assert dciodvfy(path) == []
        (procedure,) = dcmread(path).ProcedureCodeSequence
        assert procedure.CodeMeaning == "12 lead ECG"
        assert len(procedure) == 3


def test_a_report_joins_every_order_of_its_source(tmp_path: Path) -> None:
    ds = with_order()
    ds.PlacerOrderNumberImagingServiceRequest = "PL-1"
    (order,) = pair(ds, result())[0].ReferencedRequestSequence
    assert (order.RequestedProcedureID, order.AccessionNumber) == ("RP-1", "A-1")
    assert order.PlacerOrderNumberImagingServiceRequest == "PL-1"
    assert order.FillerOrderNumberImagingServiceRequest == ""

    ds.RequestAttributesSequence = [
        coded(RequestedProcedureID=f"RP-{number}", AccessionNumber=f"A-{number}")
        for number in (1, 2)
    ]
    for path in write(pair(ds, result()), tmp_path):
        assert dciodvfy(path) == []
        first, second = dcmread(path).ReferencedRequestSequence
        assert (first.AccessionNumber, second.AccessionNumber) == ("A-1", "A-2")
        assert second.RequestedProcedureID == "RP-2"
        # Of two orders nobody knows whose the number in the header is.
        assert second.PlacerOrderNumberImagingServiceRequest == ""


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientBirthDate", "born in May"),
        ("PatientBirthDate", "20260231"),
        ("StudyDate", "2026-01-02"),
        ("StudyTime", "256161"),
        ("PatientSex", "X"),
        ("PatientSex", "female"),
    ],
)
def test_what_is_not_legal_is_left_empty(keyword: str, value: str, tmp_path: Path) -> None:
    ds = source()
    ds[keyword]._value = value
    for path in write(pair(ds, result()), tmp_path):
        assert dcmread(path)[keyword].value == ""
        # An empty date is legal; the judge only regrets what a directory on disc would need.
        assert [line for line in dciodvfy(path) if "to build DICOMDIR" not in line] == []


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
def test_a_source_without_a_size_is_refused(keyword: str) -> None:
    ds = source()
    delattr(ds, keyword)
    with pytest.raises(report.ReportError, match="Rows and Columns"):
        pair(ds, result())


def test_a_frame_that_the_source_lacks_is_refused() -> None:
    with pytest.raises(report.ReportError, match="frame of 1 to 2, received 3"):
        pair(multi_frame(), result(frame_number=3))


def test_a_frame_is_named_only_where_there_are_several() -> None:
    for picture, wanted in ((source(), 0), (multi_frame(), 1)):
        basic, _ = pair(picture, result(frame_number=1))
        assert str(basic).count("Referenced Frame Number") == wanted


def test_composing_leaves_the_source_as_it_is() -> None:
    before = PICTURE.to_json()
    pair(PICTURE, result())
    assert PICTURE.to_json() == before


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("value", [None, "", "..", "1.2.", "1.02", "1." * 33 + "1", "../../x"])
@pytest.mark.parametrize(
    "keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
def test_a_source_nothing_can_refer_to_is_refused_by_name(keyword: str, value: str | None) -> None:
    ds = source()
    if value is None:
        delattr(ds, keyword)
    else:
        ds[keyword]._value = value
    with pytest.raises(report.ReportError, match=keyword) as error:
        pair(ds, result())
    assert not error.value.retryable


def test_what_the_source_lacks_is_empty_and_nothing_is_invented() -> None:
    ds = source()
    for keyword in ("PatientID", "PatientName", "PatientSex", "AccessionNumber", "StudyID"):
        delattr(ds, keyword)
    for document in pair(ds, result()):
        assert document.PatientID == document.AccessionNumber == document.PatientSex == ""
        assert "ReferencedRequestSequence" not in document


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_an_illegal_date_is_left_empty_and_an_identifier_is_never_cut() -> None:
    ds = source()
    identifier = "9" * 70
    ds["PatientID"]._value = identifier
    ds["PatientBirthDate"]._value = "born in May"
    copied = Dataset()
    Source.of(ds).copy_identity(copied)
    assert copied.PatientBirthDate == ""
    assert copied.PatientID == identifier


def test_times_are_told_on_the_clock_of_the_source() -> None:
    ds = source()
    ds.TimezoneOffsetFromUTC = "+0800"
    document, _ = pair(ds, result())
    assert (document.ContentTime, document.TimezoneOffsetFromUTC) == ("130607", "+0800")


def test_another_picture_network_or_result_has_other_uids() -> None:
    def uids(ds: Dataset, analysed: report.AnalysisResult) -> set[str]:
        return {str(document.SOPInstanceUID) for document in pair(ds, analysed)}

    first = uids(PICTURE, result())
    assert len(first) == 2
    assert first.isdisjoint(uids(source(), result()))
    assert first.isdisjoint(uids(PICTURE, result(("pvc",))))
    assert all(len(uid) <= 64 for uid in first)


UNLIKE = {
    "network version": replace(result(), model_version="1.1"),
    "weights": replace(result(), model_sha256="cd" * 32),
    "software": replace(result(), device=replace(DEVICE, software_version="0.2.0")),
    "note": replace(result(), quality_note="blurred"),
    "region": result(region=None),
    "validation": replace(
        result(), findings=tuple(replace(f, validated=False) for f in result().findings)
    ),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_documents_that_differ_in_anything_differ_in_every_uid(name: str) -> None:
    def uids(analysed: report.AnalysisResult) -> set[str]:
        documents = pair(PICTURE, analysed)
        return {uid for ds in documents for uid in (ds.SOPInstanceUID, ds.SeriesInstanceUID)}

    assert len(uids(result())) == 4
    assert uids(result()).isdisjoint(uids(UNLIKE[name]))


def test_a_corrected_header_makes_another_document() -> None:
    corrected = copy.deepcopy(PICTURE)
    corrected.PatientName = "Test^Other"
    first, other = (pair(ds, result())[0] for ds in (PICTURE, corrected))
    assert first.SOPInstanceUID != other.SOPInstanceUID


@pytest.mark.parametrize("root", ["1.2.826.0.1.3680043.10", "1.2." + "3" * 35])
def test_uids_can_be_under_an_own_root(root: str, tmp_path: Path) -> None:
    documents = pair(PICTURE, result(), uid_root=root)
    for ds, path in zip(documents, write(documents, tmp_path), strict=True):
        assert ds.SOPInstanceUID.startswith(root + ".")
        assert len(ds.SOPInstanceUID) <= 64
        assert ds.SOPInstanceUID.is_valid
        assert dciodvfy(path) == []


@pytest.mark.parametrize("root", ["", "1", "1.2.", "1.02", "1.2." + "3" * 36, "hospital"])
def test_a_root_that_is_none_is_refused(root: str) -> None:
    with pytest.raises(report.ReportError, match="UID root"):
        pair(PICTURE, result(), uid_root=root)


LENGTHS = {"LO": 64, "SH": 16, "CS": 16, "UI": 64, "AS": 4, "DS": 16}


@given(st.text(max_size=300), st.text(max_size=300), st.sampled_from(sorted(CASES)))
def test_every_value_fits_its_field(name: str, note: str, case: str) -> None:
    picture, analysed = CASES[case]
    analysed = replace(analysed, model_name=name, model_version=name, quality_note=note)
    for ds in pair(picture, analysed):
        for element in ds.iterall():
            values = element.value if element.VM > 1 else [element.value]
            if limit := LENGTHS.get(element.VR):
                assert all(len(str(value or "")) <= limit for value in values), element.keyword
