"""The steps of an ECG's life after it was received: analyse, compose, deliver. No Celery here.

Each step claims rows, does its work outside any transaction, and writes what it found together
with the new state in one. Every step may die at any line and be done again by someone else: the
findings are written once with ANALYSED, the reports are composed once with REPORTED, and a
delivery repeated after a crash sends the same bytes under the same UID.
"""

from __future__ import annotations

import functools
import os
import socket
from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from dicom_node import scu
from dicom_node.errors import DicomError, ImageError
from gateway import analyst, doorbell, leases, pages, peers, sources, spool
from gateway.leases import LeaseLost
from gateway.models import Delivery, Finding, Instance, Peer, Report
from gateway.states import Event, State
from models.predict import PageReading

log = structlog.get_logger(__name__)

DELIVERY_BATCH = 8


def actor(role: str) -> str:
    """Return who writes a transition: the role and the process that has it."""
    return f"{role}@{socket.gethostname()}:{os.getpid()}"[:64]


def _in_batches(state: State, limit: int, step: Callable[[list[Instance]], None]) -> int:
    """Claim and work until nothing waits in `state`; return how many rows were worked on.

    Rows that were tried before are taken alone: if one of them kills the process or spoils a
    batch, it does so to nobody else.
    """
    worked = 0
    while True:
        fresh = leases.claim(state, limit=limit, tried_before=False)
        if fresh:
            step(fresh)
        again = leases.claim(state, limit=1, tried_before=True)
        if again:
            step(again)
        if not fresh and not again:
            return worked
        worked += len(fresh) + len(again)


def analyse_waiting() -> int:
    """Analyse and compose until nothing waits; return how many rows were worked on."""
    return _in_batches(State.RECEIVED, settings.ECG_BATCH_SIZE, analyse) + _in_batches(
        State.ANALYSED, settings.ECG_BATCH_SIZE, compose_all
    )


def deliver_waiting() -> int:
    """Deliver until nothing waits; return how many rows were worked on."""
    return _in_batches(State.REPORTED, DELIVERY_BATCH, deliver)


# --- analyse ---------------------------------------------------------------------------------------


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
        except (DatabaseError, OSError) as error:
            _postpone(instance, error, who)
            continue
        if found is not None:
            readable.append((instance, found))
    if not readable:
        return
    try:
        predictor = analyst.predictor()
        readings = predictor.classify([found.page for _, found in readable if found.page])
    except Exception as error:  # noqa: BLE001 (a network that fails must not lose its batch)
        for instance, _ in readable:
            _postpone(instance, error, who)
        return
    for (instance, found), reading in zip(readable, readings, strict=True):
        try:
            _write_findings(instance, found, reading, who)
            compose(instance)
        except LeaseLost as lost:
            log.warning("lease lost", error=str(lost))
        except (DatabaseError, OSError) as error:
            _postpone(instance, error, who)


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
    reason = reason or "no picture in the object"
    leases.advance(
        instance,
        Event.REJECT,
        actor=who,
        detail=reason,
        reason=reason[: leases.TEXT_LENGTH],
        study=instance.study,
        analysed_at=timezone.now(),
    )
    log.info("rejected", instance=instance.pk, reason=reason)
    return None


def _write_findings(
    instance: Instance, found: pages.PageOrReason, reading: PageReading, who: str
) -> None:
    version = analyst.model_version()
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
            quality=dict(found.page.quality),
        )
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


def _postpone(instance: Instance, error: Exception, who: str) -> None:
    """Put a row back for later; what cannot even be written is left to its lease."""
    try:
        leases.postpone(instance, f"{type(error).__name__}: {error}", actor=who)
    except (LeaseLost, DatabaseError) as second:
        log.warning("left to its lease", instance=instance.pk, error=repr(second))


