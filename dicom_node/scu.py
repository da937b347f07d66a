"""The SCU: ask whether a peer is there, and send it objects; look what it holds, and fetch it.

One call is one association. Every wait has a limit. Trouble before the first answer is a typed
error that says whether trying again can help; after that every file has an outcome.

Queries are in :mod:`dicom_node.query` and retrieval is in :mod:`dicom_node.retrieve`; this is the
door to all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pynetdicom import _config
from pynetdicom.presentation import build_context

from dicom_node.calling import Call, associate
from dicom_node.contexts import EXPLICIT_LE, IMPLICIT_LE, VERIFICATION
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import AssociationError, NotSendable
from dicom_node.query import find
from dicom_node.retrieve import RetrieveOutcome, get, move
from dicom_node.status import Kind, Status, judge
from dicom_node.timeouts import Timeouts

__all__ = [
    "RetrieveOutcome",
    "StoreOutcome",
    "Timeouts",
    "echo",
    "find",
    "get",
    "move",
    "store",
]

# What a peer takes as it is goes out fragment by fragment, not decoded and encoded again.
_config.STORE_SEND_CHUNKED_DATASET = True

# An object is re-encoded between these two without a change of any value.
_CONVERTIBLE: Final = (EXPLICIT_LE, IMPLICIT_LE)


@dataclass(frozen=True)
class StoreOutcome:
    """What became of one file.

    Attributes
    ----------
    sop_instance_uid : str
        The object's UID; empty when the file could not be read.
    status : int or None
        The peer's answer; ``None`` when there was none for this file.
    is_sent : bool
        Whether it was sent, answered or not.
    kind : {"stored", "warning", "retry", "refused"}
        See :func:`dicom_node.status.judge`.
    reason : str
        For people, without patient data.
    comment : str
        What the peer wrote in its Error Comment (0000,0902). Not ours, so it may name a patient:
        show it, do not log it.
    """

    sop_instance_uid: str
    status: int | None
    kind: Kind
    reason: str
    comment: str = ""
    is_sent: bool = False


def echo(peer: ApplicationEntity, *, calling_title: str, timeouts: Timeouts | None = None) -> None:
    """Ask a peer for a sign of life (C-ECHO, PS3.4 Annex A). Returns when it answers success.

    Raises
    ------
    AssociationError
        The kind says what went wrong.
    """
    contexts = [build_context(VERIFICATION, list(_CONVERTIBLE))]
    with associate(peer, calling_title, contexts, timeouts or Timeouts()) as call:
        answer = call.association.send_c_echo()
        if "Status" not in answer:
            raise call.failure()
        if answer.Status != Status.SUCCESS:
            raise AssociationError(f"the peer answered C-ECHO with 0x{answer.Status:04X}")


def store(
    peer: ApplicationEntity,
    paths: Sequence[Path],
    *,
    calling_title: str,
    timeouts: Timeouts | None = None,
    on_outcome: Callable[[int, StoreOutcome], None] | None = None,
    is_wanted: Callable[[int], bool] | None = None,
) -> list[StoreOutcome]:
    """Send DICOM files on one association (C-STORE, PS3.4 Annex B).

    Exactly what is sent is negotiated: for each SOP Class the transfer syntax of its files, and
    for Explicit or Implicit VR Little Endian the other of the two as well, on a presentation
    context of its own. The file's own syntax is used where the peer accepts it; the conversion
    changes no value. Compressed objects are never converted.

    Parameters
    ----------
    peer : ApplicationEntity
        Who gets the objects.
    paths : sequence of Path
        DICOM files with File Meta Information.
    calling_title : str
        Our AE title.
    on_outcome : callable, optional
        Called with the index of a path and its outcome as soon as that is known, before the next
        object is sent: what was answered can be kept though the rest takes long, or this process
        ends. What it raises aborts the association and is passed on.
    is_wanted : callable, optional
        Asked with the index of a path before it is sent, when the outcomes of those before it are
        known. What is not wanted after all has the kind ``retry`` and is not sent.

    Returns
    -------
    list of StoreOutcome
        One for each path, in order. When the association breaks, the file that was under way and
        those after it have the kind ``retry``; of these only the first was sent.

    Raises
    ------
    NotSendable
        When no path leads to a DICOM file.
    AssociationError
        When there was no association.
    """
    parcels = [_read_parcel(path) for path in paths]
    contexts = _contexts(parcels)
    if not contexts:
        raise NotSendable("none of the files is a DICOM object with File Meta Information")
    outcomes: list[StoreOutcome] = []

    def add(outcome: StoreOutcome) -> None:
        outcomes.append(outcome)
        if on_outcome is not None:
            on_outcome(len(outcomes) - 1, outcome)

    with associate(peer, calling_title, contexts, timeouts or Timeouts()) as call:
        broken = ""
        for number, parcel in enumerate(parcels, start=1):
            if parcel.fault is not None:
                add(StoreOutcome("", None, "refused", parcel.fault))
                continue
            if not broken and is_wanted is not None and not is_wanted(number - 1):
                uid = parcel.sop_instance_uid
                add(StoreOutcome(uid, None, "retry", "not sent after what came before it"))
                continue
            is_sent = not broken and call.association.is_established
            outcome = _send(call, parcel, message_id=number % 0xFFFF + 1) if is_sent else None
            if outcome is None:
                broken = broken or str(call.failure())
                uid = parcel.sop_instance_uid
                outcome = StoreOutcome(uid, None, "retry", broken, is_sent=is_sent)
            add(outcome)
    return outcomes


@dataclass(frozen=True)
class _Parcel:
    path: Path
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    transfer_syntax_uid: str = ""
    can_go_as_it_is: bool = False
    """Whether the File Meta Information names the object as its data set does, and the bytes are
    even in number, as those of a deflated stream need not be and those of a fragment must (PS3.5
    section 7.1.1, PS3.8 Annex E)."""
    fault: str | None = None


def _read_parcel(path: Path) -> _Parcel:
    try:
        ds = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        named = (
            ds.file_meta.get("MediaStorageSOPClassUID"),
            ds.file_meta.get("MediaStorageSOPInstanceUID"),
        )
        return _Parcel(
            path,
            sop_class_uid=str(ds.SOPClassUID),
            sop_instance_uid=str(ds.SOPInstanceUID),
            transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
            can_go_as_it_is=named == (ds.SOPClassUID, ds.SOPInstanceUID)
            and path.stat().st_size % 2 == 0,
        )
    except (InvalidDicomError, AttributeError, EOFError):
        return _Parcel(path, fault="the file is no DICOM object with File Meta Information")
    except OSError as fault:
        return _Parcel(path, fault=f"the file cannot be read: {fault.strerror}")


def _contexts(parcels: Sequence[_Parcel]) -> list[Any]:
    """Return the presentation contexts for what is sent: the files' own syntaxes first."""
    good = [parcel for parcel in parcels if parcel.fault is None]
    own = {(parcel.sop_class_uid, parcel.transfer_syntax_uid) for parcel in good}
    other = {
        (sop_class, syntax)
        for sop_class, own_syntax in own
        if own_syntax in _CONVERTIBLE
        for syntax in _CONVERTIBLE
    } - own
    return [build_context(*pair) for pair in (*sorted(own), *sorted(other))]


def _send(call: Call, parcel: _Parcel, *, message_id: int) -> StoreOutcome | None:
    """Send one object; ``None`` when the association broke."""
    uid = parcel.sop_instance_uid
    has_own = any(
        (context.abstract_syntax, context.transfer_syntax[0])
        == (parcel.sop_class_uid, parcel.transfer_syntax_uid)
        for context in call.association.accepted_contexts
    )
    try:
        content = parcel.path if has_own and parcel.can_go_as_it_is else dcmread(parcel.path)
        answer: Dataset = call.association.send_c_store(content, msg_id=message_id)
    except ValueError:
        return StoreOutcome(
            uid, None, "refused", "the peer takes no such object in this transfer syntax"
        )
    except RuntimeError:
        return None
    if "Status" not in answer:
        return None
    kind, reason = judge(answer.Status)
    comment = str(answer.get("ErrorComment", ""))
    return StoreOutcome(uid, answer.Status, kind, reason, comment, is_sent=True)
