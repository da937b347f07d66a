"""Reports -> the Peers they are meant for: every attempt is a row, nothing is sent twice.

A Peer that refuses a kind of object (no presentation context for its SOP Class, or the status
0122H) is remembered as refusing it, and gets the next of :data:`gateway.outputs.FALLBACK` in the
same go. The Dispatch rows say what is still to be done, so dying at any line loses nothing: what
was answered is written at once, and what is written is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import F
from django.utils import timezone

from dicom_node.errors import DicomError
from gateway import (
    circuits,
    dispatching,
    doorbell,
    evidence,
    leases,
    peers,
    precedence,
    reviewing,
    routing,
)
from gateway.circuits import NotNow
from gateway.leases import LeaseLost, actor
from gateway.models import Delivery, Dispatch, Instance, Peer
from gateway.outputs import Output, accepted
from gateway.sending import Attempt, send, unsent
from gateway.states import Event, State

log = structlog.get_logger(__name__)

GONE = (State.DELIVERED, State.PROVEN, State.FAILED)


def deliver(batch: Sequence[Instance]) -> None:
    """Send what waits for each Peer and write every attempt.

    A Peer that did not answer last time comes last, or not at all for a while.
    """
    who = actor("courier")
    ready = {instance.pk: instance for instance in dispatching.settle(batch, who)}
    attempts: list[Attempt] = []
    waiting = Dispatch.objects.filter(report__instance__in=ready, outcome=Dispatch.Outcome.WAITING)
    found = peers.destinations().filter(pk__in=waiting.values("peer"))
    for peer in sorted(found, key=circuits.is_open):
        attempts += _serve(peer, ready)
    try:
        with transaction.atomic():
            _conclude_all(ready, attempts, who)
    except DatabaseError as error:
        log.error("left to their leases", rows=len(ready), error=repr(error))
        return
    _let_others_go(ready, attempts)


def _serve(peer: Peer, ready: dict[int, Instance]) -> list[Attempt]:
    """Send a Peer what waits for it, and what stands in for what it refuses."""
    patients = precedence.patients_of(ready.values())
    tried: dict[int, Attempt] = {}
    stuck: dict[int, Attempt] = {}
    while True:
        # A Peer may take its time to connect, to answer, and for each report.
        _renew(ready)
        stuck |= _stand_in(
            peer, [row for row in _waiting(peer, ready) if row.pk not in stuck], ready
        )
        over = tried | stuck
        waiting = [row for row in _waiting(peer, ready) if not _is_refused(over.get(row.pk))]
        first = reviewing.predecessors_first(waiting, ready)
        fresh = [row for row in first if row.pk not in over]
        due = precedence.in_turn(peer, fresh, patients)
        if not due:
            behind = "an earlier ECG of this patient goes first"
            stuck |= {row.pk: unsent(row, peer, behind, precedence.BEHIND_S) for row in fresh}
            break
        try:
            with circuits.call(peer, patience_s=circuits.PATIENCE_S) as call:
                sent = send(call, due, patients=patients, renew=lambda: _renew(ready))
        except NotNow as rest:
            stuck |= {row.pk: _left_alone(peer, row, rest) for row in fresh}
            break
        tried |= {attempt.dispatch.pk: attempt for attempt in sent}
    return list((tried | stuck).values())


def _is_refused(attempt: Attempt | None) -> bool:
    return attempt is not None and attempt.row.outcome == Delivery.Outcome.REFUSED


def _let_others_go(ready: dict[int, Instance], attempts: Sequence[Attempt]) -> None:
    """Let those go on that waited for these: the next of each patient, and who looked too soon.

    After the commit: a Courier that holds a row back looks again then, so that of two that meet one
    sees the other.
    """
    patients = precedence.patients_of(ready.values())
    gone = {patients[n] for n, row in ready.items() if n in patients and row.state in GONE}
    woken = precedence.wake_next(gone)
    behind: dict[int, list[Dispatch]] = {}
    for attempt in attempts:
        if attempt.wait_s == precedence.BEHIND_S:
            behind.setdefault(attempt.row.peer_id, []).append(attempt.dispatch)
    for rows in behind.values():
        due = precedence.in_turn(rows[0].peer, rows, patients)
        waiting = Instance.objects.filter(state=State.REPORTED, lease_token=None)
        numbers = {row.report.instance_id for row in due}
        woken += waiting.filter(pk__in=numbers).update(not_before=timezone.now())
    if woken:
        doorbell.ring(0, State.REPORTED)
    elif any(0 < attempt.wait_s <= circuits.BUSY_S for attempt in attempts):
        doorbell.ring(0, State.REPORTED, in_s=circuits.BUSY_S)


def _left_alone(peer: Peer, row: Dispatch, rest: NotNow) -> Attempt:
    """Return what takes the place of an attempt while a Peer is left alone."""
    if rest.is_busy:
        return unsent(row, peer, f"not called yet: {rest}", rest.wait_s)
    # It goes on before, as soon as the Peer answers somebody.
    wait_s = max(rest.wait_s, circuits.HELD_S)
    return unsent(row, peer, f"not called again yet: {rest}", wait_s)


def _renew(ready: dict[int, Instance]) -> None:
    """Hold the rows for as long as a Peer may let us wait for what comes next."""
    leases.renew(
        list(ready.values()), lease_s=settings.ECG_LEASE_S + 3 * settings.ECG_DICOM_TIMEOUT_S
    )


def _waiting(peer: Peer, ready: dict[int, Instance]) -> list[Dispatch]:
    """Return what waits for `peer`: oldest instance first, of each what was said first."""
    rows = Dispatch.objects.filter(
        report__instance__in=ready, peer=peer, outcome=Dispatch.Outcome.WAITING
    )
    said = F("report__review__number").asc(nulls_first=True)
    ordered = rows.order_by("report__instance_id", said, "report__kind", "pk")
    return list(ordered.select_related("report__review"))


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


def _conclude_all(ready: dict[int, Instance], attempts: Sequence[Attempt], who: str) -> None:
    """Move the rows by what is left to be sent of each."""
    meant: dict[int, list[Dispatch]] = {number: [] for number in ready}
    found = Dispatch.objects.filter(report__instance__in=ready)
    for row in found.select_related("report", "peer").order_by("pk"):
        meant[row.report.instance_id].append(row)
    delivered = []
    for number, instance in ready.items():
        left = [row for row in meant[number] if row.outcome == Dispatch.Outcome.WAITING]
        try:
            if left:
                _put_off(instance, left, attempts, who)
                continue
            stored = [row for row in meant[number] if row.outcome == Dispatch.Outcome.STORED]
            leases.advance(instance, Event.DELIVER, actor=who, detail=_stand_ins(instance, stored))
        except LeaseLost as lost:
            log.warning("lease lost", error=str(lost))
            continue
        log.info("delivered", instance=number)
        if any(row.proven_at is not None for row in stored):
            delivered.append(number)
    # An archive may have shown that it keeps the first report before it got the last.
    evidence.conclude(delivered)
    reviewing.go_on(ready)


def _put_off(
    instance: Instance, left: Sequence[Dispatch], attempts: Sequence[Attempt], who: str
) -> None:
    """Let a row go of which something is left to be sent: for later, or for good.

    What waits for a Peer that is switched off waits for a person, unless something else is due.
    """
    if all(not row.peer.is_destination for row in left):
        off = ", ".join(sorted({row.peer.title for row in left}))
        leases.wait_for_configuration(instance, f"{off}: receives no reports now")
        return
    open_ones = {row.pk for row in left}
    troubles = [attempt for attempt in attempts if attempt.dispatch.pk in open_ones]
    refused = [t for t in troubles if t.row.outcome == Delivery.Outcome.REFUSED]
    later = [t for t in troubles if t.row.outcome != Delivery.Outcome.REFUSED]
    if later and all(t.wait_s for t in later):
        first = min(later, key=lambda trouble: trouble.wait_s)
        leases.hold(instance, first.trouble(), wait_s=first.wait_s)
        return
    if later or not refused:
        tried = [t for t in later if not t.wait_s]
        reason = tried[0].trouble() if tried else "more became due while it was delivered"
        is_peers = bool(tried) and all(t.is_peers for t in tried)
        if leases.postpone(instance, reason, actor=who, gives_up=not is_peers):
            return
    else:
        leases.give_up(instance, refused[0].trouble(), actor=who)
    Dispatch.objects.filter(pk__in=[t.dispatch.pk for t in refused]).update(
        outcome=Dispatch.Outcome.REFUSED, ended_at=timezone.now()
    )


def _stand_ins(instance: Instance, stored: Sequence[Dispatch]) -> str:
    """Say what was stored in place of what a Peer refuses, or of what could not be composed."""
    rows = [row for row in stored if row.instead_of]
    if not rows:
        return ""
    composed = set(instance.reports.values_list("kind", "language"))
    said = []
    for row in rows:
        is_there = (row.instead_of, row.report.language) in composed
        refuses = is_there or row.instead_of in routing.refused_by(row.peer)
        why = "for it refuses" if refuses else "for there could be composed no"
        got, wanted = row.report.get_kind_display(), row.get_instead_of_display()
        said.append(f"{row.peer.title}: {got}, {why} {wanted}")
    return "; ".join(said)
