"""The acceptor's side of the upper layer (PS3.8) on one connection and one thread.

pynetdicom has two threads and three queues for a connection, each looking every millisecond whether
there is something to do; twenty senders at once then cost a core without sending anything. A
storage service has one thing to do at a time, so here one thread waits for the next PDU, and what
it says is done before the next is read. The PDUs of the negotiation are pynetdicom's.

No wait is endless, and no PDU is longer than :data:`dicom_node.wire.MAX_PDU_BYTES`.
"""

import contextlib
import socket as sockets
import struct
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import negotiate_as_acceptor

from dicom_node.wire import MAX_PDU_BYTES

# PDU types of PS3.8 section 9.3.
ASSOCIATE_RQ: Final = 0x01
ASSOCIATE_AC: Final = 0x02
ASSOCIATE_RJ: Final = 0x03
DATA_TF: Final = 0x04
RELEASE_RQ: Final = 0x05
RELEASE_RP: Final = 0x06
ABORT: Final = 0x07

#: A-ASSOCIATE-RJ for a protocol version that is not ours (PS3.8 Table 9-21).
VERSION_NOT_SUPPORTED: Final = (1, 2, 2)

_HEADER: Final = struct.Struct(">BxL")
_ITEM: Final = struct.Struct(">LB")
_USUAL_PDU_BYTES: Final = 128 * 1024
_APPLICATION_CONTEXT: Final = UID("1.2.840.10008.3.1.1.1")
_LINGER_S: Final = 0.5
_PROVIDER: Final = 2


class PDUFault(ValueError):
    """What the peer sent is no PDU that may come now."""


