"""The documents of a review: a person's word, final and verified, before the judges."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judges import dcentvfy, dciodvfy, pixelmed
from peers import dcmtk
from pydicom import Dataset, dcmread
from report_cases import KEYS, multi_frame, pdf_text, result, two_pages, walk, waveform, with_order

from dicom_node import report
from dicom_node.codes import FINDING_CODES, VERDICTS
from dicom_node.report.wording import CONTRADICTION, ONLY_THESE

PIXELS = np.full((900, 1200, 3), 240, np.uint8)
WHEN = datetime(2026, 3, 4, 17, 30, tzinfo=timezone(timedelta(hours=8)))
NAME = "Wang^Li"
CHINESE = report.Verifier("Wang^Li=王^丽", "County Hospital", "W-4711")
SR = ("basic_text", "comprehensive", "enhanced", "comprehensive_3d")
ALL = (*SR, "result_page", "pdf")
#: No language, but another one than English.
QUOTED = report.Speech("zh-CN", lambda sentence: f"<{sentence}>")
#: dciodvfy knows no private coding scheme, though PS3.3 section 8.2 allows them.
PRIVATE_SCHEME = "Unrecognized defined term <99ECGGATEWAY>"


def review(
    *present: str,
    undetermined: tuple[str, ...] = (),
    number: int = 1,
    comment: str = "Rate 90.\nNo earlier tracing.",
    identification: str = "W-4711",
) -> report.Review:
    return report.Review(
        number=number,
        verdicts={
            key: "present"
            if key in present
            else "undetermined"
            if key in undetermined
            else "absent"
            for key in KEYS
        },
        verifier=report.Verifier(NAME, "County Hospital", identification),
        verified_at=WHEN,
        comment=comment,
    )


def compose(
    ds: Dataset, analysed: report.AnalysisResult, said: report.Review, *outputs: str
) -> dict[str, Dataset]:
    """Compose the network's documents, and those of a review that replace them."""
    asked = outputs or ALL
    first = report.compose(ds, analysed, outputs=asked, picture=lambda: PIXELS)
    replaced = {
        name: report.Predecessor(one.SOPClassUID, one.SOPInstanceUID, one.SeriesInstanceUID)
        for name, one in first.items()
    }
    return report.compose(
        ds, said.of(analysed), outputs=asked, picture=lambda: PIXELS, predecessors=replaced
    )


