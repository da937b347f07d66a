"""The screens of rules, dispatches, refusals and alerts: what they say and what they do."""

from __future__ import annotations

from typing import Any

import pytest
from desk_people import READ, make_user, signed_in
from desk_rows import (
    analyse,
    attempt,
    compose,
    make_alert,
    make_alert_rule,
    make_ecg,
    make_peer,
    make_rule,
    mean,
)
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from gateway import composition, spool
from gateway.models import Alert, AlertRule, Dispatch, Peer, RefusedOutput, Rule
from gateway.outputs import SOP_CLASSES, Language, Output

pytestmark = pytest.mark.django_db

TEST = "admin:gateway_rule_test"


def text(browser: Client, name: str, *arguments: Any, **query: str) -> str:
    """Return a page as its reader gets it."""
    answer = browser.get(reverse(name, args=arguments), query, follow=True)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def refuse(peer: Peer, output: str) -> RefusedOutput:
    """Have a Peer known to refuse an output."""
    return RefusedOutput.objects.create(
        peer=peer, output=output, address=str(peer), sop_class_uid=SOP_CLASSES[output]
    )


# --- rules ----------------------------------------------------------------------------------------


def test_a_rule_is_written_with_boxes_and_read_back_in_words(chief: Client) -> None:
    pacs, ward = make_peer("PACS", "pacs"), make_peer("WARD", "ward")
    make_peer("CART", "", is_destination=False, is_sender=True)
    form = text(chief, "admin:gateway_rule_add")
    assert "WARD@ward:104" in form
    assert "CART@any" not in form
    given = {
        "name": "AF to the ward",
        "position": "10",
        "is_active": "on",
        "sender": "CART",
        "finding": "af",
        "min_probability": "0.8",
        "destinations": [pacs.pk, ward.pk],
        "outputs": ["pdf", "basic_text"],
    }
    assert chief.post(reverse("admin:gateway_rule_add"), given).status_code == 302
    rule = Rule.objects.get()
    assert set(rule.destinations.all()) == {pacs, ward}
    assert set(rule.outputs) == {"pdf", "basic_text"}
    listed = text(chief, "admin:gateway_rule_changelist")
    assert "sender is CART" in listed
    assert "Atrial fibrillation at least 80.0% probable" in listed
    assert "PACS, WARD" in listed
    without = {**given, "name": "x", "finding": ""}
    answer = chief.post(reverse("admin:gateway_rule_add"), without)
    assert "A probability needs a finding." in answer.content.decode()


def test_a_destination_that_is_off_stays_in_its_rule_when_it_is_saved(chief: Client) -> None:
    peer = make_peer("PACS", "pacs")
    rule = make_rule("all", peer)
    Peer.objects.update(is_destination=False)
    page = text(chief, "admin:gateway_rule_change", rule.pk)
    assert "PACS@pacs:104" in page
    assert "PACS (off)" in text(chief, "admin:gateway_rule_changelist")
    given = {"name": "all", "position": "5", "destinations": [peer.pk]}
    assert (
        chief.post(reverse("admin:gateway_rule_change", args=[rule.pk]), given).status_code == 302
    )
    assert list(rule.destinations.all()) == [peer]


def test_a_peer_in_a_rule_offers_no_way_to_delete_it(chief: Client) -> None:
    peer = make_peer()
    rule = make_rule("all", peer)
    address = reverse("admin:gateway_peer_delete", args=[peer.pk])
    assert chief.post(address, {"post": "yes"}).status_code == 403
    listing = reverse("admin:gateway_peer_changelist")
    chief.post(listing, {"action": "delete_selected", "_selected_action": peer.pk, "post": "yes"})
    assert Peer.objects.filter(pk=peer.pk).exists()
    rule.delete()
    assert chief.post(address, {"post": "yes"}).status_code == 302
    assert not Peer.objects.filter(pk=peer.pk).exists()


# --- which rule would fire ------------------------------------------------------------------------


def test_it_says_of_each_rule_why_and_what_would_be_sent(reader: Client) -> None:
    pacs = make_peer("PACS", "pacs")
    ward = make_peer("WARD", "ward", outputs=["comprehensive_3d"], language="zh-hans")
    refuse(ward, "comprehensive_3d")
    make_rule("stress stays", position=1, description="stress")
    make_rule("AF", pacs, ward, position=2, sender="CART", finding="af")
    make_rule("all", pacs, position=3)
    make_rule("old", pacs, position=0, is_active=False)
    ecg = analyse(make_ecg(accession="A-77"), {"af": 0.93})
    before = Dispatch.objects.count()
    for asked in ("A-77", ecg.sop_instance_uid, f"ECG {ecg.pk}"):
        page = text(reader, TEST, ecg=asked)
        for said in (
            "does not fit</span>",
            "description contains “stress”</span>",
            "not met: 12-lead ECG",
            "decides</span>",
            "met: 93.0%, present",
            "fits too, comes later</span>",
            "not in use</span>",
            "By the rule “AF”; 3 reports to compose",
            "because it refuses Comprehensive 3D SR",
            "中文（简体）",
        ):
            assert said in page, (asked, said)
    assert Dispatch.objects.count() == before
    link = f"{reverse(TEST)}?ecg=ECG%20{ecg.pk}"
    assert link in text(reader, "admin:gateway_instance_change", ecg.pk)


