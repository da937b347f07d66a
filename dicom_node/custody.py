"""Storage commitment as its SCP (PS3.4 Annex J): read what a sender asks, and report what we keep.

The request is an N-ACTION on an association of the sender's; it is read here and answered by
:class:`dicom_node.scp.StorageSCP`. The result goes out as an N-EVENT-REPORT on an association of
ours, on which we are the SCP: that is what role selection is for (PS3.4 section J.3.3).
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pynetdicom import build_role
from pynetdicom.presentation import build_context

from dicom_node.calling import associate
from dicom_node.command import TAKEN_UID, Command
from dicom_node.commitment import (
    MAX_RESULT_BYTES,
    REQUEST_COMMITMENT,
    SYNTAXES,
    WELL_KNOWN_INSTANCE,
    CommitmentResult,
    Reference,
)
from dicom_node.contexts import IMPLICIT_LE, STORAGE_COMMITMENT
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import NoAcceptedContext, RequestNotTaken, ResultNotTaken, ResultRefused
from dicom_node.status import Status, judge
from dicom_node.timeouts import Timeouts

MAX_REFERENCES: Final = 5000
"""The most objects one request may name: so many fit into :data:`MAX_RESULT_BYTES`, in the request
and in its result, however long their UIDs are, and the bytes of so many pictures can be read again
in about a minute."""

# PS3.4 Table J.3-2: all objects are kept; some are not.
_ALL_KEPT: Final = 1
_SOME_FAILED: Final = 2
_TRANSACTION_UID: Final = Tag(0x0008, 0x1195)
_REFERENCES: Final = Tag(0x0008, 0x1199)
_FAILED: Final = Tag(0x0008, 0x1198)
_REASON: Final = Tag(0x0008, 0x1197)
_CLASS_UID: Final = Tag(0x0008, 0x1150)
_INSTANCE_UID: Final = Tag(0x0008, 0x1155)


@dataclass(frozen=True)
class CommitmentRequest:
    """What a sender asks us to commit ourselves to: each object once, at least one."""

    transaction_uid: str
    references: tuple[Reference, ...]


def parse_request(
    command: Command, encoded: bytes, *, transfer_syntax_uid: str
) -> CommitmentRequest:
    """Read an N-ACTION that requests storage commitment (PS3.4 Table J.3-1).

    Parameters
    ----------
    command : Command
        Its command set.
    encoded : bytes
        Its Action Information.

    Raises
    ------
    RequestNotTaken
        It is none that can be taken; the error's status answers it (PS3.7 section 10.1.4.1.10):
        0x0122 or 0x0112 for another SOP Class or instance than the well-known one, 0x0123 for
        another action, 0x0115 for a data set without a legal Transaction UID or references,
        0x0213 for too long a one.
    """
    if command.sop_class_uid != STORAGE_COMMITMENT:
        raise RequestNotTaken(Status.SOP_CLASS_NOT_SUPPORTED, "of another SOP Class")
    if command.sop_instance_uid != WELL_KNOWN_INSTANCE:
        raise RequestNotTaken(Status.NO_SUCH_OBJECT_INSTANCE, "not of the well-known instance")
    if command.action_type != REQUEST_COMMITMENT:
        raise RequestNotTaken(Status.NO_SUCH_ACTION, f"for action {command.action_type}")
    if len(encoded) > MAX_RESULT_BYTES:
        raise RequestNotTaken(Status.RESOURCE_LIMITATION, f"of more than {MAX_RESULT_BYTES} bytes")
    try:
        ds = read_dataset(
            BytesIO(encoded),
            is_implicit_VR=transfer_syntax_uid == IMPLICIT_LE,
            is_little_endian=True,
        )
        transaction_uid = _uid(ds, _TRANSACTION_UID)
        items = ds[_REFERENCES].value
        if len(items) > MAX_REFERENCES:
            raise RequestNotTaken(
                Status.RESOURCE_LIMITATION, f"of {len(items)} objects, {MAX_REFERENCES} at most"
            )
        named = [Reference(_uid(item, _CLASS_UID), _uid(item, _INSTANCE_UID)) for item in items]
    except RequestNotTaken:
        raise
    except Exception as fault:
        raise RequestNotTaken(
            Status.INVALID_ARGUMENT_VALUE,
            f"whose data set is none ({type(fault).__name__})",
        ) from fault
    if not named:
        raise RequestNotTaken(Status.INVALID_ARGUMENT_VALUE, "that names no object")
    return CommitmentRequest(transaction_uid, tuple(dict.fromkeys(named)))


def send_result(
    peer: ApplicationEntity,
    result: CommitmentResult,
    *,
    calling_title: str,
    timeouts: Timeouts | None = None,
) -> None:
    """Tell a sender what we keep of what it asked for (N-EVENT-REPORT, PS3.4 section J.3.3).

    Returns when the sender has taken it.

    Parameters
    ----------
    peer : ApplicationEntity
        Who asked.
    result : CommitmentResult
        Each object in one of its two lists.
    calling_title : str
        Our AE title: the one that was asked.

    Raises
    ------
    ValueError
        The result is about no object.
    NoAcceptedContext
        The peer does not take storage commitment, or not with us as its SCP.
    AssociationError
        The other kinds: the report was not answered.
    ResultRefused, ResultNotTaken
        It was, with a failure that will, or need not, come again.
    """
    if not (result.committed or result.failed):
        raise ValueError("expected a result about at least one object, received none")
    contexts = [build_context(STORAGE_COMMITMENT, list(SYNTAXES))]
    role = build_role(STORAGE_COMMITMENT, scp_role=True)
    with associate(peer, calling_title, contexts, timeouts or Timeouts(), roles=[role]) as call:
        if not any(context.as_scp for context in call.association.accepted_contexts):
            raise NoAcceptedContext(
                "the peer takes storage commitment, but not us as its SCP (role selection)"
            )
        try:
            status, _ = call.association.send_n_event_report(
                _event_information(result),
                _SOME_FAILED if result.failed else _ALL_KEPT,
                STORAGE_COMMITMENT,
                WELL_KNOWN_INSTANCE,
            )
        except RuntimeError as fault:  # the association is no more
            raise call.failure() from fault
        if "Status" not in status:
            raise call.failure()
        kind, _ = judge(status.Status)
        if status.Status != Status.SUCCESS and kind != "warning":
            raise (ResultNotTaken if kind == "retry" else ResultRefused)(status.Status)


def _event_information(result: CommitmentResult) -> Dataset:
    ds = Dataset()
    _add(ds, _TRANSACTION_UID, "UI", result.transaction_uid)
    # Both are of type 1C: there, or not empty (PS3.4 Table J.3-2).
    if result.committed:
        _add(ds, _REFERENCES, "SQ", [_item(one) for one in result.committed])
    if result.failed:
        failed = []
        for one in result.failed:
            item = _item(one.reference)
            _add(item, _REASON, "US", one.reason)
            failed.append(item)
        _add(ds, _FAILED, "SQ", failed)
    return ds


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    _add(item, _CLASS_UID, "UI", reference.sop_class_uid)
    _add(item, _INSTANCE_UID, "UI", reference.sop_instance_uid)
    return item


def _add(ds: Dataset, tag: BaseTag, vr: str, value: Any) -> None:
    """Write a value as it is: a UID that breaks the rules is repeated to whoever sent it."""
    ds[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)


def _uid(ds: Dataset, tag: BaseTag) -> str:
    """Return a UID as it came, without its padding."""
    # Not converted: pydicom would warn of rules that are broken in hospitals every day.
    value = ds.get_item(tag).value
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    uid = text.rstrip("\0 ")
    if not TAKEN_UID.fullmatch(uid):
        raise ValueError("no UID")
    return uid
