"""The Desk in a real browser: in through a link, then look, wide and narrow, light and dark."""

from __future__ import annotations

from typing import Any

import pytest
from desk_rows import (
    analyse,
    attempt,
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
from django.urls import reverse
from peers import eventually
from pytest_django.live_server_helper import LiveServer
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.command import Command

from dicom_node.capture import secondary_capture
from gateway.models import CustodyRequest, Delivery
from models.labels import LABELS
from webadmin.signin import signin_link

WIDTHS_PX = (1280, 390)
PICTURE = "document.querySelector('img[data-picture]')"


def show(browser: webdriver.Chrome, width_px: int, *, theme: str = "light") -> None:
    """Give the page a width, as a desktop or a phone, and a theme."""
    size = {"width": width_px, "height": 900, "deviceScaleFactor": 1, "mobile": width_px < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})


def ask(browser: webdriver.Chrome, script: str) -> Any:
    """Return what an expression is worth in the page."""
    return browser.execute_script(f"return {script}")


def stays_within(browser: webdriver.Chrome) -> bool:
    """Return whether the page is no wider than its window."""
    return bool(ask(browser, "document.documentElement.scrollWidth <= window.innerWidth"))


def sign_in(browser: webdriver.Chrome, server: LiveServer) -> None:
    """Enter through a link, as the first person of an installation does."""
    browser.get(signin_link("chief", server.url))
    browser.find_element(By.CSS_SELECTOR, "#signin-form button").click()
    eventually(lambda: browser.current_url == server.url + reverse("admin:index"))


def complaints(browser: webdriver.Chrome) -> list[str]:
    """Return what the browser has complained of since it was last asked."""
    lines: list[dict[str, Any]] = browser.execute(Command.GET_LOG, {"type": "browser"})["value"]
    return [str(line["message"]) for line in lines]


def width_of(browser: webdriver.Chrome, selector: str) -> float:
    """Return how wide the first such element is drawn, in pixels."""
    found = ask(browser, f"document.querySelector({selector!r}).getBoundingClientRect().width")
    return float(found)


@pytest.mark.django_db(transaction=True)
def test_a_cardiologist_signs_in_and_reads_an_ecg_on_a_desk_and_on_a_phone(
    browser: webdriver.Chrome, live_server: LiveServer
) -> None:
    ecg = analyse(make_ecg(drawn("af", seed=7)), {"af": 0.931, "pac": 0.4})
    page = live_server.url + reverse("admin:gateway_instance_change", args=[ecg.pk])
    show(browser, 1280)
    sign_in(browser, live_server)
    for width_px in WIDTHS_PX:
        show(browser, width_px)
        browser.get(page)
        eventually(lambda: ask(browser, f"{PICTURE}.complete && {PICTURE}.naturalWidth > 0"))
        assert ask(browser, f"{PICTURE}.naturalWidth") == 1600
        assert width_of(browser, "img[data-picture]") > 0.65 * min(width_px, 1000)
        assert browser.find_element(By.CSS_SELECTOR, "svg polygon").is_displayed()

        bars = browser.find_elements(By.CSS_SELECTOR, ".desk-bar")
        assert len(bars) == len(LABELS)
        assert "Atrial fibrillation" in bars[0].text
        assert "93.1%" in bars[0].text
        assert "Present" in bars[0].text
        track = width_of(browser, ".desk-bar-track")
        assert track > 200
        assert width_of(browser, ".desk-bar-fill") == pytest.approx(0.931 * track, abs=2)
        assert "AI result, unverified" in browser.find_element(By.TAG_NAME, "body").text
        assert stays_within(browser), width_px


@pytest.mark.django_db(transaction=True)
def test_the_outline_can_be_put_away(browser: webdriver.Chrome, live_server: LiveServer) -> None:
    ecg = analyse(make_ecg(), {})
    show(browser, 1280)
    sign_in(browser, live_server)
    browser.get(live_server.url + reverse("admin:gateway_instance_change", args=[ecg.pk]))
    browser.find_element(By.CSS_SELECTOR, ".desk-picture label").click()
    assert not browser.find_element(By.CSS_SELECTOR, "svg polygon").is_displayed()


