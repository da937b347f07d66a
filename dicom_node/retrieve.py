"""The retrieval SCU: objects of an archive, over the same association or by way of our Listener.

C-GET (PS3.4 section C.4.3) brings them on the association that asked, where we are the Storage SCP
by role selection (PS3.7 section D.3.3.4); they are received as the Listener receives: straight to a
file, flushed and hashed, nothing decoded. C-MOVE (section C.4.2) makes the archive call a Storage
SCP that it knows, ours.
"""

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import build_role
from pynetdicom.presentation import build_context

from dicom_node.calling import associate
from dicom_node.command import C_GET_RQ, C_GET_RSP, C_MOVE_RQ, C_MOVE_RSP, Command, Response
from dicom_node.contexts import (
    EXPLICIT_LE,
    IMPLICIT_LE,
    STORAGE_CLASSES,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    TRANSFER_SYNTAXES,
)
from dicom_node.enquiry import (
    CANCELLED,
    PENDING,
    Answer,
    Enquiry,
    Incoming,
    failure,
    read_identifier,
)
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import AnswerNotUnderstood
from dicom_node.reception import Reception
from dicom_node.scp import ReceivedInstance
from dicom_node.status import Status
from dicom_node.timeouts import Timeouts

TOTAL_S: Final = 1800.0
MAX_OBJECT_BYTES: Final = 1 << 30
# PS3.8 section 9.3.2.2: contexts are numbered by odd bytes.
_MAX_CONTEXTS: Final = 128
# Completed with failures or warnings (PS3.4 Table C.4-2, C.4-3).
_WITH_FAILURES: Final = 0xB000


@dataclass(frozen=True)
class RetrieveOutcome:
    """How a retrieval ended.

    Attributes
    ----------
    status : int
        0x0000, or 0xB000 when some objects did not come.
    completed, failed, warning : int or None
        How many sub-operations, as the peer counts them.
    failed_uids : tuple of str
        The objects it names as failed.
    """

    status: int
    completed: int | None
    failed: int | None
    warning: int | None
    failed_uids: tuple[str, ...] = ()


def get(
    peer: ApplicationEntity,
    identifier: Dataset,
    *,
    model: str = STUDY_ROOT_GET,
    calling_title: str,
    incoming_folder: Path,
    on_instance: Callable[[ReceivedInstance], int],
    sop_classes: Sequence[str] = tuple(STORAGE_CLASSES),
    timeouts: Timeouts | None = None,
    total_s: float = TOTAL_S,
    max_object_bytes: int = MAX_OBJECT_BYTES,
    stop: threading.Event | None = None,
) -> RetrieveOutcome:
    """Fetch objects over one association (C-GET).

    Parameters
    ----------
    identifier : Dataset
        Query/Retrieve Level and its unique keys.
    incoming_folder : Path
        Where objects are received; it exists.
    on_instance : callable
        ``ReceivedInstance -> Status``, as for :class:`dicom_node.scp.StorageSCP`: whoever answers
        success owns the file, any other answer removes it.
    sop_classes : sequence of str
        What is proposed; the fewer, the more transfer syntaxes have a context of their own, which
        lets the archive send each object as it holds it.
    stop : Event, optional
        Set it from another thread to cancel.

    Raises
    ------
    AssociationError, QueryError
        As :func:`dicom_node.query.find`. Objects that came before are kept.
    """
    waits = timeouts or Timeouts()
    association_id = uuid.uuid4().hex

    def begin(command: Command, context: Any) -> Reception:
        return Reception(
            incoming_folder,
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            transfer_syntax_uid=str(context.transfer_syntax[0]),
            calling_title=peer.title,
            max_bytes=max_object_bytes,
        )

    def take(incoming: Incoming, context: Any) -> int:
        command, reception = incoming.command, incoming.reception
        status: int = Status.OUT_OF_RESOURCES
        try:
            if command.sop_class_uid != str(context.abstract_syntax):
                status = Status.SOP_CLASS_NOT_SUPPORTED
            else:
                status = on_instance(
                    ReceivedInstance(
                        sha256_dataset=reception.complete(),
                        path=reception.path,
                        sop_class_uid=command.sop_class_uid,
                        sop_instance_uid=command.sop_instance_uid,
                        transfer_syntax_uid=str(context.transfer_syntax[0]),
                        calling_title=peer.title,
                        calling_address=peer.host,
                        association_id=association_id,
                    )
                )
        except OSError:
            status = Status.OUT_OF_RESOURCES
        finally:
            if status != Status.SUCCESS:
                reception.discard()
        return status

    roles = [build_role(uid, scp_role=True) for uid in sop_classes]
    contexts = [build_context(model, [EXPLICIT_LE, IMPLICIT_LE]), *_storage_contexts(sop_classes)]
    with (
        associate(peer, calling_title, contexts, waits, roles=roles) as call,
        Enquiry(
            call,
            model,
            response_s=waits.response_s,
            total_s=total_s,
            stop=stop,
            begin=begin,
        ) as enquiry,
    ):
        enquiry.ask(C_GET_RQ, identifier)
        accepted = {context.context_id: context for context in call.association.accepted_contexts}
        for message in enquiry.messages(C_GET_RSP):
            if isinstance(message, Incoming):
                enquiry.answer(message, take(message, accepted[message.context_id]))
            elif message.response.status not in PENDING:
                return _outcome(message, enquiry)
    raise AnswerNotUnderstood("the retrieval ended without a final answer")


