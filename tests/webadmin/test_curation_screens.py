"""Curation at the Desk: from a queue over two readers and a third to a label; what stays hidden."""

from __future__ import annotations

import re

import pytest
from desk_people import READ, make_user, signed_in
from desk_readings import READER, ecg, override, read, reader, words
from desk_rows import drawn, make_ecg
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gateway.models import Instance
from webadmin import curation
from webadmin.models import Assignment, Label, Reading

pytestmark = pytest.mark.django_db
PAGE = "/desk/curation/"


@pytest.fixture
def anna() -> User:
    return reader("anna", "add_assignment")


@pytest.fixture
def ben() -> User:
    return reader("ben")


@pytest.fixture
def carl() -> User:
    return reader("carl", "adjudicate")


def text(browser: Client, address: str, **query: str) -> str:
    """Return a page as its reader gets it."""
    answer = browser.get(address, query)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def disputed(anna: User, ben: User, row: Instance | None = None) -> Assignment:
    """Have two people differ about an ECG; return what a third is to decide."""
    curation.request([row or ecg()])
    for person, said in ((anna, "af"), (ben, "afl")):
        mine = curation.take(person)
        assert mine is not None
        read(mine, person, said, comment=f"looks like {said}")
    return Assignment.objects.get(kind="adjudication", done_at=None)


def test_an_empty_desk_says_what_to_do_first(anna: User) -> None:
    page = text(signed_in(anna), PAGE)
    assert "First steps" in page
    assert "Fill the queues" in page
    assert "Take the next" not in page.split("curation-queues")[1]


def test_a_queue_says_how_many_wait_and_who_reads(anna: User, ben: User) -> None:
    curation.request([ecg(), ecg()])
    curation.take(ben)
    page = text(signed_in(anna), PAGE)
    requested = page.split('id="queue-requested"')[1].split("</section>")[0]
    assert re.search(r"<strong>2</strong><span>to be read", requested)
    assert "Take the next" in requested
    assert "ben" in page.split("Who reads now")[1]


def test_taking_the_next_leads_to_the_reading_page(anna: User) -> None:
    row = ecg()
    curation.request([row])
    answer = signed_in(anna).post(reverse("curation_take"), {"queue": "requested"})
    mine = Assignment.objects.get(taken_by=anna)
    assert answer["Location"] == f"/desk/reading/{row.pk}/?assignment={mine.pk}"
    page = text(signed_in(anna), PAGE)
    assert f"You have taken ECG {row.pk}" in page
    signed_in(anna).post(reverse("curation_release", args=[mine.pk]))
    assert not Assignment.objects.filter(taken_by=anna).exists()


def test_when_nothing_waits_it_says_so(ben: User) -> None:
    answer = signed_in(ben).post(reverse("curation_take"), follow=True)
    assert "Nothing waits for you here" in answer.content.decode()


def test_the_queues_are_filled_and_one_ecg_requested_by_who_may(anna: User, ben: User) -> None:
    row = ecg({"af": 0.4, "normal": 0.01})
    assert signed_in(ben).post(reverse("curation_fill")).status_code == 403
    signed_in(anna).post(reverse("curation_fill"))
    assert Assignment.objects.filter(instance=row).exists()
    for number, said in ((str(row.pk), "Two people are asked"), ("999999", "no ECG of this")):
        answer = signed_in(anna).post(reverse("curation_request"), {"ecg": number}, follow=True)
        assert said in answer.content.decode()
    assert Assignment.objects.filter(queue="requested").count() == 2


def test_the_overview_costs_the_same_for_many_ecgs(anna: User) -> None:
    browser = signed_in(anna)

    def cost() -> int:
        with CaptureQueriesContext(connection) as asked:
            text(browser, PAGE)
        return len(asked)

    curation.request([ecg()])
    text(browser, PAGE)
    few = cost()
    curation.request([ecg() for _ in range(20)])
    assert cost() <= few <= 14


# --- the third opinion ---------------------------------------------------------------------------


def test_who_decides_sees_both_and_neither_name_nor_the_network(
    anna: User, ben: User, carl: User
) -> None:
    wanted = disputed(anna, ben)
    browser = signed_in(carl)
    answer = browser.post(reverse("curation_take"), {"kind": "adjudication"})
    assert answer["Location"] == reverse("adjudicate", args=[wanted.pk])
    page = text(browser, answer["Location"])
    content = page.split('<div class="desk">')[1]
    assert "Reader A" in content
    assert "looks like afl" in content
    for hidden in ("anna", "ben", "AI result", "90.0%"):
        assert hidden not in content
    assert content.count("curation-differs desk-warn") == 2
    assert content.count(" checked") == 8, "what they agree on is filled in"


