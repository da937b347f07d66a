"""The trail as auditors see it: everything, found by whom it is about and by who did it, fast."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from desk_people import make_user, signed_in
from desk_rows import analyse, attempt, compose, make_ecg, make_peer, mean
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gateway.models import Instance
from webadmin import audit, auditing, chain
from webadmin.models import AuditLink, Deed

LIST = "/desk/webadmin/auditlink/"


@pytest.fixture
def auditor(db: None) -> Client:
    """Return the browser of an auditor."""
    return signed_in(make_user("auditor", "view_auditlink"))


@pytest.fixture
def ecg(db: None) -> Instance:
    """Return an ECG that was reported, delivered and looked at, beside another."""
    row = analyse(make_ecg(patient_id="7341902", accession="ECG-26-1"), {"af": 0.9})
    report, peer = compose(row)[0], make_peer()
    mean(report, peer)
    attempt(report, peer)
    audit.record(audit.Action.VIEWED, actor="ada", subject=row)
    analyse(make_ecg(patient_id="111"), {})
    audit.record(audit.Action.SIGNED_IN, actor="eve")
    chain.extend()
    return row


def listed(browser: Client, **query: str) -> list[str]:
    """Return what happened, newest first, as the list shows it."""
    answer = browser.get(LIST, query, follow=True)
    assert answer.status_code == 200
    return [link.entry.what for link in answer.context["cl"].result_list]


def test_only_auditors_see_it(auditor: Client, reader: Client, ecg: Instance) -> None:
    assert reverse("admin:webadmin_auditlink_changelist") == LIST
    assert auditor.get(LIST).status_code == 200
    assert reader.get(LIST).status_code == 403
    assert LIST not in reader.get(reverse("admin:index")).content.decode()


def test_machines_and_people_are_in_one_list(auditor: Client, ecg: Instance) -> None:
    found = listed(auditor)
    assert {"Signed in", "Looked at", "Attempt to deliver: stored", "arrived by C-STORE"} <= set(
        found
    )
    assert len(found) == AuditLink.objects.count()


@pytest.mark.parametrize("by", ["patient", "accession", "instance", "study", "report"])
def test_everything_about_one_ecg_is_found(auditor: Client, ecg: Instance, by: str) -> None:
    assert ecg.study is not None
    word = {
        "patient": "7341902",
        "accession": "ECG-26-1",
        "instance": ecg.sop_instance_uid,
        "study": ecg.study.study_instance_uid,
        "report": ecg.reports.all()[0].sop_instance_uid,
    }[by]
    found = listed(auditor, q=word)
    assert {"Looked at", "Attempt to deliver: stored", "arrived by C-STORE"} <= set(found)
    assert "Signed in" not in found
    assert found.count("arrived by C-STORE") == 1


def test_who_saw_a_patient_in_a_list_of_many_is_found(auditor: Client, ecg: Instance) -> None:
    make_ecg(patient_id="P2")
    engineer = signed_in(make_user("wren", "view_instance", "view_delivery", "view_study"))
    engineer.get(reverse("admin:gateway_delivery_changelist"))
    chain.extend()
    assert listed(auditor, q="wren 7341902") == ["Listed"]
    assert listed(auditor, q="wren P2") == []
    engineer.get(reverse("admin:gateway_instance_changelist"))
    chain.extend()
    assert listed(auditor, q="wren 7341902") == ["Listed"] * 2
    assert listed(auditor, q="wren P2") == ["Listed"]
    deed = Deed.objects.filter(actor="wren", action="list").latest("pk")
    engineer.get(reverse("admin:gateway_study_changelist"))
    chain.extend()
    assert listed(auditor, q="wren P2") == ["Listed"] * 2
    assert deed.detail["ecgs"] == sorted(Instance.objects.values_list("pk", flat=True))


def test_what_one_person_did_is_found_and_narrowed(auditor: Client, ecg: Instance) -> None:
    assert listed(auditor, q="ada") == ["Looked at"]
    assert listed(auditor, q="ada 7341902") == ["Looked at"]
    assert listed(auditor, q="eve 7341902") == []
    assert set(listed(auditor, deed="sign_in")) == {"Signed in"}
    assert set(listed(auditor, kind="gateway.delivery")) == {"Attempt to deliver: stored"}
    day = str(timezone.localdate())
    assert listed(auditor, at_from=day, at_to=day) == listed(auditor)
    assert listed(auditor, at_to="2001-01-01") == []


def test_a_look_at_the_trail_is_a_deed_itself(auditor: Client, ecg: Instance) -> None:
    auditor.get(LIST, {"q": "7341902"}, follow=True)
    (deed,) = Deed.objects.filter(action="list")
    assert (deed.actor, deed.subject, deed.detail["search"]) == ("auditor", "auditlinks", "7341902")


def test_the_page_of_an_entry_says_whether_it_is_as_it_was_chained(
    auditor: Client, ecg: Instance
) -> None:
    link = AuditLink.objects.get(table="gateway.delivery")
    page = reverse("admin:webadmin_auditlink_change", args=[link.number])
    shown = auditor.get(page).content.decode()
    assert "As it was chained" in shown
    assert link.row_sha256 in shown
    with connection.cursor() as cursor:
        cursor.execute("UPDATE gateway_delivery SET reason = 'nothing' WHERE id = %s", [link.row])
    assert "The row was changed" in auditor.get(page).content.decode()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM gateway_delivery WHERE id = %s", [link.row])
    assert "not here any more" in auditor.get(page).content.decode()
    assert "Not here any more: gateway.delivery" in " ".join(listed(auditor))


def test_the_list_says_when_it_was_verified_and_what_came_of_it(
    auditor: Client, ecg: Instance
) -> None:
    assert "Never verified" in auditor.get(LIST).content.decode()
    auditing.verify_and_tell(actor="sweeper")
    assert re.search(r"</span>Whole</span>", auditor.get(LIST).content.decode())
    Deed.objects.filter(actor="ada").update(actor="eve")
    auditing.verify_and_tell(actor="sweeper")
    shown = auditor.get(LIST).content.decode()
    assert "Broken" in shown
    assert "the row was changed" in shown


def many(count: int) -> None:
    """Write `count` deeds of a thousand patients, and links to them as the chain has them."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s) "
    with connection.cursor() as cursor:
        cursor.execute(
            numbers + "INSERT INTO webadmin_deed (id, at, actor, address, action, subject,"
            " patient_id, accession_number, uid, detail) SELECT 1000 + i, %s, 'user' || MOD(i, 20),"
            " '', 'view', 'instance ' || i, 'P' || MOD(i, 1000), '', '', '{}' FROM n",
            [count, timezone.now()],
        )
        cursor.execute(
            numbers + 'INSERT INTO webadmin_auditlink (number, at, "table", "row",'
            " row_sha256, sha256) SELECT i, %s, 'webadmin.deed', 1000 + i, '0', '0' FROM n",
            [count, timezone.now()],
        )


def test_a_hundred_thousand_entries_open_and_are_searched_within_a_second(
    auditor: Client, db: None
) -> None:
    many(100_000)
    auditor.get(LIST)
    queries: dict[str, Any] = {
        "all": {},
        "patient": {"q": "P7"},
        "person": {"q": "user3"},
        "nobody": {"q": "nobody"},
        "deed": {"deed": "view"},
        "day": {"at_from": str(timezone.localdate())},
    }
    took = {}
    for name, query in queries.items():
        auditor.get(LIST, query)  # a search moves out of the address first
        name_of = auditor.get(LIST, query).get("Location", LIST)
        began = time.perf_counter()
        with CaptureQueriesContext(connection) as asked:
            assert auditor.get(name_of, {} if "?" in name_of else query).status_code == 200
        took[name] = time.perf_counter() - began
        assert len(asked) <= (32 if "q" in query else 14), len(asked)
    assert max(took.values()) < 1.0, took
