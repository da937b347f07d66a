"""The SCU: ask whether a peer is there, and send it objects.

One call is one association. Every wait has a limit. Trouble before the first answer is a typed
error that says whether trying again can help; after that every file has an outcome.
"""

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import A_ABORT
from pynetdicom.presentation import build_context

from dicom_node.contexts import (
    EXPLICIT_LE,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    IMPLICIT_LE,
    VERIFICATION,
)
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import (
    AssociationAborted,
    AssociationError,
    AssociationRejected,
    NoAcceptedContext,
    NotSendable,
    PeerTimeout,
    PeerUnreachable,
    RejectedForGood,
    RejectedForNow,
)
from dicom_node.status import Kind, Status, judge
from dicom_node.wire import BoundedSocket

_log = logging.getLogger(__name__)

# An object is re-encoded between these two without a change of any value.
_CONVERTIBLE: Final = (EXPLICIT_LE, IMPLICIT_LE)
_THREAD_END_S: Final = 5.0


@dataclass(frozen=True)
class Timeouts:
    """How long the SCU waits, in seconds.

    Attributes
    ----------
    connect_s : float
        For the TCP connection.
    association_s : float
        For the answer to an association request, and to a release.
    response_s : float
        For the answer to a request, once it is sent.
    network_s : float
        For any single PDU, sent or received.
    """

    connect_s: float = 10.0
    association_s: float = 20.0
    response_s: float = 60.0
    network_s: float = 60.0


@dataclass(frozen=True)
class StoreOutcome:
    """What became of one file.

    Attributes
    ----------
    sop_instance_uid : str
        The object's UID; empty when the file could not be read.
    status : int or None
        The peer's answer; ``None`` when there was none for this file.
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


def echo(peer: ApplicationEntity, *, calling_title: str, timeouts: Timeouts | None = None) -> None:
    """Ask a peer for a sign of life (C-ECHO, PS3.4 Annex A). Returns when it answers success.

    Raises
    ------
    AssociationError
        The kind says what went wrong.
    """
    contexts = [build_context(VERIFICATION, list(_CONVERTIBLE))]
    with _associate(peer, calling_title, contexts, timeouts or Timeouts()) as call:
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

    Returns
    -------
    list of StoreOutcome
        One for each path, in order. When the association breaks after an answer was got, the
        files without an answer have the kind ``retry``.

    Raises
    ------
    NotSendable
        When no path leads to a DICOM file.
    AssociationError
        When no file got an answer because there was no association, or it broke.
    """
    parcels = [_read_parcel(path) for path in paths]
    contexts = _contexts(parcels)
    if not contexts:
        raise NotSendable("none of the files is a DICOM object with File Meta Information")
    outcomes: list[StoreOutcome] = []
    answered = False
    with _associate(peer, calling_title, contexts, timeouts or Timeouts()) as call:
        broken: AssociationError | None = None
        for number, parcel in enumerate(parcels, start=1):
            if parcel.fault is not None:
                outcomes.append(StoreOutcome("", None, "refused", parcel.fault))
                continue
            if broken is None:
                outcome = call.send(parcel, message_id=number % 0xFFFF + 1)
                if outcome is not None:
                    answered = answered or outcome.status is not None
                    outcomes.append(outcome)
                    continue
                broken = call.failure()
                if not answered:
                    raise broken
            outcomes.append(StoreOutcome(parcel.sop_instance_uid, None, "retry", str(broken)))
    return outcomes


@dataclass(frozen=True)
class _Parcel:
    path: Path
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    transfer_syntax_uid: str = ""
    fault: str | None = None


