"""Curation in a real browser: a third person decides, and every page fits a desk and a phone."""

from __future__ import annotations

import pytest
from desk_people import signed_in
from desk_readings import label, read, reader, words
from desk_rows import analyse, drawn, make_ecg
from django.conf import settings
from django.contrib.auth.models import User
from django.urls import reverse
from peers import eventually
from pytest_django.live_server_helper import LiveServer
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.command import Command

from webadmin import curation, trainingsets
from webadmin.models import Label, TrainingSet

WIDTHS_PX = (1280, 390)


def enter(browser: webdriver.Chrome, server: LiveServer, user: User) -> None:
    """Sit down as somebody who has signed in."""
    session = signed_in(user).cookies[settings.SESSION_COOKIE_NAME].value
    browser.get(server.url + reverse("admin:login"))
    browser.add_cookie({"name": settings.SESSION_COOKIE_NAME, "value": session})


def show(browser: webdriver.Chrome, width_px: int, theme: str = "light") -> None:
    """Give the page a width, as a desktop or a phone, and a theme."""
    size = {"width": width_px, "height": 900, "deviceScaleFactor": 1, "mobile": width_px < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})


def press(browser: webdriver.Chrome, text: str) -> None:
    """Press the button that says this."""
    browser.find_element(By.XPATH, f"//button[contains(., {text!r})]").click()


def disputed() -> None:
    """Have two people differ about an ECG."""
    row = analyse(make_ecg(drawn("afl", seed=3)), {"af": 0.6})
    curation.request([row])
    for name, said in (("anna", "af"), ("ben", "afl")):
        person = reader(name)
        mine = curation.take(person)
        assert mine is not None
        read(mine, person, said)


@pytest.mark.django_db(transaction=True)
def test_a_third_person_decides_on_a_phone_by_touch(
    browser: webdriver.Chrome, live_server: LiveServer
) -> None:
    disputed()
    enter(browser, live_server, reader("carl", "adjudicate"))
    show(browser, 390, "dark")
    browser.get(live_server.url + reverse("curation"))
    press(browser, "Decide the next")
    eventually(lambda: "adjudicate" in browser.current_url)
    eventually(
        lambda: browser.execute_script(
            "return document.querySelector('img[data-picture]').naturalWidth > 0"
        )
    )
    for key, word in (("af", "absent"), ("afl", "present")):
        choice = f"//input[@name='{key}'][@value='{word}']/.."
        browser.find_element(By.XPATH, choice).click()
    press(browser, "Decide")
    eventually(lambda: Label.objects.exists())
    assert Label.objects.get().findings == words("afl")
    eventually(lambda: "is decided" in browser.find_element(By.TAG_NAME, "body").text)


@pytest.mark.django_db(transaction=True)
def test_every_page_fits_a_desk_and_a_phone_and_no_browser_complains(
    browser: webdriver.Chrome, live_server: LiveServer
) -> None:
    disputed()
    chief = User.objects.create(username="chief", is_staff=True, is_superuser=True)
    row = analyse(make_ecg(drawn(), patient_id="P1"), {"normal": 0.9})
    made = label(row, chief, "af", "crbbb", "pac", "preexcitation")
    trainingsets.freeze("A set with a rather long name of its own, of spring 2026", chief)
    wanted = curation.take(chief, kind="adjudication")
    assert wanted is not None
    number = TrainingSet.objects.get().pk
    enter(browser, live_server, chief)
    addresses = [
        *(reverse(name) for name in ("curation", "agreement", "admin:webadmin_label_import")),
        reverse("adjudicate", args=[wanted.pk]),
        *(reverse(f"admin:webadmin_{name}_changelist") for name in ("label", "guideline")),
        reverse("admin:webadmin_label_change", args=[made.pk]),
        reverse("admin:webadmin_trainingset_change", args=[number]),
        reverse("admin:webadmin_trainingset_preview", args=[number]),
        reverse("admin:webadmin_trainingset_freeze"),
    ]
    for address in addresses:
        for width_px in WIDTHS_PX:
            show(browser, width_px)
            browser.get(live_server.url + address)
            eventually(lambda: browser.execute_script("return document.readyState") == "complete")
            assert browser.execute_script(
                "return document.documentElement.scrollWidth <= window.innerWidth"
            ), (address, width_px)
        lines = browser.execute(Command.GET_LOG, {"type": "browser"})["value"]
        assert not [line["message"] for line in lines], address
