"""From a reading to a better network and back, by the screens alone, as the demo invites people to.

The network is the demo's own: the one that ships, without its answer about one finding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_people import make_user, signed_in
from desk_rows import analyse, make_ecg
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.core.cache import cache
from django.urls import reverse
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from training_rows import DRAWINGS, page

from gateway import demonstration, network, serving
from gateway.models import Promotion
from gateway.states import State
from webadmin import retraining, trainingsets
from webadmin.models import Label, Reading, SplitOpening

ECGS = {"test": 10, "training": 3, "validation": 2}
"""Of each split so many normal ones and as many with what the network says nothing about."""

SHOTS = Path(os.environ["FRONT_SHOTS"]) if "FRONT_SHOTS" in os.environ else None


@pytest.fixture(autouse=True)
def _own_networks(settings: Settings, tmp_path: Path) -> Iterator[None]:
    made = demonstration.network(tmp_path / "network")
    settings.ECG_MODEL_DIR = str(made.folder)
    settings.ECG_MODELS_DIR = tmp_path / "models"
    settings.BROKER_URL = ""
    cache.clear()
    network.predictor.cache_clear()
    network.model_version.cache_clear()
    yield
    network.predictor.cache_clear()
    network.model_version.cache_clear()


def open_desk(chromium: Browser, server: LiveServer, user: User) -> Page:
    """Return the front page as a person sees it who is signed in."""
    name = configured.SESSION_COOKIE_NAME
    cookie = signed_in(user).cookies[name].value
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies([{"name": name, "value": cookie, "url": server.url}])
    screen = context.new_page()
    screen.set_default_timeout(20_000)
    screen.goto(server.url + reverse("admin:index"))
    return screen


def shoot(screen: Page, name: str) -> None:
    """Keep a picture of the screen in each width and theme where somebody asked for it."""
    if SHOTS is None:
        return
    for width, theme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
        screen.set_viewport_size({"width": width, "height": 900})
        screen.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        screen.reload()
        screen.screenshot(path=SHOTS / f"{name}-{width}-{theme}.png", full_page=True)
    screen.set_viewport_size({"width": 1280, "height": 900})
    screen.emulate_media(color_scheme="light")


def step(screen: Page, server: LiveServer, name: str, *, done: int) -> None:
    """Take a step from the front page, which has ticked off so many before."""
    screen.goto(server.url + reverse("admin:index"))
    expect(screen.locator(".front-done")).to_have_count(done)
    screen.locator(".front-steps").get_by_role("link", name=name).click()


def wanted() -> Iterator[tuple[str, str]]:
    """Yield patients and what their ECGs show."""
    left = {split: [key for key in ("normal", demonstration.UNLEARNED) for _ in range(count)]
            for split, count in ECGS.items()}  # fmt: skip
    number = 0
    while any(left.values()):
        number += 1
        of_split = left[trainingsets.split_of(f"L{number}")]
        if of_split:
            yield f"L{number}", of_split.pop()


@pytest.mark.django_db(transaction=True)
def test_read_label_freeze_train_compare_promote_and_roll_back(
    chromium: Browser, live_server: LiveServer, tmp_path: Path
) -> None:
    chief = make_user("chief", is_superuser=True)
    lines = ["sop_instance_uid,findings"]
    for number, (patient, key) in enumerate(wanted()):
        ecg = make_ecg(page(key, 1 + number % DRAWINGS), patient_id=patient, state=State.DELIVERED)
        lines.append(f"{ecg.sop_instance_uid},{key}")
    to_read = analyse(make_ecg(page("clbbb", 1), patient_id="R1"), {"clbbb": 0.93})
    screen = open_desk(chromium, live_server, chief)
    shoot(screen, "front")

    # Read one.
    step(screen, live_server, "Read one", done=0)
    screen.locator(f'a[href*="{reverse("reading", args=[to_read.pk])}"]').first.click()
    screen.locator("#reading-confirm").click()
    expect(screen.locator("#reading-confirm")).to_have_count(0)
    assert Reading.objects.get().decision == "confirmed"

    # Label the rest, from a file.
    screen.goto(live_server.url + reverse("admin:webadmin_label_import"))
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines))
    screen.locator('input[type="file"]').set_input_files(path)
    screen.get_by_role("button", name="Show what it would write").click()
    screen.get_by_role("button", name=f"Write {len(lines) - 1} labels").click()
    screen.wait_for_load_state()
    assert Label.objects.count() == len(lines)

    # Freeze: it says what is missing, and lets a person go on.
    step(screen, live_server, "Freeze a training set", done=1)
    expect(screen.get_by_text("What is missing")).to_be_visible()
    screen.locator('input[name="name"]').fill("spring")
    screen.get_by_role("button", name="Freeze").click()
    expect(screen.get_by_role("heading", name="spring")).to_be_visible()

    # Train; a Trainer takes it up, and the page follows.
    step(screen, live_server, "Train on it", done=3)
    screen.locator('input[name="epochs"]').fill("2")
    screen.locator('input[name="steps"]').fill("1")
    screen.get_by_role("button", name="Start").click()
    expect(screen.locator("#progress")).to_be_visible()
    before = serving.champion()
    assert retraining.work() == 1
    expect(screen.locator(".desk-head-title").get_by_text("Evaluated")).to_be_visible()
    assert SplitOpening.objects.count() == 1

    # Compare, and promote for a reason.
    step(screen, live_server, "Compare and promote", done=4)
    expect(screen.get_by_text(f"Beside {before}, which serves")).to_be_visible()
    expect(screen.get_by_text("Complete left bundle branch block is better")).to_be_visible()
    screen.get_by_role("link", name="Promote…").click()
    screen.locator("#reason").fill("It finds left bundle branch block")
    screen.get_by_role("button", name="Promote").click()
    screen.wait_for_load_state()
    after = serving.champion()
    assert (str(before), str(after)) == (f"{before.name}@{before.version}", f"{before}+1")
    screen.goto(live_server.url + reverse("admin:index"))
    expect(screen.get_by_text(", by chief.")).to_be_visible()
    expect(screen.locator(".front-steps")).to_have_count(0)
    shoot(screen, "front-promoted")

    # One press takes it back.
    screen.get_by_role("link", name=str(after)).click()
    screen.get_by_role("link", name="Roll back to").click()
    screen.locator("#reason").fill("Only to see that it can be done")
    screen.get_by_role("button", name="Roll back").click()
    screen.wait_for_load_state()
    assert serving.champion() == before
    assert list(Promotion.objects.order_by("pk").values_list("kind", "actor")) == [
        ("promoted", "user:chief"),
        ("rolled_back", "user:chief"),
    ]
    screen.context.close()
