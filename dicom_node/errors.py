"""What can go wrong at the DICOM edge, and whether trying again can help.

Messages name what was expected and what was received. They never hold patient data, so they may be
logged, stored and shown.
"""

from typing import ClassVar


class DicomError(Exception):
    """Base of every error this package raises on purpose.

    Attributes
    ----------
    retryable : bool
        ``True`` when the same call may succeed later without anybody changing anything.
    """

    retryable: ClassVar[bool] = False


class ImageError(DicomError):
    """The pixel data of an object cannot become a raster.

    Parameters
    ----------
    reason : str
        A short sentence for people, without patient data.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotSendable(DicomError):
    """A file given to the SCU is no DICOM object that could be sent."""


class AssociationError(DicomError):
    """No answer was got because the association failed."""

    retryable = True


class PeerUnreachable(AssociationError):
    """No TCP connection: refused, no route, name not resolved, or connecting took too long."""


class PeerTimeout(AssociationError):
    """The peer took the connection and then did not answer in time."""


class AssociationAborted(AssociationError):
    """The peer, or the network between, ended the association (PS3.8 A-ABORT, A-P-ABORT)."""


class AssociationRejected(AssociationError):
    """The peer answered A-ASSOCIATE-RJ (PS3.8 section 9.3.4).

    Attributes
    ----------
    result : int
        1 permanent, 2 transient.
    source : int
        1 service user, 2 service provider (ACSE), 3 service provider (presentation).
    diagnostic : int
        The reason, its meaning depends on the source (PS3.8 Table 9-21).
    """

    def __init__(self, *, result: int, source: int, diagnostic: int) -> None:
        self.result = result
        self.source = source
        self.diagnostic = diagnostic
        kind = {1: "permanently", 2: "for now"}.get(result, f"with the unknown result {result}")
        meaning = _REJECTIONS.get((source, diagnostic), f"source {source}, reason {diagnostic}")
        super().__init__(f"the peer rejected the association {kind}: {meaning}")


class RejectedForNow(AssociationRejected):
    """A transient rejection: the peer is busy."""


class RejectedForGood(AssociationRejected):
    """A permanent rejection: somebody has to change a configuration first."""

    retryable = False


class NoAcceptedContext(AssociationError):
    """The peer takes none of the proposed SOP Classes in the proposed transfer syntaxes."""

    retryable = False


class QueryError(DicomError):
    """A query or a retrieval did not come to a good end, though the association held."""


class QueryRefused(QueryError):
    """The peer answered a failure that the same request will meet again.

    Attributes
    ----------
    status : int
        Its Status (0000,0900).
    comment : str
        Its Error Comment (0000,0902). Not ours, so it may name a patient: show it, do not log it.
    """

    def __init__(self, status: int, comment: str = "") -> None:
        self.status, self.comment = status, comment
        super().__init__(f"the peer answered the request with 0x{status:04X}")


class QueryFailed(QueryRefused):
    """The peer answered a failure of the moment: out of resources, unable to process."""

    retryable = True


class CommitmentRefused(DicomError):
    """The peer refused to take a request for storage commitment, and would refuse it again.

    Attributes
    ----------
    status : int
        Its Status (0000,0900).
    """

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the peer answered the request for commitment with 0x{status:04X}")


class CommitmentFailed(CommitmentRefused):
    """The peer could not take the request for storage commitment at the moment."""

    retryable = True


class RequestNotTaken(DicomError):
    """A request to us is none that can be taken.

    Attributes
    ----------
    status : int
        The Status (0000,0900) that answers it.
    """

    def __init__(self, status: int, what: str) -> None:
        self.status = status
        super().__init__(f"a request {what}, answered with 0x{status:04X}")


class ResultRefused(DicomError):
    """The peer refused to take the result of its own request, and would refuse it again.

    Attributes
    ----------
    status : int
        Its Status (0000,0900).
    """

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the peer answered the result of its request with 0x{status:04X}")


class ResultNotTaken(ResultRefused):
    """The peer could not take the result of its own request at the moment."""

    retryable = True


class TooManyMatches(QueryError):
    """More answers came than were asked for; the request was cancelled."""


class AnswerNotUnderstood(QueryError):
    """An answer, or what it brought, is not what PS3.4 and PS3.7 allow."""


class Cancelled(QueryError):
    """We were told to stop."""

    retryable = True


# PS3.8 Table 9-21: (source, reason) -> meaning.
_REJECTIONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (2, 1): "no reason given by its ACSE provider",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