def test_a_decision_becomes_the_label(anna: User, ben: User, carl: User) -> None:
    wanted = disputed(anna, ben)
    browser = signed_in(carl)
    browser.post(reverse("curation_take"), {"kind": "adjudication"})
    page = reverse("adjudicate", args=[wanted.pk])
    answer = browser.post(page, {"comment": "sawtooth in II"})
    assert "Decide each of the ten" in answer.content.decode()
    assert not Label.objects.exists()
    answer = browser.post(page, {**words("afl"), "comment": "sawtooth in II"})
    assert answer.status_code == 302, answer.content.decode()[:2000]
    label = Label.objects.get()
    assert (label.source, label.findings) == ("adjudicated", words("afl"))
    third = Reading.objects.get(reader=carl)
    assert (third.shown, third.comment, third.assignment) == (None, "sawtooth in II", wanted)
    assert third.took_s is not None
    assert browser.get(page).status_code == 302, "it is decided"


def test_an_ecg_nobody_can_read_is_decided_as_that(anna: User, ben: User, carl: User) -> None:
    wanted = disputed(anna, ben)
    browser = signed_in(carl)
    browser.post(reverse("curation_take"), {"kind": "adjudication"})
    browser.post(reverse("adjudicate", args=[wanted.pk]), {"unreadable": "yes"})
    assert set(Label.objects.get().findings.values()) == {"undecided"}


def test_nobody_else_gets_to_the_decision(anna: User, ben: User, carl: User) -> None:
    wanted = disputed(anna, ben)
    page = reverse("adjudicate", args=[wanted.pk])
    assert signed_in(anna).get(page).status_code == 403
    other = reader("dora", "adjudicate")
    curation.take(carl, kind="adjudication")
    assert signed_in(other).post(page, words("afl")).status_code == 302
    assert not Label.objects.exists()


# --- agreement -----------------------------------------------------------------------------------


def test_agreement_is_shown_for_everybody_and_for_a_pair(anna: User, ben: User) -> None:
    dora = reader("dora")
    for number in range(6):
        curation.request([ecg()])
        pair = (anna, ben) if number < 4 else (anna, dora)
        for index, person in enumerate(pair):
            mine = curation.take(person)
            assert mine is not None
            read(mine, person, "af" if number % 2 or (number == 0 and index) else "normal")
    page = text(signed_in(anna), reverse("agreement"))
    assert "6 ECGs read by two" in page
    assert "anna, ben (4)" in page
    only = text(signed_in(anna), reverse("agreement"), pair=f"{anna.pk}-{ben.pk}")
    assert "4 ECGs read by two" in only
    line = only.split("<td>Atrial fibrillation</td>")[1].split("</tr>")[0]
    assert "75.0%" in line
    assert ">0.50<" in line, "two of four agree by chance"


def test_without_double_readings_it_says_what_to_do(anna: User) -> None:
    page = text(signed_in(anna), reverse("agreement"))
    assert "No ECG was read by two people yet" in page


def test_figures_of_the_network_are_of_the_random_queue_alone(anna: User, ben: User) -> None:
    def labelled(queue: str, said: str, probability: float) -> None:
        row = ecg({"af": probability, "normal": 0.01})
        for kind in ("first", "second"):
            Assignment.objects.create(instance=row, queue=queue, kind=kind)
        for person in (anna, ben):
            mine = curation.take(person, queue=queue)
            assert mine is not None
            read(mine, person, said)

    labelled("random", "af", 0.9)
    labelled("random", "af", 0.1)
    labelled("random", "af", 0.3)  # undetermined: not found
    labelled("random", "normal", 0.05)
    for _ in range(3):
        labelled("undetermined", "normal", 0.9)
    page = text(signed_in(anna), reverse("agreement"))
    line = page.split("The network, on ECGs drawn at random")[1]
    line = line.split("<td>Atrial fibrillation</td>")[1].split("</tr>")[0]
    assert "1/3" in line
    assert "1/1" in line
    assert "33.3%" in line


def test_a_stranger_sees_nothing(stranger: Client) -> None:
    for name in ("curation", "agreement"):
        assert stranger.get(reverse(name)).status_code == 403
    assert stranger.post(reverse("curation_take")).status_code == 403
    assert "Curation" not in stranger.get("/desk/").content.decode()


def test_who_overrode_the_network_is_not_asked_to_read_it_blinded(anna: User, ben: User) -> None:
    row = ecg({"af": 0.9, "normal": 0.01})
    override(row, anna, "afl")
    curation.request([row])
    answer = signed_in(anna).post(reverse("curation_take"), follow=True)
    assert "Nothing waits for you here" in answer.content.decode()


def test_two_readers_go_from_the_queue_to_a_label_by_the_pages_alone() -> None:
    row = make_ecg(drawn())
    curation.request([row])
    for name in ("emil", "fred"):
        browser = signed_in(make_user(name, *READ, *READER))
        address = browser.post(reverse("curation_take"))["Location"]
        said = {f"finding_{key}": word for key, word in words("af").items()}
        browser.post(address, {"decision": "blinded", "shown": "", "latest": "", **said})
    assert Reading.objects.count() == 2
    assert (Label.objects.get().source, Label.objects.get().findings) == ("agreed", words("af"))
