"""Everything that can be made of one result, before the judges: six outputs of every source."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judges import dcentvfy, dciodvfy, pixelmed
from peers import dcmtk
from pydicom import Dataset, dcmread
from pydicom.uid import UID
from report_cases import (
    OTHER_REGION,
    REGION,
    STATEMENTS,
    document,
    halves,
    multi_frame,
    pdf_text,
    result,
    source,
    two_pages,
    walk,
    waveform,
    with_order,
)

from dicom_node import report
from dicom_node.errors import ImageError

REPORTS = ("basic_text", "comprehensive", "enhanced", "comprehensive_3d")
PAGES = ("result_page", "pdf")
ALL = (*REPORTS, *PAGES)
PIXELS = np.full((900, 1200, 3), 240, np.uint8)
#: No language, but another one than English.
QUOTED = report.Speech("zh-CN", lambda sentence: f"<{sentence}>")
SOURCES: dict[str, tuple[Dataset, report.AnalysisResult]] = {
    "picture": (with_order(), result(("af", "pvc"))),
    "two pages": (multi_frame(), two_pages()),
    "halves": (multi_frame(), halves()),
    "waveform": (waveform(), replace(result(), statements=STATEMENTS)),
    "document": (document(), result((), frame_number=2)),
}


def compose(ds: Dataset, analysed: report.AnalysisResult, *outputs: str) -> dict[str, Dataset]:
    return report.compose(ds, analysed, outputs=outputs or ALL, picture=lambda: PIXELS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """Write each source and everything made of it."""
    folder = tmp_path_factory.mktemp("outputs")
    written: dict[str, dict[str, Path]] = {}
    for name, (ds, analysed) in SOURCES.items():
        stem = name.replace(" ", "-")
        written[name] = {"source": folder / f"{stem}.dcm"}
        ds.save_as(written[name]["source"], enforce_file_format=True)
        for output, composed in compose(ds, analysed).items():
            written[name][output] = folder / f"{stem}-{output}.dcm"
            written[name][output].write_bytes(report.to_bytes(composed))
    return written


@pytest.mark.parametrize("name", SOURCES)
def test_dciodvfy_finds_no_error_and_no_warning_in_any_output(
    name: str, made: dict[str, dict[str, Path]]
) -> None:
    for output in ALL:
        assert dciodvfy(made[name][output]) == [], output


@pytest.mark.parametrize("name", SOURCES)
def test_source_and_outputs_are_of_one_patient_and_study(
    name: str, made: dict[str, dict[str, Path]]
) -> None:
    assert dcentvfy(*made[name].values()) == []


# It takes its time, so two that have what the usual two documents of a picture have not.
@pytest.mark.parametrize(
    ("name", "output"), [("two pages", "comprehensive_3d"), ("waveform", "enhanced")]
)
def test_pixelmed_finds_nothing_in_any_class_but_what_it_cannot_know(
    name: str, output: str, made: dict[str, dict[str, Path]]
) -> None:
    assert pixelmed(made[name][output]) == []


@pytest.mark.parametrize("name", SOURCES)
def test_dcmtk_dumps_and_renders_every_class(
    name: str, made: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    for output in REPORTS:
        assert dcmtk("dsrdump", made[name][output]).returncode == 0
        rendered = dcmtk("dsr2html", made[name][output], tmp_path / "report.html")
        assert rendered.returncode == 0, rendered.output
        assert "UNVERIFIED" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("name", SOURCES)
def test_every_output_says_unverified_and_whose_it_is(
    name: str, made: dict[str, dict[str, Path]]
) -> None:
    read = [dcmread(made[name][output]) for output in ALL]
    picture = SOURCES[name][0]
    for ds in read:
        assert "UNVERIFIED" in ds.SeriesDescription
        assert ds.SpecificCharacterSet == "ISO_IR 192"
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber"):
            assert ds[keyword].value == picture[keyword].value
    assert sorted(ds.SeriesNumber for ds in read) == list(range(9001, 9007))
    pdf = dcmread(made[name]["pdf"])
    assert (pdf.VerificationFlag, pdf.Modality) == ("UNVERIFIED", "DOC")
    assert "UNVERIFIED" in pdf.DocumentTitle


def test_a_page_names_its_source_and_its_order() -> None:
    page, pdf = compose(multi_frame(), result(frame_number=2), *PAGES).values()
    (of_page,) = page.SourceImageSequence
    assert of_page.ReferencedFrameNumber == 2
    for ds, picture in ((page, multi_frame()), (pdf, multi_frame())):
        (of,) = ds.SourceInstanceSequence
        assert of.ReferencedSOPClassUID == picture.SOPClassUID
        assert ds.BurnedInAnnotation == "YES"
    for ds in compose(with_order(), result(), *PAGES).values():
        (request,) = ds.RequestAttributesSequence
        assert (request.RequestedProcedureID, request.AccessionNumber) == ("RP-1", "A-1")
    no_picture = compose(waveform(), result(), "result_page")["result_page"]
    assert "SourceImageSequence" not in no_picture
    assert no_picture.SourceInstanceSequence


def test_a_page_of_a_lossy_picture_is_lossy() -> None:
    ds = source()
    ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", "12.5"
    ds.LossyImageCompressionMethod = "ISO_10918_1"
    page = compose(ds, result(), "result_page")["result_page"]
    assert (page.LossyImageCompression, page.LossyImageCompressionRatio) == ("01", 12.5)
    assert page.LossyImageCompressionMethod == "ISO_10918_1"


@pytest.mark.parametrize(
    ("syntax", "lossy"), [(n, True) for n in (50, 51, 81, 91)] + [(n, False) for n in (70, 80, 90)]
)
def test_a_page_of_a_picture_that_is_stored_lossy_is_lossy_though_its_header_does_not_say_so(
    syntax: int, lossy: bool, tmp_path: Path
) -> None:
    ds = source()
    ds.file_meta.TransferSyntaxUID = UID(f"1.2.840.10008.1.2.4.{syntax}")
    page = compose(ds, result(), "result_page")["result_page"]
    assert page.get("LossyImageCompression") == ("01" if lossy else None)
    (tmp_path / "page.dcm").write_bytes(report.to_bytes(page))
    assert dciodvfy(tmp_path / "page.dcm") == []


@pytest.mark.parametrize(("name", "kind"), [("waveform", "WAVEFORM"), ("document", "COMPOSITE")])
@pytest.mark.parametrize("output", REPORTS)
def test_what_is_no_picture_has_neither_regions_nor_groups(
    name: str, kind: str, output: str, made: dict[str, dict[str, Path]]
) -> None:
    ds = dcmread(made[name][output])
    nodes = walk(report.tree(ds))
    assert {n.value_type for n in nodes}.isdisjoint({"IMAGE", "SCOORD"})
    assert "Measurement Group" not in {n.concept for n in nodes}
    (reference,) = [n for n in nodes if n.value_type == kind]
    assert reference.value == SOURCES[name][0].SOPInstanceUID
    evaluated = [n for n in nodes if n.children and n.children[0].concept == "Probability"]
    assert len(evaluated) == (0 if output == "basic_text" else 10)
    (evidence,) = ds.CurrentRequestedProcedureEvidenceSequence
    (series,) = evidence.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == reference.value


def test_the_page_of_a_document_is_told_in_words() -> None:
    for output, ds in compose(*SOURCES["document"], *REPORTS).items():
        assert "Page 2 of the source was read." in report.render_tree(ds), output


def test_each_region_lies_on_the_frame_its_finding_was_read_on() -> None:
    ds, analysed = multi_frame(), two_pages()
    tree = report.tree(compose(ds, analysed, "comprehensive")["comprehensive"])
    places = {}
    for group in (n for n in walk(tree) if n.concept == "Measurement Group"):
        (name,) = (n.value for n in group.children if n.concept == "Finding")
        (scoord,) = (n for n in group.children if n.value_type == "SCOORD")
        places[name] = (scoord.children[0].value.split()[-1], scoord.value.split(") ")[0])
    first = {key: f"({corners[0][0]:.0f}, {corners[0][1]:.0f}" for key, corners in
             {"own": REGION, "other": OTHER_REGION, "whole": ((0.0, 0.0),)}.items()}  # fmt: skip
    assert places == {
        "Atrial fibrillation": ("1", first["own"]),
        # The result's own region is of its own frame: elsewhere the whole picture is meant.
        "Complete right bundle branch block": ("2", first["whole"]),
        "Ventricular premature contraction": ("2", first["other"]),
    }


@pytest.mark.parametrize("output", REPORTS)
def test_every_frame_that_was_read_is_referred_to(output: str) -> None:
    tree = report.tree(compose(multi_frame(), two_pages(), output)[output])
    named = [n for n in walk(tree) if n.concept in ("Source", "Best illustration of finding")]
    assert {n.value.split()[-1] for n in named} == {"1", "2"}
    text = report.render_tree(compose(multi_frame(), two_pages(), output)[output])
    assert "Ventricular premature contraction: PRESENT (probability 90.0 %, threshold 50.0 %), " \
        "page 2" in text  # fmt: skip


TOGETHER = "Pages 1 and 2 of the source were read together, as one ECG."


@pytest.mark.parametrize("output", REPORTS)
def test_two_pages_that_were_read_as_one_are_both_referred_to_and_outlined(output: str) -> None:
    tree = report.tree(compose(multi_frame(), halves(), output)[output])
    named = [n for n in walk(tree) if n.concept in ("Source", "Best illustration of finding")]
    assert {n.value.split()[-1] for n in named} == {"1", "2"}
    groups = [n for n in walk(tree) if n.concept == "Measurement Group"]
    assert len(groups) == (0 if output == "basic_text" else 2)
    for group in groups:
        outlines = [n for n in group.children if n.value_type == "SCOORD"]
        starts = [f"({corners[0][0]:.0f}, {corners[0][1]:.0f}" for corners in
                  (REGION, OTHER_REGION)]  # fmt: skip
        assert [n.value.split(") ")[0] for n in outlines] == starts
        assert [n.children[0].value.split()[-1] for n in outlines] == ["1", "2"]
    text = report.render_tree(compose(multi_frame(), halves(), output)[output])
    assert TOGETHER in text
    assert "threshold 50.0 %), pages 1 and 2" in text


def test_of_two_pages_that_were_read_as_one_the_page_says_so_and_which_is_shown() -> None:
    page, pdf = compose(multi_frame(), halves(), *PAGES).values()
    assert f"{TOGETHER} Shown: page 1." in pdf_text(pdf)
    assert "Atrial fibrillation, pages 1 and 2" in pdf_text(pdf)
    assert [item.ReferencedFrameNumber for item in page.SourceImageSequence] == [1, 2]
    of_document = compose(document(), halves(), "basic_text")["basic_text"]
    assert TOGETHER in report.render_tree(of_document)
    assert "Page 1 of the source was read." not in report.render_tree(of_document)


def test_pages_are_joined_by_twos() -> None:
    with pytest.raises(report.ReportError, match="twice"):
        report.Joined((1, 1))
    with pytest.raises(report.ReportError, match="one other"):
        replace(halves(), joined=(report.Joined((1, 2)), report.Joined((2, 3))))


def test_what_a_source_states_is_said_as_its_own_in_every_output(
    made: dict[str, dict[str, Path]],
) -> None:
    said = "Stated by the source, not by this gateway: " + "; ".join(STATEMENTS)
    for output in REPORTS:
        assert said in report.render_tree(dcmread(made["waveform"][output]))
        assert "Stated by" not in report.render_tree(dcmread(made["picture"][output]))
    assert said in pdf_text(dcmread(made["waveform"]["pdf"])).replace("\n", " ")


def test_what_was_not_read_of_a_source_is_not_said_to_be_its_own() -> None:
    noted = replace(result(), statements=(*STATEMENTS, "Flat: V1, V2"))
    for ds in compose(waveform(), noted, *REPORTS).values():
        lines = [line.strip() for line in report.render_tree(ds).splitlines()]
        assert any(line.endswith("Flat: V1, V2") for line in lines)
        assert not any("Stated by" in line and "Flat" in line for line in lines)


def test_outputs_and_languages_differ_in_every_uid() -> None:
    picture, uids = source(), []
    for speech in (report.ENGLISH, QUOTED):
        for ds in report.compose(
            picture, result(), outputs=ALL, speech=speech, picture=lambda: PIXELS
        ).values():
            uids += [ds.SOPInstanceUID, ds.SeriesInstanceUID]
    assert len(set(uids)) == 2 * 2 * len(ALL)


def test_a_page_of_another_picture_has_another_uid() -> None:
    picture = source()
    for output in PAGES:
        first = report.compose(picture, result(), outputs=[output], picture=lambda: PIXELS)
        other = report.compose(picture, result(), outputs=[output], picture=lambda: PIXELS - 9)
        assert first[output].SOPInstanceUID != other[output].SOPInstanceUID


_AGAIN = """
import hashlib, sys
from pathlib import Path
import numpy as np
from pydicom import dcmread
sys.path.insert(0, sys.argv[1])
from report_cases import result
from dicom_node import report
made = report.compose(
    dcmread(sys.argv[2]), result(("af", "pvc")), outputs=sys.argv[3].split(","),
    picture=lambda: np.full((900, 1200, 3), 240, np.uint8),
)
for ds in made.values():
    print(hashlib.sha256(report.to_bytes(ds)).hexdigest())
