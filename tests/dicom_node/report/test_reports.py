"""Both documents, before the judges that hospitals and vendors use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judges import dcentvfy, dciodvfy, pixelmed
from peers import dcmtk
from pydicom import dcmread
from report_cases import CASES, DEVICE, KEYS, pair, result, source, walk

from dicom_node import report
from dicom_node.codes import FINDING_CODES, VERDICTS, Concept
from dicom_node.report.wording import CONTRADICTION, NONE_PRESENT, UNVERIFIED


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path, Path]]:
    """Write source, Basic Text SR and Comprehensive SR of each case."""
    folder = tmp_path_factory.mktemp("reports")
    written = {}
    for name, (picture, analysed) in CASES.items():
        stem = folder / name.replace(" ", "-")
        picture.save_as(stem.with_suffix(".src.dcm"), enforce_file_format=True)
        documents = pair(picture, analysed)
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


@pytest.mark.parametrize("name", CASES)
def test_source_and_reports_are_of_one_patient_and_study(
    name: str, reports: dict[str, tuple[Path, Path, Path]]
) -> None:
    assert dcentvfy(*reports[name]) == []


def test_everything_says_unverified() -> None:
    for ds in pair(source(), result()):
        assert (ds.VerificationFlag, ds.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
        assert "UNVERIFIED" in ds.SeriesDescription
    basic = report.tree(pair(source(), result())[0])
    impression = next(n for n in walk(basic) if n.concept == "Impression")
    assert impression.value.splitlines()[0] == UNVERIFIED


def test_none_present_is_not_normal() -> None:
    for ds in pair(source(), result(())):
        text = report.render_tree(ds)
        assert NONE_PRESENT in text
        assert "PRESENT (" not in text


def test_a_negative_is_never_a_finding_in_the_document_for_machines() -> None:
    _, comprehensive = pair(source(), result(("af", "pvc"), ("pac",)))
    groups = [n for n in walk(report.tree(comprehensive)) if n.concept == "Measurement Group"]
    named = [child.value for g in groups for child in g.children if child.concept == "Finding"]
    assert sorted(named) == sorted(FINDING_CODES[key].meaning for key in ("af", "pvc"))
    _, none = pair(source(), result(()))
    (group,) = (n for n in walk(report.tree(none)) if n.concept == "Measurement Group")
    assert not [child for child in group.children if child.concept == "Finding"]
    assert [child for child in group.children if child.value_type == "SCOORD"]


def test_every_item_has_a_name() -> None:
    for ds in pair(source(), result()):
        assert all(node.concept for node in walk(report.tree(ds)))


def test_what_is_not_validated_says_so() -> None:
    for ds in pair(source(), result(("at",))):
        text = report.render_tree(ds)
        assert "Atrial tachycardia: PRESENT" in text
        line = next(line for line in text.splitlines() if "Atrial tachycardia: PRESENT" in line)
        assert "not validated" in line


def test_a_region_of_what_is_not_validated_says_so_too() -> None:
    _, ds = pair(source(), result(("at", "af")))
    tracked = {n.value for n in walk(report.tree(ds)) if n.concept == "Tracking Identifier"}
    assert tracked == {"Atrial tachycardia [not validated]", "Atrial fibrillation"}


@pytest.mark.parametrize(
    ("undetermined", "said"),
    [((), "Atrial tachycardia: ABSENT"), (("afl",), "Atrial flutter: UNDETERMINED")],
)
def test_a_region_of_what_is_not_present_does_not_bear_its_bare_name(
    undetermined: tuple[str, ...], said: str
) -> None:
    _, ds = pair(source(), result((), undetermined))
    tracked = [n.value for n in walk(report.tree(ds)) if n.concept == "Tracking Identifier"]
    assert [text.removesuffix(" [not validated]") for text in tracked] == [said]


def test_a_normal_ecg_with_findings_is_called_a_contradiction() -> None:
    for ds in pair(source(), result(("normal", "af"))):
        assert CONTRADICTION in report.render_tree(ds)
    for ds in pair(source(), result(("normal",))):
        assert CONTRADICTION not in report.render_tree(ds)


def test_a_note_about_the_picture_stands_in_both_documents() -> None:
    noted = replace(result(), quality_note="the page is blurred")
    for ds in pair(source(), noted):
        assert "Picture: the page is blurred" in report.render_tree(ds)


@pytest.mark.parametrize(
    ("probability", "threshold", "printed"),
    [
        (0.931, 0.5, ("93.1", "50.0")),
        (0.4996, 0.5, ("49.96", "50.00")),
        (0.5, 0.5, ("50.0", "50.0")),
        (0.50000001, 0.5, ("50.000001", "50.000000")),
        (0.0, 1.0, ("0.0", "100.0")),
    ],
)
def test_a_printed_probability_lies_on_its_side_of_the_printed_threshold(
    probability: float, threshold: float, printed: tuple[str, str]
) -> None:
    finding = report.FindingResult("af", probability, threshold, "absent")
    assert (finding.percent, finding.threshold_percent) == printed


def test_a_region_stays_inside_the_picture() -> None:
    wild = ((-5.0, -5.0), (5000.0, -5.0), (5000.0, 5000.0), (-5.0, 5000.0))
    _, ds = pair(source(), result(region=wild))
    scoord = next(n for n in walk(report.tree(ds)) if n.value_type == "SCOORD")
    assert scoord.value == "(0, 0) (1200, 0) (1200, 900) (0, 900) (0, 0)"


PICTURE = source()


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
    basic, comprehensive = pair(PICTURE, analysed)
    again = pair(PICTURE, analysed)
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


def test_a_region_beside_the_picture_is_the_whole_picture() -> None:
    beside = ((2000.0, 0.0), (3000.0, 0.0), (3000.0, 900.0), (2000.0, 900.0))
    _, ds = pair(source(), result(region=beside))
    scoord = next(n for n in walk(report.tree(ds)) if n.value_type == "SCOORD")
    assert scoord.value == "(0, 0) (1200, 0) (1200, 900) (0, 900) (0, 0)"


@pytest.mark.parametrize(
    "region", [(), ((0.0, 0.0),) * 3, ((0.0, float("nan")), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))]
)
def test_a_region_that_is_none_is_refused(region: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(report.ReportError, match="four finite"):
        result(region=region)


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