def test_nowhere_waiting_and_no_rule_are_told_apart(reader: Client) -> None:
    ecg = analyse(make_ecg(), {})
    asked = {"ecg": ecg.sop_instance_uid}
    assert "No Peer receives reports." in text(reader, TEST, **asked)
    peer = make_peer("PACS", "pacs")
    assert "No rule fits: every destination gets what it usually gets" in text(
        reader, TEST, **asked
    )
    rule = make_rule("here")
    assert "The rule “here” has no destination" in text(reader, TEST, **asked)
    rule.destinations.add(peer)
    Peer.objects.update(is_destination=False)
    assert "None of the Peers of the rule “here” receives reports now." in text(
        reader, TEST, **asked
    )


def test_what_was_decided_stands_beside_what_would_be(reader: Client) -> None:
    ecg = analyse(make_ecg(), {"af": 0.9})
    report = compose(ecg)[0]
    mean(report, make_peer(), rule="an older rule", outcome="stored")
    page = text(reader, TEST, ecg=ecg.sop_instance_uid)
    assert "by “an older rule”" in page


def test_several_are_offered_none_is_said_and_a_lost_file_is_a_reason(reader: Client) -> None:
    first, second = make_ecg(accession="SAME"), make_ecg(accession="SAME")
    page = text(reader, TEST, ecg="SAME")
    for row in (first, second):
        assert f'href="?ecg=ECG%20{row.pk}"' in page
    assert "No ECG has this" in text(reader, TEST, ecg="<script>alert(1)</script>")
    spool.remove(first.spool_name)
    page = text(reader, TEST, ecg=first.sop_instance_uid)
    assert "Its header cannot be read" in page


def test_the_test_needs_the_right_to_see_rules_and_ecgs(stranger: Client) -> None:
    assert stranger.get(reverse(TEST)).status_code == 403
    half = signed_in(make_user("half", "view_rule"))
    assert half.get(reverse(TEST)).status_code == 403


# --- dispatches, and what a Peer refuses ----------------------------------------------------------


def test_a_dispatch_shows_its_attempts_and_what_it_stands_in_for(reader: Client) -> None:
    ecg = analyse(make_ecg(), {"af": 0.9})
    report, other = compose(ecg)
    peer = make_peer("PACS", "pacs")
    row = mean(report, peer, rule="AF", instead_of="comprehensive_3d", outcome="stored")
    attempt(report, peer, "retry", 0xA700)
    attempt(report, peer)
    attempt(other, peer, "refused", 0xC001)
    page = text(reader, "admin:gateway_dispatch_change", row.pk)
    assert "<dt>Instead of</dt><dd>Comprehensive 3D SR</dd>" in page
    assert "0xA700" in page
    assert "0xC001" not in page
    listed = text(reader, "admin:gateway_dispatch_changelist", outcome="waiting")
    assert f"/dispatch/{row.pk}/" not in listed


def test_a_person_who_may_resume_says_that_a_report_is_no_longer_meant(
    reader: Client,
) -> None:
    peer = make_peer()
    ecg = make_ecg()
    analyse(ecg, {"af": 0.93})
    for made in compose(ecg):
        mean(made, peer)
    operator = signed_in(make_user("operator", *READ, "change_instance"))
    first, second = Dispatch.objects.order_by("pk")
    listing = reverse("admin:gateway_dispatch_changelist")
    asked = {"action": "withdraw_selected", "_selected_action": first.pk}
    for browser, outcome in ((reader, "waiting"), (operator, "withdrawn")):
        browser.post(listing, asked)
        first.refresh_from_db()
        assert first.outcome == outcome
    second.refresh_from_db()
    assert second.outcome == "waiting"
    assert LogEntry.objects.get().change_message == "no longer meant"


