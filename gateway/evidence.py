"""What is proven of a stored report, and what follows: the instance is proven, or sent again.

The rows alone; who asks, and what is answered, is :mod:`gateway.proof`.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection
from typing import Any, Final

import structlog
from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from gateway import leases
from gateway.models import Delivery, Dispatch, Instance, Peer
from gateway.models.peers import Proof
from gateway.states import Event, State, follow

log = structlog.get_logger(__name__)

UNASKED: Final[dict[str, Any]] = {
    "commitment": None,
    "proof_due_at": None,
    "proof_attempts": 0,
    "proof_looks": 0,
    "is_read_back": False,
    "proven_at": None,
    "proven_by": "",
}
"""What a Dispatch says of proof before anything was asked."""


def anew(peer: Peer) -> dict[str, Any]:
    """Return what a Dispatch says of proof once `peer` has stored it, at first or again."""
    delay = datetime.timedelta(seconds=settings.ECG_PROOF_DELAY_S)
    due_at = None if peer.proof == Proof.NONE else timezone.now() + delay
    return {**UNASKED, "proof_due_at": due_at, "proof_error": ""}


def unproven() -> QuerySet[Dispatch]:
    """Return what is stored at a Peer that has not shown yet that it keeps it, and is to."""
    stored = Dispatch.objects.filter(outcome=Dispatch.Outcome.STORED, proven_at=None)
    return stored.exclude(peer__proof=Proof.NONE)


def look_again(peer: Peer) -> None:
    """A person has changed `peer`: what could not be asked is asked, what it refuses forgotten."""
    Peer.objects.filter(pk=peer.pk).update(refuses_commitment_since=None)
    unasked = Dispatch.objects.filter(
        peer=peer, outcome=Dispatch.Outcome.STORED, proven_at=None, proof_due_at=None
    ).exclude(proof_error="")
    unasked.update(proof_due_at=timezone.now(), proof_looks=0, is_read_back=False)


def prove(rows: QuerySet[Dispatch], means: Dispatch.Means) -> None:
    """Write down that these are proven, in the caller's transaction."""
    unproven = rows.filter(outcome=Dispatch.Outcome.STORED, proven_at=None)
    found = list(unproven.values_list("pk", "report__instance_id"))
    # Instances before their Dispatches, as everywhere: nobody waits for somebody who waits for him.
    owners = Instance.objects.filter(pk__in={instance for _, instance in found}).order_by("pk")
    list(owners.select_for_update().values_list("pk"))
    Dispatch.objects.filter(
        pk__in=[number for number, _ in found], outcome=Dispatch.Outcome.STORED, proven_at=None
    ).update(proven_at=timezone.now(), proven_by=means, proof_due_at=None, proof_error="")
    conclude({instance for _, instance in found})


def conclude(instances: Collection[int]) -> None:
    """Move delivered instances to PROVEN of which every destination that is asked has shown it.

    In the caller's transaction. The row is locked before it is looked at: of two Peers that prove
    at the same time, the second sees the first.
    """
    stored = Dispatch.objects.filter(
        report__instance=OuterRef("pk"), outcome=Dispatch.Outcome.STORED
    )
    unproven = stored.filter(proven_at=None).exclude(peer__proof=Proof.NONE)
    waiting = Dispatch.objects.filter(
        report__instance=OuterRef("pk"), outcome=Dispatch.Outcome.WAITING
    )
    for number in sorted(set(instances)):
        row = Instance.objects.select_for_update().get(pk=number)
        if row.state != State.DELIVERED:
            continue
        now, target = timezone.now(), follow(State.DELIVERED, Event.PROVE)
        moved = Instance.objects.filter(
            ~Exists(waiting),
            ~Exists(unproven),
            Exists(stored.filter(proven_at__isnull=False)),
            pk=number,
            state=State.DELIVERED,
        ).update(state=target, state_since=now)
        if moved:
            leases.append_transition(
                row,
                State.DELIVERED,
                target,
                event=Event.PROVE,
                actor=leases.actor("proof"),
                detail=_shown(number),
                at=now,
            )
            log.info("proven", instance=number)


