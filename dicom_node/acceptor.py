"""The acceptor's side of an association, on pynetdicom's upper layer.

pynetdicom does what PS3.8 describes: connections, PDUs, the state machine, the negotiation. The
DIMSE layer above it is ours, for C-STORE, C-ECHO and the N-EVENT-REPORT of a storage commitment,
because of what a lost ECG would mean:

* fragments of a data set go straight to a file in the folder they stay in. pynetdicom keeps them
  in memory, or in a temporary file that it leaves behind when the sender aborts;
* a full disk is answered with a status (0xA700) instead of a broken association;
* a UID that breaks the rules is echoed as it is, without a warning or an error on the way;
* whatever way an association ends, one ``finally`` sees it.

Each connection has two threads: pynetdicom's reactor reads PDUs and calls
:meth:`Dialogue.receive_primitive`; the association's thread calls :meth:`Acceptance.serve`.
"""

import contextlib
import logging
import queue
import threading
import time
import uuid
from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass
from socketserver import BaseServer
from typing import Any, cast

from pynetdicom import AE
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA
from pynetdicom.transport import AssociationServer, RequestHandler

from dicom_node.command import (
    C_ECHO_RQ,
    C_STORE_RQ,
    N_ACTION_RQ,
    N_EVENT_REPORT_RQ,
    Command,
    CommandFault,
    encode_response,
    parse_command,
)
from dicom_node.commitment import MAX_RESULT_BYTES
from dicom_node.reception import Reception
from dicom_node.wire import bounded_socket

_log = logging.getLogger(__name__)

# Evt19 of the upper layer's state machine, "unrecognised or invalid PDU": A-ABORT and the end.
_INVALID_PDU = "Evt19"
# Sta13, "awaiting transport connection close".
_AWAITING_CLOSE = "Sta13"
_MAX_COMMAND_BYTES = 16 * 1024
# An N-ACTION has its context where archives may report to us, but is none that we serve: its
# sender is told so (PS3.7 Annex C), and may go on.
_SERVED = (C_STORE_RQ, C_ECHO_RQ, N_EVENT_REPORT_RQ, N_ACTION_RQ)
_UNRECOGNISED_OPERATION = 0x0211
_DUL_END_S = 5.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Request:
    """A complete request: its command and, for C-STORE, the object on disk.

    ``information`` is the data set of another request, as encoded, and never much longer than
    :data:`dicom_node.commitment.MAX_RESULT_BYTES`.
    """

    command: Command
    context_id: int
    reception: Reception | None
    information: bytes = b""


class Service(ABC):
    """What an acceptor asks of the service it belongs to. Called on the association's thread."""

    @abstractmethod
    def requested(self, association: "Acceptance") -> tuple[int, int, int] | None:
        """Return result, source and reason of a rejection, or ``None`` to negotiate."""

    @abstractmethod
    def established(self, association: "Acceptance") -> None:
        """Take note that the association was accepted."""

    @abstractmethod
    def begin(self, association: "Acceptance", command: Command, context: Any) -> Reception:
        """Make the file for the data set of a C-STORE. Called on the reactor's thread."""

    @abstractmethod
    def store(self, association: "Acceptance", request: Request, context: Any) -> int:
        """Answer a C-STORE with its status."""

    @abstractmethod
    def reported(self, association: "Acceptance", request: Request, context: Any) -> int:
        """Answer an N-EVENT-REPORT with its status."""

    @abstractmethod
    def ended(self, association: "Acceptance") -> None:
        """Take note that the connection is over. Called exactly once for each connection."""


class Reactor(DULServiceProvider):  # type: ignore[misc]
    """pynetdicom's upper layer, ending its association when a PDU breaks it.

    A PDU that decodes and still makes no sense raises out of the state machine. Left alone that
    ends the thread with a traceback and keeps the connection open until a timer finds it.
    """

    def _is_transport_event(self) -> bool:
        """Look for something to read. The name is pynetdicom's, who calls it from its loop."""
        if self.state_machine.current_state != _AWAITING_CLOSE:
            return bool(super()._is_transport_event())
        # We have aborted or rejected. What the peer still says is no PDU we would wait for.
        self.socket.drain()
        self.socket.close()
        return True

    def run_reactor(self) -> None:
        """Run until the connection is over."""
        try:
            super().run_reactor()
        except Exception as fault:  # noqa: BLE001  anything the network can provoke ends here
            _log.warning("connection ended, PDU not understood: %s", type(fault).__name__)
            self.assoc._kill = True
            self.assoc.is_aborted = True
            self.assoc.is_established = False
            with contextlib.suppress(Exception):
                self.socket.close()
            # Wakes an association that still waits for its request.
            self.to_user_queue.put(None)


