"""The front page: what waits, what went wrong, and what to do first."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from html import unescape

import pytest
from desk_people import READ, make_user, signed_in
from desk_rows import (
    analyse,
    fail,
    make_association,
    make_ecg,
    make_model_version,
    make_peer,
    reject,
)
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from gateway.models import CustodyRequest, Instance, Promotion
from gateway.states import State
from models.labels import KEYS
from webadmin.models import Label, Reading, TrainingRun, TrainingSet


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


QUERIES = 17
"""Of the front page, the session and the sidebar included; the comparison of senders is kept."""


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
        "Unanswered": 0,
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


def test_failures_are_grouped_by_cause_and_each_leads_to_its_list(reader: Client) -> None:
    assert "Why they failed" not in front(reader)
    for reason in ("no answer", "no answer", "refused: Out of Resources (0xA700)"):
        fail(make_ecg(data=b""), reason)
    shown = front(reader)
    found = re.findall(r'href="([^"]*reason=[^"]*)">(\d+)</a> <span>([^<]*)<', shown)
    assert [(int(count), reason) for _, count, reason in found] == [
        (2, "no answer"),
        (1, "refused: Out of Resources (0xA700)"),
    ]
    for link, count, reason in found:
        listed = reader.get(link)
        assert listed.status_code == 200, reason
        assert listed.content.decode().count("data-picture") == int(count), reason


def test_senders_who_were_not_answered_are_counted(reader: Client) -> None:
    for outcome in ("failed", "answered"):
        CustodyRequest.objects.create(
            calling_title="CART", transaction_uid=f"2.25.1{len(outcome)}", references=[],
            outcome=outcome, attempts=3,
        )  # fmt: skip
    value, link = tiles(front(reader))["Unanswered"]
    assert value == 1
    assert "2.25.16" in reader.get(link).content.decode()
    assert "2.25.18" not in reader.get(link).content.decode()
    assert "Unanswered" not in front(signed_in(make_user("nurse", "view_instance")))


def test_it_says_since_when_the_network_serves_and_who_said_so(reader: Client) -> None:
    analyse(make_ecg(data=b""), {})
    promoted = make_model_version(sha256="0" * 64, name="ecg-better")
    shown = front(reader)
    assert "ecg-resnet@1.0.0" in shown
    assert "Serves since" in shown
    Promotion.objects.create(
        model_version=promoted, kind="promoted", actor="user:chief", reason="better"
    )
    shown = front(reader)
    assert "ecg-better@1.0.0" in shown
    assert re.search(r"Serves since [^<]*, by chief\.", shown)


def test_a_sender_with_few_ecgs_is_told_how_many_a_comparison_needs(reader: Client) -> None:
    analyse(make_ecg(data=b"", calling_title="CART7"), {})
    assert re.search(r"sender=CART7.*?\d ECGs so far; a comparison begins with 200", front(reader),
                     re.DOTALL)  # fmt: skip


def test_the_steps_tick_off_what_was_done_and_go_when_all_is(chief: Client) -> None:
    def done() -> list[bool]:
        marks = re.findall(r"front-mark( front-done)?", front(chief))
        return [bool(mark) for mark in marks]

    assert done() == [], "nothing was read by a network yet"
    user = make_user("doctor")
    ecgs = [analyse(make_ecg(data=b""), {}) for _ in range(5)]
    shown = front(chief)
    assert done() == [False] * 5
    for name in ("reading_list", "admin:webadmin_trainingset_freeze",
                 "admin:webadmin_trainingrun_start"):  # fmt: skip
        assert f'href="{reverse(name)}"' in shown
    words = dict.fromkeys(KEYS, "absent")

    def read(*ecgs: Instance) -> None:
        for ecg in ecgs:
            Reading.objects.create(instance=ecg, reader=user, role="", decision="confirmed",
                                   findings=words)  # fmt: skip

    read(*ecgs[:4], ecgs[0])
    assert done() == [True, False, False, False, False], "four ECGs are no handful"
    read(ecgs[4])
    assert done() == [True, True, False, False, False]
    training_set = TrainingSet.objects.create(name="spring", sha256="ab" * 32, frozen_by=user)
    assert done() == [True, True, True, False, False]
    candidate = make_model_version(sha256="0" * 64, name="ecg-better")
    TrainingRun.objects.create(
        training_set=training_set, start=make_model_version(), candidate=candidate,
        state="evaluated", started_by=user,
    )  # fmt: skip
    assert done() == [True, True, True, True, False]
    assert reverse("admin:gateway_modelversion_change", args=[candidate.pk]) in front(chief)
    Promotion.objects.create(model_version=candidate, kind="promoted", actor="x", reason="better")
    assert done() == []


def test_a_step_of_somebody_else_has_no_link(db: None) -> None:
    analyse(make_ecg(data=b""), {})
    assert "front-mark" not in front(signed_in(make_user("nurse", *READ)))
    shown = front(signed_in(make_user("doctor", *READ, "add_reading")))
    assert shown.count("somebody else's") == 3
    assert reverse("admin:webadmin_trainingset_freeze") not in shown


def test_it_asks_a_bounded_number_of_times(
    chief: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    def grow() -> None:
        user = make_user(f"doctor{Label.objects.count()}")
        for _ in range(3):
            fail(analyse(make_ecg(data=b""), {"af": 0.9}), "no answer")
            ecg = analyse(make_ecg(data=b""), {"af": 0.9})
            said = dict.fromkeys(KEYS, "absent")
            Label.objects.create(instance=ecg, findings=said, source="single", decided_by=user)
            make_association()

    grow()
    front(chief)
    with django_assert_num_queries(QUERIES):
        front(chief)
    grow()
    with django_assert_num_queries(QUERIES):
        front(chief)


def test_the_root_leads_to_the_desk(client: Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:index"))
