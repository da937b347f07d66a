"""An object becomes a file, a row, a transition and a ring, whichever door it came through.

The order of things is what makes an acknowledgement true: the bytes are flushed under their final
name, the row is committed, and only then does :func:`keep` return.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import structlog
from django.db import IntegrityError, transaction

from gateway import doorbell, inspection, intake, shared_commit, spool
from gateway.leases import append_transition
from gateway.models import Association, Door, Instance
from gateway.states import State

log = structlog.get_logger(__name__)

SET_ASIDE = "same UID as an earlier object, other bytes"


_association_rows: dict[str, int] = {}
"""The committed rows of associations that are open, by UID; each object would look its own up."""


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
    for _ in range(3):
        try:
            return _keep(arrival)
        except IntegrityError:
            # Somebody else stored the same UID between our look and our insert, and at the next
            # look it is there; or the row of the association was removed while it is open.
            continue
    raise NotToldApart(f"two objects of the UID {arrival.sop_instance_uid} at once")


def forget(association_id: str) -> None:
    """Forget an association that is over."""
    _association_rows.pop(association_id, None)


def _keep(arrival: Arrival) -> Kept:
    original_id, known_id = _earlier(arrival)
    if known_id is not None:
        known = Instance.objects.get(pk=known_id)
        _heal(known, arrival)
        return Kept(known, is_new=False)

    state = State.RECEIVED if original_id is None else State.SET_ASIDE
    reason = "" if original_id is None else SET_ASIDE
    size_bytes = arrival.path.stat().st_size
    name = spool.adopt(arrival.path)
    instance: Instance | None = None

    def write() -> None:
        nonlocal instance
        instance = None
        row = Instance.objects.create(
            sop_instance_uid=arrival.sop_instance_uid,
            sop_class_uid=arrival.sop_class_uid,
            transfer_syntax_uid=arrival.transfer_syntax_uid,
            sha256=arrival.sha256,
            size_bytes=size_bytes,
            spool_name=name,
            calling_title=arrival.sender,
            door=arrival.door,
            association_id=_association_rows.get(arrival.association_id) or _association(arrival),
            conflict_of_id=original_id,
            state=state,
            reason=reason,
        )
        append_transition(
            row,
            None,
            state,
            event="receive",
            actor=arrival.actor,
            detail=reason or arrival.detail,
        )
        instance = row

    try:
        shared_commit.run(write)
    except shared_commit.CommitUnknown:
        # The file stays: an orphan costs its bytes, a row without its file is a lost ECG.
        forget(arrival.association_id)
        raise
    except BaseException:
        forget(arrival.association_id)
        arrival.path.parent.mkdir(parents=True, exist_ok=True)
        spool.locate(name).rename(arrival.path)
        raise
    kept = cast(Instance, instance)
    if kept.association_id is not None:
        _association_rows[arrival.association_id] = kept.association_id
    if state is State.RECEIVED:
        transaction.on_commit(lambda: doorbell.ring(kept.pk, State.RECEIVED), robust=True)
    log.info(
        "received",
        instance=kept.pk,
        uid=kept.sop_instance_uid,
        state=state.value,
        door=str(arrival.door),
    )
    return Kept(kept, is_new=True)


def _heal(known: Instance, arrival: Arrival) -> None:
    """Give a known object its file back if the spool has lost or damaged it."""
    target = spool.root() / known.spool_name
    is_same = known.sha256 == arrival.sha256 or arrival.is_named_by_content
    if is_same and known.aged_out_at is not None:
        _restore(known, arrival)
        return
    if not is_same or _is_whole(known):
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


def _is_whole(known: Instance) -> bool:
    """Return whether the spool has an object's bytes, read and hashed.

    Its sender may be here because it was told that we do not keep them, or cannot read them.
    """
    try:
        return inspection.fault_of(known) is None
    except OSError as error:
        log.error("spooled file cannot be read", instance=known.pk, error=repr(error))
        return False


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


def _earlier(arrival: Arrival) -> tuple[int | None, int | None]:
    """Return the rows that hold this UID and this very object, None where there is none."""
    rows = list(
        Instance.objects.filter(sop_instance_uid=arrival.sop_instance_uid)
        .order_by("pk")
        .values_list("pk", "sha256", "conflict_of")
    )
    original = next((pk for pk, _, conflict_of in rows if conflict_of is None), None)
    same = next((pk for pk, sha256, _ in rows if sha256 == arrival.sha256), None)
    return original, original if arrival.is_named_by_content else same


def _association(arrival: Arrival) -> int | None:
    if not arrival.association_id:
        return None
    row = Association(
        uid=arrival.association_id,
        calling_title=arrival.sender,
        address=arrival.association_address,
        outcome=Association.Outcome.ACCEPTED,
    )
    # One statement, whether the row is there or not; its address is the same in either case.
    Association.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["uid"], update_fields=["address"]
    )
    return row.pk
