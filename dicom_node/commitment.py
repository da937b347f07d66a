"""Storage commitment (PS3.4 Annex J): ask an archive to answer for objects, and read its answer.

A C-STORE answered with success says that the archive took an object; commitment says that it keeps
it. The request is an N-ACTION on an association of ours. The answer is an N-EVENT-REPORT, on the
same association or, minutes or days later, on one that the archive opens: that one comes in at
:class:`dicom_node.scp.StorageSCP`. What senders ask of us is in :mod:`dicom_node.custody`.
"""

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pynetdicom import evt
from pynetdicom.presentation import build_context

from dicom_node.calling import Call, associate
from dicom_node.contexts import EXPLICIT_LE, IMPLICIT_LE, STORAGE_COMMITMENT
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import AnswerNotUnderstood, CommitmentFailed, CommitmentRefused
from dicom_node.status import Status, judge
from dicom_node.timeouts import Timeouts

SYNTAXES: Final = (EXPLICIT_LE, IMPLICIT_LE)
MAX_RESULT_BYTES: Final = 1 << 20

WELL_KNOWN_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""The one instance there is of the class (PS3.4 section J.3.5)."""
REQUEST_COMMITMENT: Final = 1
"""The one action there is (PS3.4 Table J.3-1)."""
# PS3.4 Table J.3-2: all objects are kept; some are not.
EVENT_TYPES: Final = frozenset({1, 2})
_POLL_S: Final = 0.05


@dataclass(frozen=True)
class Reference:
    """An object by its SOP Class and SOP Instance UID."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class FailedReference:
    """An object the archive does not answer for.

    ``reason`` is its Failure Reason (0008,1197), 0x0112 for one that it does not have (PS3.3
    section C.14.1.1); 0 where it gives none.
    """

    reference: Reference
    reason: int