class Dialogue(DIMSEServiceProvider):  # type: ignore[misc]
    """The DIMSE layer: P-DATA fragments in, requests on a queue, responses out."""

    def __init__(self, association: "Acceptance", service: Service) -> None:
        super().__init__(association)
        self._service = service
        self._command_bytes = bytearray()
        self._command: Command | None = None
        self._context_id = 0
        self._reception: Reception | None = None
        self._information = bytearray()
        self._unanswered = False
        self._lock = threading.Lock()
        self._closed = False

    def receive_primitive(self, primitive: Any) -> None:
        """Take one P-DATA indication (PS3.8 Annex E)."""
        with self._lock:
            if self._closed:
                return
            try:
                for context_id, value in primitive.presentation_data_value_list:
                    self._take(context_id, value)
            except CommandFault as fault:
                _log.warning("association %s: %s", self.assoc.association_id, fault)
                self.dul.event_queue.put(_INVALID_PDU)

    def _take(self, context_id: int, value: bytes) -> None:
        if not value:
            raise CommandFault("a presentation data value has no message control header")
        is_command, is_last = value[0] & 1, value[0] & 2
        if is_command:
            if self._command is not None:
                raise CommandFault("a command came before the data set of the last one ended")
            self._command_bytes += value[1:]
            if len(self._command_bytes) > _MAX_COMMAND_BYTES:
                raise CommandFault(f"a command set is longer than {_MAX_COMMAND_BYTES} bytes")
            if is_last:
                self._begin(context_id)
        else:
            if self._command is None or context_id != self._context_id:
                raise CommandFault("a data set came without its command")
            if self._reception is not None:
                self._reception.write(memoryview(value)[1:])
            elif len(self._information) <= MAX_RESULT_BYTES:
                # One byte too many tells that it is too long; the rest is not kept.
                self._information += value[1:]
            if is_last:
                self._finish()

    def _begin(self, context_id: int) -> None:
        if self._unanswered:
            # No window of outstanding operations is negotiated (PS3.7 section D.3.3.3), so there
            # is one; each further one would hold a file open.
            raise CommandFault("a request came before the last one was answered")
        command = parse_command(bytes(self._command_bytes))
        self._command_bytes.clear()
        context = self.assoc.accepted_context(context_id)
        if context is None:
            raise CommandFault(f"a command on presentation context {context_id}, not accepted")
        if command.field not in _SERVED:
            raise CommandFault(f"command 0x{command.field:04X} is not served here")
        self._command, self._context_id = command, context_id
        if not command.has_data_set:
            self._finish()
        elif command.field == C_STORE_RQ:
            self._reception = self._service.begin(self.assoc, command, context)

    def _finish(self) -> None:
        command = cast(Command, self._command)
        information = bytes(self._information)
        request = Request(command, self._context_id, self._reception, information)
        self._command = self._reception = None
        self._information.clear()
        self._unanswered = True
        self.msg_queue.put((self._context_id, request))

    def answer(self, request: Request, status: int) -> None:
        """Send the response to a request."""
        encoded = encode_response(request.command, status)
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((request.context_id, b"\x03" + encoded))
        with self._lock:
            # Before the answer leaves: the next request may be here before we go on.
            self._unanswered = False
        self.dul.send_pdu(primitive)

    def close(self) -> None:
        """Discard what was not handed over: half a data set, requests nobody will serve."""
        with self._lock:
            self._closed = True
            if self._reception is not None:
                self._reception.discard()
                self._reception = None
        with contextlib.suppress(queue.Empty):
            while True:
                _, request = self.msg_queue.get_nowait()
                if request is not None and request.reception is not None:
                    request.reception.discard()


