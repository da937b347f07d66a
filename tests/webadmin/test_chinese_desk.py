"""The Desk in Chinese: the translation is whole and current, and no screen is left in English."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from desk_people import make_user, signed_in
from desk_readings import label, reader
from desk_rows import (
    analyse,
    compose,
    content,
    deliver,
    drawn,
    fail,
    make_alert,
    make_alert_rule,
    make_association,
    make_ecg,
    make_peer,
    make_rule,
    mean,
    reject,
)
from desk_sentences import FOLDER, collect, run, sentences
from django.conf import settings as configured
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import translation

from dicom_node.capture import secondary_capture
from gateway.models import ModelVersion, Report
from webadmin import chain, curation, trainingsets
from webadmin.models import Guideline

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}
PLACEHOLDER = re.compile(r"%\((\w+)\)\.?\d*[sdf]|%\.?\d*[sdf]|\{(\w+)\}")
WORD = re.compile(r"[A-Za-z][A-Za-z'’-]{2,}")
MACHINE = re.compile(
    r"https?://\S+|\S+@\S+( on page \d)?|SHA-?256|ECG_[A-Z]+|webadmin\.\w+"
    r"|\b[0-9a-f]{6,}\b|manage\.py"
)

SAID_AS_THEY_ARE = frozenset(
    """
    DICOM DICOMweb QIDO-RS UID UIDs SOP Class Instance Study Transfer Syntax Device Observer
    C-STORE C-FIND DIMSE Modality Worklist Storage Commitment PNG JPEG TIFF BMP WebP PDF CSV UTF-
    JavaScript http https Webhook Basic Text Comprehensive Enhanced
    ECG Gateway ECGGATEWAY Analyst Courier Trainer analyst courier listener
    audit verify trainingset export none
    AUROC AUPRC Kappa kappa Cohen Fleiss Everitt Wilson
    English zh-hans UTC True False
    """.split()  # noqa: SIM905
)
"""Names of standards, of figures and of parts of the gateway; nobody writes them otherwise."""

GIVEN = frozenset(
    {
        "ARCHIVE",
        "CART",
        "ward",
        "chief",
        "anna",
        "ben",
        "spring",
        "ecg-resnet",
        "AF",
        "lead",
        "stored",
    }
)
"""Values of the rows below, and what machines wrote down of them."""


class Shown(HTMLParser):
    """What a person reads or hears of a page."""

    SILENT = frozenset({"script", "style", "code", "kbd", "template"})
    QUIET = ("material-symbols", "desk-uid", "desk-tree", "desk-step-detail")
    """Besides: a document in its own language, and what a process wrote down of itself."""

    VOID = frozenset(
        [
            "area",
            "base",
            "br",
            "col",
            "embed",
            "hr",
            "img",
            "input",
            "link",
            "meta",
            "source",
            "track",
            "wbr",
        ]
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        style = named.get("class", "")
        silent = tag in self.SILENT or any(name in style for name in self.QUIET)
        if not silent:
            for name in ("title", "aria-label", "alt", "placeholder"):
                self.said.append(named.get(name, ""))
        if tag not in self.VOID:
            self._open.append((tag, silent))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not any(silent for _, silent in self._open):
            self.said.append(data)


def left_in_english(html: str) -> list[str]:
    """Return what a page says in English, apart from names and values."""
    page = Shown()
    page.feed(html)
    left = []
    for said in page.said:
        words = [
            word
            for word in WORD.findall(MACHINE.sub("", said))
            if word not in SAID_AS_THEY_ARE | GIVEN
        ]
        words = [word for word in words if not re.fullmatch(r"[0-9a-fA-F]+", word)]
        if words:
            left.append(" ".join(said.split()))
    return sorted(set(left))


@pytest.fixture(autouse=True)
def _in_english_again() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture
def chief(db: None) -> Client:
    return signed_in(make_user("chief", is_superuser=True))


def fill() -> None:
    """Have one row at least on every screen that has rows."""
    anna, ben = reader("anna"), reader("ben")
    peer = make_peer("ARCHIVE")
    make_peer("CART", host="", is_sender=True, is_destination=False)
    association = make_association()
    picture = content(secondary_capture(drawn("af"), patient_id="P1"))
    ecg = analyse(make_ecg(data=picture, patient_id="P1", accession="A1", association=association),
                  {"af": 0.931, "pac": 0.4})  # fmt: skip
    compose(ecg)
    deliver(ecg, peer)
    for report in Report.objects.all():
        mean(report, peer, outcome="stored", ended_at=report.composed_at)
    reject(make_ecg(data=b"", patient_id="P2"), "7")
    fail(analyse(make_ecg(data=b"", patient_id="P3"), {"normal": 0.9}), "7")
    make_rule("AF", peer, finding="af")
    make_alert(ecg, make_alert_rule("AF"))
    label(ecg, anna, "af")
    Guideline.objects.create(version="1", text="7", written_by=ben)
    curation.fill()
    trainingsets.freeze("spring", anna)
    chain.extend()


SCREENS = (
    "admin:index", "reading_list", "upload", "curation", "agreement", "help",
    "admin:webadmin_trainingset_freeze", "admin:webadmin_trainingrun_start",
    "admin:webadmin_label_import", "admin:gateway_rule_test", "admin:gateway_peer_add",
    "admin:gateway_rule_add", "admin:gateway_alertrule_add", "admin:webadmin_guideline_add",
    "admin:password_change",
)  # fmt: skip


def addresses() -> list[str]:
    """Return every list, every screen of its own, and the page of one row of each table."""
    found = [reverse(name) for name in SCREENS]
    for model in admin.site._registry:
        place = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        found.append(reverse(f"{place}_changelist"))
        row = model._default_manager.order_by("pk").first()
        if row is not None and model._meta.app_label != "auth":
            found.append(reverse(f"{place}_change", args=[row.pk]))
    return found


def assert_chinese(browser: Client, at: list[str]) -> None:
    left = []
    for address in at:
        answer = browser.get(address, headers=CHINESE)
        assert answer.status_code == 200, address
        left += [f"{address} {said}" for said in left_in_english(answer.content.decode())]
    assert not left, "\n".join(left)


def test_no_screen_is_left_in_english(chief: Client) -> None:
    fill()
    ecg = ModelVersion.objects.get().instances.order_by("pk").first()
    assert ecg is not None
    assert_chinese(chief, [*addresses(), reverse("reading", args=[ecg.pk])])


def test_an_empty_desk_says_in_chinese_what_to_do_first(chief: Client) -> None:
    assert_chinese(chief, addresses())


def test_findings_are_called_as_cardiologists_call_them(chief: Client) -> None:
    ecg = analyse(make_ecg(data=b""), {"af": 0.931})
    page = chief.get(
        reverse("admin:gateway_instance_change", args=[ecg.pk]), headers=CHINESE
    ).content.decode()
    for name in (
        "心房颤动", "心房扑动", "室性早搏", "房性早搏", "完全性左束支传导阻滞",
        "完全性右束支传导阻滞", "心室预激", "房性逸搏", "房性心动过速", "正常心电图", "检出",
        "未检出", "AI 结果，未经审核",
    ):  # fmt: skip
        assert name in page, name


def test_a_person_chooses_the_language_in_the_menu(chief: Client) -> None:
    assert "The life of an ECG" in chief.get(reverse("admin:index")).content.decode()
    answer = chief.post(
        reverse("set_language"), {"language": "zh-hans", "next": reverse("admin:index")}
    )
    assert answer.status_code == 302
    assert answer.cookies[configured.LANGUAGE_COOKIE_NAME]["httponly"]
    page = chief.get(reverse("admin:index")).content.decode()
    assert '<html lang="zh-hans"' in page
    assert "心电图的流转" in page
    assert "English" in page
    assert "简体中文" in page


def test_times_are_written_alike_in_both_languages(chief: Client) -> None:
    row = make_association()
    for language in ("en", "zh-hans"):
        page = chief.get(
            reverse("admin:gateway_association_changelist"), headers={"Accept-Language": language}
        ).content.decode()
        assert f"{row.started_at:%Y-%m-%d %H:%M:%S}" in page, language


# --- the files -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("marked")
    with translation.override("en"):
        template = collect(folder)
    run("msgen", "-o", folder / "same.po", template)
    run("msgfmt", "-o", folder / "same.mo", folder / "same.po")
    return set(sentences(folder / "same.mo"))


def test_every_sentence_has_its_translation_and_every_translation_its_sentence(
    marked: set[str],
) -> None:
    assert len(marked) > 1000
    translated = set(sentences(FOLDER / "django.mo"))
    assert marked - translated == set(), "translate these in django.po and compile it"
    assert translated - marked == set(), "nobody says these any more"


def test_the_compiled_file_is_that_of_the_readable_one(tmp_path: Path) -> None:
    po = FOLDER / "django.po"
    run("msgfmt", "--check-format", "--check-domain", "-o", tmp_path / "new.mo", po)
    assert sentences(tmp_path / "new.mo") == sentences(FOLDER / "django.mo")
    assert "fuzzy" not in po.read_text()
    assert run("msgattrib", "--untranslated", po).strip() == ""


def test_placeholders_survive_and_no_sentence_is_left_in_english() -> None:
    for english, chinese in sentences(FOLDER / "django.mo").items():
        held = sorted(match.group() for match in PLACEHOLDER.finditer(chinese))
        needed = sorted(match.group() for match in PLACEHOLDER.finditer(english))
        # A singular may leave the number out; Chinese has one form for both.
        assert held == needed or (set(needed) < set(held) and "1" not in held), english
        assert chinese.strip(), english