def miss(row: Dispatch, cause: str) -> bool:
    """Let a stored report be sent to its Peer again, in the caller's transaction.

    Returns
    -------
    bool
        False: not now, for somebody works on the instance (it is asked for again), or its bytes
        are gone, or it is not meant any more.
    """
    instance = Instance.objects.select_for_update().get(pk=row.report.instance_id)
    stored = Dispatch.objects.filter(
        pk=row.pk, outcome=Dispatch.Outcome.STORED, commitment=row.commitment_id
    )
    now = timezone.now()
    if instance.lease_expires_at is not None and instance.lease_expires_at > now:
        again_at = now + datetime.timedelta(seconds=settings.ECG_LEASE_S)
        stored.update(proof_due_at=again_at, proof_error=cause[: leases.TEXT_LENGTH])
        return False
    if row.report.aged_out_at is not None:
        log.error("missing at its peer, and aged out here", dispatch=row.pk)
        stored.update(proof_due_at=None, proof_error=cause[: leases.TEXT_LENGTH])
        return False
    changed = stored.update(
        **UNASKED,
        outcome=Dispatch.Outcome.WAITING,
        ended_at=None,
        proof_error=cause[: leases.TEXT_LENGTH],
    )
    if not changed:
        return False
    log.warning("missing at its peer", instance=instance.pk, dispatch=row.pk, cause=cause)
    times = _times_sent(row)
    if instance.state in (State.DELIVERED, State.PROVEN):
        _bring_back(instance, cause, wait_s=_wait_s(times))
    if times >= settings.ECG_ATTEMPTS:
        _end(instance, f"{cause}, though it was sent {times} times")
    return True


def _bring_back(instance: Instance, cause: str, *, wait_s: float) -> None:
    origin = State(instance.state)
    target, now = follow(origin, Event.MISS), timezone.now()
    moved = Instance.objects.filter(pk=instance.pk, state=origin).update(
        state=target,
        state_since=now,
        attempts=0,
        not_before=now + datetime.timedelta(seconds=wait_s),
        last_error=cause[: leases.TEXT_LENGTH],
        lease_token=None,
        lease_expires_at=None,
    )
    if moved:
        leases.append_transition(
            instance,
            origin,
            target,
            event=Event.MISS,
            actor=leases.actor("proof"),
            detail=cause,
            at=now,
        )


def _end(instance: Instance, reason: str) -> None:
    """Give the instance up as a Courier would: a person sets it going again."""
    Instance.objects.filter(pk=instance.pk, state=State.REPORTED).update(not_before=timezone.now())
    for claimed in leases.claim(State.REPORTED, ids=[instance.pk]):
        leases.give_up(claimed, reason, actor=leases.actor("proof"))


def _times_sent(row: Dispatch) -> int:
    """Count how often the Peer has taken it since a person last set its instance going again."""
    sent = Delivery.objects.filter(
        report=row.report_id,
        peer=row.peer_id,
        outcome__in=(Delivery.Outcome.STORED, Delivery.Outcome.WARNING),
    )
    resumed = row.report.instance.transitions.filter(
        Q(event=Event.RESUME_DELIVERY) | Q(event=Event.RESUME_COMPOSITION)
    ).last()
    return (sent.filter(attempted_at__gt=resumed.at) if resumed else sent).count()


def _wait_s(times: int) -> float:
    """Return the back-off: the first miss is mended at once."""
    if times <= 1:
        return 0.0
    return float(min(leases.MAX_BACKOFF_S, settings.ECG_BACKOFF_S * 2.0 ** min(times - 2, 20)))


def _shown(instance: int) -> str:
    rows = Dispatch.objects.filter(
        report__instance=instance, outcome=Dispatch.Outcome.STORED, proven_at__isnull=False
    )
    pairs = rows.order_by("peer__title").values_list("peer__title", "proven_by").distinct()
    return "; ".join(f"{title}: {Dispatch.Means(means).label}" for title, means in pairs)
