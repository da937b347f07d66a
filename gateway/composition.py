"""Findings -> Structured Reports in the spool, composed once."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from django.db import DatabaseError, transaction

from dicom_node.errors import DicomError
from gateway import doorbell, leases, sources, spool
from gateway.leases import LeaseLost, actor, put_back
from gateway.models import Instance, Report
from gateway.states import Event, State

log = structlog.get_logger(__name__)


def compose_all(batch: Sequence[Instance]) -> None:
    """Compose each leased ANALYSED row; used when an Analyst died between its two steps."""
    for instance in batch:
        _compose_leased(instance)


def compose(instance: Instance) -> None:
    """Compose the reports of a row just analysed, if nobody else was quicker."""
    for leased in leases.claim(State.ANALYSED, ids=[instance.pk]):
        _compose_leased(leased)


def _compose_leased(instance: Instance) -> None:
    who = actor("analyst")
    names: list[str] = []
    try:
        kept = [
            (kind, ds, spool.write(content)) for kind, ds, content in sources.reports_of(instance)
        ]
        names = [spooled.name for _, _, spooled in kept]
        with transaction.atomic():
            Report.objects.bulk_create(
                Report(
                    instance=instance,
                    kind=kind,
                    sop_instance_uid=ds.SOPInstanceUID,
                    sop_class_uid=ds.SOPClassUID,
                    sha256=spooled.sha256,
                    size_bytes=spooled.size_bytes,
                    spool_name=spooled.name,
                )
                for kind, ds, spooled in kept
            )
            leases.advance(instance, Event.COMPOSE, actor=who)
            transaction.on_commit(lambda: doorbell.ring(instance.pk, State.REPORTED), robust=True)
    except LeaseLost as lost:
        for name in names:
            spool.remove(name)
        log.warning("lease lost", error=str(lost))
    except DicomError as error:
        leases.give_up(instance, str(error), actor=who)
    except (DatabaseError, OSError) as error:
        put_back(instance, error, who)
    else:
        log.info("reported", instance=instance.pk)
