"""Take the pictures of ``docs/desk`` anew: ``make screenshots``. Every ECG in them is simulated.

It is run by pytest, by its name, for pytest's database and web server; the suite does not run it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_browsers import playwright_chromium
from desk_people import make_user, signed_in
from desk_readings import label, reader
from desk_rows import (
    analyse,
    compose,
    deliver,
    drawn,
    fail,
    make_association,
    make_ecg,
    make_peer,
    make_rule,
    mean,
    reject,
)
from django.conf import settings as configured
from django.urls import reverse
from PIL import Image
from playwright.sync_api import Browser
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from gateway.models import Instance, ModelVersion, Report
from webadmin import audit, auditing, chain, curation, reading, trainingsets
from webadmin.models import Guideline, Reading

FOLDER = Path(os.environ.get("SCREENSHOTS", Path(__file__).parents[1] / "docs" / "desk"))
LARGEST_BYTES = 150_000

SHOTS = (
    ("auditor-trail", "admin:webadmin_auditlink_changelist", 1280, "en-US"),
    ("reader-list", "reading_list", 1280, "en-US"),
    ("reader-ecg", "reading", 1280, "en-US"),
    ("reader-ecg-phone", "reading", 390, "en-US"),
    ("reader-ecg-chinese", "reading", 1280, "zh-CN"),
    ("data-manager-curation", "curation", 1280, "en-US"),
    ("data-manager-freeze", "admin:webadmin_trainingset_freeze", 1280, "en-US"),
    ("engineer-overview", "admin:index", 1280, "en-US"),
    ("engineer-overview-phone-chinese", "admin:index", 390, "zh-CN"),
    ("engineer-peers", "admin:gateway_peer_changelist", 1280, "en-US"),
    ("administrator-users", "admin:auth_user_changelist", 1280, "en-US"),
    ("help", "help", 1280, "en-US"),
)
"""File, address, width in pixels, language of the browser."""


def fill() -> Instance:
    """Have a ward's morning on the screens; return an ECG that nobody has read yet."""
    anna, ben = reader("anna"), reader("ben")
    for person, first, last in ((anna, "Anna", "Berg"), (ben, "Ben", "Cole")):
        person.first_name, person.last_name = first, last
        person.save()
    archive = make_peer("ARCHIVE")
    make_peer("CART", host="", is_sender=True, is_destination=False)
    association = make_association()
    shown = (("normal", {"normal": 0.97}), ("clbbb", {"clbbb": 0.94}), ("pvc", {"pvc": 0.88}),
             ("normal", {"normal": 0.91}), ("af", {"af": 0.931, "pac": 0.4}))  # fmt: skip
    rows = []
    for number, (key, found) in enumerate(shown, 1):
        row = make_ecg(drawn(key, seed=number), patient_id=f"P{number}", accession=f"A{number}00",
                       association=association)  # fmt: skip
        analyse(row, found)
        compose(row)
        deliver(row, archive)
        rows.append(row)
    for report in Report.objects.all():
        mean(report, archive, outcome="stored", ended_at=report.composed_at)
    reject(make_ecg(data=b"", patient_id="P8"), "the page holds no ECG")
    unsent = analyse(make_ecg(drawn(seed=9), patient_id="P9", accession="A900"), {"normal": 0.9})
    fail(unsent, "ARCHIVE does not answer")
    make_rule("AF to the ward", archive, finding="af")
    Guideline.objects.create(version="2026-1", text="As the society says.", written_by=ben)
    for row, key in zip(rows[:3], ("normal", "clbbb", "pvc"), strict=True):
        label(row, anna, key)
        audit.record(audit.Action.VIEWED, actor="anna", subject=row)
    reading.record(rows[3], anna, decision=Reading.Decision.CONFIRMED,
                   shown=rows[3].model_version)  # fmt: skip
    curation.fill()
    trainingsets.freeze("spring", ben)
    chain.extend()
    auditing.check()
    chain.extend()
    return rows[-1]


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with playwright_chromium() as browser:
        yield browser


@pytest.mark.django_db(transaction=True)
def test_take_the_pictures(
    chromium: Browser, live_server: LiveServer, settings: Settings, tmp_path: Path
) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.STATIC_ROOT = tmp_path
    ecg = fill()
    assert ModelVersion.objects.exists()
    chief = make_user("chief", is_superuser=True)
    name = configured.SESSION_COOKIE_NAME
    value = signed_in(chief).cookies[name].value
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, address, width, language in SHOTS:
        context = chromium.new_context(
            viewport={"width": width, "height": 844 if width < 500 else 800}, locale=language
        )
        context.add_cookies([{"name": name, "value": value, "url": live_server.url}])
        page = context.new_page()
        page.goto(live_server.url + reverse(address, args=[ecg.pk] if address == "reading" else []))
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(500)
        path = FOLDER / f"{file}.png"
        path.write_bytes(small(page.screenshot()))
        context.close()
        assert path.stat().st_size < LARGEST_BYTES, path.name


def small(png: bytes) -> bytes:
    """Return a picture in as many colours as fit, which a screen of text does not miss."""
    with Image.open(io.BytesIO(png)) as picture:
        for colours in (128, 64, 32, 16):
            buffer = io.BytesIO()
            picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(
                buffer, "PNG", optimize=True
            )
            if buffer.tell() < LARGEST_BYTES:
                break
    return buffer.getvalue()
