"""Findings -> Structured Reports in the spool, composed once."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from django.db import DatabaseError, IntegrityError, transaction
from pydicom import Dataset

from dicom_node.errors import DicomError
from gateway import leases, sources, spool
from gateway.leases import LeaseLost, actor, put_back
from gateway.models import Instance, Report
from gateway.outputs import Output
from gateway.states import Event

log = structlog.get_logger(__name__)


Kept = list[tuple[Output, Dataset, spool.Spooled]]


def compose(batch: Sequence[Instance]) -> None:
    """Compose the reports of each leased, analysed row.

    Building and encoding two documents is as much work as finding the page and needs no network:
    it is the Courier's, in processes of their own, while the Analyst goes on with the next picture.
    """
    who = actor("courier")
    composed: list[tuple[Instance, Kept]] = []
    for instance in batch:
        try:
            documents = sources.reports_of(instance)
            kept = [(kind, ds, spool.write(content)) for kind, (ds, content) in documents.items()]
            composed.append((instance, kept))
        except DicomError as error:
            _give_up(instance, error, who)
        except Exception as error:  # noqa: BLE001 (one row's trouble is not its batch's)
            put_back(instance, error, who)
    try:
        with transaction.atomic():
            lost = [kept for instance, kept in composed if not _record(instance, kept, who)]
    except DatabaseError as error:
        # The files stay: a commit that broke half way may have made the rows.
        log.error("left to their leases", rows=len(composed), error=repr(error))
        return
    for kept in lost:
        for _, _, spooled in kept:
            spool.remove(spooled.name)


def _record(instance: Instance, kept: Kept, who: str) -> bool:
    """Write the rows of one instance's reports; False when its lease was lost meanwhile."""
    try:
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
    except (LeaseLost, IntegrityError) as error:
        # Whoever has the row now composes the same bytes, or has done so already.
        log.warning("lease lost", instance=instance.pk, error=repr(error))
        return False
    log.info("reported", instance=instance.pk)
    return True


def _give_up(instance: Instance, error: DicomError, who: str) -> None:
    try:
        leases.give_up(instance, str(error), actor=who)
    except (LeaseLost, DatabaseError) as second:
        log.warning("left to its lease", instance=instance.pk, error=repr(second))
