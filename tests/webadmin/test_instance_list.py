"""The list of ECGs finds what it should, and costs the same for five rows and for fifty."""

from __future__ import annotations

import datetime
import re

import pytest
from desk_rows import analyse, fail, make_ecg, make_model_version, reject
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gateway.states import State

LIST = "/desk/gateway/instance/"


def listed(browser: Client, **query: str) -> set[int]:
    """Return the row numbers of the ECGs that the list shows."""
    answer = browser.get(LIST, query, follow=True)
    assert answer.status_code == 200
    return {int(number) for number in re.findall(r'alt="ECG (\d+)"', answer.content.decode())}


def listed_at(browser: Client, link: str) -> list[str]:
    """Return the row numbers of the ECGs behind a link of the list."""
    page = browser.get(LIST + link.replace("&amp;", "&")).content.decode()
    return re.findall(r'alt="ECG (\d+)"', page)


def test_the_list_is_where_this_test_looks() -> None:
    assert reverse("admin:gateway_instance_changelist") == LIST


@pytest.mark.parametrize("count", [5, 50])
def test_the_list_asks_the_database_no_more_for_fifty_rows(
    reader: Client, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webadmin.admin.instances.InstanceAdmin.list_per_page", 50)
    for number in range(count):
        analyse(make_ecg(data=b""), {"af": 0.9, "pac": 0.4} if number % 2 else {"normal": 0.97})
    reader.get(LIST)
    with CaptureQueriesContext(connection) as asked:
        assert len(listed(reader)) == count
    assert len(asked) <= 10, "\n".join(query["sql"] for query in asked)


def test_search_finds_by_accession_number_patient_and_uid(reader: Client) -> None:
    wanted = make_ecg(data=b"", patient_id="7341902", accession="ECG-26-00817")
    other = make_ecg(data=b"", patient_id="1117341902", accession="OTHER-1")
    assert wanted.study is not None
    for words in (
        "ECG-26-00817",
        "ecg-26-008",
        "7341902",
        wanted.sop_instance_uid,
        wanted.study.study_instance_uid,
        "7341902 ECG-26-00817",
    ):
        assert listed(reader, q=words) == {wanted.pk}, words
    assert listed(reader, q="nobody") == set()
    assert listed(reader) == {wanted.pk, other.pk}


def test_the_state_filter_knows_each_state_and_what_waits(reader: Client) -> None:
    waiting = make_ecg(data=b"")
    analysed = analyse(make_ecg(data=b""), {})
    rejected = reject(make_ecg(data=b""), "blank picture")
    failed = fail(make_ecg(data=b""), "no answer")
    aside = make_ecg(data=b"", state=State.SET_ASIDE, conflict_of=waiting)
    assert listed(reader, state="waiting") == {waiting.pk, analysed.pk}
    assert listed(reader, state="received") == {waiting.pk}
    assert listed(reader, state="rejected") == {rejected.pk}
    assert listed(reader, state="failed") == {failed.pk}
    assert listed(reader, state="set_aside") == {aside.pk}
    assert listed(reader, state="delivered") == set()


def test_the_finding_filter_asks_the_network_of_the_reports(reader: Client) -> None:
    fibrillating = analyse(make_ecg(data=b""), {"af": 0.9, "crbbb": 0.8})
    doubtful = analyse(make_ecg(data=b""), {"af": 0.3})
    never_read = make_ecg(data=b"")
    older = make_model_version(sha256="0" * 64)
    doubtful.findings.create(
        model_version=older, key="at", probability=0.9, threshold=0.5, verdict="present"
    )
    assert listed(reader, finding="af") == {fibrillating.pk}
    assert listed(reader, finding="crbbb") == {fibrillating.pk}
    assert listed(reader, finding="at") == set()
    assert listed(reader, finding="none") == {doubtful.pk}
    assert never_read.pk in listed(reader)


def test_the_sender_filter_offers_who_has_sent(reader: Client) -> None:
    cart = make_ecg(data=b"", calling_title="CART-3")
    make_ecg(data=b"", calling_title="MUSE")
    assert listed(reader, sender="CART-3") == {cart.pk}
    offered = reader.get(LIST).content.decode()
    assert '<option value="MUSE"' in offered


def test_days_are_days_of_the_hospital(reader: Client) -> None:
    today = timezone.localdate()
    midnight = timezone.make_aware(datetime.datetime.combine(today, datetime.time.min))
    second = datetime.timedelta(seconds=1)
    first = make_ecg(data=b"", received_at=midnight)
    last_night = make_ecg(data=b"", received_at=midnight - second)
    week = make_ecg(data=b"", received_at=midnight - datetime.timedelta(days=6))
    long_ago = make_ecg(data=b"", received_at=midnight - datetime.timedelta(days=7) - second)
    assert listed(reader, day="today") == {first.pk}
    assert listed(reader, day="yesterday") == {last_night.pk}
    assert listed(reader, day="7") == {first.pk, last_night.pk, week.pk}
    assert listed(reader, day="30") == {first.pk, last_night.pk, week.pk, long_ago.pk}

    yesterday = (today - datetime.timedelta(days=1)).isoformat()
    spans = {"received_at_from": yesterday, "received_at_to": yesterday}
    assert listed(reader, **spans) == {last_night.pk}
    assert listed(reader, received_at_from=today.isoformat()) == {first.pk}
    assert listed(reader, received_at_to=yesterday) == {last_night.pk, week.pk, long_ago.pk}


@pytest.mark.parametrize(
    "query",
    [
        {"state": "no such state"},
        {"finding": "no such finding"},
        {"day": "someday"},
        {"received_at_from": "2026-13-45"},
        {"received_at_to": "yesterday"},
    ],
)
def test_a_filter_nobody_offered_narrows_nothing(reader: Client, query: dict[str, str]) -> None:
    ecg = make_ecg(data=b"")
    assert listed(reader, **query) == {ecg.pk}


def test_a_row_says_its_state_its_reason_and_what_was_found_in_words(reader: Client) -> None:
    analyse(make_ecg(data=b""), {"af": 0.931, "pac": 0.4})
    reject(make_ecg(data=b""), "blank picture")
    shown = reader.get(LIST).content.decode()
    for text in ("Analysed", "Rejected", "blank picture", "AI result, unverified"):
        assert text in shown
    assert 'title="Atrial fibrillation: present, 93.1%"' in shown
    assert re.search(r'title="Premature atrial complexes: undetermined, 40.0%">.*PAC\?', shown)


def test_the_chips_keep_the_search_and_mark_the_chosen_state(reader: Client) -> None:
    reject(make_ecg(data=b"", patient_id="7341902"), "blank picture")
    asked = {"q": "7341902", "state": "rejected"}
    shown = reader.get(LIST, asked, follow=True).content.decode()
    chips = re.search(r'<nav class="desk-chips".*?</nav>', shown, re.DOTALL)
    assert chips
    assert re.search(r'aria-current="true">\s*Rejected', chips[0])
    links = re.findall(r'href="([^"]*)"', chips[0])
    assert len(links) > 5
    assert all("q=~" in link for link in links)
    assert all(listed_at(reader, link) for link in links if "state=rejected" in link)


def test_an_empty_list_says_so_and_how_to_see_everything(reader: Client) -> None:
    assert "appear here by themselves" in reader.get(LIST).content.decode()
    make_ecg(data=b"")
    assert "Nothing matches" in reader.get(LIST, {"q": "nobody"}, follow=True).content.decode()