def move(
    peer: ApplicationEntity,
    identifier: Dataset,
    *,
    destination: str,
    model: str = STUDY_ROOT_MOVE,
    calling_title: str,
    timeouts: Timeouts | None = None,
    total_s: float = TOTAL_S,
    stop: threading.Event | None = None,
    on_progress: Callable[[Response], None] | None = None,
) -> RetrieveOutcome:
    """Have an archive send objects to a Storage SCP it knows (C-MOVE).

    Parameters
    ----------
    destination : str
        The AE title of that SCP. The archive has to know its address.
    on_progress : callable, optional
        Called with each pending answer.

    Raises
    ------
    AssociationError, QueryError
        As :func:`dicom_node.query.find`; 0xA801 is an archive that does not know `destination`.
    """
    waits = timeouts or Timeouts()
    contexts = [build_context(model, [EXPLICIT_LE, IMPLICIT_LE])]
    with (
        associate(peer, calling_title, contexts, waits) as call,
        Enquiry(call, model, response_s=waits.response_s, total_s=total_s, stop=stop) as enquiry,
    ):
        enquiry.ask(C_MOVE_RQ, identifier, move_destination=destination)
        for message in enquiry.messages(C_MOVE_RSP):
            assert isinstance(message, Answer)  # noqa: S101 (no object can begin here)
            if message.response.status not in PENDING:
                return _outcome(message, enquiry)
            if on_progress is not None:
                on_progress(message.response)
    raise AnswerNotUnderstood("the retrieval ended without a final answer")


def _storage_contexts(sop_classes: Sequence[str]) -> list[Any]:
    """Return a context for each syntax of each class, or one for each class where those are many.

    An archive takes one syntax of a context, and then has to decode what it holds in another.
    """
    apart = [build_context(uid, [syntax]) for uid in sop_classes for syntax in TRANSFER_SYNTAXES]
    if len(apart) < _MAX_CONTEXTS:
        return apart
    return [build_context(uid, list(TRANSFER_SYNTAXES)) for uid in sop_classes]


def _outcome(answer: Answer, enquiry: Enquiry) -> RetrieveOutcome:
    response = answer.response
    if response.status not in (Status.SUCCESS, _WITH_FAILURES, CANCELLED):
        raise failure(response)
    uids: tuple[str, ...] = ()
    if answer.identifier:
        found = read_identifier(answer.identifier, enquiry.context).get("FailedSOPInstanceUIDList")
        uids = tuple(str(uid) for uid in ([found] if isinstance(found, str) else found or ()))
    return RetrieveOutcome(
        response.status, response.completed, response.failed, response.warning, uids
    )
