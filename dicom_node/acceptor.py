"""The acceptor's side of an association: its life, and the DIMSE messages on it.

PDUs come from :mod:`dicom_node.upper_layer`, the negotiation is pynetdicom's. The DIMSE layer is
ours, for C-STORE, C-ECHO and the N-EVENT-REPORT of a storage commitment, because of what a lost
ECG would mean:

* fragments of a data set go straight to a file in the folder they stay in. pynetdicom keeps them
  in memory, or in a temporary file that it leaves behind when the sender aborts;
* a full disk is answered with a status (0xA700) instead of a broken association;
* a UID that breaks the rules is echoed as it is, without a warning or an error on the way;
* whatever way an association ends, one ``finally`` sees it.

Each connection has one thread. While it stores an object nothing is read: a peer that speaks before
its answer, or leaves, is noticed when the answer would go out.
"""

import logging
import threading
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, cast

from pynetdicom import AE

from dicom_node import upper_layer
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
from dicom_node.upper_layer import PDUFault, Proposal, Wire

_log = logging.getLogger(__name__)

_MAX_COMMAND_BYTES = 16 * 1024
_SERVED = (C_STORE_RQ, C_ECHO_RQ, N_EVENT_REPORT_RQ, N_ACTION_RQ)


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
        """Make the file for the data set of a C-STORE."""

    @abstractmethod
    def store(self, association: "Acceptance", request: Request, context: Any) -> int:
        """Answer a C-STORE with its status."""

    @abstractmethod
    def reported(self, association: "Acceptance", request: Request, context: Any) -> int:
        """Answer an N-EVENT-REPORT with its status."""

    @abstractmethod
    def acted(self, association: "Acceptance", request: Request, context: Any) -> int:
        """Answer an N-ACTION with its status."""

    @abstractmethod
    def ended(self, association: "Acceptance") -> None:
        """Take note that the connection is over. Called exactly once for each connection."""


class Dialogue:
    """The DIMSE layer: fragments in, one request at a time out."""

    def __init__(self, association: "Acceptance", service: Service) -> None:
        self._association = association
        self._service = service
        self._command_bytes = bytearray()
        self._command: Command | None = None
        self._context_id = 0
        self._reception: Reception | None = None
        self._information = bytearray()
        self._request: Request | None = None

    def take(self, body: memoryview) -> Request | None:
        """Take one P-DATA-TF (PS3.8 Annex E); return the request that it ends, if it ends one.

        Raises
        ------
        CommandFault, PDUFault
            When it makes no sense here, and the association has to end.
        """
        for context_id, value in upper_layer.values(body):
            if self._request is not None:
                # No window of outstanding operations is negotiated (PS3.7 section D.3.3.3), so
                # there is one; each further one would hold a file open.
                raise CommandFault("a request came before the last one was answered")
            self._take(context_id, value)
        request, self._request = self._request, None
        return request

    def _take(self, context_id: int, value: memoryview) -> None:
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
                self._reception.write(value[1:])
            elif len(self._information) <= MAX_RESULT_BYTES:
                # One byte too many tells that it is too long; the rest is not kept.
                self._information += value[1:]
            if is_last:
                self._finish()

    def _begin(self, context_id: int) -> None:
        command = parse_command(bytes(self._command_bytes))
        self._command_bytes.clear()
        context = self._association.contexts.get(context_id)
        if context is None:
            raise CommandFault(f"a command on presentation context {context_id}, not accepted")
        if command.field not in _SERVED:
            raise CommandFault(f"command 0x{command.field:04X} is not served here")
        self._command, self._context_id = command, context_id
        if not command.has_data_set:
            self._finish()
        elif command.field == C_STORE_RQ:
            self._reception = self._service.begin(self._association, command, context)

    def _finish(self) -> None:
        command = cast(Command, self._command)
        information = bytes(self._information)
        self._request = Request(command, self._context_id, self._reception, information)
        self._command = self._reception = None
        self._information.clear()

    def close(self) -> None:
        """Discard what was not handed over: half a data set, a request nobody will serve."""
        unserved = self._request.reception if self._request is not None else None
        for reception in (self._reception, unserved):
            if reception is not None:
                reception.discard()


