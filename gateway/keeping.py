"""An object becomes a file, a row, a transition and a ring, whichever door it came through.

The order of things is what makes an acknowledgement true: the bytes are flushed under their final
name, the row is committed, and only then does :func:`keep` return.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog
from django.db import IntegrityError, transaction

from gateway import doorbell, inspection, intake, spool
from gateway.leases import append_transition
from gateway.models import Association, Door, Instance
from gateway.states import State

log = structlog.get_logger(__name__)

SET_ASIDE = "same UID as an earlier object, other bytes"


class NotToldApart(RuntimeError):
    """Two objects of one UID came at once, again and again."""


@dataclass(frozen=True)
class Arrival:
    """One object, complete and flushed, in the spool's ``incoming``.

    Attributes
    ----------
    path
        The file; whoever keeps it owns it.
    sender
        Whose title the row shows.
    is_named_by_content
        Its UID is a function of its content, so another object of that UID is the same ECG,
        whatever else differs, as the time it was made at. Objects of strangers promise no such
        thing.
    association
        Of a C-STORE: what the row of the association is made of, when it is not there yet.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    sha256: str
    sender: str
    door: Door
    actor: str
    is_named_by_content: bool = False
    association_id: str = ""
    association_address: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Kept:
    """The row of an object, and whether it is new."""

    instance: Instance
    is_new: bool


def keep(arrival: Arrival) -> Kept:
    """Keep one object durably and return its row: a new one, or the one it had already.

    Raises
    ------
    IntakeShut
        There is no room for it.
    DatabaseError, OSError
        It could not be kept; its file in ``incoming`` is gone or will be swept.
    """
    intake.require()
    for _ in range(2):
        try:
            return _keep(arrival)
        except IntegrityError:
            # Somebody else stored the same UID between our look and our insert; at the second
            # look it is there.
            continue
    raise NotToldApart(f"two objects of the UID {arrival.sop_instance_uid} at once")


def _keep(arrival: Arrival) -> Kept:
    same_uid = Instance.objects.filter(sop_instance_uid=arrival.sop_instance_uid)
    original = same_uid.filter(conflict_of__isnull=True).first()
    known = (
        original if arrival.is_named_by_content else same_uid.filter(sha256=arrival.sha256).first()
    )
    if known is not None:
        _heal(known, arrival)
        return Kept(known, is_new=False)

    size_bytes = arrival.path.stat().st_size
    name = spool.adopt(arrival.path)
    committing = False
    try:
        with transaction.atomic():
            state = State.SET_ASIDE if original else State.RECEIVED
            reason = SET_ASIDE if original else ""
            instance = Instance.objects.create(
                sop_instance_uid=arrival.sop_instance_uid,
                sop_class_uid=arrival.sop_class_uid,
                transfer_syntax_uid=arrival.transfer_syntax_uid,
                sha256=arrival.sha256,
                size_bytes=size_bytes,
                spool_name=name,
                calling_title=arrival.sender,
                door=arrival.door,
                association=_association(arrival),
                conflict_of=original,
                state=state,
                reason=reason,
            )
            append_transition(
                instance,
                None,
                state,
                event="receive",
                actor=arrival.actor,
                detail=reason or arrival.detail,
            )
            if state is State.RECEIVED:
                transaction.on_commit(
                    lambda: doorbell.ring(instance.pk, State.RECEIVED), robust=True
                )
            committing = True
    except BaseException:
        # A connection that broke during COMMIT leaves open whether the row exists. Then the file
        # stays: an orphan costs its bytes, a row without its file is a lost ECG.
        if not committing:
            arrival.path.parent.mkdir(parents=True, exist_ok=True)
            spool.locate(name).rename(arrival.path)
        raise
    log.info(
        "received",
        instance=instance.pk,
        uid=instance.sop_instance_uid,
        state=state.value,
        door=str(arrival.door),
    )
    return Kept(instance, is_new=True)


def _heal(known: Instance, arrival: Arrival) -> None:
    """Give a known object its file back if the spool has lost or damaged it."""
    target = spool.root() / known.spool_name
    is_same = known.sha256 == arrival.sha256 or arrival.is_named_by_content
    if is_same and known.aged_out_at is not None:
        _restore(known, arrival)
        return
    # Hashed: its sender may be here because it was told that we do not keep its bytes.
    if not is_same or inspection.fault_of(known) is None:
        return
    with transaction.atomic():
        known.sha256, known.size_bytes = arrival.sha256, arrival.path.stat().st_size
        known.sop_class_uid = arrival.sop_class_uid
        known.transfer_syntax_uid = arrival.transfer_syntax_uid
        known.save(update_fields=("sha256", "size_bytes", "sop_class_uid", "transfer_syntax_uid"))
        target.parent.mkdir(parents=True, exist_ok=True)
        arrival.path.rename(target)
        spool.sync_folder(target.parent)
    log.warning("spooled file restored by its sender", instance=known.pk)


def _restore(known: Instance, arrival: Arrival) -> None:
    """Keep an object again whose bytes were removed by the retention policy.

    Success promises its sender that we have it, so we do, for as long as the policy keeps any that
    comes today. It was reported once and is not again. The file has another name: whoever removes
    the old one may still be at it.
    """
    size_bytes = arrival.path.stat().st_size
    name = spool.adopt(arrival.path)
    with transaction.atomic():
        is_first = Instance.objects.filter(pk=known.pk, aged_out_at__isnull=False).update(
            sha256=arrival.sha256,
            size_bytes=size_bytes,
            sop_class_uid=arrival.sop_class_uid,
            transfer_syntax_uid=arrival.transfer_syntax_uid,
            spool_name=name,
            aged_out_at=None,
        )
        known.refresh_from_db()
        if is_first:
            state = State(known.state)
            append_transition(known, state, state, event="restore", actor=arrival.actor)
    if not is_first:
        spool.remove(name)  # another sender was faster; its file is the one of the row
        return
    log.info("kept again after it was aged out", instance=known.pk)


def _association(arrival: Arrival) -> Association | None:
    if not arrival.association_id:
        return None
    row, _ = Association.objects.get_or_create(
        uid=arrival.association_id,
        defaults={
            "calling_title": arrival.sender,
            "address": arrival.association_address,
            "outcome": Association.Outcome.ACCEPTED,
        },
    )
    return row
