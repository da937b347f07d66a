"""The query SCU: what an archive holds (PS3.4 Annex C), and what a worklist asks for (Annex K)."""

import threading
from collections.abc import Iterator
from typing import Final

from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context

from dicom_node.calling import associate
from dicom_node.command import C_FIND_RQ, C_FIND_RSP
from dicom_node.contexts import EXPLICIT_LE, IMPLICIT_LE, STUDY_ROOT_FIND
from dicom_node.enquiry import PENDING, SUCCESS, Answer, Enquiry, failure, read_identifier
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import AnswerNotUnderstood, TooManyMatches
from dicom_node.timeouts import Timeouts

MAX_MATCHES: Final = 10_000
TOTAL_S: Final = 600.0


def find(
    peer: ApplicationEntity,
    identifier: Dataset,
    *,
    model: str = STUDY_ROOT_FIND,
    calling_title: str,
    timeouts: Timeouts | None = None,
    limit: int = MAX_MATCHES,
    total_s: float = TOTAL_S,
    stop: threading.Event | None = None,
) -> Iterator[Dataset]:
    """Ask a peer what matches (C-FIND), and yield the matches as they come.

    Parameters
    ----------
    identifier : Dataset
        Keys to match and to return (PS3.4 section C.2.2.2). Text that is not ASCII needs its
        Specific Character Set.
    model : str
        The SOP Class: Study Root or Modality Worklist.
    calling_title : str
        Our AE title.
    limit : int
        A peer that sends one more is cancelled.
    total_s : float
        For all answers together.
    stop : Event, optional
        Set it from another thread to cancel. Closing the iterator cancels, too.

    Yields
    ------
    Dataset
        One match; its text is decoded (:mod:`dicom_node.charset`).

    Raises
    ------
    AssociationError
        There was no association, or it broke, or the peer fell silent.
    QueryError
        The peer refused, sent too much, or sent what is no answer; or we were told to stop.
    """
    waits = timeouts or Timeouts()
    contexts = [build_context(model, [EXPLICIT_LE, IMPLICIT_LE])]
    with (
        associate(peer, calling_title, contexts, waits) as call,
        Enquiry(call, model, response_s=waits.response_s, total_s=total_s, stop=stop) as enquiry,
    ):
        enquiry.ask(C_FIND_RQ, identifier)
        count = 0
        is_over = False
        try:
            for message in enquiry.messages(C_FIND_RSP):
                assert isinstance(message, Answer)  # noqa: S101 (no object can begin here)
                if message.response.status not in PENDING:
                    is_over = True
                    if message.response.status != SUCCESS:
                        raise failure(message.response)
                    return
                if message.identifier is None:
                    raise AnswerNotUnderstood("a match came without its identifier")
                count += 1
                if count > limit:
                    raise TooManyMatches(f"expected at most {limit} matches, received more")
                yield read_identifier(message.identifier, enquiry.context)
        finally:
            if not is_over:
                enquiry.cancel()
