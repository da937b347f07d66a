"""One association that we ask for: opened, looked after, and ended whatever happens.

Every wait has a limit. Trouble is a typed error that says whether trying again can help.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import A_ABORT

from dicom_node.contexts import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import (
    AssociationAborted,
    AssociationError,
    AssociationRejected,
    NoAcceptedContext,
    PeerTimeout,
    PeerUnreachable,
    RejectedForGood,
    RejectedForNow,
)
from dicom_node.timeouts import Timeouts
from dicom_node.wire import BoundedSocket

_THREAD_END_S: Final = 5.0


class Call:
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


@contextmanager
def associate(
    peer: ApplicationEntity,
    calling_title: str,
    contexts: list[Any],
    timeouts: Timeouts,
    *,
    roles: Sequence[Any] = (),
) -> Iterator[Call]:
    """Open an association, and release it at the end; abort it when the block raises.

    Parameters
    ----------
    contexts : list of PresentationContext
        What is proposed.
    roles : sequence of SCP_SCU_RoleSelectionNegotiation
        The roles we propose for them (PS3.7 section D.3.3.4).

    Raises
    ------
    AssociationError
        When there is no association; the kind says why.
    """
    call = Call()
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
            ext_neg=list(roles),
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
