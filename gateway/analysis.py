"""Picture -> findings: each instance's page is found, and all pages are classified at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from django.db import DatabaseError, transaction
from django.utils import timezone

from dicom_node.errors import ImageError
from gateway import doorbell, leases, network, pages, sources, spool
from gateway.leases import LeaseLost, actor, put_back
from gateway.models import Finding, Instance
from gateway.states import Event, State
from models.predict import PageReading

log = structlog.get_logger(__name__)


def analyse(batch: Sequence[Instance]) -> None:
    """Find each instance's page, classify all pages at once, and write the findings."""
    who = actor("analyst")
    readable: list[tuple[Instance, pages.PageOrReason]] = []
    for instance in batch:
        try:
            found = _look(instance, who)
        except LeaseLost as lost:
            log.warning("lease lost", error=str(lost))
            continue
        except Exception as error:  # noqa: BLE001 (one row's trouble is not its batch's)
            put_back(instance, error, who)
            continue
        if found is not None:
            readable.append((instance, found))
    if not readable:
        return
    try:
        predictor = network.predictor()
        readings = predictor.classify([found.page for _, found in readable if found.page])
    except Exception as error:  # noqa: BLE001 (a network that fails must not lose its batch)
        for instance, _ in readable:
            put_back(instance, error, who)
        return
    # One commit for the batch: each one is flushed to disk, and flushing is what takes the time.
    try:
        with transaction.atomic():
            for (instance, found), reading in zip(readable, readings, strict=True):
                try:
                    _write_findings(instance, found, reading, who)
                except LeaseLost as lost:
                    log.warning("lease lost", error=str(lost))
    except DatabaseError as error:
        log.error("left to their leases", rows=len(readable), error=repr(error))


def _look(instance: Instance, who: str) -> pages.PageOrReason | None:
    """Read header and picture; None when the instance was rejected."""
    try:
        path = spool.locate(instance.spool_name)
        instance.study = sources.study_of(path, instance)
        found = pages.first_usable(path)
        reason = found.reason
    except (ImageError, sources.SourceRejected) as refusal:
        found, reason = None, str(refusal)
    if found is not None and found.page is not None:
        return found
    _reject(instance, reason or "no picture in the object", who)
    return None


def _reject(instance: Instance, reason: str, who: str, **measured: Any) -> None:
    """Keep the instance with the reason why nothing can be read on it, and what was measured."""
    leases.advance(
        instance,
        Event.REJECT,
        actor=who,
        detail=reason,
        reason=reason[: leases.TEXT_LENGTH],
        study=instance.study,
        analysed_at=timezone.now(),
        **measured,
    )
    log.info("rejected", instance=instance.pk, reason=reason)


def _write_findings(
    instance: Instance, found: pages.PageOrReason, reading: PageReading, who: str
) -> None:
    if not reading.readable:
        # The page was found; the network says that it is none it can read.
        reason = reading.reason or "not readable"
        _reject(instance, reason, who, quality=dict(reading.quality))
        return
    version = network.model_version()
    assert found.page is not None  # noqa: S101 (readable by construction)
    with transaction.atomic():
        leases.advance(
            instance,
            Event.ANALYSE,
            actor=who,
            detail=f"{version} on page {found.number}",
            study=instance.study,
            model_version=version,
            analysed_at=timezone.now(),
            frame_number=found.number,
            region=[list(corner) for corner in found.page.region],
            quality=dict(reading.quality),
        )
        transaction.on_commit(lambda: doorbell.ring(instance.pk, State.ANALYSED), robust=True)
        Finding.objects.bulk_create(
            Finding(
                instance=instance,
                model_version=version,
                key=finding.key,
                probability=finding.probability,
                threshold=finding.threshold,
                verdict=finding.verdict,
            )
            for finding in reading.findings
        )
