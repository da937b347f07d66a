"""The Storage SCP: admit a caller, take C-STORE, hand the bytes over, answer.

It knows no database. It is given three callbacks: one decides about callers, one takes over each
object, one hears of each association. Nothing of a data set is decoded here.

Rules
-----
* The called title must be ours (PS3.8 Table 9-21: permanent, source 1, reason 7). ``admit`` decides
  about the rest. When it raises, the caller is rejected for now: nobody comes in by an error.
* An object is answered with success only after its file is complete and synced and ``on_instance``
  returned success. ``on_instance`` raising, or a disk that is full, is 0xA700, and no file is left.
* Affected SOP Instance UID: 1 to 64 digits and dots with a digit among them is taken, broken rules
  for its components ("1..2", a dot at the end, a leading zero) included, since hospitals send
  those. Anything else is answered 0x0117. The UID never becomes part of a path.
* Affected SOP Class UID: the one of the presentation context; another is answered 0x0122.
* A C-STORE without a data set is answered 0xC000.
* An N-EVENT-REPORT of a storage commitment (PS3.4 Annex J), which an archive brings on an
  association of its own, is taken where ``on_commitment_result`` is given.
* An N-ACTION that asks us for storage commitment is taken where ``on_commitment_request`` is given,
  and answered what that returns; elsewhere it is answered 0x0211.
* A connection that never asks for an association is closed and yields no record.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pynetdicom import AE
from pynetdicom.presentation import build_context

from dicom_node.acceptor import Acceptance, Request, Service
from dicom_node.command import TAKEN_UID, Command
from dicom_node.commitment import EVENT_TYPES, SYNTAXES, CommitmentResult, parse_result
from dicom_node.contexts import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    STORAGE_CLASSES,
    STORAGE_COMMITMENT,
    TRANSFER_SYNTAXES,
    VERIFICATION,
)
from dicom_node.custody import CommitmentRequest, parse_request
from dicom_node.entity import title_fault
from dicom_node.errors import AnswerNotUnderstood, RequestNotTaken
from dicom_node.reception import Reception, remove_stale_parts
from dicom_node.server import Server
from dicom_node.status import Status, judge

_log = logging.getLogger(__name__)


class Refusal(Enum):
    """Why a caller is not let in; the value is result, source and reason of PS3.8 Table 9-21."""

    CALLING_UNKNOWN = (1, 1, 3)
    """Permanent: calling AE title not recognised. An address that is not the caller's, too."""
    CALLED_UNKNOWN = (1, 1, 7)
    """Permanent: called AE title not recognised."""
    BUSY = (2, 3, 2)
    """Transient: local limit exceeded."""
    UNDECIDED = (2, 2, 1)
    """Transient, no reason given: whoever decides could not be asked."""


@dataclass(frozen=True)
class Caller:
    """Who asks for an association: titles without padding, and the IP address it comes from."""

    title: str
    address: str
    called_title: str


