"""Reports as trees and files, and what every archive answered."""

from __future__ import annotations

import re
from html import unescape

from desk_rows import analyse, attempt, compose, deliver, make_ecg, make_peer
from django.test import Client
from django.urls import reverse

from gateway import spool
from gateway.models import Delivery, Instance, Report


def page(browser: Client, report: Report) -> str:
    """Return the page of a report."""
    answer = browser.get(reverse("admin:gateway_report_change", args=[report.pk]))
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def test_a_report_is_shown_as_a_tree_of_names_and_values(reader: Client) -> None:
    for report in compose(analyse(make_ecg(), {"af": 0.931})):
        shown = page(reader, report)
        tree = re.search(r'<ul class="desk-tree">.*?</ul>\s*</section>', shown, re.DOTALL)
        assert tree
        assert "Atrial fibrillation" in tree[0]
        assert "93.1" in tree[0]
        names = re.findall(r'desk-tree-name">([^<]+)<', tree[0])
        assert "Finding" in names
        assert "Probability" in names or "Impression" in names
        assert "AI result, unverified" in shown


def test_the_file_is_what_was_sent_byte_for_byte(reader: Client) -> None:
    report = compose(analyse(make_ecg(patient_id="7341902"), {"af": 0.9}))[0]
    answer = reader.get(reverse("admin:gateway_report_file", args=[report.pk]))
    assert answer["Content-Type"] == "application/dicom"
    assert answer["Content-Disposition"].startswith("attachment; ")
    assert "7341902" not in answer["Content-Disposition"]
    assert "no-store" in answer["Cache-Control"]
    served = answer.content
    assert served == spool.locate(report.spool_name).read_bytes()


def test_a_file_whose_bytes_changed_is_neither_shown_nor_served(reader: Client) -> None:
    report = compose(analyse(make_ecg(), {"af": 0.9}))[0]
    path = spool.locate(report.spool_name)
    path.write_bytes(path.read_bytes()[:-2] + b"!!")
    assert "expected SHA-256" in page(reader, report)
    answer = reader.get(reverse("admin:gateway_report_file", args=[report.pk]))
    assert answer.status_code == 404


def test_a_lost_file_has_a_page_that_says_so(reader: Client) -> None:
    report = compose(analyse(make_ecg(), {"af": 0.9}))[0]
    spool.remove(report.spool_name)
    assert "found none" in page(reader, report)


def test_reports_are_found_by_accession_patient_and_either_uid(reader: Client) -> None:
    ecg = make_ecg(patient_id="7341902", accession="ECG-26-00817")
    wanted = compose(analyse(ecg, {}))
    compose(analyse(make_ecg(), {}))
    listing = reverse("admin:gateway_report_changelist")
    for words in ("ECG-26-00817", "7341902", ecg.sop_instance_uid):
        shown = reader.get(listing, {"q": words}, follow=True).content.decode()
        assert {f"/report/{r.pk}/" in shown for r in wanted} == {True}, words
        assert shown.count('class="data-row') == 2, words
    assert (
        reader.get(listing, {"kind": "basic_text"}).content.decode().count('class="data-row') == 2
    )


def test_deliveries_show_the_status_in_hex_with_its_meaning(reader: Client) -> None:
    report = compose(analyse(make_ecg(), {}))[0]
    refused = attempt(report, make_peer(), Delivery.Outcome.REFUSED, 0x0122)
    silent = attempt(
        report, make_peer(), Delivery.Outcome.RETRY, None, reason="the peer rejected us: busy"
    )
    shown = reader.get(reverse("admin:gateway_delivery_changelist")).content.decode()
    assert re.search(r'title="SOP Class not supported \(0x0122\)">0x0122<', shown)
    assert "no answer" in shown
    assert "the peer rejected us: busy" in shown
    for row, text in ((refused, "0x0122"), (silent, "the association failed")):
        link = reverse("admin:gateway_delivery_change", args=[row.pk])
        assert text in reader.get(link).content.decode()


def test_deliveries_are_narrowed_by_outcome_and_peer(reader: Client) -> None:
    ecg = analyse(make_ecg(), {})
    report = compose(ecg)[0]
    archive, viewer = make_peer(), make_peer("VIEWER", "10.0.0.10")
    make_peer("UNUSED", "10.0.0.11")
    attempt(report, archive, Delivery.Outcome.REFUSED, 0x0122)
    attempt(report, viewer)
    listing = reverse("admin:gateway_delivery_changelist")

    def count(**query: str) -> int:
        return reader.get(listing, query).content.decode().count('class="data-row')

    assert count() == 2
    assert count(outcome="refused") == count(peer=str(archive.pk)) == 1
    assert count(outcome="refused", peer=str(viewer.pk)) == 0
    assert count(peer="no number") == 2
    offered = reader.get(listing).content.decode()
    assert "VIEWER@" in offered
    assert "UNUSED@" not in offered


def test_a_study_shows_its_ecgs_and_reports(reader: Client) -> None:
    first = deliver_whole(make_ecg(accession="ECG-26-00817"))
    second = analyse(make_ecg(study=first.study), {"pvc": 0.9})
    answer = reader.get(reverse("admin:gateway_study_change", args=[first.study_id]))
    shown = answer.content.decode()
    for ecg in (first, second):
        assert reverse("admin:gateway_instance_change", args=[ecg.pk]) in shown
    for report in first.reports.all():
        assert reverse("admin:gateway_report_change", args=[report.pk]) in shown
    assert "ECG-26-00817" in shown


def deliver_whole(ecg: Instance) -> Instance:
    """Return an ECG at the end of its life."""
    compose(analyse(ecg, {"af": 0.9}))
    return deliver(ecg)