class Wire:
    """PDUs in and out of an accepted connection.

    Parameters
    ----------
    timeout_s : float
        For any single PDU to come or to go; see :meth:`limit`.
    """

    def __init__(self, client: sockets.socket, *, timeout_s: float) -> None:
        # The kernel keeps the time: Python's own timeouts cost a second system call for each read.
        client.setblocking(True)
        # An answer is one short PDU; TCP would keep it back until the last one is acknowledged.
        client.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        self._client = client
        self._sending = threading.Lock()
        self._header = bytearray(_HEADER.size)
        self._body = bytearray(_USUAL_PDU_BYTES)
        self.limit(timeout_s)

    def limit(self, timeout_s: float) -> None:
        """Let no PDU take longer than this, from now on, the wait for its first byte apart."""
        self._timeout_s = timeout_s
        whole_s = int(timeout_s)
        time_value = struct.pack("ll", whole_s, max(1, int((timeout_s - whole_s) * 1e6)))
        for option in (sockets.SO_RCVTIMEO, sockets.SO_SNDTIMEO):
            self._client.setsockopt(sockets.SOL_SOCKET, option, time_value)

    def read(self) -> tuple[int, memoryview]:
        """Return type and body of the next PDU; the body holds until the next call.

        Raises
        ------
        EOFError
            When the peer closed the connection.
        PDUFault
            When the type is unknown or the length beyond any that we take.
        OSError
            When the connection broke, or the PDU did not come in time.
        """
        self._fill(memoryview(self._header))
        kind, length = _HEADER.unpack(self._header)
        if not ASSOCIATE_RQ <= kind <= ABORT:
            raise PDUFault(f"expected a PDU of type 1 to 7, received type {kind}")
        if length > MAX_PDU_BYTES:
            raise PDUFault(f"a PDU has at most {MAX_PDU_BYTES} bytes, this one has {length}")
        if length > len(self._body):
            self._body = bytearray(length)
        body = memoryview(self._body)[:length]
        self._fill(body)
        return kind, body

    def _fill(self, view: memoryview) -> None:
        deadline = time.monotonic() + self._timeout_s
        while view:
            try:
                # The kernel waits for all of it, and gives what there is when the time is up.
                count = self._client.recv_into(view, 0, sockets.MSG_WAITALL)
            except BlockingIOError as fault:
                raise TimeoutError(f"no PDU came within {self._timeout_s} s") from fault
            if count == 0:
                raise EOFError("the connection was closed")
            view = view[count:]
            if view and time.monotonic() >= deadline:
                raise TimeoutError(f"a PDU took longer than {self._timeout_s} s")

    def send(self, kind: int, body: bytes) -> None:
        """Send one PDU; may be called from any thread.

        Raises
        ------
        OSError
            When the connection broke, or the peer does not read.
        """
        with self._sending:
            self._client.sendall(_HEADER.pack(kind, len(body)) + body)

    def has_input(self) -> bool:
        """Tell whether the peer has said something, or has gone."""
        try:
            self._client.recv(1, sockets.MSG_PEEK | sockets.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    def abort(self) -> None:
        """Send A-ABORT without a reason (PS3.8 section 9.3.8)."""
        with contextlib.suppress(OSError):
            self.send(ABORT, bytes((0, 0, _PROVIDER, 0)))

    def wake(self) -> None:
        """Take no more from the peer; whoever reads, in another thread, is told of an end."""
        with contextlib.suppress(OSError):
            self._client.shutdown(sockets.SHUT_RD)

    def finish(self) -> None:
        """Let our last PDU arrive: closing on bytes that were not read would take it back."""
        deadline = time.monotonic() + _LINGER_S
        with contextlib.suppress(OSError):
            self._client.shutdown(sockets.SHUT_WR)
            self.limit(_LINGER_S)
            while time.monotonic() < deadline and self._client.recv_into(self._body):
                pass

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def values(body: memoryview) -> list[tuple[int, memoryview]]:
    """Return context and content of each presentation data value of a P-DATA-TF (PS3.8 9.3.5).

    The content begins with the message control header.

    Raises
    ------
    PDUFault
        When a value is empty or runs past the end.
    """
    found = []
    while body:
        if len(body) < _ITEM.size:
            raise PDUFault("the header of a presentation data value is cut off")
        length, context_id = _ITEM.unpack_from(body)
        end = 4 + length
        if length < 2 or end > len(body):
            raise PDUFault(f"a presentation data value of {length} bytes in {len(body)}")
        found.append((context_id, body[_ITEM.size : end]))
        body = body[end:]
    return found


def command_value(context_id: int, command: bytes) -> bytes:
    """Return the body of a P-DATA-TF that is one whole command set."""
    return _ITEM.pack(len(command) + 2, context_id) + b"\x03" + command


@dataclass(frozen=True)
class Proposal:
    """An association request (PS3.8 section 9.3.2).

    Attributes
    ----------
    calling_title, called_title : str
        Without their padding.
    speaks_our_version : bool
        Whether protocol version 1 is among the caller's.
    primitive : A_ASSOCIATE
        All of it, as pynetdicom has it.
    """

    calling_title: str
    called_title: str
    speaks_our_version: bool
    primitive: Any


def proposal(body: memoryview) -> Proposal:
    """Read an A-ASSOCIATE-RQ.

    Raises
    ------
    PDUFault
        When it cannot be understood.
    """
    pdu = A_ASSOCIATE_RQ()
    try:
        pdu.decode(_HEADER.pack(ASSOCIATE_RQ, len(body)) + bytes(body))
        primitive = pdu.to_primitive()
        return Proposal(
            calling_title=primitive.calling_ae_title.strip(" "),
            called_title=primitive.called_ae_title.strip(" "),
            speaks_our_version=bool(pdu.protocol_version & 1),
            primitive=primitive,
        )
    except Exception as fault:  # a decoder of strangers' bytes raises whatever it likes
        raise PDUFault(f"the association request: {type(fault).__name__}") from fault


def accept(asked: Proposal, ae: AE) -> tuple[bytes, dict[int, Any]]:
    """Negotiate: return the body of an A-ASSOCIATE-AC and the accepted contexts by their number."""
    request = asked.primitive
    roles = {
        item.sop_class_uid: (item.scu_role, item.scp_role)
        for item in request.user_information
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
    }
    contexts, answered_roles = negotiate_as_acceptor(
        request.presentation_context_definition_list, ae.supported_contexts, roles
    )
    length = MaximumLengthNotification()
    length.maximum_length_received = ae.maximum_pdu_size
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = ae.implementation_class_uid
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = ae.implementation_version_name
    answer = A_ASSOCIATE()
    answer.application_context_name = _APPLICATION_CONTEXT
    answer.calling_ae_title = request.calling_ae_title
    answer.called_ae_title = request.called_ae_title
    answer.result, answer.result_source = 0, 1
    answer.presentation_context_definition_results_list = contexts
    answer.user_information = [length, implementation, version, *answered_roles]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(answer)
    accepted = {context.context_id: context for context in contexts if context.result == 0}
    return bytes(pdu.encode()[_HEADER.size :]), accepted
