"""The front page: what waits, what went wrong, and what to do first."""

from __future__ import annotations

import datetime
import re
from html import unescape

from desk_people import make_user, signed_in
from desk_rows import (
    analyse,
    fail,
    make_association,
    make_ecg,
    make_model_version,
    make_peer,
    reject,
)
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from gateway.states import State


def front(browser: Client) -> str:
    """Return the front page."""
    answer = browser.get(reverse("admin:index"))
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def tiles(shown: str) -> dict[str, tuple[int, str]]:
    """Return each tile's number and link by its title."""
    found = re.findall(
        r'<a class="desk-tile[^"]*" href="([^"]*)">.*?</span>(\w[^<]*)</span>\s*<strong>(\d+)<',
        shown,
        re.DOTALL,
    )
    return {title: (int(value), link) for link, title, value in found}


def test_a_new_gateway_says_what_to_do_first(reader: Client) -> None:
    shown = front(reader)
    for text in (
        "manage.py peer add CART 10.0.0.5 104 --sender",
        "manage.py peer add ARCHIVE 10.0.0.9 104 --destination",
        "ECGGATEWAY",
        "11112",
        "Nobody has called yet",
    ):
        assert text in shown
    assert {value for value, _ in tiles(shown).values()} == {0}


def test_the_first_steps_go_when_both_sides_are_known(reader: Client) -> None:
    make_peer("CART", "10.0.0.5", is_sender=True, is_destination=False)
    half = front(reader)
    assert "Done: add who may send" in half
    assert "Done: add who receives" not in half
    make_peer()
    assert "First steps" not in front(reader)


def test_a_disk_that_is_nearly_full_is_the_first_thing_said(
    reader: Client, settings: Settings
) -> None:
    assert "No ECG is taken now" not in front(reader)
    settings.ECG_LOW_WATER_MB = 1 << 40
    shown = front(reader)
    assert "No ECG is taken now" in shown
    assert "The disk of the spool is nearly full" in shown
    answer = reader.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"database": True, "intake": False})


def test_each_tile_counts_what_its_link_lists(reader: Client) -> None:
    yesterday = timezone.now() - datetime.timedelta(days=1, minutes=1)
    make_ecg(data=b"")
    analyse(make_ecg(data=b""), {})
    for _ in range(3):
        reject(make_ecg(data=b""), "blank picture")
    reject(make_ecg(data=b"", received_at=yesterday), "blank picture")
    fail(make_ecg(data=b"", received_at=yesterday), "no answer")
    make_ecg(data=b"", state=State.DELIVERED)
    make_ecg(data=b"", state=State.DELIVERED, received_at=yesterday)
    make_ecg(data=b"", state=State.SET_ASIDE)
    found = tiles(front(reader))
    assert {title: value for title, (value, _) in found.items()} == {
        "Waiting": 2,
        "Delivered": 1,
        "Rejected": 3,
        "Failed": 1,
        "Set aside": 1,
        "Unproven": 0,
    }
    for title, (value, link) in found.items():
        assert reader.get(link).content.decode().count("data-picture") == value, title


def test_an_ecg_that_waits_too_long_raises_an_alert(reader: Client) -> None:
    make_ecg(data=b"", received_at=timezone.now() - datetime.timedelta(minutes=4))
    assert "has been waiting" not in front(reader)
    make_ecg(data=b"", received_at=timezone.now() - datetime.timedelta(minutes=26))
    assert "An ECG has been waiting for 26 min" in front(reader)


def test_it_shows_who_called_who_is_known_and_the_network_at_work(reader: Client) -> None:
    make_association(
        calling_title="STRANGER", outcome="rejected", reason="calling AE title not recognised"
    )
    make_peer()
    analyse(make_ecg(data=b""), {})
    make_model_version(sha256="0" * 64, name="never-used")
    shown = front(reader)
    for text in ("STRANGER", "calling AE title not recognised", "10.0.0.9:104", "ecg-resnet@1.0.0"):
        assert text in shown
    assert "never-used" not in shown


def test_it_shows_nobody_what_they_may_not_see(stranger: Client) -> None:
    make_peer()
    make_association()
    make_ecg(data=b"")
    shown = front(stranger)
    for text in ("10.0.0.9", "CART", "Waiting", "First steps"):
        assert text not in shown
    nurse = front(signed_in(make_user("nurse", "view_instance")))
    assert tiles(nurse)["Waiting"][0] == 1
    assert "10.0.0.9" not in nurse


def test_the_root_leads_to_the_desk(client: Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:index"))
