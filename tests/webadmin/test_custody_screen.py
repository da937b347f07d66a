"""The screen of what senders asked us to keep: what it says, and how one is told again."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from desk_people import READ, make_user, signed_in
from desk_rows import make_ecg
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from gateway.models import CustodyRequest
from webadmin import words

pytestmark = pytest.mark.django_db

LIST = "admin:gateway_custodyrequest_changelist"
PAGE = "admin:gateway_custodyrequest_change"
_numbers = itertools.count(1)


def text(browser: Client, name: str, *arguments: Any, **query: str) -> str:
    """Return a page as its reader gets it."""
    answer = browser.get(reverse(name, args=arguments), query)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def request_of(*uids: str, **values: Any) -> CustodyRequest:
    return CustodyRequest.objects.create(
        **{
            "calling_title": "CART",
            "address": "10.0.0.5",
            "transaction_uid": f"2.25.{next(_numbers)}",
            "references": [["1.2.840.10008.5.1.4.1.1.7", uid] for uid in uids or ("1.2.3",)],
            **values,
        }
    )


def failed(**values: Any) -> CustodyRequest:
    why = "no connection: Connection refused"
    return request_of(**{"outcome": "failed", "attempts": 12, "last_error": why, **values})


@pytest.fixture
def operator(db: None) -> Client:
    """Return the browser of somebody who may have senders told again."""
    return signed_in(make_user("operator", *READ, "change_custodyrequest"))


def again(browser: Client, *rows: CustodyRequest, **values: str) -> Any:
    given = {"action": "answer_again", "_selected_action": [row.pk for row in rows], **values}
    return browser.post(reverse(LIST), given)


def outcomes() -> list[str]:
    return list(CustodyRequest.objects.order_by("pk").values_list("outcome", flat=True))


def test_the_list_says_who_asked_what_was_kept_and_why_an_answer_did_not_arrive(
    reader: Client,
) -> None:
    request_of("1.2.3", "1.2.4", outcome="answered", failures=[["1.2.4", 0x0112]])
    failed(calling_title="HOLTER")
    listed = text(reader, LIST)
    assert "Answered, not all kept" in listed
    assert "1 of 2" in listed
    assert "HOLTER" in listed
    assert "no connection: Connection refused" in listed
    only = text(reader, LIST, outcome="answered")
    assert "HOLTER" not in only.split("result_list")[-1]


def test_a_page_shows_each_object_its_reason_and_its_ecg(reader: Client) -> None:
    ecg = make_ecg()
    row = request_of(
        ecg.sop_instance_uid, "1.2.4", outcome="answered", failures=[["1.2.4", 0x0112]]
    )
    page = text(reader, PAGE, row.pk)
    assert "CART at 10.0.0.5" in page
    assert reverse("admin:gateway_instance_change", args=[ecg.pk]) in page
    assert page.index("no such object here (0x0112)") < page.index("</span>Kept")


def test_what_was_refused_when_it_came_says_so_and_cannot_be_told_again(operator: Client) -> None:
    row = failed(attempts=0, last_error="no Peer of this title has a host")
    page = text(operator, PAGE, row.pk)
    assert "Refused" in page
    assert "Tell again" not in page
    assert "None of these can be told again" in again(operator, row).content.decode()
    again(operator, row, confirmed="yes")
    assert outcomes() == ["failed"]


def test_a_person_who_may_has_one_told_again_after_saying_yes(
    operator: Client, reader: Client
) -> None:
    one, _other = failed(), failed()
    assert "Tell again" not in text(reader, PAGE, one.pk)
    again(reader, one, confirmed="yes")
    assert "Tell again" in text(operator, PAGE, one.pk)
    asked = again(operator, one)
    assert "Tell 1 request again?" in asked.content.decode()
    assert outcomes() == ["failed", "failed"], "nothing is done before it is confirmed"
    assert again(operator, one, confirmed="yes").status_code == 302
    assert outcomes() == ["waiting", "failed"]
    one.refresh_from_db()
    assert (one.attempts, one.last_error) == (0, "")
    assert LogEntry.objects.get().change_message


def test_all_that_failed_are_told_again_at_once(operator: Client) -> None:
    rows = [failed() for _ in range(3)]
    request_of(outcome="answered")
    across = {"select_across": "1", "outcome": "failed"}
    asked = again(operator, rows[0], **across).content.decode()
    assert "Tell 3 requests again?" in asked
    assert 'name="select_across"' in asked
    again(operator, rows[0], confirmed="yes", **across)
    assert outcomes() == ["waiting", "waiting", "waiting", "answered"]


def test_each_outcome_and_each_reason_has_its_word() -> None:
    badges = [words.custody(request_of(outcome=one)) for one in CustodyRequest.Outcome.values]
    reasons = [words.kept(one, was_told=True) for one in (None, 0x0110, 0x0112, 0x0119, 0x0213)]
    badges += [*reasons, words.kept(None, was_told=False)]
    assert all(badge.text and badge.icon and badge.tone for badge in badges)
    assert len({badge.title for badge in reasons}) == len(reasons)
