"""Object -> findings: the pages of each instance are found, and all are classified at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from dicom_node.errors import ImageError
from gateway import alerts, doorbell, leases, network, pages, sources, spool
from gateway.leases import LeaseLost, actor, put_back
from gateway.models import Finding, Instance
from gateway.reading import ObjectReading, read_objects
from gateway.states import Event, State
from gateway.watchdog import watched

log = structlog.get_logger(__name__)

LOAD_S = 120.0
"""The first batch of a process loads the network; on a busy machine that takes its time."""


def analyse(batch: Sequence[Instance]) -> None:
    """Find each instance's page, classify all pages at once, and write the findings."""
    who = actor("analyst")
    readable: list[tuple[Instance, list[pages.PageOrReason]]] = []
    for instance in batch:
        try:
            with watched(settings.ECG_PICTURE_LIMIT_S):
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
        with watched(settings.ECG_PICTURE_LIMIT_S and settings.ECG_PICTURE_LIMIT_S + LOAD_S):
            readings = read_objects([found for _, found in readable], network.predictor().classify)
    except Exception as error:  # noqa: BLE001 (a network that fails must not lose its batch)
        for instance, _ in readable:
            put_back(instance, error, who)
        return
    # One commit for the batch: each one is flushed to disk, and flushing is what takes the time.
    try:
        with transaction.atomic():
            for (instance, _), reading in zip(readable, readings, strict=True):
                try:
                    _write_findings(instance, reading, who)
                except LeaseLost as lost:
                    log.warning("lease lost", error=str(lost))
    except DatabaseError as error:
        log.error("left to their leases", rows=len(readable), error=repr(error))


def _look(instance: Instance, who: str) -> list[pages.PageOrReason] | None:
    """Read the header and find every page; None when the instance was rejected."""
    try:
        path = spool.locate(instance.spool_name)
        instance.study = sources.study_of(path, instance)
        found = list(pages.pages(path))
        reason = next((one.reason for one in found if one.reason), None)
    except (ImageError, sources.SourceRejected) as refusal:
        found, reason = [], str(refusal)
    if any(one.page is not None for one in found):
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
        modality=instance.modality,
        station_name=instance.station_name,
        analysed_at=timezone.now(),
        **measured,
    )
    log.info("rejected", instance=instance.pk, reason=reason)


def _write_findings(instance: Instance, reading: ObjectReading, who: str) -> None:
    several = len(reading.pages) > 1
    measured = {"quality": reading.quality, "pages": list(reading.pages) if several else []}
    if reading.reason is not None:
        # A page was found; the network says that it is none it can read.
        _reject(instance, reading.reason, who, **measured)
        return
    version = network.model_version()
    read = [str(page["number"]) for page in reading.pages if page["reason"] is None]
    with transaction.atomic():
        leases.advance(
            instance,
            Event.ANALYSE,
            actor=who,
            detail=f"{version} on page {', '.join(read)}",
            study=instance.study,
            modality=instance.modality,
            station_name=instance.station_name,
            model_version=version,
            analysed_at=timezone.now(),
            frame_number=reading.number,
            region=[list(corner) for corner in reading.region or ()] or None,
            **measured,
        )
        transaction.on_commit(lambda: doorbell.ring(instance.pk, State.ANALYSED), robust=True)
        Finding.objects.bulk_create(
            Finding(
                instance=instance,
                model_version=version,
                key=placed.finding.key,
                probability=placed.finding.probability,
                threshold=placed.finding.threshold,
                verdict=placed.finding.verdict,
                frame_number=placed.number if several else None,
            )
            for placed in reading.findings
        )
        alerts.raise_for(instance)
