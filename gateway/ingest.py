"""One C-STORE becomes a file, a row and a status.

Success (0x0000) is answered only after the bytes are flushed under their final name and the row is
committed. Disk full, or nearly so (:mod:`gateway.intake`), or database down is 0xA700 (PS3.4 Table
B.2-1), on which a sender keeps its copy. A broker that is down is nobody's concern here.
"""

from __future__ import annotations

import os

import structlog
from django.db import DatabaseError, close_old_connections

from dicom_node.commitment import CommitmentResult
from dicom_node.custody import CommitmentRequest
from dicom_node.scp import AssociationRecord, Caller, ReceivedInstance, Refusal
from dicom_node.status import Status
from gateway import custody, intake, keeping, peers, proof, shared_commit
from gateway.models import Association, Door

log = structlog.get_logger(__name__)
ACTOR = f"listener:{os.getpid()}"

_reporters: set[tuple[str, str]] = set()
"""Who was let in for its reports alone, by title and address: objects of all others cost no
question."""


def admit(caller: Caller, *, title: str) -> Refusal | None:
    """Decide on an association request: None admits, a Refusal rejects it (PS3.8 9.3.4).

    An archive that only receives reports may come, to say what became of them (storage commitment);
    an object from it is refused.

    A database that is down refuses transiently, so that senders come back.
    """
    if caller.called_title != title:
        return Refusal.CALLED_UNKNOWN
    close_old_connections()
    try:
        who = (caller.title, caller.address)
        if peers.may_send(*who):
            _reporters.discard(who)
            return None
        if not peers.may_report(*who):
            return Refusal.CALLING_UNKNOWN
        _reporters.add(who)
        return None
    except DatabaseError as error:
        log.error("database away", error=type(error).__name__)
        return Refusal.UNDECIDED


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
        that was set aside (same UID, other bytes); OUT_OF_RESOURCES when it could not be kept;
        NOT_AUTHORISED for one of a Peer that may not send.
    """
    close_old_connections()
    try:
        who = (received.calling_title, received.calling_address)
        if who in _reporters and not peers.may_send(*who):
            log.warning("object refused: this Peer may not send", calling_title=who[0])
            return Status.NOT_AUTHORISED
        keeping.keep(
            keeping.Arrival(
                path=received.path,
                sop_class_uid=received.sop_class_uid,
                sop_instance_uid=received.sop_instance_uid,
                transfer_syntax_uid=received.transfer_syntax_uid,
                sha256=received.sha256_dataset,
                sender=received.calling_title,
                door=Door.STORE,
                actor=ACTOR,
                association_id=received.association_id,
                association_address=received.calling_address,
            )
        )
        return Status.SUCCESS
    except intake.IntakeShut:
        pass  # said once, when it began, and not for each of the objects that come meanwhile
    except (DatabaseError, OSError, keeping.NotToldApart) as error:
        log.error("object not kept", uid=received.sop_instance_uid, error=repr(error))
    finally:
        received.path.unlink(missing_ok=True)
    return Status.OUT_OF_RESOURCES


def take_commitment(caller: Caller, result: CommitmentResult) -> Status:
    """Take what an archive says of what it has stored; the status answers it."""
    close_old_connections()
    proof.answered(caller.title, result)
    return Status.SUCCESS


def take_request(caller: Caller, asked: CommitmentRequest) -> Status:
    """Take a sender's question whether we keep what it sent; the status answers it."""
    close_old_connections()
    return custody.take(caller, asked)


def record(association: AssociationRecord) -> None:
    """Write down how an association ended, or that it was refused and why.

    An association that has just begun is not written: its row comes with its first object, in the
    transaction that has to be flushed anyway, or at its end.
    """
    if association.outcome == "accepted":
        return
    close_old_connections()
    keeping.forget(association.association_id)
    values = {
        "calling_title": association.calling_title,
        "called_title": association.called_title,
        "address": association.address,
        "outcome": association.outcome,
        "reason": association.reason,
        "instances_count": association.instances_count,
        "started_at": association.started_at,
        "ended_at": association.ended_at,
    }

    def write() -> None:
        if not Association.objects.filter(uid=association.association_id).update(**values):
            Association.objects.create(uid=association.association_id, **values)

    shared_commit.run(write)
