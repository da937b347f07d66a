"""Ten ECGs read by keys alone, and the same page under fingers and wheels, in a real Chromium."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from axe import serious_faults
from desk_people import make_user
from desk_rows import analyse, drawn, make_alert, make_ecg
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from programs import eventually
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from gateway import spool
from gateway.models import Instance, Review
from models.labels import KEYS
from models.overlay import layer
from webadmin.models import Assignment, Label, Reading

WIDE, PHONE = 1280, 390
SHOTS = Path(os.environ["READING_SHOTS"]) if "READING_SHOTS" in os.environ else None


@pytest.fixture
def cardiologist(transactional_db: None, settings: Settings) -> User:
    settings.ECG_INSTITUTION = "St Elsewhere"
    user = make_user("okafor", "view_instance", "add_reading", "verify_report")
    user.first_name, user.last_name = "Ngozi", "Okafor"
    user.save()
    return user


def open_at(
    chromium: Browser,
    server: LiveServer,
    user: User,
    address: str,
    *,
    width_px: int = WIDE,
    theme: str = "light",
) -> Page:
    """Return a page as `user` sees it on a screen of this width; what it complains of fails."""
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
    page.__dict__["complaints"] = complaints
    page.goto(server.url + address)
    return page


def close(page: Page) -> None:
    """Leave a page that must not have complained."""
    assert page.__dict__["complaints"] == []
    page.context.close()


def shoot(page: Page, name: str) -> None:
    """Keep a picture of the page where somebody asked for it."""
    if SHOTS is not None:
        page.screenshot(path=SHOTS / f"{name}.png")


def shown_ecg(page: Page) -> int:
    return int(page.locator("#reading h2").inner_text().removeprefix("ECG "))


def stays_within(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def scale(page: Page) -> float:
    page.wait_for_function("window.readingViewer && window.readingViewer.size().width > 0")
    return float(page.evaluate("window.readingViewer.scale()"))


def test_ten_ecgs_are_read_by_keys_alone(
    chromium: Browser, live_server: LiveServer, cardiologist: User
) -> None:
    rows = [analyse(make_ecg(), {"af": 0.93}) for _ in range(10)]
    make_alert(rows[4])
    page = open_at(chromium, live_server, cardiologist, reverse("reading_list"))
    expect(page.locator(".reading-card")).to_have_count(10)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#reading h2")).to_be_visible()
    first = shown_ecg(page)
    assert first == rows[4].pk, "the urgent one comes first"

    def go_on(*keys: str) -> None:
        before = page.url
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_url(lambda url: url != before)

    go_on("c")
    second = shown_ecg(page)
    go_on("n")
    go_on("k")
    assert shown_ecg(page) == second, "the one before, whether it was read or not"
    # 6 is atrial fibrillation, from present to absent; 7 is flutter, from absent to present.
    go_on("o", "6", "7", "Enter")
    go_on("u")
    page.keyboard.press("v")
    expect(page.locator("#reading-verify")).to_be_checked()
    verified = shown_ecg(page)
    go_on("c")
    for _ in range(5):
        go_on("c")
    go_on("x")
    expect(page.get_by_text("Nothing left to read")).to_be_visible()

    said = {one.instance_id: one for one in Reading.objects.all()}
    assert len(said) == len(rows) == Reading.objects.count()
    assert said[second].decision == "overridden"
    assert said[second].findings == {**dict.fromkeys(KEYS, "absent"), "afl": "present"}
    decisions = sorted(one.decision for one in said.values())
    assert decisions == ["confirmed"] * 7 + ["overridden", "undecided", "unreadable"]
    assert all(one.took_s is not None and 0.0 <= one.took_s < 60.0 for one in said.values())
    assert Label.objects.count() == 8
    assert Review.objects.get().instance_id == verified
    close(page)


def test_the_picture_is_moved_and_measured(
    chromium: Browser, live_server: LiveServer, cardiologist: User
) -> None:
    row = analyse(make_ecg(), {"af": 0.93})
    page = open_at(chromium, live_server, cardiologist, reverse("reading", args=[row.pk]))
    whole = scale(page)
    page.keyboard.press("z")
    assert scale(page) == pytest.approx(2.5 * whole)
    before = page.evaluate("window.readingViewer.view()")
    stage = page.locator("#reading-stage")
    box = stage.bounding_box()
    assert box
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 70, middle[1] - 40)
    page.mouse.up()
    after = page.evaluate("window.readingViewer.view()")
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((-70, -40), abs=1)
    page.mouse.wheel(0, -200)
    eventually(lambda: scale(page) > 2.6 * whole)
    page.keyboard.press("0")
    assert scale(page) == pytest.approx(whole)

    # Not calibrated: nothing is measured until a person has shown what 5 mm are.
    page.keyboard.press("m")
    result = page.locator("#reading-result")
    expect(result).to_have_text("– ms · – mV")
    expect(page.locator("#reading-calibration")).to_contain_text("Not calibrated")
    drag(page, 0, (100, 100))
    drag(page, 1, (130, 130))
    page.get_by_role("button", name="This is one large square").click()
    expect(page.locator("#reading-calibration")).to_contain_text("assumed")
    drag(page, 1, (220, 160))
    # 30 px are 5 mm, 200 ms at 25 mm/s and half a millivolt at 10 mm/mV.
    expect(result).to_have_text("800 ms · 75/min · 1.00 mV")
    page.locator("#reading-speed").select_option("50")
    expect(result).to_have_text("400 ms · 150/min · 1.00 mV")
    page.locator("circle.calliper-reach").nth(1).focus()
    for _ in range(30):
        page.keyboard.press("ArrowDown")
    expect(result).to_contain_text("1.50 mV")
    shoot(page, "callipers")
    close(page)


def drag(page: Page, handle: int, to: tuple[float, float]) -> None:
    """Drag a handle of the callipers to a point of the picture."""
    page.locator("#reading-stage").scroll_into_view_if_needed()
    circle = page.locator("circle.calliper-reach").nth(handle)
    box = circle.bounding_box()
    stage = page.locator("#reading-stage").bounding_box()
    assert box
    assert stage
    view = page.evaluate("window.readingViewer.view()")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(
        stage["x"] + view["x"] + to[0] * view["scale"],
        stage["y"] + view["y"] + to[1] * view["scale"],
        steps=4,
    )
    page.mouse.up()


def test_keys_can_be_switched_off_and_typing_is_no_command(
    chromium: Browser, live_server: LiveServer, cardiologist: User
) -> None:
    row = analyse(make_ecg(), {"af": 0.93})
    page = open_at(chromium, live_server, cardiologist, reverse("reading", args=[row.pk]))
    page.get_by_label("Comment").fill("")
    page.get_by_label("Comment").press_sequentially("course u c x")
    page.keyboard.press("Enter")
    expect(page.locator("#reading-confirm")).to_be_focused()
    page.locator("#reading-stage").focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    shoot(page, "help")
    page.get_by_label("Single keys work").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("c")
    page.keyboard.press("u")
    expect(page.get_by_label("Comment")).to_have_value("course u c x")
    assert not Reading.objects.exists()
    close(page)


def test_one_press_turns_a_finding_over_and_another_leaves_it_open(
    chromium: Browser, live_server: LiveServer, cardiologist: User
) -> None:
    row = analyse(make_ecg(), {"af": 0.93})
    page = open_at(chromium, live_server, cardiologist, reverse("reading", args=[row.pk]))
    page.keyboard.press("o")
    for key, number, turns in (
        ("clbbb", "4", ["present", "undecided", "absent", "present"]),
        ("af", "6", ["absent", "undecided", "present", "absent"]),
    ):
        for word in turns:
            page.keyboard.press(number)
            assert page.locator(f"input[name=finding_{key}]:checked").input_value() == word
    close(page)


def test_ten_findings_are_read_blinded_by_keys(
    chromium: Browser, live_server: LiveServer, cardiologist: User
) -> None:
    row = analyse(make_ecg(), {"af": 0.93})
    wanted = Assignment.objects.create(instance=row, queue="random", taken_by=cardiologist)
    address = f"{reverse('reading', args=[row.pk])}?assignment={wanted.pk}"
    page = open_at(chromium, live_server, cardiologist, address)
    expect(page.locator(".reading-toggle")).to_have_count(10)
    shoot(page, "blinded")
    page.keyboard.press("Enter")  # not all is said: the browser keeps the form
    page.keyboard.press("6")
    page.keyboard.press("a")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    said = Reading.objects.get()
    assert (said.decision, said.shown) == ("blinded", None)
    assert said.findings == {**dict.fromkeys(KEYS, "absent"), "af": "present"}
    close(page)


@pytest.mark.parametrize(("width_px", "theme"), [(WIDE, "light"), (PHONE, "dark")])
def test_the_screens_fit_and_have_no_serious_fault_for_anyone(
    chromium: Browser, live_server: LiveServer, cardiologist: User, width_px: int, theme: str
) -> None:
    rows = [
        analyse(
            make_ecg(drawn("af", seed=7), patient_name="Wolfeschlegelsteinhausen^Hubert-Blaine"),
            {"af": 0.93, "pac": 0.4, "at": 0.7},
        )
        for _ in range(3)
    ]
    make_alert(rows[1])
    Reading.objects.create(
        instance=rows[0], reader=cardiologist, role="reader", decision="overridden",
        findings={**dict.fromkeys(KEYS, "absent"), "afl": "present"}, comment="sawtooth in V1",
    )  # fmt: skip
    name = f"{width_px}-{theme}"
    page = open_at(
        chromium, live_server, cardiologist, f"{reverse('reading_list')}?show=all",
        width_px=width_px, theme=theme,
    )  # fmt: skip
    page.wait_for_load_state("networkidle")
    assert stays_within(page)
    assert serious_faults(page) == []
    shoot(page, f"list-{name}")
    page.goto(live_server.url + reverse("reading", args=[rows[0].pk]))
    whole = scale(page)
    picture = page.locator("#reading-picture").bounding_box()
    stage = page.locator("#reading-stage").bounding_box()
    assert picture
    assert stage
    assert picture["width"] > 0.75 * stage["width"]
    assert stays_within(page)
    assert serious_faults(page) == []
    shoot(page, f"page-{name}")
    if width_px == PHONE:
        pinch(page)
        eventually(lambda: scale(page) > 1.5 * whole)
        page.locator("[data-view=fit]").click()
    page.locator("#reading-override-open").click()
    shoot(page, f"toggles-{name}")
    page.locator("#reading-measure-toggle").click()
    assert stays_within(page)
    assert serious_faults(page) == []
    for target in page.locator(
        "#reading button:visible, #reading select:visible, .reading-choice:visible, .reading-step"
    ).all():
        box = target.bounding_box()
        assert box
        least = 43.5 if width_px == PHONE else 33.5  # a finger, or a mouse
        assert min(box["width"], box["height"]) >= least, target.inner_text()
    shoot(page, f"override-{name}")
    close(page)


def pinch(page: Page) -> None:
    """Draw two fingers apart on the picture."""
    box = page.locator("#reading-stage").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = page.context.new_cdp_session(page)
    for kind, reach in (("touchStart", 20), ("touchMove", 40), ("touchMove", 60)):
        points = [{"x": x - reach, "y": y, "id": 0}, {"x": x + reach, "y": y, "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_who_comes_back_to_an_ecg_sees_it_as_it_is_now(
    chromium: Browser, live_server: LiveServer, cardiologist: User
) -> None:
    first, second = (analyse(make_ecg(), {"af": 0.93}) for _ in range(2))
    Instance.objects.filter(pk=first.pk).update(received_at=second.received_at)
    page = open_at(chromium, live_server, cardiologist, reverse("reading", args=[second.pk]))
    page.keyboard.press("c")
    page.wait_for_url(f"**/{first.pk}/")
    page.keyboard.press("k")
    page.wait_for_url(f"**/{second.pk}/")
    expect(page.get_by_text("Was read")).to_be_visible()
    with page.expect_navigation():
        page.keyboard.press("u")
    assert [one.decision for one in Reading.objects.all()] == ["undecided", "confirmed"]
    close(page)


def test_where_the_network_looked_is_laid_over_the_picture_or_it_is_said_why_not(
    chromium: Browser, live_server: LiveServer, cardiologist: User
) -> None:
    row = analyse(make_ecg(), {"af": 0.93, "pvc": 0.7})
    folder = spool.root() / "heatmaps"
    folder.mkdir()
    heat = np.zeros((100, 200), np.float32)
    heat[40:60, 80:120] = 1.0
    region = ((40.0, 90.0), (1610.0, 90.0), (1610.0, 1050.0), (40.0, 1050.0))
    drawn_layer = Image.fromarray(layer(drawn(), region, heat))
    drawn_layer.save(folder / f"{row.pk}-{row.model_version_id}-af.png")
    page = open_at(chromium, live_server, cardiologist, reverse("reading", args=[row.pk]))
    scale(page)
    page.keyboard.press("h")
    shown = page.locator("#reading-map")
    expect(shown).to_be_visible()
    page.wait_for_function("document.getElementById('reading-map').naturalWidth > 0")
    assert shown.bounding_box() == page.locator("#reading-picture").bounding_box()
    expect(page.locator("#reading-map-said")).to_contain_text("no finding")
    shoot(page, "map")
    page.__dict__["complaints"].clear()
    page.keyboard.press("h")
    # Nobody draws here: there is no broker that an Analyst could hear of it by.
    expect(page.locator("#reading-map-said")).to_contain_text("broker is away")
    expect(shown).to_be_hidden()
    assert all("503" in said for said in page.__dict__["complaints"])
    page.context.close()
