"""A training that is watched, and a network that is promoted and rolled back, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk_people import make_user
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from training_rows import evaluated, frozen_set, kept

from gateway import network, serving
from gateway.models import Promotion
from webadmin import retraining


def stays_within(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("width_px", "theme"), [(1280, "light"), (390, "dark")])
def test_an_engineer_watches_a_training_promotes_its_network_and_rolls_back(
    chromium: Browser,
    live_server: LiveServer,
    settings: Settings,
    tmp_path: Path,
    width_px: int,
    theme: str,
) -> None:
    settings.ECG_MODELS_DIR = tmp_path / "models"
    network.model_version.cache_clear()
    engineer = make_user("engineer", is_superuser=True)
    training_set = frozen_set(engineer, {"training": {"normal": 1}, "validation": {"normal": 1}})
    candidate = kept(tmp_path / "models", "1.0.0+1")
    evaluated(candidate, training_set)
    before = serving.champion()
    client = Client()
    client.force_login(engineer)
    context = chromium.new_context(
        viewport={"width": width_px, "height": 844},
        color_scheme="dark" if theme == "dark" else "light",
    )
    name = django_settings.SESSION_COOKIE_NAME
    cookie = client.cookies[name].value
    context.add_cookies([{"name": name, "value": cookie, "url": live_server.url}])
    page = context.new_page()
    page.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)

    # From the list to a run, which is then seen to go on without a reload.
    page.goto(live_server.url + reverse("admin:webadmin_trainingrun_changelist"))
    assert stays_within(page)
    page.get_by_role("link", name="Start a training").click()
    page.get_by_label("Epochs").fill("3")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("A line begins with the first epoch")).to_be_visible()
    run = retraining.claim()
    assert run is not None
    epoch = {"epoch": 1, "training_loss": 0.9, "loss": 0.7, "auroc": 0.8, "seconds": 4.0}
    more = {**epoch, "epoch": 2, "loss": 0.6}
    retraining.note(run, state="training", progress=0.5, curve=[epoch, more])
    expect(page.get_by_role("img", name="Loss after epoch 2")).to_be_visible()
    assert stays_within(page)
    retraining.end(run, "failed", reason="the disk was full")
    expect(page.get_by_text("the disk was full")).to_be_visible()

    # From the candidate's figures to a promotion, and back again.
    page.goto(live_server.url + reverse("admin:gateway_modelversion_change", args=[candidate.pk]))
    expect(page.get_by_text("better by the rule")).to_be_visible()
    assert stays_within(page)
    page.get_by_role("link", name="Promote").click()
    page.get_by_label("Reason").fill("better at AF")
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("serves from the next batch on")).to_be_visible()
    assert serving.champion() == candidate
    page.get_by_role("link", name="Roll back to").click()
    assert stays_within(page)
    page.get_by_label("Reason").fill("too many calls")
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("serves again from the next batch on")).to_be_visible()
    assert serving.champion() == before
    assert Promotion.objects.count() == 2
    assert complaints == []
    context.close()