def _read_parcel(path: Path) -> _Parcel:
    try:
        ds = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        return _Parcel(
            path,
            sop_class_uid=str(ds.SOPClassUID),
            sop_instance_uid=str(ds.SOPInstanceUID),
            transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
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


class _Call:
    """An association under way, and what was seen of its end."""

    def __init__(self) -> None:
        self.association: Any = None
        self._aborted_by_peer = False
        self._connection_lost = False

    def handlers(self) -> list[tuple[Any, Any]]:
        return [(evt.EVT_ACSE_RECV, self._received)]

    def _received(self, event: Any) -> None:
        # A_ABORT is the peer's; A_P_ABORT is our own upper layer speaking of a lost connection.
        name = type(event.primitive).__name__
        self._aborted_by_peer |= isinstance(event.primitive, A_ABORT)
        self._connection_lost |= name == "A_P_ABORT"

    def failure(self) -> AssociationError:
        """Say why the association is no more."""
        association = self.association
        if association.is_alive():
            association.join(_THREAD_END_S)
        answer = association.acceptor.primitive
        if association.is_rejected and answer is not None:
            kind: type[AssociationRejected] = (
                RejectedForNow if answer.result == 2 else RejectedForGood
            )
            return kind(
                result=answer.result, source=answer.result_source, diagnostic=answer.diagnostic
            )
        if self.association.dul.socket.fault is not None:
            return _unreachable(self.association.dul.socket.fault)
        if self._aborted_by_peer:
            return AssociationAborted("the peer aborted the association")
        if self._connection_lost:
            return AssociationAborted("the connection to the peer was lost")
        if association.rejected_contexts and not association.accepted_contexts:
            return NoAcceptedContext("the peer takes none of the proposed presentation contexts")
        return PeerTimeout("the peer did not answer in time")

    def send(self, parcel: _Parcel, *, message_id: int) -> StoreOutcome | None:
        """Send one object; ``None`` when the association broke."""
        if not self.association.is_established:
            return None
        uid = parcel.sop_instance_uid
        try:
            answer: Dataset = self.association.send_c_store(parcel.path, msg_id=message_id)
        except ValueError:
            return StoreOutcome(
                uid, None, "refused", "the peer takes no such object in this transfer syntax"
            )
        except RuntimeError:
            return None
        if "Status" not in answer:
            return None
        kind, reason = judge(answer.Status)
        return StoreOutcome(uid, answer.Status, kind, reason, str(answer.get("ErrorComment", "")))


@contextmanager
def _associate(
    peer: ApplicationEntity, calling_title: str, contexts: list[Any], timeouts: Timeouts
) -> Iterator[_Call]:
    call = _Call()
    ae = _Caller(calling_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.connection_timeout = timeouts.connect_s
    ae.acse_timeout = timeouts.association_s
    ae.dimse_timeout = timeouts.response_s
    ae.network_timeout = timeouts.network_s
    try:
        call.association = ae.associate(
            peer.host,
            peer.port,
            contexts=contexts,
            ae_title=peer.title,
            evt_handlers=call.handlers(),
        )
    except socket.gaierror as fault:
        raise PeerUnreachable("the peer's host name cannot be resolved") from fault
    except OSError as fault:
        raise _unreachable(fault) from fault
    association = call.association
    try:
        if not association.is_established:
            raise call.failure()
        yield call
        if association.is_established:
            association.release()
    finally:
        if association.is_established:
            association.abort()
        _end(association)


def _unreachable(fault: OSError) -> PeerUnreachable:
    if isinstance(fault, TimeoutError):
        return PeerUnreachable("no connection: no answer in time")
    return PeerUnreachable(f"no connection: {fault.strerror or type(fault).__name__}")


def _end(association: Any) -> None:
    """Leave neither a thread nor a socket behind; pynetdicom does after some kinds of trouble."""
    if association.is_alive():
        association.join(_THREAD_END_S)
    association.dul.kill_dul()
    association.dul.socket.shut()
    if association.dul.is_alive():
        association.dul.join(_THREAD_END_S)


class _Caller(AE):  # type: ignore[misc]
    """pynetdicom's AE, calling through a socket on which no wait is endless."""

    def _create_socket(self, association: Any, address: Any, tls_args: Any) -> BoundedSocket:
        wrapped = BoundedSocket(association, address=address)
        wrapped.tls_args = tls_args
        wrapped.timeout_s = self.network_timeout
        return wrapped