@dataclass(frozen=True)
class ReceivedInstance:
    """One object, complete and synced to disk.

    Attributes
    ----------
    path : Path
        A DICOM file in the incoming folder whose data set is as received. Whoever answers success
        owns the file, and moves it. After any other answer it is removed.
    sop_class_uid, sop_instance_uid : str
        As the command of the C-STORE names them.
    sha256_dataset : str
        SHA-256 of the data set's bytes alone, in hexadecimal.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_title: str
    calling_address: str
    association_id: str
    sha256_dataset: str


Outcome = Literal["accepted", "rejected", "released", "aborted"]


@dataclass(frozen=True)
class AssociationRecord:
    """What is known of an association.

    Given twice for an association that was accepted: when it begins (``accepted``, no end yet,
    before its first object) and when it is over (``released`` or ``aborted``); once for one that
    was ``rejected``. ``association_id`` joins the two.
    """

    association_id: str
    calling_title: str
    called_title: str
    address: str
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome
    reason: str
    instances_count: int


@dataclass(frozen=True)
class Limits:
    """How much of everything a Storage SCP allows.

    Attributes
    ----------
    max_associations : int
        Associations at once; one more is rejected for now.
    association_timeout_s : float
        From the connection to the association request, and for each step of a negotiation.
    idle_timeout_s : float
        Between two PDUs, and for any single PDU.
    max_pdu_bytes : int
        The PDU length we announce.
    max_object_bytes : int
        The longest data set that is kept; a longer one is answered 0xA700.
    """

    max_associations: int = 32
    association_timeout_s: float = 30.0
    idle_timeout_s: float = 60.0
    max_pdu_bytes: int = 128 * 1024
    max_object_bytes: int = 1 << 30


Admit = Callable[[Caller], Refusal | None]
OnInstance = Callable[[ReceivedInstance], int]
OnAssociation = Callable[[AssociationRecord], None]
OnCommitmentResult = Callable[[Caller, CommitmentResult], int]
OnCommitmentRequest = Callable[[Caller, CommitmentRequest], int]


class StorageSCP(Service):
    """Listens for associations until stopped. A context manager: started inside, stopped after.

    Parameters
    ----------
    title : str
        Our AE title.
    host : str
        The address to listen on; empty for all.
    port : int
        The port to listen on; 0 for any free one, see :attr:`port`.
    admit : callable
        ``Caller -> Refusal | None``.
    on_instance : callable
        ``ReceivedInstance -> Status``. Called on the thread of the association, so calls for
        different associations run at once.
    on_association : callable, optional
        ``AssociationRecord -> None``. An exception in it is logged and changes nothing.
    on_commitment_result : callable, optional
        ``(Caller, CommitmentResult) -> Status``: what an archive says of our request.
    on_commitment_request : callable, optional
        ``(Caller, CommitmentRequest) -> Status``: a sender asks that we commit ourselves. Without
        either of the two no storage commitment is negotiated.
    incoming_folder : Path
        Where objects are received; on the file system they will stay on, so that taking one over
        is a rename. Made if absent.

    Raises
    ------
    ValueError
        When the title is not legal.
    """

    def __init__(
        self,
        title: str,
        host: str,
        port: int,
        *,
        admit: Admit,
        on_instance: OnInstance,
        incoming_folder: Path,
        on_association: OnAssociation | None = None,
        on_commitment_result: OnCommitmentResult | None = None,
        on_commitment_request: OnCommitmentRequest | None = None,
        limits: Limits | None = None,
    ) -> None:
        if fault := title_fault(title):
            raise ValueError(fault)
        self.title = title.strip(" ")
        self.host = host
        self.limits = limits or Limits()
        self._port = port
        self._admit = admit
        self._on_instance = on_instance
        self._on_association = on_association
        self._on_commitment_result = on_commitment_result
        self._on_commitment_request = on_commitment_request
        self._incoming_folder = incoming_folder
        self._records: dict[str, AssociationRecord] = {}
        self._lock = threading.Lock()
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port listened on."""
        return self._port

    @property
    def active_count(self) -> int:
        """How many accepted associations there are now."""
        with self._lock:
            return len(self._records)

    def start(self) -> Self:
        """Listen. Returns when connections are taken.

        Raises
        ------
        OSError
            When the port is in use or the incoming folder cannot be made.
        """
        self._incoming_folder.mkdir(parents=True, exist_ok=True)
        if count := remove_stale_parts(self._incoming_folder):
            _log.warning("removed %d unfinished objects of an earlier run", count)
        self._server = Server(
            self._application_entity(),
            (self.host, self._port),
            self,
            # Room for callers that have yet to be told that we are busy.
            max_connections=2 * self.limits.max_associations + 8,
        )
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name=f"StorageSCP:{self._port}"
        )
        self._thread.start()
        return self

    def stop(self, *, grace_s: float = 5.0) -> None:
        """Take no more connections, give running associations a moment, end the rest."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        self._server = self._thread = None
        server.close()
        thread.join()
        deadline = time.monotonic() + grace_s
        for association in server.active_associations:
            association.join(max(0.0, deadline - time.monotonic()))
        for association in server.active_associations:
            association.abort()
        for association in server.active_associations:
            association.join(2 * self.limits.idle_timeout_s)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _application_entity(self) -> AE:
        ae = AE(self.title)
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.acse_timeout = self.limits.association_timeout_s
        ae.network_timeout = self.limits.idle_timeout_s
        ae.dimse_timeout = self.limits.idle_timeout_s
        ae.maximum_pdu_size = self.limits.max_pdu_bytes
        # Ours is the limit that counts, it knows accepted associations from mere connections.
        ae.maximum_associations = 1 << 16
        syntaxes = list(TRANSFER_SYNTAXES)
        ae.supported_contexts = [build_context(uid, syntaxes) for uid in STORAGE_CLASSES]
        ae.add_supported_context(VERIFICATION, syntaxes[:3])
        if self._on_commitment_result is not None or self._on_commitment_request is not None:
            # A sender that asks us is the SCU of its association. An archive that reports to us is
            # the SCP of the one that it asked for (PS3.7 section D.3.3.4).
            ae.add_supported_context(
                STORAGE_COMMITMENT, list(SYNTAXES), scu_role=True, scp_role=True
            )
        return ae

    # What acceptor.Service asks for.

    def requested(self, association: Acceptance) -> tuple[int, int, int] | None:
        caller = Caller(
            title=association.calling_title,
            address=association.address,
            called_title=association.called_title,
        )
        record = AssociationRecord(
            association_id=association.association_id,
            calling_title=caller.title,
            called_title=caller.called_title,
            address=caller.address,
            started_at=datetime.now(UTC),
            ended_at=None,
            outcome="accepted",
            reason="",
            instances_count=0,
        )
        refusal = self._judge(caller)
        if refusal is None:
            with self._lock:
                if len(self._records) < self.limits.max_associations:
                    self._records[record.association_id] = record
                    return None
            refusal = Refusal.BUSY
        _log.info("association %s rejected: %s", record.association_id, refusal.name)
        self._tell(
            replace(record, ended_at=datetime.now(UTC), outcome="rejected", reason=refusal.name)
        )
        return refusal.value

    def established(self, association: Acceptance) -> None:
        record = self._records[association.association_id]
        self._tell(record)

    def begin(self, association: Acceptance, command: Command, context: Any) -> Reception:
        return Reception(
            self._incoming_folder,
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            transfer_syntax_uid=str(context.transfer_syntax[0]),
            calling_title=association.calling_title,
            max_bytes=self.limits.max_object_bytes,
        )

    def store(self, association: Acceptance, request: Request, context: Any) -> int:
        reception = request.reception
        if reception is None:
            return Status.CANNOT_UNDERSTAND
        status: int = Status.OUT_OF_RESOURCES
        try:
            status = self._store(association, request.command, reception, context)
        except OSError as fault:
            _log.error("association %s: object not written: %s", association.association_id, fault)
        except Exception:  # noqa: BLE001  whatever it was, the sender must keep the object
            _log.exception("association %s: object not taken over", association.association_id)
        if judge(status)[0] in ("stored", "warning"):
            with self._lock:
                record = self._records[association.association_id]
                self._records[association.association_id] = replace(
                    record, instances_count=record.instances_count + 1
                )
        else:
            reception.discard()
        return status

    def reported(self, association: Acceptance, request: Request, context: Any) -> int:
        if str(context.abstract_syntax) != STORAGE_COMMITMENT or self._on_commitment_result is None:
            return Status.SOP_CLASS_NOT_SUPPORTED
        if request.command.event_type not in EVENT_TYPES:
            return Status.NO_SUCH_EVENT_TYPE
        try:
            result = parse_result(
                request.information, transfer_syntax_uid=str(context.transfer_syntax[0])
            )
            return self._on_commitment_result(self._caller(association), result)
        except AnswerNotUnderstood as fault:
            _log.warning("association %s: %s", association.association_id, fault)
            return Status.INVALID_ARGUMENT_VALUE
        except Exception:  # noqa: BLE001  the archive is told that it was not taken
            _log.exception("association %s: result not taken", association.association_id)
            return Status.PROCESSING_FAILURE

    def acted(self, association: Acceptance, request: Request, context: Any) -> int:
        if (
            str(context.abstract_syntax) != STORAGE_COMMITMENT
            or self._on_commitment_request is None
        ):
            return Status.UNRECOGNISED_OPERATION
        try:
            asked = parse_request(
                request.command,
                request.information,
                transfer_syntax_uid=str(context.transfer_syntax[0]),
            )
            return self._on_commitment_request(self._caller(association), asked)
        except RequestNotTaken as fault:
            _log.warning("association %s: %s", association.association_id, fault)
            return fault.status
        except Exception:  # noqa: BLE001  the sender is told that nobody will answer it
            _log.exception("association %s: request not taken", association.association_id)
            return Status.PROCESSING_FAILURE

    def ended(self, association: Acceptance) -> None:
        with self._lock:
            record = self._records.pop(association.association_id, None)
        if record is None:
            return
        self._tell(
            replace(
                record,
                ended_at=datetime.now(UTC),
                outcome="released" if association.is_released else "aborted",
            )
        )

    def _store(
        self, association: Acceptance, command: Command, reception: Reception, context: Any
    ) -> int:
        negotiated = str(context.abstract_syntax)
        if command.sop_class_uid != negotiated or negotiated not in STORAGE_CLASSES:
            return Status.SOP_CLASS_NOT_SUPPORTED
        if not TAKEN_UID.fullmatch(command.sop_instance_uid):
            return Status.INVALID_SOP_INSTANCE
        sha256 = reception.complete()
        record = self._records[association.association_id]
        return self._on_instance(
            ReceivedInstance(
                path=reception.path,
                sop_class_uid=command.sop_class_uid,
                sop_instance_uid=command.sop_instance_uid,
                transfer_syntax_uid=str(context.transfer_syntax[0]),
                calling_title=record.calling_title,
                calling_address=record.address,
                association_id=record.association_id,
                sha256_dataset=sha256,
            )
        )

    def _caller(self, association: Acceptance) -> Caller:
        record = self._records[association.association_id]
        return Caller(record.calling_title, record.address, record.called_title)

    def _judge(self, caller: Caller) -> Refusal | None:
        if caller.called_title != self.title:
            return Refusal.CALLED_UNKNOWN
        try:
            return self._admit(caller)
        except Exception:  # noqa: BLE001  nobody comes in by an error
            _log.exception("the callback that admits callers failed")
            return Refusal.UNDECIDED

    def _tell(self, record: AssociationRecord) -> None:
        if self._on_association is None:
            return
        try:
            self._on_association(record)
        except Exception:  # noqa: BLE001  a record is not worth an association
            _log.exception("the callback that hears of associations failed")
