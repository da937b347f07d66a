"""One association with a Peer: reports go out, and what became of each is written at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from dicom_node import scu
from dicom_node.errors import AssociationError, DicomError, NoAcceptedContext
from dicom_node.status import Status
from gateway import evidence, leases, peers, precedence, retention
from gateway.circuits import Call
from gateway.models import Delivery, Dispatch, Peer, RefusedOutput
from gateway.outputs import SOP_CLASSES, chain

log = structlog.get_logger(__name__)

SPENT = 0.5
"""The share of a lease, or of the wait for an answer, after which leases are renewed: both leases
last longer than that and another answer."""

THERE: Final = (Delivery.Outcome.STORED, Delivery.Outcome.WARNING)


@dataclass
class Attempt:
    """A Dispatch, the row of the attempt at it, and whether its kind is what the Peer refuses."""

    dispatch: Dispatch
    row: Delivery
    is_unwanted: bool = False
    is_known: bool = False
    """Whether the Peer's answer, or that it cannot be sent to it, is in the row."""
    is_kept: bool = False
    """Whether the row is committed."""
    is_behind: bool = False
    """Whether it was not sent because one of its patient before it was not stored."""
    is_peers: bool = False
    """Whether the Peer is out of resources: its trouble, not the report's."""
    wait_s: float = 0.0
    """For how long it waits because it was not sent at all; no attempt counts."""

    def trouble(self) -> str:
        """Say what went wrong, and where."""
        if self.is_unwanted:
            wanted = self.dispatch.instead_of or self.dispatch.report.kind
            kinds = ", ".join(str(output.label) for output in chain(wanted))
            return f"{self.row.peer.title}: the Peer accepts none of {kinds}"
        status = "" if self.row.status is None else f"0x{self.row.status:04X} "
        return f"{self.row.peer.title}: {status}{self.row.reason}"


def send(
    call: Call,
    rows: Sequence[Dispatch],
    *,
    patients: Mapping[int, str],
    renew: Callable[[], None],
) -> list[Attempt]:
    """Try to store reports at the Peer of `call`; write an attempt for each, and what it brought.

    Parameters
    ----------
    rows
        What is sent, in this order; of a trial the first alone.
    patients
        The Patient ID of their instances, by primary key: after one that was not stored no other
        of its patient is sent.
    renew
        Called now and then with an answer: the rest may take longer than a lease.
    """
    peer = call.peer
    chosen = rows[:1] if call.is_trial else rows
    attempts = [
        Attempt(row, Delivery(report=row.report, peer=peer, outcome=Delivery.Outcome.RETRY))
        for row in chosen
    ]
    files: list[tuple[Attempt, Path]] = []
    for attempt in attempts:
        try:
            files.append((attempt, retention.report_file(attempt.dispatch.report)))
        except OSError as error:
            attempt.row.reason = f"spool: {error}"[: leases.TEXT_LENGTH]
    if files:

        def is_wanted(index: int) -> bool:
            attempt, _ = files[index]
            before = attempts[: attempts.index(attempt)]
            attempt.is_behind = any(_holds_back(one, attempt, patients) for one in before)
            return not attempt.is_behind

        _store(call, files, is_wanted, renew)
    for attempt in attempts:
        if not attempt.is_known and call.wait_s:
            attempt.wait_s = call.wait_s
        elif attempt.is_behind:
            attempt.wait_s = precedence.BEHIND_S
    with transaction.atomic():
        _write([a for a in attempts if not (a.is_kept or a.is_behind)])
        _remember(peer, attempts)
    return attempts


def _holds_back(one: Attempt, other: Attempt, patients: Mapping[int, str]) -> bool:
    """Return whether `one`, which came before, keeps `other` from being sent now."""
    first, second = (each.dispatch.report.instance_id for each in (one, other))
    is_open = one.row.outcome == Delivery.Outcome.RETRY or one.is_unwanted
    patient = patients.get(first, "")
    return is_open and first != second and patient != "" and patient == patients.get(second)


def unsent(row: Dispatch, peer: Peer, reason: str, wait_s: float) -> Attempt:
    """Return what takes the place of an attempt at `row`, which waits; nothing is written."""
    outcome = Delivery.Outcome.RETRY
    return Attempt(
        row, Delivery(report=row.report, peer=peer, outcome=outcome, reason=reason), wait_s=wait_s
    )