"""


def test_the_same_inputs_give_the_same_bytes_in_another_process(
    made: dict[str, dict[str, Path]],
) -> None:
    import hashlib

    again = subprocess.run(
        [
            sys.executable,
            "-c",
            _AGAIN,
            str(Path(__file__).parents[2]),
            made["picture"]["source"],
            ",".join(ALL),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    first = [hashlib.sha256(made["picture"][output].read_bytes()).hexdigest() for output in ALL]
    assert again.stdout.split() == first


def test_a_picture_is_read_once_and_only_where_it_is_shown() -> None:
    read = []

    def picture() -> report.Raster:
        read.append(1)
        return PIXELS

    report.compose(source(), result(), outputs=REPORTS, picture=picture)
    assert read == []
    made = report.compose(source(), result(), outputs=ALL, picture=picture)
    assert read == [1]
    assert list(made) == list(ALL)


def test_a_picture_that_cannot_be_read_makes_no_page() -> None:
    def picture() -> report.Raster:
        raise ImageError("damaged")

    with pytest.raises(ImageError, match="damaged"):
        report.compose(source(), result(), outputs=["pdf"], picture=picture)


def test_an_output_that_needs_a_picture_asks_for_one() -> None:
    with pytest.raises(ValueError, match="picture"):
        report.compose(source(), result(), outputs=["result_page"])


def test_an_output_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="expected outputs of"):
        report.compose(source(), result(), outputs=["fax"])