class Acceptance(Association):  # type: ignore[misc]
    """One connection, from its opening to its end."""

    def __init__(self, ae: AE, service: Service, association_id: str) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.association_id = association_id
        self._service = service
        self.dul = Reactor(self)
        # The timers of pynetdicom's DUL belong to the one just replaced.
        self.acse_timeout = ae.acse_timeout
        self.network_timeout = ae.network_timeout
        self.dimse = Dialogue(self, service)

    def accepted_context(self, context_id: int) -> Any | None:
        """Return the accepted presentation context of this number."""
        return self._accepted_cx.get(context_id)

    def run_reactor(self) -> None:
        """Live the life of the connection; see to its end whatever happens."""
        try:
            self._live()
        except Exception:  # noqa: BLE001  the next association must not suffer
            _log.exception("association %s failed", self.association_id)
        finally:
            self.dul.kill_dul()
            with contextlib.suppress(Exception):
                self.dul.socket.close()
            self.dul.join(_DUL_END_S)
            self.dimse.close()
            self._service.ended(self)

    def _live(self) -> None:
        self._started_dul = True
        self.dul.start()
        self._dul_ready.wait()
        asked = self._await_request()
        if not isinstance(asked, A_ASSOCIATE):
            _log.info("association %s: no association request came", self.association_id)
            self.is_aborted = True
            return
        self.requestor.primitive = asked
        rejection = self._service.requested(self)
        if rejection is not None:
            self.acse.send_reject(*rejection)
            # Returns when the answer is on its way and the connection is closed.
            self.kill()
            return
        self.acse.negotiate_association()
        if self.is_established:
            self._service.established(self)
            self._run_reactor()

    def _await_request(self) -> Any:
        """Wait for the association request, no longer than the connection lasts."""
        deadline = time.monotonic() + self.acse_timeout
        while time.monotonic() < deadline:
            primitive = self.dul.receive_pdu(wait=True, timeout=_POLL_S)
            if primitive is not None:
                return primitive
            if not self.dul.is_alive() or self.dul.socket.socket is None:
                break
        return None

    def _serve_request(self, msg: Request, context_id: int) -> None:
        """Answer one request. The name is pynetdicom's, who calls it from its loop."""
        request = msg
        context = self._accepted_cx[context_id]
        field = request.command.field
        if field == C_ECHO_RQ:
            status = 0x0000
        elif field == C_STORE_RQ:
            status = self._service.store(self, request, context)
        elif field == N_EVENT_REPORT_RQ:
            status = self._service.reported(self, request, context)
        else:
            status = _UNRECOGNISED_OPERATION
        self.dimse.answer(request, status)
        # The time we took is not the sender's silence.
        self.dul._idle_timer.restart()


class Connection(RequestHandler):  # type: ignore[misc]
    """Makes an :class:`Acceptance` of a new TCP connection."""

    def _create_association(self) -> Acceptance:
        server = self.server
        association = Acceptance(server.ae, server.service, server.next_association_id())
        association.name = f"AcceptorThread@{association.association_id}"
        association._server = server
        association.set_socket(bounded_socket(association, self.request, server.ae.network_timeout))
        acceptor, requestor = association.acceptor, association.requestor
        acceptor.maximum_length = server.ae.maximum_pdu_size
        acceptor.ae_title = server.ae_title
        acceptor.address_info = self.local
        acceptor.implementation_class_uid = server.ae.implementation_class_uid
        acceptor.implementation_version_name = server.ae.implementation_version_name
        acceptor.supported_contexts = deepcopy(server.contexts)
        requestor.address_info = self.remote
        return association


class Server(AssociationServer):  # type: ignore[misc]
    """The listening socket. Connections beyond a limit are closed before they cost a thread."""

    request_queue_size = 128

    def __init__(
        self, ae: AE, address: tuple[str, int], service: Service, max_connections: int
    ) -> None:
        self.service = service
        self.max_connections = max_connections
        super().__init__(ae, address, ae.ae_title, ae.supported_contexts, None, [], Connection)

    def close(self) -> None:
        """Take no more connections. Those that are open go on."""
        # pynetdicom's own shutdown() expects its AE to have made the server.
        BaseServer.shutdown(self)
        self.server_close()

    def next_association_id(self) -> str:
        """Return a name for a new association, unique across processes."""
        return uuid.uuid4().hex

    def verify_request(self, _request: Any, client_address: Any) -> bool:
        """Refuse a connection when too many are open."""
        if len(self.active_associations) < self.max_connections:
            return True
        _log.warning(
            "connection from %s closed: %d are open", client_address[0], self.max_connections
        )
        return False

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """Log a connection that could not be set up."""
        _log.exception("connection from %s failed", client_address[0])