SOURCES = {
    "picture": (with_order(), result(("af", "crbbb")), review("af", "pvc", undetermined=("pac",))),
    "none left": (with_order(), result(("af",)), review(comment="", identification="")),
    "two pages": (multi_frame(), two_pages(), review("af", identification="4711" * 5)),
    "waveform": (waveform(), result(), replace(review("at"), verifier=CHINESE)),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("verified")
    written: dict[str, dict[str, Path]] = {}
    for name, (ds, analysed, said) in SOURCES.items():
        written[name] = {"source": folder / f"{name}.dcm"}
        ds.save_as(written[name]["source"], enforce_file_format=True)
        for output, composed in compose(ds, analysed, said).items():
            written[name][output] = folder / f"{name}-{output}.dcm"
            written[name][output].write_bytes(report.to_bytes(composed))
    return written


@pytest.mark.parametrize("name", SOURCES)
def test_judges_find_nothing_wrong_and_one_patient_and_study(
    name: str, made: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    for output in ALL:
        found = [line for line in dciodvfy(made[name][output]) if PRIVATE_SCHEME not in line]
        assert found == [], output
    assert dcentvfy(*made[name].values()) == []
    for output in SR:
        assert dcmtk("dsrdump", made[name][output]).returncode == 0
        rendered = dcmtk("dsr2html", made[name][output], tmp_path / "report.html")
        assert rendered.returncode == 0, rendered.output
        assert "REVIEWED AND VERIFIED" in (tmp_path / "report.html").read_text()


# It takes its time: both templates, with and without positives.
@pytest.mark.parametrize(
    ("name", "output"),
    [("picture", "basic_text"), ("picture", "comprehensive"), ("none left", "comprehensive_3d")],
)
def test_pixelmed_finds_nothing_but_what_it_cannot_know(
    name: str, output: str, made: dict[str, dict[str, Path]]
) -> None:
    assert pixelmed(made[name][output]) == []


@pytest.mark.parametrize("name", SOURCES)
def test_every_output_is_final_says_who_and_names_what_it_replaces(
    name: str, made: dict[str, dict[str, Path]]
) -> None:
    ds, analysed, said = SOURCES[name]
    first = report.compose(ds, analysed, outputs=ALL, picture=lambda: PIXELS)
    read = {output: dcmread(made[name][output]) for output in ALL}
    assert sorted(one.SeriesNumber for one in read.values()) == list(range(9101, 9107))
    for output, one in read.items():
        assert one.SeriesDescription == "ECG result - VERIFIED by a person"
        assert "UNVERIFIED" not in str(one)
        assert one.SOPClassUID == first[output].SOPClassUID
        assert one.SOPInstanceUID != first[output].SOPInstanceUID
    for output in SR:
        one = read[output]
        flags = (one.CompletionFlag, one.PreliminaryFlag, one.VerificationFlag)
        assert flags == ("COMPLETE", "FINAL", "VERIFIED")
        (verifying,) = one.VerifyingObserverSequence
        assert verifying.VerifyingObserverName == said.verifier.name
        assert verifying.VerifyingOrganization == "County Hospital"
        assert datetime.strptime(verifying.VerificationDateTime, "%Y%m%d%H%M%S%z") == WHEN
        given_ids = [
            item.get("CodeValue") or item.LongCodeValue
            for item in verifying.VerifyingObserverIdentificationCodeSequence
        ]
        assert given_ids == ([said.verifier.identification] if name != "none left" else [])
        assert [item.ObserverType for item in one.AuthorObserverSequence] == ["PSN", "DEV"]
        assert one.AuthorObserverSequence[0].PersonName == said.verifier.name
        (study,) = one.PredecessorDocumentsSequence
        (series,) = study.ReferencedSeriesSequence
        (replaced,) = series.ReferencedSOPSequence
        assert study.StudyInstanceUID == ds.StudyInstanceUID
        assert series.SeriesInstanceUID == first[output].SeriesInstanceUID
        assert replaced.ReferencedSOPInstanceUID == first[output].SOPInstanceUID
        assert replaced.PurposeOfReferenceCodeSequence[0].CodeValue == "121360"
        assert one.ContentDate + one.ContentTime == one.SeriesDate + one.SeriesTime
    for output in ("result_page", "pdf"):
        _, replaced = read[output].SourceInstanceSequence
        assert replaced.ReferencedSOPInstanceUID == first[output].SOPInstanceUID
    assert read["pdf"].VerificationFlag == "VERIFIED"


@pytest.mark.parametrize("output", SR)
def test_the_person_observed_first_and_then_the_device(output: str) -> None:
    (ds,) = compose(*SOURCES["picture"], output).values()
    context = [node for node in report.tree(ds).children if node.relationship == "HAS OBS CONTEXT"]
    said = [(node.concept, node.value) for node in context]
    assert said[:3] == [
        ("Observer Type", "Person"),
        ("Person Observer Name", NAME),
        ("Person Observer's Organization Name", "County Hospital"),
    ]
    assert said[3] == ("Observer Type", "Device")


def test_the_times_are_on_the_clock_of_the_source() -> None:
    ds = with_order()
    ds.TimezoneOffsetFromUTC = "-0330"
    (one,) = compose(ds, result(), review("af"), "basic_text").values()
    assert one.TimezoneOffsetFromUTC == "-0330"
    (verifying,) = one.VerifyingObserverSequence
    assert verifying.VerificationDateTime == "20260304060000-0330"
    assert (one.ContentDate, one.ContentTime) == ("20260304", "060000")


VERDICT: st.SearchStrategy[report.Verdict] = st.sampled_from(["present", "absent", "undetermined"])


@given(
    st.lists(VERDICT, min_size=10, max_size=10),
    st.lists(VERDICT, min_size=10, max_size=10),
)
def test_no_probability_stands_beside_what_a_person_says_otherwise(
    network: list[report.Verdict], person: list[report.Verdict]
) -> None:
    analysed = result()
    analysed = replace(
        analysed,
        findings=tuple(
            replace(finding, verdict=verdict, probability=0.371 + 0.001 * number)
            for number, (finding, verdict) in enumerate(
                zip(analysed.findings, network, strict=True)
            )
        ),
    )
    said = replace(review(), verdicts=dict(zip(KEYS, person, strict=True)))
    basic, comprehensive = report.compose(PICTURE, said.of(analysed)).values()
    nodes = walk(report.tree(comprehensive))
    evaluated = {n.concept: n for n in nodes if n.value_type == "CODE" and n.concept in MEANINGS}
    comment = next(n for n in nodes if n.concept == "Comment").value
    findings = [n.value for n in walk(report.tree(basic)) if n.concept == "Finding"]
    groups = [n for n in nodes if n.concept == "Measurement Group"]
    named = {c.value for g in groups for c in g.children if c.concept == "Finding"}
    measured = {
        c.children[0].value for g in groups for c in g.children if c.concept == "Probability"
    }
    for finding, verdict in zip(analysed.findings, person, strict=True):
        meaning = FINDING_CODES[finding.key].meaning
        is_overridden = finding.verdict != verdict
        assert evaluated[meaning].value == VERDICTS[verdict].meaning
        assert bool(evaluated[meaning].children) != is_overridden
        (line,) = (line for line in findings if line.startswith(f"{meaning}: "))
        assert line.startswith(f"{meaning}: {verdict.upper()} ")
        assert (finding.percent in line) != is_overridden
        told = f"{meaning}: {finding.verdict.upper()} (probability {finding.percent} %"
        assert (told in comment) == is_overridden
        assert (meaning in named) == (verdict == "present")
        assert not (is_overridden and meaning in measured)
    assert all(any(c.value_type == "SCOORD" for c in g.children) for g in groups)
    assert groups


PICTURE = with_order()
MEANINGS = {code.meaning for code in FINDING_CODES.values()}


def test_a_page_shows_who_verified_it_and_no_bar_of_what_was_overridden() -> None:
    ds, analysed, said = SOURCES["picture"]
    pdf = pdf_text(compose(ds, analysed, replace(said, verifier=CHINESE), "pdf")["pdf"])
    assert (
        "REVIEWED AND VERIFIED by 王丽 (Wang Li), County Hospital, 2026-03-04 17:30 +0800." in pdf
    )
    assert pdf.count("decided by the reader") == 3
    assert "The reader remarks: Rate 90. No earlier tracing." in pdf
    assert "87.0 %" in pdf, "what the network had said of the bundle branch block"
    for unsaid in ("UNVERIFIED", "not validated", ONLY_THESE):
        assert unsaid not in pdf


def test_a_long_comment_leaves_room_for_the_findings() -> None:
    ds, analysed, said = SOURCES["picture"]
    for comment in ("word " * 200, "心" * 1000):
        long = replace(said, comment=comment.strip(), verdicts=dict.fromkeys(KEYS, "present"))
        text = pdf_text(compose(ds, analysed, long, "pdf")["pdf"])
        assert comment.strip()[:20] in text
        assert CONTRADICTION in text
        assert text.count("decided by the reader") == 8


def test_a_name_that_no_font_shows_is_not_shown_in_part() -> None:
    ds, analysed, said = SOURCES["picture"]
    arabic = replace(said, verifier=report.Verifier("قباني^لنزار", "County Hospital"))
    assert "REVIEWED AND VERIFIED by a person." in pdf_text(
        compose(ds, analysed, arabic, "pdf")["pdf"]
    )


def test_a_verified_report_is_a_function_of_its_inputs_and_of_each_of_them() -> None:
    ds, analysed, said = SOURCES["picture"]
    first = compose(ds, analysed, said, *SR)
    again = compose(ds, analysed, said, *SR)
    assert [report.to_bytes(one) for one in again.values()] == [
        report.to_bytes(one) for one in first.values()
    ]
    others = [
        replace(said, number=2),
        replace(said, comment=""),
        replace(said, verified_at=WHEN.astimezone(UTC)),
        replace(said, verifier=replace(said.verifier, identification="")),
        review("af"),
    ]
    uids = [one.SOPInstanceUID for one in first.values()]
    for other in others:
        uids += [one.SOPInstanceUID for one in compose(ds, analysed, other, *SR).values()]
    without = report.compose(ds, said.of(analysed), outputs=SR)
    uids += [one.SOPInstanceUID for one in without.values()]
    spoken = report.compose(ds, said.of(analysed), outputs=SR, speech=QUOTED)
    uids += [one.SOPInstanceUID for one in spoken.values()]
    assert len(set(uids)) == len(uids)


def test_a_review_that_is_none_is_refused() -> None:
    with pytest.raises(report.ReportError, match="each finding once"):
        replace(review(), verdicts={"af": "present"})
    with pytest.raises(report.ReportError, match="time zone"):
        replace(review(), verified_at=WHEN.replace(tzinfo=None))
    with pytest.raises(report.ReportError, match="counted from 1"):
        review(number=0)
    with pytest.raises(report.ReportError, match="name and the organization"):
        report.Verifier("^", "County Hospital")
