"""The page for people: what stands on it, that all of it can be read, and what happens if not."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pypdfium2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from report_cases import (
    DEVICE,
    REGION,
    STATEMENTS,
    multi_frame,
    pdf_text,
    result,
    source,
    two_pages,
)

from dicom_node import report
from dicom_node.report import fonts, wording
from dicom_node.report.fonts import Fonts
from dicom_node.report.names import displayed_name
from dicom_node.report.page import page_of
from dicom_node.report.painting import paint
from dicom_node.report.sheet import HEIGHT_PX, WIDTH_PX, Box, Picture, Sheet, Text
from dicom_node.report.source import Source

ROWS, COLUMNS = 900, 1200
RASTER = np.full((ROWS, COLUMNS, 3), 240, np.uint8)
RED, GREEN, AMBER, GREY = (176, 0, 32), (20, 105, 60), (160, 90, 0), (95, 95, 95)
#: Another language, in which every sentence can be told from what it is about.
CHINESE = report.Speech("zh-CN", lambda sentence: f"中{sentence}")


def sheet_of(
    ds: Dataset,
    analysed: report.AnalysisResult,
    speech: report.Speech = report.ENGLISH,
    found: Fonts | None = None,
) -> Sheet:
    checked = Source.of(ds)
    return page_of(checked, analysed, speech, rows=ROWS, columns=COLUMNS, fonts=found)


def texts(sheet: Sheet) -> list[str]:
    return [mark.text for mark in sheet.marks if isinstance(mark, Text)]


def only_latin(folder: Path) -> Fonts:
    """Return the fonts of a machine without a Chinese one."""
    for family in Fonts.find().families:
        if family.name == "DejaVu Sans":
            (folder / family.regular.name).symlink_to(family.regular)
            (folder / family.bold.name).symlink_to(family.bold)
    return Fonts.find([folder])


def test_the_page_says_what_the_documents_say() -> None:
    analysed = replace(result(("af", "at"), ("pac",)), statements=STATEMENTS)
    said = texts(sheet_of(source(), analysed))
    assert said[0] == wording.UNVERIFIED
    assert "Test Patient" in said
    identity = " ".join(said)
    for value in ("P-1", "1950-01-02", "female", "A-1", "12-lead ECG"):
        assert value in identity
    for finding in analysed.findings:
        assert wording.FINDING_NAMES[finding.key] in said
        assert f"{finding.percent} %" in said
    assert [said.count(word) for word in ("PRESENT", "UNDETERMINED", "ABSENT")] == [2, 1, 7]
    assert said.count("[not validated]") == 2
    assert wording.ONLY_THESE in said
    assert any("resnet18 1.0" in line and "ab" * 32 in line for line in said)
    assert any("Stated by the source" in line for line in said)


def test_remarks_stand_on_the_page() -> None:
    assert wording.NONE_PRESENT in texts(sheet_of(source(), result(())))
    assert wording.CONTRADICTION in texts(sheet_of(source(), result(("normal", "af"))))
    noted = replace(result(), quality_note="blurred")
    assert "Picture: blurred" in texts(sheet_of(source(), noted))


@pytest.mark.parametrize(
    ("key", "analysed", "colour"),
    [
        ("af", result(("af",)), RED),
        ("normal", result(("normal",)), GREEN),
        ("pac", result((), ("pac",)), AMBER),
        ("pvc", result(()), GREY),
        ("normal", result(()), GREY),
    ],
)
def test_a_bar_is_as_long_as_its_probability_and_of_the_colour_of_its_verdict(
    key: str, analysed: report.AnalysisResult, colour: tuple[int, int, int]
) -> None:
    sheet = sheet_of(source(), analysed)
    place = [finding.key for finding in analysed.ordered].index(key)
    finding = analysed.ordered[place]
    boxes = [mark for mark in sheet.marks if isinstance(mark, Box)]
    rails = [box for box in boxes if box.height == 16.0 and box.colour == (216, 216, 214)]
    rail = rails[place]
    (bar,) = [b for b in boxes if b.top == rail.top and b.height == 16.0 and b is not rail]
    assert bar.colour == colour
    assert bar.width == pytest.approx(finding.probability * rail.width)
    (mark,) = [b for b in boxes if b.top == rail.top - 6.0 and b.width == 3.0]
    assert mark.left + 1.5 == pytest.approx(rail.left + finding.threshold * rail.width)
    coloured = {m.text for m in sheet.marks if isinstance(m, Text) and m.style.colour == colour}
    assert wording.VERDICTS[finding.verdict] in coloured


def test_the_tracing_is_outlined_where_it_lies() -> None:
    sheet = sheet_of(source(), result(region=REGION))
    (placed,) = [mark for mark in sheet.marks if isinstance(mark, Picture)]
    scale = placed.width / COLUMNS
    assert placed.height / ROWS == pytest.approx(scale)
    painted = paint(sheet, RASTER)
    for x, y in (REGION[0], ((REGION[0][0] + REGION[1][0]) / 2, REGION[0][1]), REGION[2]):
        column, row = round(placed.left + scale * x), round(placed.top + scale * y)
        around = painted[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3)
        assert (11, 92, 173) in {tuple(int(v) for v in pixel) for pixel in around}
    assert wording.OUTLINED in texts(sheet)
    assert wording.OUTLINED not in texts(sheet_of(source(), result(region=None)))


def test_of_several_pages_the_page_shown_and_the_page_of_each_finding_are_named() -> None:
    sheet = sheet_of(multi_frame(), two_pages())
    said = texts(sheet)
    assert "Page 1 of the source was read. Outlined: the tracing that was read." in said
    assert "Ventricular premature contraction, page 2" in said
    assert "Atrial fibrillation, page 1" in said
    (placed,) = [mark for mark in sheet.marks if isinstance(mark, Picture)]
    assert len(placed.outlines) == 1


def test_the_painted_page_is_what_the_printed_one_is() -> None:
    picture = np.tile(np.linspace(0, 255, COLUMNS).astype(np.uint8), (ROWS, 1))
    analysed = result(("af", "normal"), ("pac",))
    made = report.compose(
        source(patient_name="Wang^XiaoDong=王^小东"),
        analysed,
        outputs=["result_page", "pdf"],
        picture=lambda: picture,
    )
    page, pdf = made["result_page"], made["pdf"]
    painted = np.frombuffer(page.PixelData, np.uint8).reshape(page.Rows, page.Columns, 3)
    with pypdfium2.PdfDocument(pdf.EncapsulatedDocument) as opened:
        (printed_page,) = opened
        assert printed_page.get_size() == pytest.approx((841.89, 595.28), abs=0.01)
        bitmap = printed_page.render(scale=WIDTH_PX / 841.89)
        printed = np.asarray(bitmap.to_pil().resize((WIDTH_PX, HEIGHT_PX)))
        bitmap.close()
    # Letters are spaced and smoothed in their own ways: parts of the page are compared.
    assert np.abs(in_parts(painted) - in_parts(printed)).max() < 5.0


def in_parts(raster: report.Raster) -> npt.NDArray[np.float64]:
    """Return the mean colours of 16 by 7 parts of a page."""
    rows, columns = HEIGHT_PX // 7, WIDTH_PX // 16
    parts = raster.astype(float)[: 7 * rows].reshape(7, rows, 16, columns, 3)
    return np.asarray(parts.mean((1, 3)))


def test_the_pdf_is_one_page_with_its_fonts_its_picture_and_its_text() -> None:
    ds = report.compose(source(), result(), outputs=["pdf"], picture=lambda: RASTER)["pdf"]
    content = ds.EncapsulatedDocument
    assert ds.EncapsulatedDocumentLength <= len(content) <= ds.EncapsulatedDocumentLength + 1
    assert content.startswith(b"%PDF-")
    assert content.count(b"/FontFile") == 2
    assert content.count(b"/Subtype /Image") == 1
    assert len(content) < 100_000
    text = pdf_text(ds)
    for sentence in (wording.UNVERIFIED, wording.ONLY_THESE, "Complete left bundle branch block"):
        assert sentence in text
    with pypdfium2.PdfDocument(io.BytesIO(content)) as pdf:
        assert "UNVERIFIED" in pdf.get_metadata_dict()["Title"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Test^Patient", "Test Patient"),
        ("Wang^XiaoDong=王^小东", "王小东 (Wang XiaoDong)"),
        ("王^小东", "王小东"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田太郎 (Yamada Tarou)"),
        ("=洪^吉洞", "洪吉洞"),
        ("Adams^John^^Dr.^B.A.", "Adams John Dr. B.A."),
        ("", ""),
        ("^^", ""),
    ],
)
def test_a_name_is_shown_as_people_write_it(name: str, shown: str) -> None:
    assert displayed_name(name) == shown


LONG = {
    "patient_name": "Baron-Longname^Maximilian^Theodor Amadeus^Prof. Dr. med.^MD FACC" + "="
    "欧阳司马上官诸葛欧阳司马上官诸葛欧阳司马上官诸葛^小东大西南北小东大西南北小东大西南北小东大西南北",
    "patient_id": "9" * 64,
    "accession_number": "1" * 16,
    "study_description": "心电图" * 21,
}


def is_inside(sheet: Sheet) -> bool:
    """Tell whether every text ends before the margin, above the foot of the page."""
    return all(
        mark.x >= 0.0
        and mark.x + mark.family.width_px(mark.text, mark.style.size_px, bold=mark.style.bold)
        <= WIDTH_PX - 20.0
        and 0.0 < mark.y < HEIGHT_PX
        for mark in sheet.marks
        if isinstance(mark, Text)
    )


def test_the_longest_legal_values_are_shown_whole_and_leave_room_for_the_findings() -> None:
    sheet = sheet_of(source(**LONG), replace(result(()), statements=STATEMENTS * 5))
    said = "".join("".join(texts(sheet)).split())
    for value in (displayed_name(LONG["patient_name"]), LONG["patient_id"], "心电图" * 21):
        assert "".join(value.split()) in said
    assert is_inside(sheet)
    rows = [m.y for m in sheet.marks if isinstance(m, Text) and m.text in wording.VERDICTS.values()]
    assert min(b - a for a, b in itertools.pairwise(rows)) > 55.0


def test_a_value_that_the_font_of_its_label_lacks_stands_below_the_label() -> None:
    said = texts(sheet_of(source(study_description="\u0114"), result(), CHINESE))
    (value,) = [text for text in said if "\u0114" in text]
    label = said[said.index(value) - 1]
    assert label.endswith(CHINESE.say(wording.STUDY, value="").strip())


@settings(max_examples=40)
@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=1500))
@example(name="N", said="\u0114", note="")
def test_any_text_makes_a_page_with_everything_inside_it(name: str, said: str, note: str) -> None:
    ds = source(patient_name="N", study_description="D")
    ds.PatientName, ds["StudyDescription"]._value = name.replace("\\", ""), said
    analysed = replace(result(()), quality_note=note, statements=(said,), model_name=name)
    for speech in (report.ENGLISH, CHINESE):
        sheet = sheet_of(ds, analysed, speech)
        assert is_inside(sheet)
        assert all(mark.family.shows(mark.text) for mark in sheet.marks if isinstance(mark, Text))


@pytest.mark.parametrize("raster", [(60, 4000), (4000, 60), (1, 1), (300, 300)])
def test_a_picture_of_any_shape_is_shown_whole(raster: tuple[int, int]) -> None:
    rows, columns = raster
    sheet = page_of(Source.of(source()), result(), report.ENGLISH, rows=rows, columns=columns)
    (placed,) = [mark for mark in sheet.marks if isinstance(mark, Picture)]
    assert placed.left >= 31.0
    assert placed.left + placed.width <= WIDTH_PX - 32.0 - 636.0
    assert placed.top + placed.height < HEIGHT_PX
    assert paint(sheet, np.zeros(raster, np.uint8)).shape == (HEIGHT_PX, WIDTH_PX, 3)


@pytest.mark.parametrize("name", ["محمد^علي", "כהן^דוד", "สมชาย^ใจดี", "नाम", "name\u200f^x", "𓀀𓀁"])
def test_a_name_that_cannot_be_drawn_is_not_drawn_in_part(name: str) -> None:
    said = texts(sheet_of(source(patient_name=name), result()))
    assert wording.CANNOT_BE_SHOWN in said
    assert not set(name) & set("".join(said)) - set("^ namex")
    assert "Patient ID: P-1" in " ".join(said)


def test_of_a_name_with_a_group_that_cannot_be_drawn_the_other_is_shown() -> None:
    said = texts(sheet_of(source(patient_name="Ali^Muhammad=محمد^علي"), result()))
    assert "Ali Muhammad" in said
    assert wording.CANNOT_BE_SHOWN not in said


def test_without_a_chinese_font_a_chinese_name_is_not_drawn(tmp_path: Path) -> None:
    found = only_latin(tmp_path)
    said = texts(sheet_of(source(patient_name="王^小东"), result(), found=found))
    assert wording.CANNOT_BE_SHOWN in said
    latin = texts(sheet_of(source(patient_name="Wang^XiaoDong=王^小东"), result(), found=found))
    assert "Wang XiaoDong" in latin


def test_without_a_chinese_font_a_chinese_page_is_in_english_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = texts(sheet_of(source(), result(), CHINESE, only_latin(tmp_path)))
    assert said[0] == wording.UNVERIFIED
    assert wording.NO_FONT in said
    assert "fonts-noto-cjk" in caplog.text
    assert wording.NO_FONT not in texts(sheet_of(source(), result(), CHINESE))


def test_without_any_font_there_is_no_page_but_every_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "FOLDERS", (tmp_path,))
    for output in ("result_page", "pdf"):
        with pytest.raises(report.FontMissing, match="fonts-dejavu-core"):
            report.compose(source(), result(), outputs=[output], picture=lambda: RASTER)
    assert len(report.compose(source(), result())) == 2


def test_the_device_is_named_by_the_objects_too() -> None:
    made = report.compose(
        source(), result(), outputs=["result_page", "pdf"], picture=lambda: RASTER
    )
    for ds in made.values():
        (equipment,) = ds.ContributingEquipmentSequence
        assert equipment.DeviceSerialNumber == DEVICE.serial
