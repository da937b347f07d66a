"""What was stored before Dispatches were kept gets them, so that it is not sent again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Exists, Min, OuterRef, Q

THERE = ("stored", "warning")
CHUNK = 500


def keep_dispatches(apps: Apps, _editor: BaseDatabaseSchemaEditor | None) -> None:
    """Write a Dispatch for each report and Peer that has it, and for what is still missing.

    A row that some Peers had when they were all it was meant for is not routed anew: what its
    other destinations lack waits for them, as it did.
    """
    dispatches = apps.get_model("gateway", "Dispatch").objects
    # Read before the first is written: with one, a row counts as decided.
    waiting = list(_waiting(apps))
    dispatches.bulk_create(_stored(apps), batch_size=CHUNK, ignore_conflicts=True)
    dispatches.bulk_create(waiting, batch_size=CHUNK, ignore_conflicts=True)


def _stored(apps: Apps) -> Iterator[Any]:
    """Yield a stored Dispatch for each report and Peer with an attempt that brought it there."""
    make = apps.get_model("gateway", "Dispatch")
    deliveries = apps.get_model("gateway", "Delivery").objects.filter(outcome__in=THERE)
    pairs = deliveries.order_by().values("report", "peer", "report__composed_at")
    for row in pairs.annotate(ended_at=Min("attempted_at")).iterator(CHUNK):
        yield make(
            report_id=row["report"],
            peer_id=row["peer"],
            outcome="stored",
            decided_at=row["report__composed_at"],
            ended_at=row["ended_at"],
        )


def _waiting(apps: Apps) -> Iterator[Any]:
    """Yield a waiting Dispatch for what destinations lack of rows that were delivered in part."""
    make = apps.get_model("gateway", "Dispatch")
    of_row = Q(report__instance=OuterRef("pk"))
    has_some = Exists(
        apps.get_model("gateway", "Delivery").objects.filter(of_row, outcome__in=THERE)
    )
    is_decided = Exists(make.objects.filter(of_row))
    rows = apps.get_model("gateway", "Instance").objects.filter(
        Q(state="reported") | Q(state="failed", failed_in="reported")
    )
    partly = rows.filter(has_some).exclude(is_decided).values("pk")
    reports = apps.get_model("gateway", "Report").objects.filter(instance__in=partly).order_by("pk")
    peers = apps.get_model("gateway", "Peer").objects.filter(is_destination=True).order_by("pk")
    had = apps.get_model("gateway", "Delivery").objects.filter(
        outcome__in=THERE, report__instance__in=partly
    )
    there = set(had.order_by().values_list("report_id", "peer_id"))
    for report, peer in product(reports, peers):
        if (report.pk, peer.pk) not in there:
            yield make(report_id=report.pk, peer_id=peer.pk, decided_at=report.composed_at)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0003_refusals_and_stand_ins")]

    operations = [migrations.RunPython(keep_dispatches, migrations.RunPython.noop)]