def test_a_refusal_is_forgotten_by_who_may_change_the_peer(reader: Client, chief: Client) -> None:
    refusal = refuse(make_peer("PACS", "pacs"), "comprehensive")
    address = reverse("admin:gateway_refusedoutput_again", args=[refusal.pk])
    assert "Comprehensive SR" in text(reader, "admin:gateway_peer_changelist")
    page = text(reader, "admin:gateway_peer_change", refusal.peer_id)
    assert "What it was seen to refuse" in page
    assert address not in page
    assert reader.post(address).status_code == 403
    assert chief.get(address).status_code == 405
    assert address in text(chief, "admin:gateway_peer_change", refusal.peer_id)
    assert chief.post(address).status_code == 302
    assert not RefusedOutput.objects.exists()
    assert "What it was seen to refuse" not in text(
        chief, "admin:gateway_peer_change", refusal.peer_id
    )


def test_pages_and_documents_are_shown_as_such(
    reader: Client, stranger: Client, client: Client
) -> None:
    ecg = analyse(make_ecg(), {"af": 0.9})
    pairs = [(output, Language.CHINESE) for output in Output]
    for (output, _), report in composition.provide(ecg, pairs).items():
        look = reverse("admin:gateway_report_look", args=[report.pk])
        page = text(reader, "admin:gateway_report_change", report.pk)
        assert "中文（简体）" in page
        kind = {Output.RESULT_PAGE: "image/png", Output.PDF: "application/pdf"}.get(output)
        assert (look in page) == bool(kind), output
        assert ("desk-tree" in page) != bool(kind), output
        answer = reader.get(look)
        assert answer.status_code == (200 if kind else 404)
        if kind:
            assert answer["Content-Type"] == kind
            assert answer.content.startswith((b"\x89PNG", b"%PDF-"))
            assert stranger.get(look).status_code == 403
            assert client.get(look).status_code == 302
            spool.locate(report.spool_name).write_bytes(b"forged")
            assert reader.get(look).status_code == 404
            assert "SHA-256" in text(reader, "admin:gateway_report_change", report.pk)


# --- alerts ---------------------------------------------------------------------------------------


def test_an_alert_rule_is_checked_and_says_what_it_tells(chief: Client) -> None:
    given = {
        "name": "AF",
        "is_active": "on",
        "finding": "af",
        "min_probability": "0.9",
        "sender": "CART",
        "channel": "webhook",
        "target": "ward.example.org",
    }
    address = reverse("admin:gateway_alertrule_add")
    assert "Expected an address such as" in chief.post(address, given).content.decode()
    good = {**given, "target": "https://ward.example.org/ecg"}
    assert chief.post(address, good).status_code == 302
    assert AlertRule.objects.get().names_patient is False
    listed = text(chief, "admin:gateway_alertrule_changelist")
    assert "Atrial fibrillation at least 90.0% probable, from CART" in listed
    assert "link only" in listed


def test_what_waits_ends_when_its_rule_is_switched_off_and_still_says_what_was_found(
    chief: Client,
) -> None:
    alert = make_alert(analyse(make_ecg(), {"af": 0.93}))
    given = {"name": "AF", "finding": "pvc", "channel": "webhook", "target": alert.rule.target}
    address = reverse("admin:gateway_alertrule_change", args=[alert.rule_id])
    assert chief.post(address, given).status_code == 302
    alert.refresh_from_db()
    assert alert.outcome == Alert.Outcome.WITHDRAWN
    page = text(chief, "admin:gateway_alert_change", alert.pk)
    assert "Atrial fibrillation 93.0%, present" in page
    assert "its rule was switched off" in page
    assert "Withdrawn" in text(chief, "admin:gateway_alert_changelist")


def test_a_failed_alert_is_told_on_the_front_page_and_tried_again(
    reader: Client, chief: Client
) -> None:
    ecg = analyse(make_ecg(), {"af": 0.9})
    failed = make_alert(ecg, outcome="failed", last_error="answered 503", attempts=12)
    waiting = make_alert(ecg, make_alert_rule("other"), last_error="no answer in time")
    assert "1 alert reached nobody" in text(reader, "admin:index")
    address = reverse("admin:gateway_alert_again", args=[failed.pk])
    page = text(reader, "admin:gateway_alert_change", failed.pk)
    assert "answered 503" in page
    assert address not in page
    assert reader.post(address).status_code == 403
    assert chief.get(address).status_code == 405
    assert address in text(chief, "admin:gateway_alert_change", failed.pk)
    assert chief.post(address).status_code == 302
    failed.refresh_from_db()
    assert (failed.outcome, failed.attempts, failed.last_error) == (Alert.Outcome.WAITING, 0, "")
    assert "Will be tried again" in text(chief, "admin:gateway_alert_change", waiting.pk)
    assert "reached nobody" not in text(reader, "admin:index")
