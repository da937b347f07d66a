"""Object -> findings: the pages of each instance are found, and all are classified at once."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from dicom_node.errors import ImageError
from gateway import alerts, doorbell, leases, network, pages, sources, spool
from gateway.leases import LeaseLost, actor, put_back
from gateway.models import Finding, Instance, ModelVersion, Transition
from gateway.reading import ObjectReading, read_objects
from gateway.states import Event, State
from gateway.watchdog import watched
from models.artifact import ArtifactError

log = structlog.get_logger(__name__)

# A working picture is too small to gain from several threads, and those that wait for the next one
# spin on cores that others want.
cv2.setNumThreads(1)

LOAD_S = 120.0
"""The first batch of a process loads the network; on a busy machine that takes its time."""


NETWORK_AWAY_S = 30.0
"""How long ECGs wait before a network that is not what it should be is looked at again."""

ROWS_A_RING = 8
"""One ring for so many rows: who is woken by it takes up what else waits."""


def analyse(batch: Sequence[Instance]) -> None:
    """Find each instance's page, classify all pages at once, and write what was found.

    All that takes time is done before the one transaction that writes the batch: on SQLite nobody
    else writes meanwhile, the Listener that is to answer a sender included.
    """
    who = actor("analyst")
    found: list[tuple[Instance, list[pages.PageOrReason]]] = []
    results: list[tuple[Instance, ObjectReading | str]] = []
    for instance in batch:
        try:
            with watched(settings.ECG_PICTURE_LIMIT_S):
                seen = _look(instance)
        except Exception as error:  # noqa: BLE001 (one row's trouble is not its batch's)
            put_back(instance, error, who)
            continue
        if isinstance(seen, str):
            results.append((instance, seen))
        else:
            found.append((instance, seen))
    version, readings = _read(found, who)
    results += zip((instance for instance, _ in found), readings, strict=False)
    if not results:
        return
    # One commit for the batch: each one is flushed to disk, and flushing is what takes the time.
    try:
        with transaction.atomic():
            _write(results, version, who)
    except DatabaseError as error:
        log.error("left to their leases", rows=len(results), error=repr(error))


def _look(instance: Instance) -> list[pages.PageOrReason] | str:
    """Read the header and find every page; or say why the instance is to be rejected."""
    try:
        path = spool.locate(instance.spool_name)
        instance.study = sources.study_of(path, instance)
        found = list(pages.pages(path))
    except (ImageError, sources.SourceRejected) as refusal:
        return str(refusal)
    if any(one.page is not None for one in found):
        return found
    return next((one.reason for one in found if one.reason), "no picture in the object")


def _read(
    found: Sequence[tuple[Instance, list[pages.PageOrReason]]], who: str
) -> tuple[ModelVersion | None, list[ObjectReading]]:
    """Classify all pages at once, with the one network that serves now.

    Nothing where the network fails, and the rows are put back; where it is not what was promoted,
    they wait until it is, and it counts as no attempt of theirs.
    """
    if not found:
        return None, []
    try:
        with watched(settings.ECG_PICTURE_LIMIT_S and settings.ECG_PICTURE_LIMIT_S + LOAD_S):
            serves = network.in_service()
            readings = read_objects([seen for _, seen in found], serves.predictor.classify)
            return serves.version, readings
    except ArtifactError as error:
        log.error("no network to read with", rows=len(found), error=str(error))
        for instance, _ in found:
            leases.hold(instance, f"no network to read with: {error}", wait_s=NETWORK_AWAY_S)
    except Exception as error:  # noqa: BLE001 (a network that fails must not lose its batch)
        for instance, _ in found:
            put_back(instance, error, who)
    return None, []


def _write(
    results: Sequence[tuple[Instance, ObjectReading | str]],
    version: ModelVersion | None,
    who: str,
) -> None:
    """Write what became of a batch, in the caller's transaction: one statement a row, and a few."""
    sources.keep_studies([instance for instance, _ in results])
    lines: list[Transition] = []
    analysed: list[tuple[Instance, ObjectReading]] = []
    for instance, result in results:
        try:
            if isinstance(result, str):
                _reject(instance, result, who, lines)
            elif result.reason is not None:
                # A page was found; the network says that it is none it can read.
                _reject(instance, result.reason, who, lines, **_measured(result))
            elif version is not None:
                _advance(instance, result, version, who, lines)
                analysed.append((instance, result))
        except LeaseLost as lost:
            log.warning("lease lost", error=str(lost))
    Transition.objects.bulk_create(lines)
    Finding.objects.bulk_create(
        finding
        for instance, reading in analysed
        if version is not None
        for finding in findings(instance, reading, version)
    )
    alerts.raise_for_all([instance for instance, _ in analysed])
    for instance, _ in analysed[::ROWS_A_RING]:
        ring = functools.partial(doorbell.ring, instance.pk, State.ANALYSED)
        transaction.on_commit(ring, robust=True)


def _reject(
    instance: Instance, reason: str, who: str, lines: list[Transition], **measured: Any
) -> None:
    """Keep the instance with the reason why nothing can be read on it, and what was measured."""
    leases.advance(
        instance,
        Event.REJECT,
        actor=who,
        detail=reason,
        lines=lines,
        reason=reason[: leases.TEXT_LENGTH],
        study=instance.study,
        modality=instance.modality,
        station_name=instance.station_name,
        analysed_at=timezone.now(),
        **measured,
    )
    log.info("rejected", instance=instance.pk, reason=reason)


def _advance(
    instance: Instance,
    reading: ObjectReading,
    version: ModelVersion,
    who: str,
    lines: list[Transition],
) -> None:
    read = [str(page["number"]) for page in reading.pages if page["reason"] is None]
    leases.advance(
        instance,
        Event.ANALYSE,
        actor=who,
        detail=f"{version} on page {', '.join(read)}",
        lines=lines,
        study=instance.study,
        modality=instance.modality,
        station_name=instance.station_name,
        model_version=version,
        analysed_at=timezone.now(),
        frame_number=reading.number,
        region=[list(corner) for corner in reading.region or ()] or None,
        **_measured(reading),
    )


def _measured(reading: ObjectReading) -> dict[str, Any]:
    several = len(reading.pages) > 1
    return {"quality": reading.quality, "pages": list(reading.pages) if several else []}


def findings(
    instance: Instance, reading: ObjectReading, version: ModelVersion
) -> Iterator[Finding]:
    """Yield the rows of what a network found in an instance, not saved."""
    several = len(reading.pages) > 1
    for placed in reading.findings:
        yield Finding(
            instance=instance,
            model_version=version,
            key=placed.finding.key,
            probability=placed.finding.probability,
            threshold=placed.finding.threshold,
            verdict=placed.finding.verdict,
            frame_number=placed.number if several else None,
        )
