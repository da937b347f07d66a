"""The requestor's DIMSE layer for C-FIND, C-GET and C-MOVE: one request, its answers, its end.

It takes the place of pynetdicom's, for the reasons that the acceptor has for its own
(:mod:`dicom_node.acceptor`): the fragments of a fetched object go straight to a file; an identifier
stays the bytes it was, so that its characters are decoded by our rules; and a peer that never
stops, never answers or answers nonsense meets a limit.

Limits
------
* between two signs of life of the peer: ``Timeouts.response_s``;
* for the whole request: ``total_s``;
* of one identifier: ``MAX_IDENTIFIER_BYTES``;
* of answers that wait to be read: ``_MAX_WAITING``, after which the peer's bytes stay in the
  network.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.calling import Call
from dicom_node.charset import decode_dataset
from dicom_node.command import (
    C_STORE_RQ,
    Command,
    CommandFault,
    Response,
    command_field,
    encode_cancel,
    encode_query,
    encode_response,
    parse_command,
    parse_response,
)
from dicom_node.errors import (
    AnswerNotUnderstood,
    AssociationAborted,
    AssociationError,
    Cancelled,
    NoAcceptedContext,
    PeerTimeout,
    QueryFailed,
    QueryRefused,
)
from dicom_node.reception import Reception

_log = logging.getLogger(__name__)

MAX_IDENTIFIER_BYTES: Final = 1 << 20
PENDING: Final = frozenset({0xFF00, 0xFF01})
SUCCESS: Final = 0x0000
CANCELLED: Final = 0xFE00

_MESSAGE_ID: Final = 1
_MAX_COMMAND_BYTES: Final = 16 * 1024
_MAX_WAITING: Final = 64
_POLL_S: Final = 0.1
_AFTER_CANCEL_S: Final = 5.0
# Evt19 of the upper layer's state machine, "unrecognised or invalid PDU": A-ABORT and the end.
_INVALID_PDU: Final = "Evt19"
# Failures of the moment (PS3.4 Tables C.4-1 to C.4-3, PS3.7 Annex C); the rest would come again.
_FOR_NOW: Final = frozenset({0x0110, 0x0213, 0xA700, 0xA701, 0xA702})

Begin = Callable[[Command, Any], Reception]


@dataclass(frozen=True)
class Answer:
    """A response, and the identifier that came with it, as encoded."""

    response: Response
    identifier: bytes | None


@dataclass(frozen=True)
class Incoming:
    """A C-STORE sub-operation of a C-GET (PS3.4 section C.4.3.1)."""

    command: Command
    context_id: int
    reception: Reception


class Enquiry(DIMSEServiceProvider):  # type: ignore[misc]
    """One request on an association of ours. A context manager: nothing half received is left.

    Parameters
    ----------
    call : Call
        The association.
    model : str
        The SOP Class of the request.
    response_s, total_s : float
        See the module.
    stop : Event, optional
        Once set, the request is cancelled.
    begin : callable, optional
        ``(command, presentation context) -> Reception`` for each object that comes.

    Raises
    ------
    NoAcceptedContext
        The peer does not take the SOP Class.
    """

    def __init__(
        self,
        call: Call,
        model: str,
        *,
        response_s: float,
        total_s: float,
        stop: threading.Event | None = None,
        begin: Begin | None = None,
    ) -> None:
        association = call.association
        super().__init__(association)
        self._call = call
        self._model = model
        self._response_s = response_s
        self._stop = stop
        self._begin_object = begin
        self._command_bytes = bytearray()
        self._command: Command | Response | None = None
        self._data_set: bytearray | None = None
        self._reception: Reception | None = None
        self._context_id = 0
        self._fault = ""
        self._closed = False
        self._lock = threading.Lock()
        contexts = [c for c in association.accepted_contexts if c.abstract_syntax == model]
        if not contexts:
            raise NoAcceptedContext("the peer does not take the SOP Class of the request")
        self.context = contexts[0]
        self._accepted = {context.context_id: context for context in association.accepted_contexts}
        self._last_sign = time.monotonic()
        self._deadline = self._last_sign + total_s
        self._pause()
        association.dimse = self

    def __enter__(self) -> "Enquiry":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            if self._reception is not None:
                self._reception.discard()
                self._reception = None
        with contextlib.suppress(queue.Empty):
            while True:
                _, message = self.msg_queue.get_nowait()
                if isinstance(message, Incoming):
                    message.reception.discard()
        self.assoc._reactor_checkpoint.set()

    # --- what we say ---------------------------------------------------------------------------

    def ask(self, field: int, identifier: Dataset, *, move_destination: str = "") -> None:
        """Send the request."""
        syntax = self.context.transfer_syntax[0]
        encoded = encode(
            identifier, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated
        )
        if encoded is None:
            raise ValueError("the identifier cannot be encoded")
        command = encode_query(
            field,
            message_id=_MESSAGE_ID,
            sop_class_uid=self._model,
            move_destination=move_destination,
        )
        self._send(self.context.context_id, command, is_command=True)
        self._send(self.context.context_id, encoded, is_command=False)

    def answer(self, incoming: Incoming, status: int) -> None:
        """Answer a C-STORE sub-operation."""
        encoded = encode_response(incoming.command, status)
        self._send(incoming.context_id, encoded, is_command=True)

    def cancel(self) -> None:
        """Ask the peer to stop, and read on for a moment; what it still sends is dropped.

        The association is over then, released by a peer that stopped and aborted for one that goes
        on.
        """
        if not self.assoc.is_established:
            return
        self._send(self.context.context_id, encode_cancel(_MESSAGE_ID), is_command=True)
        until = time.monotonic() + min(_AFTER_CANCEL_S, self._response_s)
        with contextlib.suppress(AssociationError):
            while time.monotonic() < until:
                message = self._next(until)
                if isinstance(message, Incoming):
                    message.reception.discard()
                    self.answer(message, 0xA700)
                elif message is not None and message.response.status not in PENDING:
                    self.assoc.release()
                    return
        # It did not stop: the association has to.
        self.assoc.abort()

    def _send(self, context_id: int, content: bytes, *, is_command: bool) -> None:
        """Send a command or a data set in fragments the peer takes (PS3.8 Annex E)."""
        limit = self.maximum_pdu_size or (1 << 16)
        size = max(limit - 6, 1)
        kind = 1 if is_command else 0
        for start in range(0, len(content), size):
            is_last = start + size >= len(content)
            primitive = P_DATA()
            header = bytes([kind | (2 if is_last else 0)])
            primitive.presentation_data_value_list.append(
                (context_id, header + content[start : start + size])
            )
            self.dul.send_pdu(primitive)

    def _pause(self) -> None:
        """Stop pynetdicom's own reader of this association, as its send_c_* methods do."""
        self.assoc._reactor_checkpoint.clear()
        while not self.assoc._is_paused and self.assoc.is_alive():
            time.sleep(0.001)

    # --- what we hear --------------------------------------------------------------------------

    def get_msg(self, block: bool = False) -> tuple[None, None]:  # noqa: ARG002
        """Give pynetdicom's reader nothing to serve; it runs again once the request is over."""
        return None, None

    def messages(self, field: int) -> Iterator[Answer | Incoming]:
        """Yield pending answers and objects as they come, and the final answer as the last.

        Raises
        ------
        Cancelled
            `stop` was set; the peer was told.
        PeerTimeout, AssociationAborted, AnswerNotUnderstood
            It did not come to an end.
        """
        while True:
            if self._stop is not None and self._stop.is_set():
                self.cancel()
                raise Cancelled("stopped before the peer had answered in full")
            message = self._next(self._deadline)
            if message is None:
                continue
            if isinstance(message, Answer) and message.response.field != field:
                self.assoc.abort()
                raise AnswerNotUnderstood(
                    f"expected a response 0x{field:04X}, received 0x{message.response.field:04X}"
                )
            yield message
            if isinstance(message, Answer) and message.response.status not in PENDING:
                return

    def _next(self, deadline: float) -> Answer | Incoming | None:
        """Return the next message; ``None`` after a moment without one."""
        try:
            _, message = self.msg_queue.get(timeout=_POLL_S)
        except queue.Empty:
            message = None
        if isinstance(message, Answer | Incoming):
            if time.monotonic() > deadline:
                if isinstance(message, Incoming):
                    message.reception.discard()
                self._too_late("the peer did not come to an end in time")
            return message
        if self._fault:
            raise AnswerNotUnderstood(self._fault)
        association = self.assoc
        if association.acse.is_aborted() or not association.is_established:
            # pynetdicom's reader takes note of the abort, and of whose it was.
            association._reactor_checkpoint.set()
            raise self._call.failure()
        if not association.dul.is_alive() or association.dul.socket.socket is None:
            raise AssociationAborted("the connection to the peer was lost")
        now = time.monotonic()
        if now > deadline:
            self._too_late("the peer did not come to an end in time")
        if now > self._last_sign + self._response_s:
            self._too_late("the peer did not answer in time")
        return None

    def _too_late(self, reason: str) -> None:
        self.assoc.abort()
        raise PeerTimeout(reason)

    def receive_primitive(self, primitive: Any) -> None:
        """Take one P-DATA indication. Called on the reactor's thread; the name is pynetdicom's."""
        while self.msg_queue.qsize() > _MAX_WAITING and not self._closed:
            time.sleep(_POLL_S / 10)
        with self._lock:
            if self._closed or self._fault:
                return
            self._last_sign = time.monotonic()
            try:
                for context_id, value in primitive.presentation_data_value_list:
                    self._take(context_id, value)
            except (CommandFault, OSError) as fault:
                self._fault = str(fault)
                _log.warning("association ended: %s", fault)
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
            return
        if self._command is None or context_id != self._context_id:
            raise CommandFault("a data set came without its command")
        if self._reception is not None:
            self._reception.write(memoryview(value)[1:])
        elif self._data_set is not None:
            self._data_set += value[1:]
            if len(self._data_set) > MAX_IDENTIFIER_BYTES:
                raise CommandFault(f"an identifier is longer than {MAX_IDENTIFIER_BYTES} bytes")
        if is_last:
            self._finish()

    def _begin(self, context_id: int) -> None:
        encoded = bytes(self._command_bytes)
        self._command_bytes.clear()
        context = self._accepted.get(context_id)
        if context is None:
            raise CommandFault(f"a command on presentation context {context_id}, not accepted")
        self._context_id = context_id
        if command_field(encoded) == C_STORE_RQ:
            command = parse_command(encoded)
            if self._begin_object is None or not command.has_data_set:
                raise CommandFault("an object came that nobody asked for")
            self._command = command
            self._reception = self._begin_object(command, context)
            return
        response = parse_response(encoded)
        if response.responded_to != _MESSAGE_ID:
            raise CommandFault(
                f"expected a response to message {_MESSAGE_ID}, "
                f"received one to {response.responded_to}"
            )
        self._command = response
        self._data_set = bytearray() if response.has_data_set else None
        if not response.has_data_set:
            self._finish()

    def _finish(self) -> None:
        command, self._command = self._command, None
        message: Answer | Incoming
        if isinstance(command, Response):
            identifier = None if self._data_set is None else bytes(self._data_set)
            message = Answer(command, identifier)
        else:
            assert command is not None  # noqa: S101 (a data set has its command)
            assert self._reception is not None  # noqa: S101
            message = Incoming(command, self._context_id, self._reception)
        self._data_set = self._reception = None
        self.msg_queue.put((self._context_id, message))


def failure(response: Response) -> QueryRefused:
    """Return the error that a final answer stands for."""
    status = response.status
    kind = QueryFailed if status in _FOR_NOW or 0xC000 <= status <= 0xCFFF else QueryRefused
    return kind(status, response.comment)


def read_identifier(encoded: bytes, context: Any) -> Dataset:
    """Read an identifier, every value of it, so that what is wrong with it shows here.

    Raises
    ------
    AnswerNotUnderstood
        It is no data set.
    """
    syntax = context.transfer_syntax[0]
    try:
        ds = read_dataset(BytesIO(encoded), syntax.is_implicit_VR, syntax.is_little_endian)
        decoded = decode_dataset(ds)
        for _ in decoded.iterall():
            pass
    except Exception as fault:
        raise AnswerNotUnderstood(
            f"an answer's identifier is no data set ({type(fault).__name__})"
        ) from fault
    return decoded
