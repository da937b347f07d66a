"""Reports -> the archives: every attempt is a row, what a Peer has is not sent again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction

from dicom_node import scu
from dicom_node.errors import DicomError
from gateway import leases, peers, spool
from gateway.leases import LeaseLost, actor
from gateway.models import Delivery, Instance, Peer, Report
from gateway.states import Event

log = structlog.get_logger(__name__)


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
        # A Peer may take its time to connect, to answer, and for each report.
        leases.renew(batch, lease_s=settings.ECG_LEASE_S + 3 * settings.ECG_DICOM_TIMEOUT_S)
        for attempt in _send(peer, _lacking(batch, peer)):
            if attempt.outcome in (Delivery.Outcome.RETRY, Delivery.Outcome.REFUSED):
                troubles[attempt.report.instance_id].append(attempt)
    try:
        with transaction.atomic():
            for instance in batch:
                try:
                    _conclude(instance, troubles[instance.pk], who)
                except LeaseLost as lost:
                    log.warning("lease lost", error=str(lost))
    except DatabaseError as error:
        log.error("left to their leases", rows=len(batch), error=repr(error))


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
    spoilt: list[Delivery] = []
    files: list[Path] = []
    for report in reports:
        attempt = Delivery(report=report, peer=peer, outcome=Delivery.Outcome.RETRY)
        try:
            files.append(spool.verified(report.spool_name, sha256=report.sha256))
            attempts.append(attempt)
        except OSError as error:
            attempt.reason = f"spool: {error}"[: leases.TEXT_LENGTH]
            spoilt.append(attempt)
    if attempts:
        _store(peer, files, attempts)
    Delivery.objects.bulk_create([*attempts, *spoilt])
    return [*attempts, *spoilt]


def _store(peer: Peer, files: Sequence[Path], attempts: Sequence[Delivery]) -> None:
    """Send `files` and write into each attempt what became of it."""
    try:
        outcomes = scu.store(
            peer.entity,
            files,
            calling_title=settings.ECG_AE_TITLE,
            timeouts=peers.timeouts(),
        )
    except DicomError as error:
        for attempt in attempts:
            attempt.reason = str(error)[: leases.TEXT_LENGTH]
            if not error.retryable:
                attempt.outcome = Delivery.Outcome.REFUSED
    except Exception as error:
        log.exception("attempt failed", peer=peer.title)
        for attempt in attempts:
            attempt.reason = f"{type(error).__name__}: {error}"[: leases.TEXT_LENGTH]
    else:
        for attempt, outcome in zip(attempts, outcomes, strict=True):
            attempt.outcome = Delivery.Outcome(outcome.kind)
            attempt.status = outcome.status
            attempt.reason = outcome.reason[: leases.TEXT_LENGTH]


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
