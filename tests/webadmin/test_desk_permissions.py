"""Who may see what at the Desk, and that nobody edits what machines wrote."""

from __future__ import annotations

import re
from typing import Any

import pytest
from desk_people import READ, make_user, signed_in
from desk_rows import (
    analyse,
    attempt,
    compose,
    fail,
    make_alert,
    make_association,
    make_ecg,
    make_peer,
    make_rule,
    mean,
    reject,
)
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gateway import circuits
from gateway.models import Commitment, CustodyRequest, Disposal, Instance, Peer, Transition
from gateway.states import State

FACTS = (
    "association",
    "instance",
    "study",
    "report",
    "dispatch",
    "commitment",
    "custodyrequest",
    "delivery",
    "alert",
    "transition",
    "modelversion",
    "disposal",
)


@pytest.fixture
def rows(db: None) -> dict[str, Any]:
    """Return one row of each kind, by the name of its model."""
    ecg = analyse(make_ecg(association=make_association()), {"af": 0.9})
    report = compose(ecg)[0]
    peer = make_peer()
    alert = make_alert(ecg)
    return {
        "association": ecg.association,
        "instance": ecg,
        "study": ecg.study,
        "report": report,
        "delivery": attempt(report, peer),
        "dispatch": mean(report, peer),
        "commitment": Commitment.objects.create(
            peer=peer, transaction_uid="2.25.1", answer_due_at=timezone.now()
        ),
        "custodyrequest": CustodyRequest.objects.create(
            calling_title="CART", transaction_uid="2.25.2", references=[["1.2", "1.2.3"]]
        ),
        "alert": alert,
        "alertrule": alert.rule,
        "rule": make_rule(),
        "transition": ecg.transitions.first(),
        "modelversion": ecg.model_version,
        "peer": peer,
        "disposal": Disposal.objects.create(actor="retention", kind="picture", policy="1 day"),
    }


def pages(rows: dict[str, Any]) -> list[str]:
    """Return the address of every list, every page and every file."""
    found = [reverse(f"admin:gateway_{name}_changelist") for name in rows]
    found += [reverse(f"admin:gateway_{name}_change", args=[row.pk]) for name, row in rows.items()]
    found.append(reverse("admin:gateway_instance_picture", args=[rows["instance"].pk]))
    found.append(reverse("admin:gateway_report_file", args=[rows["report"].pk]))
    found.append(reverse("admin:gateway_rule_test"))
    return found


def test_a_visitor_is_sent_to_the_login_from_every_page(
    client: Client, rows: dict[str, Any]
) -> None:
    for page in [*pages(rows), reverse("admin:index")]:
        answer = client.get(page)
        assert answer.status_code == 302, page
        assert answer["Location"] == f"{reverse('admin:login')}?next={page}"


def test_staff_without_permission_gets_none_of_them(stranger: Client, rows: dict[str, Any]) -> None:
    assert {page: stranger.get(page).status_code for page in pages(rows)} == dict.fromkeys(
        pages(rows), 403
    )


def test_someone_who_may_look_sees_all_of_them(reader: Client, rows: dict[str, Any]) -> None:
    assert {page: reader.get(page).status_code for page in pages(rows)} == dict.fromkeys(
        pages(rows), 200
    )


def test_looking_at_ecgs_does_not_open_the_peers(rows: dict[str, Any]) -> None:
    browser = signed_in(make_user("nurse", "view_instance"))
    assert browser.get(reverse("admin:gateway_peer_changelist")).status_code == 403
    front = browser.get(reverse("admin:index")).content.decode()
    assert reverse("admin:gateway_instance_changelist") in front
    assert reverse("admin:gateway_peer_changelist") not in front