@dataclass(frozen=True)
class CommitmentResult:
    """What an archive answers for and what it does not. No reference is in both."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[FailedReference, ...]


def new_transaction_uid() -> str:
    """Return a UID for a request, a random UUID under 2.25 (PS3.5 section B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def request(
    peer: ApplicationEntity,
    references: Sequence[Reference],
    *,
    transaction_uid: str,
    calling_title: str,
    timeouts: Timeouts | None = None,
    wait_s: float = 0.0,
) -> CommitmentResult | None:
    """Ask a peer to commit itself to objects (N-ACTION, PS3.4 section J.3.2).

    Parameters
    ----------
    peer : ApplicationEntity
        Who has to answer for the objects.
    references : sequence of Reference
        The objects, at least one.
    transaction_uid : str
        What the answer will be known by, see :func:`new_transaction_uid`.
    calling_title : str
        Our AE title; where the answer goes, when it comes on another association.
    wait_s : float
        How long the association is kept open for the answer to come on it.

    Returns
    -------
    CommitmentResult or None
        ``None`` when the request was accepted and its answer did not come in that time.

    Raises
    ------
    ValueError
        No references.
    NoAcceptedContext
        The peer knows no storage commitment.
    AssociationError
        The other kinds: no answer to the request was got.
    CommitmentRefused
        The peer refused the request.
    """
    if not references:
        raise ValueError("expected at least one reference, received none")
    timeouts = timeouts or Timeouts()
    # An archive that is at work is silent: that must not end the association we wait on.
    patient = replace(timeouts, network_s=max(timeouts.network_s, wait_s + timeouts.response_s))
    contexts = [build_context(STORAGE_COMMITMENT, list(SYNTAXES))]
    with associate(peer, calling_title, contexts, patient) as call:
        listener = _Listener(transaction_uid)
        listener.attach(call)
        try:
            status, _ = call.association.send_n_action(
                _action_information(transaction_uid, references),
                REQUEST_COMMITMENT,
                STORAGE_COMMITMENT,
                WELL_KNOWN_INSTANCE,
            )
        except RuntimeError as fault:  # the association is no more
            raise call.failure() from fault
        if "Status" not in status:
            raise call.failure()
        kind, _ = judge(status.Status)
        if status.Status != Status.SUCCESS and kind != "warning":
            raise (CommitmentFailed if kind == "retry" else CommitmentRefused)(status.Status)
        return listener.wait(call, wait_s)


def parse_result(encoded: bytes, *, transfer_syntax_uid: str) -> CommitmentResult:
    """Read the Event Information of an N-EVENT-REPORT (PS3.4 Table J.3-2).

    An object that is listed as committed and as failed counts as failed.

    Raises
    ------
    AnswerNotUnderstood
        Too long, no data set, or without what it needs.
    """
    if len(encoded) > MAX_RESULT_BYTES:
        raise AnswerNotUnderstood(
            f"a commitment result has at most {MAX_RESULT_BYTES} bytes, received {len(encoded)}"
        )
    try:
        ds = read_dataset(
            BytesIO(encoded),
            is_implicit_VR=transfer_syntax_uid == IMPLICIT_LE,
            is_little_endian=True,
        )
        result = _result(ds)
    except Exception as fault:
        raise AnswerNotUnderstood(
            f"expected a commitment result, received a data set that is none"
            f" ({type(fault).__name__})"
        ) from fault
    if not result.transaction_uid or not (result.committed or result.failed):
        raise AnswerNotUnderstood("a commitment result names no transaction or no object")
    return result


def _action_information(transaction_uid: str, references: Sequence[Reference]) -> Dataset:
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    items = []
    for reference in references:
        item = Dataset()
        item.ReferencedSOPClassUID = reference.sop_class_uid
        item.ReferencedSOPInstanceUID = reference.sop_instance_uid
        items.append(item)
    ds.ReferencedSOPSequence = items
    return ds


def _result(ds: Dataset) -> CommitmentResult:
    failed = tuple(
        FailedReference(_reference(item), int(item.get("FailureReason") or 0))
        for item in ds.get("FailedSOPSequence") or ()
    )
    lost = {one.reference.sop_instance_uid for one in failed}
    named = (_reference(item) for item in ds.get("ReferencedSOPSequence") or ())
    return CommitmentResult(
        transaction_uid=str(ds.TransactionUID),
        committed=tuple(one for one in named if one.sop_instance_uid not in lost),
        failed=failed,
    )


def _reference(item: Dataset) -> Reference:
    reference = Reference(str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
    if not reference.sop_class_uid or not reference.sop_instance_uid:
        raise ValueError("a reference without a UID")
    return reference


class _Listener:
    """Takes the N-EVENT-REPORT that comes on the association of the request."""

    def __init__(self, transaction_uid: str) -> None:
        self._transaction_uid = transaction_uid
        self._result: CommitmentResult | None = None
        self._answered = threading.Event()

    def attach(self, call: Call) -> None:
        call.association.bind(evt.EVT_N_EVENT_REPORT, self._reported)
        call.association.bind(evt.EVT_PDU_SENT, self._sent)

    def wait(self, call: Call, wait_s: float) -> CommitmentResult | None:
        deadline = time.monotonic() + wait_s
        while call.association.is_established and time.monotonic() < deadline:
            if self._answered.wait(_POLL_S):
                break
        return self._result

    def _reported(self, event: Any) -> tuple[int, None]:
        if event.event_type not in EVENT_TYPES:
            return Status.NO_SUCH_EVENT_TYPE, None
        information = event.request.EventInformation
        try:
            result = parse_result(
                information.getvalue() if information is not None else b"",
                transfer_syntax_uid=str(event.context.transfer_syntax),
            )
        except AnswerNotUnderstood:
            return Status.INVALID_ARGUMENT_VALUE, None
        if result.transaction_uid != self._transaction_uid:
            # Not asked for here: whoever asked has to hear of it, on an association of its own.
            return Status.PROCESSING_FAILURE, None
        self._result = result
        return Status.SUCCESS, None

    def _sent(self, event: Any) -> None:
        # A release must not overtake our response; it is what is sent once there is a result.
        if self._result is not None and type(event.pdu).__name__ == "P_DATA_TF":
            self._answered.set()
