"""One C-STORE becomes a file, a row and a status.

Success (0x0000) is answered only after the bytes are flushed under their final name and the row is
committed. Disk full or database down is 0xA700 (PS3.4 Table B.2-1), on which a sender keeps its
copy. A broker that is down is nobody's concern here.
"""

from __future__ import annotations

import os

import structlog
from django.db import (
    DatabaseError,
    IntegrityError,
    close_old_connections,
    connections,
    transaction,
)

from dicom_node.scp import AssociationRecord, Caller, ReceivedInstance, Refusal
from dicom_node.status import Status
from gateway import doorbell, peers, spool
from gateway.leases import append_transition
from gateway.models import Association, Instance
from gateway.states import State

log = structlog.get_logger(__name__)
ACTOR = f"listener:{os.getpid()}"


def admit(caller: Caller, *, title: str) -> Refusal | None:
    """Decide on an association request: None admits, a Refusal rejects it (PS3.8 9.3.4).

    A database that is down refuses transiently, so that senders come back.
    """
    if caller.called_title != title:
        return Refusal.CALLED_UNKNOWN
    close_old_connections()
    try:
        known = peers.may_send(caller.title, caller.address)
    except DatabaseError as error:
        log.error("database away", error=type(error).__name__)
        return Refusal.UNDECIDED
    return None if known else Refusal.CALLING_UNKNOWN


def receive(received: ReceivedInstance) -> Status:
    """Keep one object durably and say so.

    Parameters
    ----------
    received
        A complete, flushed file in the spool's ``incoming``; this function owns it from now on.

    Returns
    -------
    Status
        SUCCESS for an object that is safe now or was already (same UID, same bytes), and for one
        that was set aside (same UID, other bytes); OUT_OF_RESOURCES when it could not be kept.
    """
    close_old_connections()
    try:
        for _ in range(2):
            try:
                return _keep(received)
            except IntegrityError:
                # Another association stored the same UID between our look and our insert; at the
                # second look it is there.
                continue
        log.error("object could not be told apart", uid=received.sop_instance_uid)
    except (DatabaseError, OSError) as error:
        log.error("object not kept", uid=received.sop_instance_uid, error=repr(error))
    finally:
        received.path.unlink(missing_ok=True)
    return Status.OUT_OF_RESOURCES


def _keep(received: ReceivedInstance) -> Status:
    same_uid = Instance.objects.filter(sop_instance_uid=received.sop_instance_uid)
    known = same_uid.filter(sha256=received.sha256_dataset).first()
    if known is not None:
        _heal(known, received)
        return Status.SUCCESS

    size_bytes = received.path.stat().st_size
    name = spool.adopt(received.path)
    committing = False
    try:
        with transaction.atomic():
            original = same_uid.filter(conflict_of__isnull=True).first()
            state = State.SET_ASIDE if original else State.RECEIVED
            reason = "same UID as an earlier object, other bytes" if original else ""
            instance = Instance.objects.create(
                sop_instance_uid=received.sop_instance_uid,
                sop_class_uid=received.sop_class_uid,
                transfer_syntax_uid=received.transfer_syntax_uid,
                sha256=received.sha256_dataset,
                size_bytes=size_bytes,
                spool_name=name,
                calling_title=received.calling_title,
                association=_association(received),
                conflict_of=original,
                state=state,
                reason=reason,
            )
            append_transition(instance, None, state, event="receive", actor=ACTOR, detail=reason)
            if state is State.RECEIVED:
                transaction.on_commit(
                    lambda: doorbell.ring(instance.pk, State.RECEIVED), robust=True
                )
            committing = True
    except BaseException:
        # A connection that broke during COMMIT leaves open whether the row exists. Then the file
        # stays: an orphan costs its bytes, a row without its file is a lost ECG.
        if not committing:
            received.path.parent.mkdir(parents=True, exist_ok=True)
            spool.locate(name).rename(received.path)
        raise
    log.info("received", instance=instance.pk, uid=instance.sop_instance_uid, state=state.value)
    return Status.SUCCESS


def _heal(known: Instance, received: ReceivedInstance) -> None:
    """Give a known object its file back if the spool has lost it."""
    target = spool.root() / known.spool_name
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        received.path.rename(target)
        spool.sync_folder(target.parent)
        log.warning("spooled file restored by its sender", instance=known.pk)


def _association(received: ReceivedInstance) -> Association:
    row, _ = Association.objects.get_or_create(
        uid=received.association_id,
        defaults={
            "calling_title": received.calling_title,
            "address": received.calling_address,
            "outcome": Association.Outcome.ACCEPTED,
        },
    )
    return row


def record(association: AssociationRecord) -> None:
    """Write down how an association ended, or that it was refused and why.

    An association that has just begun is not written: its row comes with its first object, in the
    transaction that has to be flushed anyway, or at its end.
    """
    if association.outcome == "accepted":
        return
    try:
        close_old_connections()
        Association.objects.update_or_create(
            uid=association.association_id,
            defaults={
                "calling_title": association.calling_title,
                "called_title": association.called_title,
                "address": association.address,
                "outcome": association.outcome,
                "reason": association.reason,
                "instances_count": association.instances_count,
                "started_at": association.started_at,
                "ended_at": association.ended_at,
            },
        )
    finally:
        # The thread of the association ends here, and its connection to the database with it.
        connections.close_all()