# --- compose ---------------------------------------------------------------------------------------


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
            transaction.on_commit(
                functools.partial(doorbell.ring, instance.pk, State.REPORTED), robust=True
            )
    except LeaseLost as lost:
        for name in names:
            spool.remove(name)
        log.warning("lease lost", error=str(lost))
    except DicomError as error:
        leases.give_up(instance, str(error), actor=who)
    except (DatabaseError, OSError) as error:
        _postpone(instance, error, who)
    else:
        log.info("reported", instance=instance.pk)


# --- deliver ---------------------------------------------------------------------------------------


def deliver(batch: Sequence[Instance]) -> None:
    """Send what each destination still lacks, one association a Peer, and write every attempt."""
    who = actor("courier")
    receivers = list(peers.destinations())
    if not receivers:
        for instance in batch:
            leases.wait_for_configuration(
                instance, "no destination Peer: manage.py peer add TITLE HOST PORT --destination"
            )
        return
    troubles: dict[int, list[Delivery]] = defaultdict(list)
    for peer in receivers:
        for attempt in _send(peer, _lacking(batch, peer)):
            if attempt.outcome in (Delivery.Outcome.RETRY, Delivery.Outcome.REFUSED):
                troubles[attempt.report.instance_id].append(attempt)
    for instance in batch:
        try:
            _conclude(instance, troubles[instance.pk], who)
        except (LeaseLost, DatabaseError) as error:
            log.warning("left to its lease", instance=instance.pk, error=repr(error))


def _lacking(batch: Sequence[Instance], peer: Peer) -> list[Report]:
    """Return the reports of `batch` that `peer` has not stored yet, oldest instance first."""
    there = Delivery.objects.filter(
        peer=peer, outcome__in=(Delivery.Outcome.STORED, Delivery.Outcome.WARNING)
    )
    return list(
        Report.objects.filter(instance__in=batch)
        .exclude(deliveries__in=there)
        .order_by("instance_id", "kind")
    )


def _send(peer: Peer, reports: Sequence[Report]) -> list[Delivery]:
    """Try to store `reports` at `peer` and write one Delivery row for each."""
    if not reports:
        return []
    attempts: list[Delivery] = []
    for report in reports:
        attempts.append(
            Delivery(report=report, peer=peer, outcome=Delivery.Outcome.RETRY, reason="not sent")
        )
    try:
        files = [spool.verified(r.spool_name, sha256=r.sha256) for r in reports]
        outcomes = scu.store(
            peer.entity,
            files,
            calling_title=settings.ECG_AE_TITLE,
            timeout_s=settings.ECG_DICOM_TIMEOUT_S,
        )
    except DicomError as error:
        for attempt in attempts:
            attempt.reason = str(error)[: leases.TEXT_LENGTH]
            if not error.retryable:
                attempt.outcome = Delivery.Outcome.REFUSED
    except OSError as error:
        for attempt in attempts:
            attempt.reason = f"spool: {error}"[: leases.TEXT_LENGTH]
    else:
        for attempt, outcome in zip(attempts, outcomes, strict=True):
            attempt.outcome = Delivery.Outcome(outcome.kind)
            attempt.status = outcome.status
            attempt.reason = outcome.reason[: leases.TEXT_LENGTH]
    Delivery.objects.bulk_create(attempts)
    return attempts


def _conclude(instance: Instance, troubles: Sequence[Delivery], who: str) -> None:
    """Move the row by what its attempts brought: all stored, some later, some never."""
    if not troubles:
        leases.advance(instance, Event.DELIVER, actor=who)
        log.info("delivered", instance=instance.pk)
        return
    later = [t for t in troubles if t.outcome == Delivery.Outcome.RETRY]
    chosen = later[0] if later else troubles[0]
    status = "" if chosen.status is None else f"0x{chosen.status:04X} "
    error = f"{chosen.peer.title}: {status}{chosen.reason}"
    if later:
        leases.postpone(instance, error, actor=who)
    else:
        leases.give_up(instance, error, actor=who)
