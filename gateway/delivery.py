"""Reports -> the Peers they are meant for: every attempt is a row, nothing is sent twice.

A Peer that refuses a kind of object (no presentation context for its SOP Class, or the status
0122H) is remembered as refusing it, and gets the next of :data:`gateway.outputs.FALLBACK` in the
same go. The Dispatch rows say what is still to be done, so dying at any line loses nothing: what
was answered is written at once, and what is written is not done again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from dicom_node import scu
from dicom_node.errors import DicomError, NoAcceptedContext, PeerTimeout, PeerUnreachable
from dicom_node.status import Status
from gateway import dispatching, evidence, leases, peers, reachability, retention, routing
from gateway.leases import LeaseLost, actor
from gateway.models import Delivery, Dispatch, Instance, Peer, RefusedOutput
from gateway.outputs import SOP_CLASSES, Output, accepted, chain
from gateway.states import Event

log = structlog.get_logger(__name__)

THERE = (Delivery.Outcome.STORED, Delivery.Outcome.WARNING)


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
    wait_s: float = 0.0
    """For how long its Peer is left alone: it was not called, and there is no row."""

    def trouble(self) -> str:
        """Say what went wrong, and where."""
        if self.is_unwanted:
            wanted = self.dispatch.instead_of or self.dispatch.report.kind
            kinds = ", ".join(str(output.label) for output in chain(wanted))
            return f"{self.row.peer.title}: the Peer accepts none of {kinds}"
        status = "" if self.row.status is None else f"0x{self.row.status:04X} "
        return f"{self.row.peer.title}: {status}{self.row.reason}"


def deliver(batch: Sequence[Instance]) -> None:
    """Send what waits for each Peer, one association a Peer, and write every attempt.

    A Peer that did not answer last time comes last, or not at all for a while.
    """
    who = actor("courier")
    ready = {instance.pk: instance for instance in dispatching.settle(batch, who)}
    attempts: list[Attempt] = []
    waiting = Dispatch.objects.filter(report__instance__in=ready, outcome=Dispatch.Outcome.WAITING)
    found = peers.destinations().filter(pk__in=waiting.values("peer"))
    for peer in sorted(found, key=reachability.is_doubtful):
        attempts += _serve(peer, ready)
    try:
        with transaction.atomic():
            for instance in ready.values():
                try:
                    _conclude(instance, attempts, who)
                except LeaseLost as lost:
                    log.warning("lease lost", error=str(lost))
    except DatabaseError as error:
        log.error("left to their leases", rows=len(ready), error=repr(error))


def _serve(peer: Peer, ready: dict[int, Instance]) -> list[Attempt]:
    """Send a Peer what waits for it, and what stands in for what it refuses."""
    tried: dict[int, Attempt] = {}
    stuck: dict[int, Attempt] = {}
    for _ in Output:
        # A Peer may take its time to connect, to answer, and for each report.
        _renew(ready)
        stuck |= _stand_in(
            peer, [row for row in _waiting(peer, ready) if row.pk not in stuck], ready
        )
        over = tried.keys() | stuck.keys()
        fresh = [row for row in _waiting(peer, ready) if row.pk not in over]
        if not fresh:
            break
        if wait_s := reachability.rest_s(peer):
            stuck |= {row.pk: _left_alone(peer, row, wait_s) for row in fresh}
            break
        for attempt in _send(peer, fresh, ready):
            tried[attempt.dispatch.pk] = attempt
    return list((tried | stuck).values())


def _renew(ready: dict[int, Instance]) -> None:
    """Hold the rows for as long as a Peer may let us wait for what comes next."""
    leases.renew(
        list(ready.values()), lease_s=settings.ECG_LEASE_S + 3 * settings.ECG_DICOM_TIMEOUT_S
    )


def _waiting(peer: Peer, ready: dict[int, Instance]) -> list[Dispatch]:
    """Return what waits for `peer`, oldest instance first."""
    rows = Dispatch.objects.filter(
        report__instance__in=ready, peer=peer, outcome=Dispatch.Outcome.WAITING
    )
    ordered = rows.order_by("report__instance_id", "report__kind", "pk")
    return list(ordered.select_related("report"))


def _stand_in(
    peer: Peer, rows: Sequence[Dispatch], ready: dict[int, Instance]
) -> dict[int, Attempt]:
    """Replace what waits for a Peer that refuses it, where something is left that it may take.

    Returns the attempts that end here, by Dispatch: what would stand in could not be composed.
    """
    refused = routing.refused_by(peer)
    ended: list[Attempt] = []
    for row in rows if refused else ():
        found = accepted(row.report.kind, refused)
        if found is None or found == row.report.kind:
            continue
        try:
            dispatching.replace(row, ready[row.report.instance_id], Output(found))
        except Exception as error:  # noqa: BLE001 (one report's trouble is not the others')
            can_help = not isinstance(error, DicomError) or error.retryable
            outcome = Delivery.Outcome.RETRY if can_help else Delivery.Outcome.REFUSED
            refusals = f"refuses {row.report.get_kind_display()}; no {Output(found).label}: {error}"
            reason = refusals[: leases.TEXT_LENGTH]
            ended.append(
                Attempt(row, Delivery(report=row.report, peer=peer, outcome=outcome, reason=reason))
            )
    Delivery.objects.bulk_create(attempt.row for attempt in ended)
    return {attempt.dispatch.pk: attempt for attempt in ended}


def _send(peer: Peer, rows: Sequence[Dispatch], ready: dict[int, Instance]) -> list[Attempt]:
    """Try to store reports at `peer`; write an attempt for each, and what it brought."""
    attempts = [
        Attempt(row, Delivery(report=row.report, peer=peer, outcome=Delivery.Outcome.RETRY))
        for row in rows
    ]
    files: list[tuple[Attempt, Path]] = []
    for attempt in attempts:
        report = attempt.dispatch.report
        try:
            files.append((attempt, retention.report_file(report)))
        except OSError as error:
            attempt.row.reason = f"spool: {error}"[: leases.TEXT_LENGTH]
    if files:
        _store(peer, files, ready)
    with transaction.atomic():
        _write([attempt for attempt in attempts if not attempt.is_kept])
        _remember(peer, attempts)
    return attempts


def _left_alone(peer: Peer, row: Dispatch, wait_s: float) -> Attempt:
    """Return what takes the place of an attempt while a Peer is left alone."""
    reason = f"not called again yet: {reachability.reason(peer)}"
    outcome = Delivery.Outcome.RETRY
    unsaved = Delivery(report=row.report, peer=peer, outcome=outcome, reason=reason)
    return Attempt(row, unsaved, wait_s=wait_s)


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


def _store(peer: Peer, files: Sequence[tuple[Attempt, Path]], ready: dict[int, Instance]) -> None:
    """Send `files`; write each answer as it comes, for the rest may take longer than a lease."""

    def keep(index: int, outcome: scu.StoreOutcome) -> None:
        attempt, _ = files[index]
        attempt.is_known = True
        attempt.row.outcome = Delivery.Outcome(outcome.kind)
        attempt.row.status = outcome.status
        attempt.row.reason = outcome.reason[: leases.TEXT_LENGTH]
        attempt.is_unwanted = _is_unwanted(outcome)
        with transaction.atomic():
            _write([attempt])
            _renew(ready)
        attempt.is_kept = True

    begun = time.monotonic()
    try:
        scu.store(
            peer.entity,
            [path for _, path in files],
            calling_title=settings.ECG_AE_TITLE,
            timeouts=peers.timeouts(),
            on_outcome=keep,
        )
    except DicomError as error:
        if isinstance(error, PeerUnreachable | PeerTimeout):
            reachability.failed(peer, str(error), after_s=time.monotonic() - begun)
        else:
            reachability.answered(peer)
        for attempt in _unknown(files):
            attempt.row.reason = str(error)[: leases.TEXT_LENGTH]
            if not error.retryable:
                attempt.row.outcome = Delivery.Outcome.REFUSED
            attempt.is_unwanted = isinstance(error, NoAcceptedContext)
    except Exception as error:
        log.exception("attempt failed", peer=peer.title)
        for attempt in _unknown(files):
            attempt.row.reason = f"{type(error).__name__}: {error}"[: leases.TEXT_LENGTH]
    else:
        reachability.answered(peer)


def _unknown(files: Sequence[tuple[Attempt, Path]]) -> list[Attempt]:
    return [attempt for attempt, _ in files if not attempt.is_known]


def _is_unwanted(outcome: scu.StoreOutcome) -> bool:
    """Return whether a Peer refused the kind of object rather than this one."""
    if outcome.status is not None:
        return outcome.status == Status.SOP_CLASS_NOT_SUPPORTED
    # Refused before it was sent, though it could be read: no presentation context for it.
    return outcome.kind == "refused" and bool(outcome.sop_instance_uid)


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


def _conclude(instance: Instance, attempts: Sequence[Attempt], who: str) -> None:
    """Move the row by what is left of its Dispatches: nothing, some for later, some for good.

    What waits for a Peer that is switched off waits for a person, unless something else is due.
    """
    left = Dispatch.objects.filter(
        report__instance=instance, outcome=Dispatch.Outcome.WAITING
    ).select_related("peer")
    if not left:
        leases.advance(instance, Event.DELIVER, actor=who, detail=_stand_ins(instance))
        log.info("delivered", instance=instance.pk)
        evidence.conclude([instance.pk])  # an archive may have shown it before its last report
        return
    if all(not row.peer.is_destination for row in left):
        off = ", ".join(sorted({row.peer.title for row in left}))
        leases.wait_for_configuration(instance, f"{off}: receives no reports now")
        return
    open_ones = {row.pk for row in left}
    troubles = [attempt for attempt in attempts if attempt.dispatch.pk in open_ones]
    refused = [t for t in troubles if t.row.outcome == Delivery.Outcome.REFUSED]
    later = [t for t in troubles if t.row.outcome != Delivery.Outcome.REFUSED]
    if later and all(t.wait_s for t in later):
        leases.hold(instance, later[0].trouble(), wait_s=max(t.wait_s for t in later))
        return
    if later or not refused:
        reason = later[0].trouble() if later else "more became due while it was delivered"
        if leases.postpone(instance, reason, actor=who):
            return
    else:
        leases.give_up(instance, refused[0].trouble(), actor=who)
    Dispatch.objects.filter(pk__in=[t.dispatch.pk for t in refused]).update(
        outcome=Dispatch.Outcome.REFUSED, ended_at=timezone.now()
    )


def _stand_ins(instance: Instance) -> str:
    """Say what was stored in place of what a Peer refuses, or of what could not be composed."""
    stored = Dispatch.objects.filter(report__instance=instance, outcome=Dispatch.Outcome.STORED)
    rows = stored.exclude(instead_of="").select_related("report", "peer").order_by("pk")
    composed = set(instance.reports.values_list("kind", "language"))
    said = []
    for row in rows:
        is_there = (row.instead_of, row.report.language) in composed
        refuses = is_there or row.instead_of in routing.refused_by(row.peer)
        why = "for it refuses" if refuses else "for there could be composed no"
        got, wanted = row.report.get_kind_display(), row.get_instead_of_display()
        said.append(f"{row.peer.title}: {got}, {why} {wanted}")
    return "; ".join(said)