def _write(attempts: Sequence[Attempt]) -> None:
    """Write attempts and what they brought, in the caller's transaction."""
    for attempt in attempts:
        attempt.row.pk = None  # a first try may have been rolled back
    Delivery.objects.bulk_create(attempt.row for attempt in attempts)
    there = [attempt.dispatch.pk for attempt in attempts if attempt.row.outcome in THERE]
    if there:
        Dispatch.objects.filter(pk__in=there).update(
            **evidence.anew(attempts[0].row.peer),
            outcome=Dispatch.Outcome.STORED,
            ended_at=timezone.now(),
        )


def _store(
    call: Call,
    files: Sequence[tuple[Attempt, Path]],
    is_wanted: Callable[[int], bool],
    renew: Callable[[], None],
) -> None:
    """Send `files` as far as each is wanted when its turn comes; write each answer as it comes."""
    often_s = SPENT * min(settings.ECG_LEASE_S, settings.ECG_DICOM_TIMEOUT_S)
    renewed = time.monotonic()

    def keep(index: int, outcome: scu.StoreOutcome) -> None:
        attempt, _ = files[index]
        attempt.row.outcome = Delivery.Outcome(outcome.kind)
        attempt.row.status = outcome.status
        attempt.row.reason = outcome.reason[: leases.TEXT_LENGTH]
        attempt.is_unwanted = _is_unwanted(outcome)
        attempt.is_peers = _is_out_of_resources(outcome.status)
        attempt.is_known = outcome.is_sent or outcome.kind == "refused"
        if attempt.is_peers or (outcome.is_sent and outcome.status is None):
            call.failed(outcome.reason)
        elif outcome.is_sent:
            call.answered()
        if not attempt.is_known:
            return
        nonlocal renewed
        is_time = time.monotonic() - renewed >= often_s
        with transaction.atomic():
            _write([attempt])
            if is_time:
                call.renew()
                renew()
        attempt.is_kept = True
        if is_time:
            renewed = time.monotonic()

    try:
        scu.store(
            call.peer.entity,
            [path for _, path in files],
            calling_title=settings.ECG_AE_TITLE,
            timeouts=peers.timeouts(),
            on_outcome=keep,
            is_wanted=is_wanted,
        )
    except DicomError as error:
        if isinstance(error, AssociationError) and error.retryable:
            call.failed(str(error))
        elif isinstance(error, AssociationError):
            call.answered()
        for attempt in _unknown(files):
            attempt.row.reason = str(error)[: leases.TEXT_LENGTH]
            if not error.retryable:
                attempt.row.outcome = Delivery.Outcome.REFUSED
                attempt.is_known = True
            attempt.is_unwanted = isinstance(error, NoAcceptedContext)
    except Exception as error:
        log.exception("attempt failed", peer=call.peer.title)
        for attempt in _unknown(files):
            attempt.row.reason = f"{type(error).__name__}: {error}"[: leases.TEXT_LENGTH]


def _unknown(files: Sequence[tuple[Attempt, Path]]) -> list[Attempt]:
    return [attempt for attempt, _ in files if not attempt.is_known]


def _is_unwanted(outcome: scu.StoreOutcome) -> bool:
    """Return whether a Peer refused the kind of object rather than this one."""
    if outcome.status is not None:
        return outcome.status == Status.SOP_CLASS_NOT_SUPPORTED
    # Refused before it was sent, though it could be read: no presentation context for it.
    return outcome.kind == "refused" and bool(outcome.sop_instance_uid)


def _is_out_of_resources(status: int | None) -> bool:
    if status is None:
        return False
    return 0xA700 <= status <= 0xA7FF or status == Status.RESOURCE_LIMITATION


def _remember(peer: Peer, attempts: Sequence[Attempt]) -> None:
    """Keep which kinds a Peer refuses, and forget it of one that it has taken after all."""
    unwanted = {a.dispatch.report.kind: a for a in attempts if a.is_unwanted}
    for output, attempt in unwanted.items():
        _, is_new = RefusedOutput.objects.update_or_create(
            peer=peer,
            output=output,
            defaults={
                "address": str(peer),
                "sop_class_uid": SOP_CLASSES[output],
                "reason": attempt.row.reason,
                "refused_at": timezone.now(),
            },
        )
        if is_new:
            log.warning("output refused", peer=peer.title, output=output)
    taken = {a.dispatch.report.kind for a in attempts if a.row.outcome in THERE} - set(unwanted)
    RefusedOutput.objects.filter(peer=peer, output__in=taken).delete()
