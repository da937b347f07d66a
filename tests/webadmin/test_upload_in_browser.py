"""Adding ECGs in a real Chromium, as a desk and as a phone, driven by Playwright."""

from __future__ import annotations

import base64
import io
import os
import threading
from pathlib import Path

import pytest
from desk_people import make_user
from desk_rows import analyse, reject
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.urls import reverse
from pictures import page as paper
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect
from programs import eventually
from pydicom import dcmread
from pytest_django.live_server_helper import LiveServer
from workers import broker, worker
from worklists import Worklist, scheduled

from gateway import spool
from gateway.models import Instance, Peer

WIDE, PHONE = 1280, 390
SHOTS = Path(os.environ["UPLOAD_SHOTS"]) if "UPLOAD_SHOTS" in os.environ else None


@pytest.fixture
def doctor(transactional_db: None) -> User:
    return make_user("doctor", "add_instance", "view_instance")


def open_page(
    chromium: Browser, server: LiveServer, user: User, *, width_px: int, theme: str = "light"
) -> Page:
    """Return the page as `user` sees it on a screen of this width; what it complains of fails."""
    client = Client()
    client.force_login(user)
    context = chromium.new_context(
        viewport={"width": width_px, "height": 844},
        is_mobile=width_px < 500,
        has_touch=width_px < 500,
        color_scheme="dark" if theme == "dark" else "light",
    )
    name = django_settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": server.url}])
    page = context.new_page()
    page.set_default_timeout(15_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(f"{error}{error.stack}"))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(server.url + reverse("upload"))
    page.__dict__["complaints"] = complaints
    return page