@pytest.mark.django_db(transaction=True)
def test_a_damaged_picture_is_replaced_by_the_reason(
    browser: webdriver.Chrome, live_server: LiveServer
) -> None:
    whole = content(secondary_capture(drawn(), patient_id="X"))
    ecg = reject(make_ecg(data=whole[: len(whole) // 2]), "the pixel data is cut off")
    show(browser, 390)
    sign_in(browser, live_server)
    browser.get(live_server.url + reverse("admin:gateway_instance_change", args=[ecg.pk]))
    reason = browser.find_element(By.CSS_SELECTOR, ".desk-picture .desk-picture-problem")
    eventually(lambda: "the pixel data is cut off" in reason.text)
    assert not browser.find_element(By.CSS_SELECTOR, "img[data-picture]").is_displayed()


@pytest.mark.django_db(transaction=True)
def test_no_screen_is_wider_than_its_window_or_breaks_in_the_browser(
    browser: webdriver.Chrome, live_server: LiveServer
) -> None:
    peer = make_peer("A-TITLE-AS-LONG.", "archive.radiology.a-hospital-with-a-long-name.example")
    ecg = analyse(
        make_ecg(
            patient_id="P" * 64,
            patient_name="Wolfeschlegelsteinhausenbergerdorff^Hubert-Blaine",
            accession="ACCESSION-NR-16.",
            association=make_association(reason="a reason " * 20),
        ),
        dict.fromkeys(("af", "crbbb", "pvc", "at", "preexcitation"), 0.9),
    )
    report = compose(ecg)[0]
    attempt(report, peer, Delivery.Outcome.REFUSED, 0xC123)
    deliver(ecg)
    fail(make_ecg(), "A-TITLE-AS-LONG.: 0xC123 " + "x" * 200)
    rule = make_rule("a rule of a long name " * 4, peer, sender="CART", finding="af")
    target = "https://alerts.cardiology.a-hospital-with-a-long-name.example/" + "x" * 80
    alert_rule = make_alert_rule("an alert rule of a long name " * 3, target=target)
    alert = make_alert(ecg, alert_rule, outcome="failed", last_error="answered 503 " + "x" * 90)
    asked = CustodyRequest.objects.create(
        calling_title="A-TITLE-AS-LONG.",
        transaction_uid="1" * 64,
        references=[[ecg.sop_class_uid, ecg.sop_instance_uid], ["1.2", "2" * 64]],
        failures=[["2" * 64, 0x0112]],
        outcome="failed",
        attempts=12,
        last_error="no connection " + "x" * 200,
    )
    rows: list[tuple[str, Any]] = [
        ("instance", ecg),
        ("study", ecg.study),
        ("report", report),
        ("dispatch", mean(report, peer, rule="by a rule " * 10, instead_of="comprehensive_3d")),
        ("delivery", report.deliveries.first()),
        ("rule", rule),
        ("custodyrequest", asked),
        ("alertrule", alert.rule),
        ("alert", alert),
        ("transition", ecg.transitions.first()),
        ("association", ecg.association),
        ("modelversion", ecg.model_version),
        ("peer", peer),
    ]
    pages = [reverse("admin:index"), reverse("admin:auth_user_changelist")]
    pages += [reverse(f"admin:gateway_{name}_changelist") for name, _ in rows]
    pages += [reverse(f"admin:gateway_{name}_change", args=[row.pk]) for name, row in rows]
    pages.append(f"{reverse('admin:gateway_rule_test')}?ecg={ecg.sop_instance_uid}")
    show(browser, 1280)
    sign_in(browser, live_server)
    complaints(browser)
    for width_px, theme in zip(WIDTHS_PX, ("light", "dark"), strict=True):
        show(browser, width_px, theme=theme)
        for page in pages:
            browser.get(live_server.url + page)
            assert stays_within(browser), (page, width_px)
    assert complaints(browser) == []