@pytest.mark.parametrize("name", FACTS)
def test_not_even_a_superuser_adds_changes_or_deletes_a_fact(
    chief: Client, rows: dict[str, Any], name: str
) -> None:
    row = rows[name]
    before = type(row).objects.filter(pk=row.pk).values().get()
    for address in (
        reverse(f"admin:gateway_{name}_add"),
        reverse(f"admin:gateway_{name}_change", args=[row.pk]),
        reverse(f"admin:gateway_{name}_delete", args=[row.pk]),
    ):
        assert chief.post(address, {"post": "yes"}).status_code == 403, address
    listing = reverse(f"admin:gateway_{name}_changelist")
    chief.post(listing, {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"})
    assert type(row).objects.filter(pk=row.pk).values().get() == before


GOOD_PEER = {
    "title": "ARCHIVE",
    "host": "10.0.0.9",
    "port": "104",
    "is_destination": "on",
    "outputs": ["basic_text", "pdf"],
    "language": "zh-hans",
    "proof": "auto",
    "max_lines": "2",
}


def test_a_peer_is_added_by_who_may_and_checked_by_its_own_rules(chief: Client) -> None:
    address = reverse("admin:gateway_peer_add")
    bad = chief.post(
        address, {"title": "ARCHIVE", "host": "", "port": "104", "is_destination": "on"}
    )
    assert bad.status_code == 200
    assert "needs a host" in bad.content.decode()
    bad = chief.post(address, {"title": "LONGER-THAN-SIXTEEN", "host": "pacs", "port": "104"})
    assert bad.status_code == 200
    bad = chief.post(address, {**GOOD_PEER, "outputs": []})
    assert "needs one at least" in bad.content.decode()
    assert not Peer.objects.exists()

    assert chief.post(address, GOOD_PEER).status_code == 302
    peer = Peer.objects.get()
    assert (peer.title, peer.language) == ("ARCHIVE", "zh-hans")
    assert peer.outputs == ["basic_text", "pdf"]


def test_a_reader_cannot_add_a_peer(reader: Client) -> None:
    assert reader.post(reverse("admin:gateway_peer_add"), GOOD_PEER).status_code == 403
    assert not Peer.objects.exists()


@pytest.fixture
def failed(db: None) -> Instance:
    """Return an ECG whose network failed."""
    return fail(make_ecg(), "the network could not be loaded")


def resume(browser: Client, instance: Instance) -> int:
    """Press Resume and return the status."""
    return browser.post(reverse("admin:gateway_instance_resume", args=[instance.pk])).status_code


def test_resume_is_for_those_who_may_change_instances(
    client: Client, reader: Client, failed: Instance
) -> None:
    assert resume(client, failed) == 302
    assert resume(reader, failed) == 403
    assert "Resume</button>" not in page_of(reader, failed)
    failed.refresh_from_db()
    assert failed.state == State.FAILED

    operator = signed_in(make_user("operator", *READ, "change_instance"))
    assert "Resume</button>" in page_of(operator, failed)
    assert resume(operator, failed) == 302
    failed.refresh_from_db()
    assert failed.state == State.RECEIVED
    last = Transition.objects.filter(instance=failed).latest("pk")
    assert (last.event, last.actor) == ("resume_analysis", "user:operator")
    assert "Resume</button>" not in page_of(operator, failed)


def test_resuming_twice_changes_nothing_the_second_time(chief: Client, failed: Instance) -> None:
    assert resume(chief, failed) == 302
    count = Transition.objects.count()
    assert resume(chief, failed) == 302
    assert Transition.objects.count() == count


def test_resume_is_not_done_by_following_a_link(chief: Client, failed: Instance) -> None:
    address = reverse("admin:gateway_instance_resume", args=[failed.pk])
    assert chief.get(address).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="chief"))
    assert strict.post(address).status_code == 403
    failed.refresh_from_db()
    assert failed.state == State.FAILED


def test_many_are_resumed_from_the_list_and_only_the_failed_ones(
    chief: Client, reader: Client, failed: Instance
) -> None:
    waiting = make_ecg()
    listing = reverse("admin:gateway_instance_changelist")
    chosen = {"action": "resume_selected", "_selected_action": [failed.pk, waiting.pk]}
    reader.post(listing, chosen)
    failed.refresh_from_db()
    assert failed.state == State.FAILED
    asked = chief.post(listing, chosen).content.decode()
    failed.refresh_from_db()
    assert failed.state == State.FAILED, "first the person sees what it is about"
    assert "the network could not be loaded" in asked
    assert "1 failed ECG would go on" in asked
    assert chief.post(listing, chosen | {"confirmed": "yes"}).status_code == 302
    failed.refresh_from_db()
    assert failed.state == State.RECEIVED
    assert waiting.transitions.count() == 1


def test_all_that_failed_are_resumed_at_once_by_what_the_list_shows(chief: Client) -> None:
    rows = [fail(make_ecg(data=b""), "PACS: 0x0110 processing failure") for _ in range(3)]
    rejected = reject(make_ecg(data=b""), "blank picture")
    listing = reverse("admin:gateway_instance_changelist") + "?state=failed"
    chosen = {"action": "resume_selected", "_selected_action": [rows[0].pk], "select_across": "1"}
    assert "3 failed ECGs would go on" in chief.post(listing, chosen).content.decode()
    chief.post(listing, chosen | {"confirmed": "yes"})
    states = {row.pk: row.state for row in Instance.objects.all()}
    assert states == {**dict.fromkeys((row.pk for row in rows), State.RECEIVED),
                      rejected.pk: State.REJECTED}  # fmt: skip


def test_a_peer_that_does_not_answer_is_seen_and_can_be_called_again(
    chief: Client, reader: Client
) -> None:
    peer = Peer.objects.create(title="PACS", host="10.0.0.9", is_destination=True)
    with circuits.call(peer) as call:
        call.failed("no connection: Connection refused")
    front = chief.get(reverse("admin:index")).content.decode()
    assert re.search(r'title="no connection: Connection refused">.*no answer for', front, re.DOTALL)
    listing = reverse("admin:gateway_peer_changelist")
    assert "0 ECGs wait for it" in chief.get(listing).content.decode()
    chosen = {"action": "call_again", "_selected_action": [peer.pk]}
    reader.post(listing, chosen)
    assert circuits.is_open(peer)
    chief.post(listing, chosen)
    assert not circuits.is_open(peer)
    assert "no answer for" not in chief.get(reverse("admin:index")).content.decode()


def page_of(browser: Client, instance: Instance) -> str:
    """Return the page of an ECG as its reader gets it."""
    return browser.get(
        reverse("admin:gateway_instance_change", args=[instance.pk])
    ).content.decode()
