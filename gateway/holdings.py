"""What we hold of what a sender names, by the bytes themselves (PS3.4 section J.3).

Each object is read from the spool and hashed: a row is not proof enough for somebody who is about
to delete the original.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

import structlog
from django.db import transaction

from dicom_node.commitment import CommitmentResult, FailedReference, Reference
from dicom_node.status import Status
from gateway import inspection, leases, retention, spool
from gateway.models import CustodyRequest, Instance, Transition
from gateway.states import State

log = structlog.get_logger(__name__)

_PAGE: Final = 200


def examine(row: CustodyRequest, goes_on: Callable[[], None] = lambda: None) -> CommitmentResult:
    """Return what we keep now of what a request names, by the bytes themselves.

    What is kept has a line in its trail before this returns, from which the days of the retention
    policy count anew.

    Parameters
    ----------
    row
    goes_on
        Called every few hundred objects; what it raises ends this.

    Raises
    ------
    SpoolError
        The spool is away.
    """
    committed: list[Reference] = []
    failed: list[FailedReference] = []
    named = [Reference(*one) for one in row.references]
    for page in (named[start : start + _PAGE] for start in range(0, len(named), _PAGE)):
        goes_on()
        here = {}
        for reference, instance, reason in _looked_at(row, page):
            if reason is None and instance is not None:
                here[reference] = instance.pk
            elif reason is not None:
                failed.append(FailedReference(reference, reason))
        promised = _promise(row, here.values())
        for reference, pk in here.items():
            if pk in promised:
                committed.append(reference)
            else:
                failed.append(FailedReference(reference, Status.NO_SUCH_OBJECT_INSTANCE))
    return CommitmentResult(row.transaction_uid, tuple(committed), tuple(failed))


def _looked_at(
    row: CustodyRequest, page: Sequence[Reference]
) -> Iterator[tuple[Reference, Instance | None, Status | None]]:
    """Yield each reference with its row and why it is not kept; None: it is.

    Whoever came with an object may ask for it, not only the sender whose title its row bears: carts
    are renamed, and a router passes on what others made. To know its UID is to have had it, and
    the answer tells no more than that we have it too.
    """
    uids = {reference.sop_instance_uid for reference in page}
    known = {
        instance.sop_instance_uid: instance
        for instance in Instance.objects.filter(
            sop_instance_uid__in=uids, conflict_of__isnull=True, aged_out_at__isnull=True
        )
    }
    # This sender had two objects of one UID: which of them it means to delete, it alone knows.
    doubtful = set(
        Instance.objects.filter(
            sop_instance_uid__in=uids, conflict_of__isnull=False, calling_title=row.calling_title
        ).values_list("sop_instance_uid", flat=True)
    )
    for reference in page:
        instance = known.get(reference.sop_instance_uid)
        if instance is None:
            yield reference, None, Status.NO_SUCH_OBJECT_INSTANCE
        elif instance.sop_class_uid != reference.sop_class_uid:
            yield reference, None, Status.CLASS_INSTANCE_CONFLICT
        elif reference.sop_instance_uid in doubtful:
            yield reference, None, Status.PROCESSING_FAILURE
        else:
            yield reference, instance, _fault_of(instance)


def _fault_of(instance: Instance) -> Status | None:
    try:
        fault = inspection.fault_of(instance)
    except OSError as error:
        log.error("spooled file not read", instance=instance.pk, error=repr(error))
        return Status.PROCESSING_FAILURE
    if fault is None:
        return None
    if not (spool.root() / "instances").is_dir():
        # Not mounted: that it is all lost is nothing to tell somebody who holds the copies.
        raise spool.SpoolError("expected the folder of pictures in the spool, found none")
    log.error("not committed to", instance=instance.pk, fault=fault.value)
    is_lost = fault is inspection.Fault.LOST
    return Status.NO_SUCH_OBJECT_INSTANCE if is_lost else Status.PROCESSING_FAILURE


def _promise(row: CustodyRequest, pks: Collection[int]) -> set[int]:
    """Write into the trail of each object that it is promised, once a request; return which are.

    What was aged out while we read it is not.
    """
    detail = f"to {row.calling_title}, transaction {row.transaction_uid}"
    with transaction.atomic():
        # Locked: a line of the trail says the state the row is in.
        instances = list(
            Instance.objects.select_for_update(of=("self",))
            .filter(pk__in=pks, aged_out_at__isnull=True)
            .order_by("pk")
        )
        noted = set(
            Transition.objects.filter(
                instance__in=pks,
                event=retention.COMMITTED,
                detail=detail,
                at__gte=row.requested_at,
            ).values_list("instance_id", flat=True)
        )
        for instance in instances:
            if instance.pk not in noted:
                state = State(instance.state)
                leases.append_transition(
                    instance,
                    state,
                    state,
                    event=retention.COMMITTED,
                    actor=leases.actor("steward"),
                    detail=detail,
                )
    return {instance.pk for instance in instances}