def stays_within(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def shoot(page: Page, name: str) -> None:
    """Keep a picture of the page where somebody asked for it."""
    if SHOTS is not None:
        page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def png(path: Path, step: int = 2) -> Path:
    Image.fromarray(paper()[::step, ::step]).save(path)
    return path


def drop(page: Page, name: str, content: bytes) -> None:
    """Drop a file on the place for it, as a person does from a folder."""
    page.evaluate(
        """([name, content]) => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], name, { type: "image/png" }));
            const place = document.getElementById("upload-drop");
            for (const kind of ["dragenter", "dragover", "drop"]) {
                place.dispatchEvent(new DragEvent(kind, { dataTransfer: carried, bubbles: true }));
            }
        }""",
        [name, base64.b64encode(content).decode()],
    )


def work_on(ecgs: int) -> threading.Thread:
    """Do the Analyst's and the Courier's work on a thread: findings for the first, none after."""

    def work() -> None:
        try:
            eventually(lambda: Instance.objects.count() == ecgs, timeout_s=30)
            first, *others = Instance.objects.order_by("pk")
            analyse(first, {"af": 0.931, "pac": 0.4})
            Instance.objects.filter(pk=first.pk).update(state="delivered")
            for other in others:
                reject(other, "the page is too blurred to be read")
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize(("width_px", "theme"), [(WIDE, "light"), (PHONE, "dark")])
def test_ecgs_are_added_for_a_confirmed_patient_and_their_results_are_shown(
    width_px: int,
    theme: str,
    chromium: Browser,
    live_server: LiveServer,
    doctor: User,
    tmp_path: Path,
) -> None:
    page = open_page(chromium, live_server, doctor, width_px=width_px, theme=theme)
    assert stays_within(page)
    shoot(page, f"{width_px}-{theme}-1-empty")
    expect(page.locator("#upload-what")).to_be_hidden()

    page.get_by_role("button", name="Use this patient").click()
    expect(page.locator("[name=patient_id][aria-invalid]")).to_be_focused()
    expect(page.locator(".upload-fault")).to_contain_text("expected the patient's ID")
    page.get_by_label("Patient ID").fill("P-4711")
    page.get_by_label("Accession number").fill("ACC-17")
    page.get_by_label("Name").fill("Okafor^Ngozi")
    page.get_by_label("Date of birth").fill("1957-08-09")
    page.get_by_role("button", name="Use this patient").click()
    expect(page.locator(".upload-order")).to_contain_text("Okafor, Ngozi")
    expect(page.locator("#upload-what")).to_be_hidden()
    page.get_by_role("button", name="Yes, this patient").click()

    photo = page.get_by_text("Take a photo")
    (expect(photo).to_be_visible if width_px == PHONE else expect(photo).to_be_hidden)()
    buffer = io.BytesIO()
    Image.fromarray(paper()[::3, ::3]).save(buffer, "PNG")
    (tmp_path / "letter.txt").write_text("not an ECG")
    page.locator("#upload-choose").set_input_files([png(tmp_path / "ecg.png")])
    drop(page, "dropped.png", buffer.getvalue())
    page.locator("#upload-choose").set_input_files([tmp_path / "letter.txt", tmp_path / "ecg.png"])
    page.locator(".upload-file").nth(3).get_by_role("button").click()
    expect(page.locator(".upload-file")).to_have_count(3)
    eventually(lambda: page.evaluate("document.querySelector('.upload-picture img').naturalWidth"))
    shoot(page, f"{width_px}-{theme}-2-chosen")
    assert stays_within(page)

    thread = work_on(2)
    page.get_by_role("button", name="Add 3 ECGs").click()
    first, second, third = page.locator(".upload-file").all()
    expect(third).to_contain_text("Expected a picture (PNG, JPEG, TIFF, BMP or WebP)")
    expect(first).to_contain_text("Delivered")
    expect(first).to_contain_text("Atrial fibrillation")
    expect(first).to_contain_text("93.1%")
    expect(first).to_contain_text("AI result, unverified")
    expect(second).to_contain_text("Rejected")
    expect(second).to_contain_text("too blurred to be read")
    thread.join()
    assert stays_within(page)
    shoot(page, f"{width_px}-{theme}-3-results")
    # A refused form and a refused file are answers, which the console calls failures.
    refusals = ("status of 400", "status of 422")
    assert [
        line for line in page.__dict__["complaints"] if not any(r in line for r in refusals)
    ] == []

    rows = Instance.objects.order_by("pk")
    datasets = [dcmread(spool.locate(row.spool_name)) for row in rows]
    assert [(ds.PatientID, ds.AccessionNumber) for ds in datasets] == [("P-4711", "ACC-17")] * 2
    first.get_by_role("link").click()
    eventually(lambda: page.url.endswith(f"/instance/{rows[0].pk}/change/"))
    page.context.close()


@pytest.mark.parametrize(("width_px", "theme"), [(PHONE, "light"), (WIDE, "dark")])
def test_the_worklist_says_who_it_is_before_anything_can_be_added(
    width_px: int,
    theme: str,
    chromium: Browser,
    live_server: LiveServer,
    doctor: User,
    tmp_path: Path,
) -> None:
    item = scheduled(patient_id="P-7", patient_name="Li^Na=李^娜", accession="ACC-7")
    others = [scheduled(patient_id="P-8", accession=accession) for accession in ("A-8", "A-9")]
    with Worklist(item, *others) as worklist, broker(tmp_path), worker("delivery"):
        Peer.objects.create(
            title=worklist.title, host=worklist.host, port=worklist.port, is_worklist=True
        )
        page = open_page(chromium, live_server, doctor, width_px=width_px, theme=theme)
        look_up = page.get_by_role("button", name="Look up")
        page.get_by_label("Accession number").fill("ACC-7")
        page.get_by_label("Patient ID").fill("P-8")
        look_up.click()
        expect(page.get_by_role("alert")).to_contain_text("is it the right patient?")
        expect(page.locator("#upload-what")).to_be_hidden()

        page.get_by_label("Accession number").fill("")
        look_up.click()
        expect(page.locator(".upload-order")).to_have_count(2)
        shoot(page, f"{width_px}-{theme}-4-several")

        page.get_by_label("Patient ID").fill("")
        page.get_by_label("Accession number").fill("ACC-7")
        look_up.click()
        expect(page.locator(".upload-order")).to_contain_text("李, 娜")
        expect(page.locator(".upload-order")).to_contain_text("Resting 12-lead ECG")
        page.get_by_role("button", name="Yes, this patient").click()
        shoot(page, f"{width_px}-{theme}-5-confirmed")
        page.locator("#upload-photo").set_input_files([png(tmp_path / "photo.png")])
        page.get_by_role("button", name="Add this ECG").click()
        expect(page.locator(".upload-file")).to_contain_text("Received")
        ds = dcmread(spool.locate(Instance.objects.get().spool_name))
        assert (ds.PatientID, ds.StudyInstanceUID) == ("P-7", item.StudyInstanceUID)

        page.get_by_role("button", name="Another patient").click()
        expect(page.locator("#upload-what")).to_be_hidden()
        assert stays_within(page)
        assert page.__dict__["complaints"] == []
        page.context.close()


def confirm(page: Page, patient_id: str) -> None:
    page.get_by_label("Patient ID").fill(patient_id)
    page.get_by_role("button", name="Use this patient").click()
    page.get_by_role("button", name="Yes, this patient").click()


def patients() -> list[str]:
    rows = Instance.objects.order_by("pk")
    return [str(dcmread(spool.locate(row.spool_name)).PatientID) for row in rows]


def test_what_was_chosen_for_one_patient_never_goes_up_for_the_next(
    chromium: Browser, live_server: LiveServer, doctor: User, tmp_path: Path
) -> None:
    page = open_page(chromium, live_server, doctor, width_px=WIDE)
    confirm(page, "P-A")
    page.locator("#upload-choose").set_input_files([png(tmp_path / "a.png")])
    expect(page.locator(".upload-file")).to_contain_text("P-A")
    page.get_by_role("button", name="Another patient").click()
    confirm(page, "P-B")
    expect(page.locator(".upload-file")).to_have_count(0)
    expect(page.locator("#upload-send")).to_be_hidden()

    page.locator("#upload-choose").set_input_files([png(tmp_path / "b.png", step=3)])
    page.get_by_role("button", name="Add this ECG").click()
    expect(page.locator(".upload-file")).to_contain_text("Received")
    assert patients() == ["P-B"]
    assert page.__dict__["complaints"] == []
    page.context.close()


@pytest.mark.parametrize("status", [0, 403, 503])
def test_a_file_that_failed_waits_for_its_own_patient_to_be_confirmed_again(
    status: int, chromium: Browser, live_server: LiveServer, doctor: User, tmp_path: Path
) -> None:
    page = open_page(chromium, live_server, doctor, width_px=WIDE)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**" + reverse("upload_file"), hold)
    confirm(page, "P-A")
    page.locator("#upload-choose").set_input_files([png(tmp_path / "a.png")])
    page.get_by_role("button", name="Add this ECG").click()
    page.get_by_role("button", name="Another patient").click()
    confirm(page, "P-B")
    eventually(lambda: page.title() and held)
    if status:
        held[0].fulfill(status=status, json={"reason": "Not now."})
    else:
        held[0].abort()
    expect(page.locator(".upload-file").get_by_role("alert")).to_be_visible()
    page.unroute("**" + reverse("upload_file"))
    expect(page.locator("#upload-send")).to_be_hidden()

    page.get_by_role("button", name="Another patient").click()
    confirm(page, "P-A")
    page.get_by_role("button", name="Add this ECG").click()
    expect(page.locator(".upload-file")).to_contain_text("Received")
    assert patients() == ["P-A"]
    page.context.close()
