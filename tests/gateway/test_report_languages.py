"""Reports in Chinese: the translation files are whole and current, and every document uses them."""

from __future__ import annotations

import gettext
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from programs import require
from pydicom import Dataset
from report_cases import (
    STATEMENTS,
    document,
    multi_frame,
    pdf_text,
    result,
    source,
    two_pages,
    walk,
    waveform,
)

import gateway
from dicom_node import measurements, report
from dicom_node.codes import FINDING_CODES
from dicom_node.report import statements, wording
from gateway.outputs import Language
from gateway.sources import speech_of

FOLDER = Path(gateway.__file__).parent / "locale" / "zh_Hans" / "LC_MESSAGES"
WORDING = (Path(wording.__file__), Path(statements.__file__))
REPORTS = ("basic_text", "comprehensive", "enhanced", "comprehensive_3d")
CHINESE = speech_of(Language.CHINESE)
PLACEHOLDER = re.compile(r"%\((\w+)\)s")
#: What stays as it is in a Chinese report: names of things, units, and the word everybody knows.
UNTRANSLATED = {"UNVERIFIED", "resnet18", "SHA", "ECG", "Gateway", "QRS", "min", "ms", "ab" * 32}


def messages(path: Path) -> dict[str, str]:
    """Return the sentences of a compiled catalogue."""
    with path.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    said: dict[str, str] = catalogue._catalog  # type: ignore[attr-defined]
    return {english: chinese for english, chinese in said.items() if english}


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [require(str(command[0])), *command[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the sentences that are marked in the code, as ``makemessages`` would collect them."""
    folder = tmp_path_factory.mktemp("marked")
    options = ("--language=Python", "--from-code=UTF-8", "--keyword=gettext_noop")
    run("xgettext", *options, "-o", folder / "marked.pot", *WORDING)
    template = (folder / "marked.pot").read_text()
    (folder / "marked.pot").write_text(template.replace("charset=CHARSET", "charset=UTF-8"))
    run("msgen", "-o", folder / "same.po", folder / "marked.pot")
    run("msgfmt", "-o", folder / "same.mo", folder / "same.po")
    return set(messages(folder / "same.mo"))


def test_every_sentence_has_its_translation_and_every_translation_its_sentence(
    marked: set[str],
) -> None:
    assert len(marked) > 60
    assert set(messages(FOLDER / "django.mo")) == marked


def test_the_compiled_file_is_that_of_the_readable_one(tmp_path: Path) -> None:
    run(
        "msgfmt",
        "--check-format",
        "--check-domain",
        "-o",
        tmp_path / "new.mo",
        FOLDER / "django.po",
    )
    assert messages(tmp_path / "new.mo") == messages(FOLDER / "django.mo")
    assert "fuzzy" not in (FOLDER / "django.po").read_text()


def test_that_nothing_is_present_is_not_said_with_the_word_of_absent() -> None:
    undecided = result((), ("af",))
    assert not undecided.present
    (remark,) = wording.remarks(undecided, CHINESE)
    assert CHINESE.say(wording.VERDICTS["present"]) in remark
    assert CHINESE.say(wording.VERDICTS["absent"]) not in remark


def test_placeholders_survive_and_no_sentence_is_left_in_english() -> None:
    for english, chinese in messages(FOLDER / "django.mo").items():
        assert sorted(PLACEHOLDER.findall(chinese)) == sorted(PLACEHOLDER.findall(english)), english
        if PLACEHOLDER.search(english):
            assert chinese % dict.fromkeys(PLACEHOLDER.findall(english), "x")
        if re.search("[A-Za-z]{3}", PLACEHOLDER.sub("", english)):
            assert re.search("[\u4e00-\u9fff]", chinese), english


def test_findings_are_called_as_their_codes_say() -> None:
    assert {key: code.meaning for key, code in FINDING_CODES.items()} == wording.FINDING_NAMES


def test_every_number_of_a_recorder_has_a_name_in_every_language() -> None:
    known = {one.name for one in measurements._MEASUREMENTS}
    assert known == statements.MEASURED
    units = {one.unit for one in measurements._MEASUREMENTS}
    assert units - {"ms", "/min"} == statements.UNITS


def test_notes_on_what_was_read_are_known_by_their_own_words() -> None:
    for sentence, pattern in statements.NOTES.items():
        assert pattern.fullmatch(sentence % dict.fromkeys(PLACEHOLDER.findall(sentence), "7"))


NOTES = ("Flat: V1", "Looked at: the first 8 of 9 pages")
CASES: dict[str, tuple[Dataset, report.AnalysisResult]] = {
    "one": (source(), result(("af",), ("pac",))),
    "none": (source(), replace(result(()), quality_note=None)),
    "contradiction": (source(), result(("normal", "at"))),
    "pages": (multi_frame(), two_pages()),
    "waveform": (
        waveform(),
        replace(
            result(), statements=(*STATEMENTS, "Flat: V1", "Looked at: the first 8 of 9 pages")
        ),
    ),
    "document": (document(), result((), frame_number=2)),
}


def left_in_english(text: str) -> set[str]:
    return set(re.findall("[A-Za-z][A-Za-z0-9]{2,}", text)) - UNTRANSLATED


@pytest.mark.parametrize("name", CASES)
def test_the_sentences_of_every_document_are_chinese_and_its_codes_english(name: str) -> None:
    ds, analysed = CASES[name]
    made = report.compose(ds, analysed, outputs=REPORTS, speech=CHINESE)
    for composed in made.values():
        root = report.tree(composed)
        texts = [n.value for n in walk(root) if n.value_type == "TEXT"]
        assert left_in_english("\n".join(texts)) == set()
        assert all(n.concept.isascii() for n in walk(root))
        assert all(n.value.isascii() for n in walk(root) if n.value_type == "CODE")
        (language,) = (n for n in root.children if n.concept.startswith("Language of"))
        assert language.value == "Chinese (China)"
        assert "未经审核（UNVERIFIED）" in report.render_tree(composed)
        assert "心房颤动" in report.render_tree(composed)
        assert composed.SeriesDescription.isascii()


def test_the_pages_are_chinese_too() -> None:
    ds, analysed = source(patient_name="Wang^XiaoDong=王^小东"), result(("af", "clbbb"), ("pac",))
    picture = np.full((90, 120), 255, np.uint8)
    made = report.compose(ds, analysed, outputs=["pdf"], speech=CHINESE, picture=lambda: picture)
    text = pdf_text(made["pdf"])
    for said in (
        "王小东 (Wang XiaoDong)",
        "未经审核（UNVERIFIED）",
        "心房颤动",
        "完全性左束支传导阻滞",
        "检出",
        "不确定",
        "未检出",
        "性别：女",
    ):
        assert said in text, said
    assert left_in_english(text) == {"Wang", "XiaoDong", "lead"}


def test_english_is_as_it_is_written() -> None:
    assert speech_of(Language.ENGLISH) is report.ENGLISH
    assert report.ENGLISH.say(wording.UNVERIFIED) == wording.UNVERIFIED


@pytest.mark.parametrize("language", Language)
def test_every_language_on_offer_is_spoken(language: Language) -> None:
    said = speech_of(language).say(wording.UNVERIFIED)
    assert "UNVERIFIED" in said
    assert (said == wording.UNVERIFIED) == (language == Language.ENGLISH)


def test_a_language_without_a_code_is_refused() -> None:
    with pytest.raises(report.ReportError, match="expected a language of en-US, zh-CN"):
        report.Speech("tlh", str)
