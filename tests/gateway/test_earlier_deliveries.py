"""What an earlier version delivered, before it kept what is meant for whom."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from desk_rows import analyse, make_ecg
from django.apps import apps
from pytest_django import Settings
from scripted import ScriptedArchive

from gateway import pipeline
from gateway.models import Delivery, Dispatch, Instance, Peer
from gateway.states import State

pytestmark = pytest.mark.django_db(transaction=True)

MIGRATION = importlib.import_module("gateway.migrations.0004_dispatches_of_earlier_deliveries")


@pytest.fixture(autouse=True)
def _quick(settings: Settings, tmp_path: Path) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_BACKOFF_S = 0.0
    settings.ECG_SWEEP_S = 0.0
    settings.ECG_DICOM_TIMEOUT_S = 5.0


def reported_earlier(*stored_at: Peer) -> Instance:
    """Return a reported row as an earlier version left it: attempts, and no Dispatches."""
    row = analyse(make_ecg(), {"af": 0.93})
    pipeline.compose_waiting()
    Dispatch.objects.all().delete()
    for peer in stored_at:
        for report in row.reports.all():
            Delivery.objects.create(report=report, peer=peer, outcome=Delivery.Outcome.RETRY)
            Delivery.objects.create(report=report, peer=peer, outcome=Delivery.Outcome.STORED)
            Delivery.objects.create(report=report, peer=peer, outcome=Delivery.Outcome.WARNING)
    return row


def test_what_one_peer_has_is_not_sent_to_it_again_and_the_other_gets_it() -> None:
    with ScriptedArchive(0x0000) as first, ScriptedArchive(0x0000) as second:
        peers = []
        for title, archive in (("FIRST", first), ("SECOND", second)):
            _, host, port = archive.entity_args
            peers.append(
                Peer.objects.create(title=title, host=host, port=port, is_destination=True)
            )
        row = reported_earlier(peers[0])
        MIGRATION.keep_dispatches(apps, None)
        MIGRATION.keep_dispatches(apps, None)
        kept = Dispatch.objects.order_by("pk").values_list("peer__title", "outcome")
        assert sorted(kept) == [("FIRST", "stored")] * 2 + [("SECOND", "waiting")] * 2
        pipeline.deliver_waiting()
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        assert (len(first.stored), len(second.stored)) == (0, 2)


def test_a_row_that_nobody_has_is_left_to_be_routed_as_the_tables_are_then() -> None:
    Peer.objects.create(title="PACS", host="127.0.0.1", port=104, is_destination=True)
    reported_earlier()
    MIGRATION.keep_dispatches(apps, None)
    assert not Dispatch.objects.exists()


def test_a_delivered_row_keeps_to_whom_and_when_it_was_stored() -> None:
    peer = Peer.objects.create(title="PACS", host="127.0.0.1", port=104, is_destination=True)
    other = Peer.objects.create(title="OTHER", host="127.0.0.1", port=105, is_destination=True)
    row = reported_earlier(peer)
    Instance.objects.filter(pk=row.pk).update(state=State.DELIVERED)
    MIGRATION.keep_dispatches(apps, None)
    assert not Dispatch.objects.filter(peer=other).exists()
    for kept in Dispatch.objects.filter(report__instance=row):
        stored = Delivery.objects.filter(report=kept.report, outcome=Delivery.Outcome.STORED).get()
        assert kept.ended_at == stored.attempted_at
        assert kept.decided_at == kept.report.composed_at