class Acceptance(threading.Thread):
    """One connection, from its opening to its end.

    Attributes
    ----------
    calling_title, called_title : str
        Empty until the association is asked for.
    address : str
        The IP address of the peer.
    contexts : dict
        The accepted presentation contexts by their number.
    is_released : bool
        Whether the peer ended the association as it should.
    """

    def __init__(self, ae: AE, service: Service, wire: Wire, address: str) -> None:
        self.association_id = uuid.uuid4().hex
        super().__init__(name=f"AcceptorThread@{self.association_id}")
        self.address = address
        self.calling_title = self.called_title = ""
        self.contexts: dict[int, Any] = {}
        self.is_released = False
        self._ae = ae
        self._service = service
        self._wire = wire
        self._dialogue = Dialogue(self, service)

    def run(self) -> None:
        """Live the life of the connection; see to its end whatever happens."""
        try:
            self._live()
        except (CommandFault, PDUFault) as fault:
            _log.warning("association %s: %s", self.association_id, fault)
            self._wire.abort()
            self._wire.finish()
        except TimeoutError as fault:
            _log.info("association %s: %s", self.association_id, fault)
            self._wire.abort()
        except (OSError, EOFError) as fault:
            _log.info("association %s: %s", self.association_id, fault)
        except Exception:  # noqa: BLE001  the next association must not suffer
            _log.exception("association %s failed", self.association_id)
            self._wire.abort()
        finally:
            self._wire.close()
            self._dialogue.close()
            self._service.ended(self)

    def abort(self) -> None:
        """End the association from another thread."""
        self._wire.abort()
        self._wire.wake()

    def _live(self) -> None:
        kind, body = self._wire.read()
        if kind != upper_layer.ASSOCIATE_RQ:
            raise PDUFault(f"expected an association request, received PDU type {kind}")
        asked = upper_layer.proposal(body)
        if rejection := self._rejection(asked):
            self._wire.send(upper_layer.ASSOCIATE_RJ, bytes((0, *rejection)))
            self._wire.finish()
            return
        answer, self.contexts = upper_layer.accept(asked, self._ae)
        self._wire.send(upper_layer.ASSOCIATE_AC, answer)
        self._service.established(self)
        self._wire.limit(self._ae.network_timeout)
        while self._go_on():
            pass

    def _rejection(self, asked: Proposal) -> tuple[int, int, int] | None:
        if not asked.speaks_our_version:
            return upper_layer.VERSION_NOT_SUPPORTED
        self.calling_title, self.called_title = asked.calling_title, asked.called_title
        return self._service.requested(self)

    def _go_on(self) -> bool:
        """Do what the next PDU asks; return whether the association goes on."""
        kind, body = self._wire.read()
        if kind == upper_layer.DATA_TF:
            if request := self._dialogue.take(body):
                self._serve(request)
            return True
        if kind == upper_layer.RELEASE_RQ:
            self._wire.send(upper_layer.RELEASE_RP, bytes(4))
            self.is_released = True
            self._wire.finish()
        elif kind != upper_layer.ABORT:
            raise PDUFault(f"PDU type {kind} has no place in an association")
        return False

    def _serve(self, request: Request) -> None:
        context = self.contexts[request.context_id]
        field = request.command.field
        if field == C_ECHO_RQ:
            status = 0x0000
        elif field == C_STORE_RQ:
            status = self._service.store(self, request, context)
        elif field == N_EVENT_REPORT_RQ:
            status = self._service.reported(self, request, context)
        else:
            status = self._service.acted(self, request, context)
        if self._wire.has_input():
            raise CommandFault("the peer spoke, or left, before its request was answered")
        self._wire.send(
            upper_layer.DATA_TF,
            upper_layer.command_value(request.context_id, encode_response(request.command, status)),
        )
