"""Headers that break the rules: a report is made all the same, legal, and the same each time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judges import dciodvfy
from pydicom import DataElement, Dataset, config, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from report_cases import pair, result, source, with_order

from dicom_node import report
from dicom_node.report import attributes

COPIED = sorted({*attributes.ALWAYS, *attributes.WHERE_PRESENT, *attributes.ORDER})
TEXTUAL = [keyword for keyword in COPIED if dictionary_VR(keyword) != "SQ"]
SEQUENCES = [*sorted(set(COPIED) - set(TEXTUAL)), "RequestAttributesSequence"]
PICTURE = source()
DICOM_STUDY = "1.2.840.10008.3.1.2.3.1"


def encoded(keyword: str, vr: str, value: bytes) -> Dataset:
    """Return a picture that holds these bytes, as if read from a file."""
    ds = copy.deepcopy(PICTURE)
    tag = Tag(tag_for_keyword(keyword) or 0)
    value += b" " * (len(value) % 2)
    ds[tag] = RawDataElement(
        tag, vr, len(value), value, value_tell=0, is_implicit_VR=False, is_little_endian=True
    )
    return ds


def written(ds: Dataset) -> list[bytes]:
    return [report.to_bytes(document) for document in pair(ds, result())]


def item(**values: Any) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        made[keyword] = DataElement(
            tag_for_keyword(keyword) or 0,
            dictionary_VR(keyword),
            value,
            validation_mode=config.IGNORE,
        )
    return made


@settings(max_examples=40)
@given(st.sampled_from(TEXTUAL), st.binary(max_size=90))
def test_any_bytes_for_any_copied_attribute_make_a_report_and_the_same_again(
    keyword: str, value: bytes
) -> None:
    try:
        documents = written(encoded(keyword, dictionary_VR(keyword), value))
    except report.ReportError:
        if keyword not in attributes.IDENTIFIERS:
            raise
        return
    assert documents == written(encoded(keyword, dictionary_VR(keyword), value))
    for document in documents:
        read = dcmread(BytesIO(document))
        assert str(read)
        assert b"\x1b" not in document


@pytest.mark.parametrize("keyword", SEQUENCES)
def test_what_stands_where_a_sequence_belongs_counts_as_absent(keyword: str) -> None:
    for vr, value in (("LO", b"text"), ("OB", b"\1\2"), ("US", b"\1\0"), ("PN", b"A^B")):
        read = dcmread(BytesIO(written(encoded(keyword, vr, value))[0]))
        assert read.get(keyword) == PICTURE.get(keyword), vr


@pytest.mark.parametrize("vr", ["LO", "SH", "PN", "LT", "UT"])
def test_a_text_under_another_text_vr_is_copied_under_its_own(vr: str) -> None:
    for keyword, value in (("PatientName", "Test^Other"), ("PatientID", "P-9"), ("StudyID", "S-9")):
        for document in written(encoded(keyword, vr, value.encode())):
            element = dcmread(BytesIO(document))[keyword]
            assert (element.VR, str(element.value)) == (dictionary_VR(keyword), value)


def test_an_identifier_that_is_a_number_counts_as_absent() -> None:
    for document in written(encoded("PatientID", "US", b"\1\0")):
        assert dcmread(BytesIO(document)).PatientID == ""


@pytest.mark.parametrize("keyword", ["PatientID", "AccessionNumber"])
@pytest.mark.parametrize("value", [b"12\x0034", b"12\t34", b"12\x7f34"])
def test_an_identifier_that_would_have_to_be_mended_makes_no_report(
    keyword: str, value: bytes
) -> None:
    with pytest.raises(report.ReportError, match=f"{keyword} holds characters"):
        written(encoded(keyword, dictionary_VR(keyword), value))


def test_an_identifier_with_a_byte_its_character_set_does_not_know_makes_no_report() -> None:
    ds = encoded("PatientID", "LO", b"12\xff34")
    ds.SpecificCharacterSet = "ISO_IR 192"
    with pytest.raises(report.ReportError, match="PatientID holds characters"):
        written(ds)


def test_padding_and_escapes_are_no_control_characters() -> None:
    assert dcmread(BytesIO(written(encoded("PatientID", "LO", b"1234\0"))[0])).PatientID == "1234"
    ds = encoded("PatientID", "LO", b"\x1b$B;3ED\x1b(B-1")
    ds.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    assert dcmread(BytesIO(written(ds)[0])).PatientID == "\u5c71\u7530-1"


def test_an_order_number_of_a_request_is_held_to_the_same() -> None:
    ds = with_order()
    request = encoded("AccessionNumber", "SH", b"A\x01B")
    ds.RequestAttributesSequence = [Dataset()]
    ds.RequestAttributesSequence[0]._dict[Tag("AccessionNumber")] = request.get_item(
        "AccessionNumber"
    )
    with pytest.raises(report.ReportError, match="AccessionNumber"):
        written(ds)


LOCAL = {"CodingSchemeDesignator": "DCM", "CodeMeaning": "m"}
# Items that dciodvfy calls an error in whatever holds them.
BROKEN: dict[str, tuple[str, Dataset]] = {
    "code without scheme": ("ProcedureCodeSequence", item(CodeValue="1", CodeMeaning="m")),
    "code of an empty scheme": (
        "RequestedProcedureCodeSequence",
        item(CodeValue="1", CodingSchemeDesignator="", CodeMeaning="m"),
    ),
    "code without meaning": (
        "ProcedureCodeSequence",
        item(CodeValue="1", CodingSchemeDesignator="DCM"),
    ),
    "two codes in one": (
        "ProcedureCodeSequence",
        item(CodeValue="1", LongCodeValue="1" * 20, **LOCAL),
    ),
    "nothing": ("AdmittingDiagnosesCodeSequence", Dataset()),
    "patient without identifier": ("OtherPatientIDsSequence", item(TypeOfPatientID="TEXT")),
    "identifier without type": ("OtherPatientIDsSequence", item(PatientID="P-2")),
    "issuer without name": (
        "IssuerOfAccessionNumberSequence",
        item(LocalNamespaceEntityID=""),
    ),
    "issuer of unknown type": ("OrderPlacerIdentifierSequence", item(UniversalEntityID="1.2.3")),
    "issuer of an identifier, of unknown type": (
        "IssuerOfPatientIDQualifiersSequence",
        item(UniversalEntityID="1.2.3"),
    ),
    "study that is no UID": (
        "ReferencedStudySequence",
        item(ReferencedSOPClassUID=DICOM_STUDY, ReferencedSOPInstanceUID="1.02"),
    ),
}


def write(documents: Sequence[bytes], folder: Path) -> list[Path]:
    paths = [folder / f"report-{number}.dcm" for number in range(len(documents))]
    for path, document in zip(paths, documents, strict=True):
        path.write_bytes(document)
    return paths


@pytest.mark.parametrize("name", BROKEN)
def test_an_item_that_lacks_what_makes_it_one_stays_behind(name: str, tmp_path: Path) -> None:
    keyword, broken = BROKEN[name]
    ds = with_order()
    setattr(ds, keyword, [broken])
    for path in write(written(ds), tmp_path):
        assert dciodvfy(path) == []
        assert not dcmread(path).get(keyword)


def test_whole_items_are_copied_without_what_is_empty_in_them(tmp_path: Path) -> None:
    ds = with_order()
    known = {"CodeValue": "113011", "CodingSchemeDesignator": "DCM", "CodeMeaning": "m"}
    ds.ProcedureCodeSequence = [item(**known, CodingSchemeVersion="")]
    universal = item(UniversalEntityID="1.2.3", UniversalEntityIDType="ISO")
    ds.IssuerOfAccessionNumberSequence = [item(LocalNamespaceEntityID="HOSPITAL")]
    ds.OrderPlacerIdentifierSequence = [universal]
    ds.IssuerOfPatientID = "HOSPITAL"
    ds.IssuerOfPatientIDQualifiersSequence = [universal]
    study = item(ReferencedSOPClassUID=DICOM_STUDY, ReferencedSOPInstanceUID="1.2.3")
    ds.ReferencedStudySequence = [study]
    for path in write(written(ds), tmp_path):
        assert dciodvfy(path) == []
        read = dcmread(path)
        assert len(read.ProcedureCodeSequence[0]) == 3
        assert read.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "HOSPITAL"
        assert read.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID == "1.2.3"
        assert read.ReferencedStudySequence[0].ReferencedSOPInstanceUID == "1.2.3"
        (order,) = read.ReferencedRequestSequence
        assert order.OrderPlacerIdentifierSequence[0].UniversalEntityIDType == "ISO"
