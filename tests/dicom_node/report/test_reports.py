"""Both documents, before the judges that hospitals and vendors use."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judges import dciodvfy, pixelmed
from peers import dcmtk
from pydicom import Dataset, dcmread
from pydicom.uid import UID

from dicom_node import report
from dicom_node.capture import secondary_capture
from dicom_node.codes import FINDING_CODES, VERDICTS, Concept
from dicom_node.report.source import Source
from dicom_node.report.wording import NONE_PRESENT, UNVERIFIED

KEYS = tuple(FINDING_CODES)
DEVICE = report.Device(
    uid="2.25.1234567890",
    name="ECG Gateway",
    manufacturer="ECG Gateway",
    model="ECG Gateway",
    serial="34567890",
    software_version="0.1.0",
)
REGION = ((20.0, 30.0), (1100.0, 30.0), (1100.0, 800.0), (20.0, 800.0))
WHEN = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC)


def source(**values: str) -> Dataset:
    """Return a picture with everything a hospital fills in."""
    described = {
        "patient_id": "P-1",
        "patient_name": "Test^Patient",
        "patient_birth_date": "19500102",
        "patient_sex": "F",
        "accession_number": "A-1",
        "study_id": "S-1",
        "study_description": "12-lead ECG",
        **values,
    }
    return secondary_capture(np.full((900, 1200), 255, np.uint8), **described)  # type: ignore[arg-type]


def result(
    present: tuple[str, ...] = ("af",),
    undetermined: tuple[str, ...] = (),
    *,
    frame_number: int | None = None,
    region: tuple[tuple[float, float], ...] | None = REGION,
) -> report.AnalysisResult:
    """Return a result; the findings not named are absent, two classes are not validated."""
    findings = []
    for number, key in enumerate(KEYS):
        verdict, probability = "absent", 0.01 + 0.03 * number
        if key in present:
            verdict, probability = "present", 0.91 - 0.01 * number
        elif key in undetermined:
            verdict, probability = "undetermined", 0.41
        findings.append(
            report.FindingResult(
                key=key,
                probability=probability,
                threshold=0.5,
                verdict=verdict,  # type: ignore[arg-type]
                validated=key not in ("at", "atrial_escape"),
            )
        )
    return report.AnalysisResult(
        findings=tuple(findings),
        model_name="resnet18",
        model_version="1.0",
        model_sha256="ab" * 32,
        frame_number=frame_number,
        region=region,
        device=DEVICE,
        analysed_at=WHEN,
    )


def multi_frame() -> Dataset:
    ds = source()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7.2")
    ds.NumberOfFrames = 2
    ds.PixelData = ds.PixelData * 2
    return ds


def with_order() -> Dataset:
    ds = source()
    request = Dataset()
    request.RequestedProcedureID = "RP-1"
    request.RequestedProcedureDescription = "ECG at rest"
    ds.RequestAttributesSequence = [request]
    return ds


LONG_UID = "1.2.826.0.1.3680043.8.498." + "1" * 38
CASES: dict[str, tuple[Dataset, report.AnalysisResult]] = {
    "one present": (source(), result()),
    "several present": (source(), result(("af", "crbbb", "pvc", "at"))),
    "none present": (source(), result(())),
    "undetermined": (source(), result((), ("pac", "afl"))),
    "no region": (source(), result(region=None)),
    "a page of several": (multi_frame(), result(frame_number=2)),
    "an order": (with_order(), result()),
    "long uids": (source(sop_instance_uid=LONG_UID, study_instance_uid=LONG_UID + ""), result()),
    "long texts": (source(study_description="d" * 64, accession_number="1" * 16), result()),
    "chinese": (source(patient_name="王^小东=王^小东"), result()),
    "japanese": (source(patient_name="Yamada^Tarou=山田^太郎=やまだ^たろう"), result()),
    "latin": (source(patient_name="Müller^Jürgen"), result()),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path, Path]]:
    """Write source, Basic Text SR and Comprehensive SR of each case."""
    folder = tmp_path_factory.mktemp("reports")
    written = {}
    for name, (picture, analysed) in CASES.items():
        stem = folder / name.replace(" ", "-")
        picture.save_as(stem.with_suffix(".src.dcm"), enforce_file_format=True)
        documents = report.compose(picture, analysed)
        paths = (stem.with_suffix(".basic.dcm"), stem.with_suffix(".comprehensive.dcm"))
        for path, ds in zip(paths, documents, strict=True):
            path.write_bytes(report.to_bytes(ds))
        written[name] = (stem.with_suffix(".src.dcm"), *paths)
    return written


@pytest.mark.parametrize("name", CASES)
def test_dciodvfy_finds_no_error_and_no_warning(
    name: str, reports: dict[str, tuple[Path, Path, Path]]
) -> None:
    for path in reports[name][1:]:
        assert dciodvfy(path) == []


def test_pixelmed_finds_nothing_but_what_it_cannot_know(
    reports: dict[str, tuple[Path, Path, Path]],
) -> None:
    # It takes its time, so three that have everything: both documents, with and without positives.
    _, basic, comprehensive = reports["several present"]
    for path in (basic, comprehensive, reports["none present"][2]):
        assert pixelmed(path) == []


@pytest.mark.parametrize("name", CASES)
def test_dcmtk_dumps_and_renders_both(
    name: str, reports: dict[str, tuple[Path, Path, Path]], tmp_path: Path
) -> None:
    for path in reports[name][1:]:
        assert dcmtk("dsrdump", path).returncode == 0
        assert dcmtk("dsr2xml", path, tmp_path / "report.xml").returncode == 0
        rendered = dcmtk("dsr2html", path, tmp_path / "report.html")
        assert rendered.returncode == 0, rendered.output
        assert "UNVERIFIED" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("name", CASES)
def test_patient_study_and_order_are_those_of_the_source(
    name: str, reports: dict[str, tuple[Path, Path, Path]]
) -> None:
    picture = CASES[name][0]
    for path in reports[name][1:]:
        ds = dcmread(path)
        assert ds.SpecificCharacterSet == "ISO_IR 192"
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
            assert str(ds[keyword].value) == str(picture[keyword].value)
        for keyword in ("StudyInstanceUID", "StudyDate", "StudyID", "AccessionNumber"):
            assert ds[keyword].value == picture[keyword].value
        assert ds.SeriesInstanceUID != picture.SeriesInstanceUID
        (order,) = ds.ReferencedRequestSequence
        assert order.AccessionNumber == picture.AccessionNumber


def test_everything_says_unverified() -> None:
    for ds in report.compose(source(), result()):
        assert (ds.VerificationFlag, ds.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
        assert "UNVERIFIED" in ds.SeriesDescription
    basic = report.tree(report.compose(source(), result())[0])
    impression = next(n for n in walk(basic) if n.concept == "Impression")
    assert impression.value.splitlines()[0] == UNVERIFIED


def test_none_present_is_not_normal() -> None:
    for ds in report.compose(source(), result(())):
        text = report.render_tree(ds)
        assert NONE_PRESENT in text
        assert "PRESENT (" not in text


def test_a_negative_is_never_a_finding_in_the_document_for_machines() -> None:
    _, comprehensive = report.compose(source(), result(("af", "pvc"), ("pac",)))
    groups = [n for n in walk(report.tree(comprehensive)) if n.concept == "Measurement Group"]
    named = [child.value for g in groups for child in g.children if child.concept == "Finding"]
    assert sorted(named) == sorted(FINDING_CODES[key].meaning for key in ("af", "pvc"))
    _, none = report.compose(source(), result(()))
    (group,) = (n for n in walk(report.tree(none)) if n.concept == "Measurement Group")
    assert not [child for child in group.children if child.concept == "Finding"]
    assert [child for child in group.children if child.value_type == "SCOORD"]


def test_every_item_has_a_name() -> None:
    for ds in report.compose(source(), result()):
        assert all(node.concept for node in walk(report.tree(ds)))


def test_what_is_not_validated_says_so() -> None:
    for ds in report.compose(source(), result(("at",))):
        text = report.render_tree(ds)
        assert "Atrial tachycardia: PRESENT" in text
        line = next(line for line in text.splitlines() if "Atrial tachycardia: PRESENT" in line)
        assert "not validated" in line


def test_a_region_stays_inside_the_picture() -> None:
    wild = ((-5.0, -5.0), (5000.0, -5.0), (5000.0, 5000.0), (-5.0, 5000.0))
    _, ds = report.compose(source(), result(region=wild))
    scoord = next(n for n in walk(report.tree(ds)) if n.value_type == "SCOORD")
    assert scoord.value == "(0, 0) (1200, 0) (1200, 900) (0, 900) (0, 0)"


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_source_nothing_can_refer_to_is_refused_by_name(keyword: str) -> None:
    ds = source()
    delattr(ds, keyword)
    with pytest.raises(report.ReportError, match=keyword) as error:
        report.compose(ds, result())
    assert not error.value.retryable


def test_what_the_source_lacks_is_empty_and_nothing_is_invented() -> None:
    ds = source()
    for keyword in ("PatientID", "PatientName", "PatientSex", "AccessionNumber", "StudyID"):
        delattr(ds, keyword)
    for document in report.compose(ds, result()):
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
    document, _ = report.compose(ds, result())
    assert (document.ContentTime, document.TimezoneOffsetFromUTC) == ("130607", "+0800")


@given(
    st.lists(st.sampled_from(["present", "absent", "undetermined"]), min_size=10, max_size=10),
    st.lists(st.floats(0, 1), min_size=10, max_size=10),
    st.lists(st.floats(0, 1), min_size=10, max_size=10),
)
def test_the_documents_agree_and_are_functions_of_their_inputs(
    verdicts: list[str], probabilities: list[float], thresholds: list[float]
) -> None:
    findings = tuple(
        report.FindingResult(key, p, t, v)  # type: ignore[arg-type]
        for key, p, t, v in zip(KEYS, probabilities, thresholds, verdicts, strict=True)
    )
    base = result()
    analysed = report.AnalysisResult(
        findings, "m", "1", "cd" * 32, None, None, base.device, base.analysed_at
    )
    basic, comprehensive = report.compose(PICTURE, analysed)
    again = report.compose(PICTURE, analysed)
    assert [report.to_bytes(ds) for ds in again] == [
        report.to_bytes(basic),
        report.to_bytes(comprehensive),
    ]
    said = {}
    for node in walk(report.tree(comprehensive)):
        if node.children and node.children[0].concept == "Probability":
            said[node.concept] = (node.value, node.children[0].value)
    text = report.render_tree(basic)
    for finding in findings:
        meaning = FINDING_CODES[finding.key].meaning
        verdict, percent = said[meaning]
        assert verdict == VERDICTS[finding.verdict].meaning
        assert f"{meaning}: {finding.verdict.upper()} (probability {percent}" in text


PICTURE = source()


def test_another_picture_network_or_result_has_other_uids() -> None:
    def uids(ds: Dataset, analysed: report.AnalysisResult) -> set[str]:
        return {str(document.SOPInstanceUID) for document in report.compose(ds, analysed)}

    first = uids(PICTURE, result())
    assert len(first) == 2
    assert first.isdisjoint(uids(source(), result()))
    assert first.isdisjoint(uids(PICTURE, result(("pvc",))))
    assert all(len(uid) <= 64 for uid in first)


def test_codes_are_unique_and_fit_their_fields() -> None:
    from dicom_node import codes

    written = [v for v in vars(codes).values() if isinstance(v, Concept)]
    written += FINDING_CODES.values()
    assert len({(c.value, c.scheme) for c in written}) == len(written)
    assert {c.scheme for c in written} <= {"DCM", "LN", "SCT", "UCUM", "UMLS", "RFC5646"}
    with pytest.raises(ValueError, match="does not fit"):
        Concept("1", "SCT", "m" * 65)


def test_a_result_without_all_ten_findings_is_refused() -> None:
    base = result()
    with pytest.raises(report.ReportError, match="each of the ten findings once"):
        report.AnalysisResult(
            base.findings[:9], "m", "1", "0" * 64, None, None, DEVICE, base.analysed_at
        )


def walk(node: report.ReportNode) -> list[report.ReportNode]:
    """Return a node and everything below it."""
    return [node, *(found for child in node.children for found in walk(child))]
