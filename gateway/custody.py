"""A sender asks, before it deletes its copy, whether we keep what it sent (PS3.4 Annex J, as SCP).

The request is a row before it is answered with success, so no crash loses it. The result is told on
an association of ours, again and again until the sender has taken it, its attempts are spent, or
trying again cannot help; a person can have it told again (:mod:`gateway.answering`). What is told
is looked for each time (:mod:`gateway.holdings`).

What is due is in the row alone (``not_before``): a claim is that time moved on by one conditional
UPDATE, so two Stewards do not tell twice, and one that dies is followed by another. Reading
thousands of objects takes longer than a claim, which is renewed meanwhile.
"""

from __future__ import annotations

import datetime
import time
from typing import Final

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from dicom_node.custody import CommitmentRequest, send_result
from dicom_node.errors import AssociationError, DicomError
from dicom_node.scp import Caller
from dicom_node.status import Status
from gateway import doorbell, holdings, leases, peers
from gateway.models import CustodyRequest, Peer

log = structlog.get_logger(__name__)

Outcome = CustodyRequest.Outcome

WORK_S = 20.0
"""So long a Steward answers requests before other upkeep has its turn again."""

CLAIM_S = 300.0

HEAD_START_S = 0.2
"""So long a result waits for the answer to its request to be through: a sender that is told of a
transaction before it was accepted may not know it yet."""

NO_ADDRESS: Final = "no Peer of this title has a host and a port to answer to"
_NO_END: Final = "no attempt came to an end"


class _Taken(Exception):
    """Somebody else is at the request by now, or it was asked anew."""


def take(caller: Caller, asked: CommitmentRequest) -> Status:
    """Record a request; the status answers it.

    The same transaction of the same sender again is answered again, about what it names now.

    Returns
    -------
    Status
        SUCCESS when its row is committed; NOT_AUTHORISED for a Peer that may not send;
        PROCESSING_FAILURE when there is no address to answer to: the row says so.
    """
    if not peers.may_send(caller.title, caller.address):
        log.warning("commitment refused: this Peer may not send", calling_title=caller.title)
        return Status.NOT_AUTHORISED
    is_answerable = _peer_of(caller.title, caller.address) is not None
    now = timezone.now()
    with transaction.atomic():
        row, _ = CustodyRequest.objects.update_or_create(
            calling_title=caller.title,
            transaction_uid=asked.transaction_uid,
            defaults={
                "address": caller.address[:64],
                "references": [
                    [one.sop_class_uid, one.sop_instance_uid] for one in asked.references
                ],
                "requested_at": now,
                "outcome": Outcome.WAITING if is_answerable else Outcome.FAILED,
                "failures": [],
                "attempts": 0,
                "not_before": now + datetime.timedelta(seconds=HEAD_START_S),
                "answered_at": None,
                "last_error": "" if is_answerable else NO_ADDRESS,
            },
        )
        if is_answerable:
            transaction.on_commit(
                lambda: doorbell.ring_custody(row.pk, in_s=HEAD_START_S), robust=True
            )
    log.info("asked for commitment", custody=row.pk, objects=len(asked.references))
    if is_answerable:
        return Status.SUCCESS
    log.warning("commitment refused", custody=row.pk, reason=NO_ADDRESS)
    return Status.PROCESSING_FAILURE


def answer_waiting() -> bool:
    """Answer what is due, the least tried first; return whether more is due now."""
    _give_up_spent()
    until = time.monotonic() + WORK_S
    while time.monotonic() < until:
        row = _claim()
        if row is None:
            return False
        _answer(row)
    return True


# --- one request ---------------------------------------------------------------------------------


def _peer_of(title: str, address: str) -> Peer | None:
    """Return who is told: the Peer of this title at this address, or else the only one there is."""
    known = list(Peer.objects.filter(title=title).exclude(host="").order_by("pk"))
    at_address = [peer for peer in known if peers.is_at(peer.host, address)]
    if at_address:
        return at_address[0]
    return known[0] if len(known) == 1 else None


def _due() -> QuerySet[CustodyRequest]:
    return CustodyRequest.objects.filter(outcome=Outcome.WAITING, not_before__lte=timezone.now())


def _give_up_spent() -> None:
    """End what was tried often enough, in vain or without ever coming to an end."""
    spent = _due().filter(attempts__gte=settings.ECG_ATTEMPTS)
    spent.filter(last_error="").update(last_error=_NO_END)
    spent.update(outcome=Outcome.FAILED)


def _claim() -> CustodyRequest | None:
    """Take the next request and count the attempt; None when nothing is due."""
    while True:
        row = _due().order_by("attempts", "not_before", "pk").first()
        if row is None:
            return None
        until = _claim_end()
        if _held(row).update(attempts=F("attempts") + 1, not_before=until):
            row.attempts, row.not_before = row.attempts + 1, until
            return row


def _renew(row: CustodyRequest) -> None:
    until = _claim_end()
    if not _held(row).update(not_before=until):
        raise _Taken
    row.not_before = until


def _claim_end() -> datetime.datetime:
    return timezone.now() + datetime.timedelta(seconds=CLAIM_S)


def _held(row: CustodyRequest) -> QuerySet[CustodyRequest]:
    """Return the row as long as nobody has claimed it, or asked anew, since."""
    return CustodyRequest.objects.filter(
        pk=row.pk, outcome=Outcome.WAITING, attempts=row.attempts, not_before=row.not_before
    )


def _answer(row: CustodyRequest) -> None:
    peer = _peer_of(row.calling_title, row.address)
    if peer is None:
        _held(row).update(outcome=Outcome.FAILED, last_error=NO_ADDRESS)
        return
    try:
        result = holdings.examine(row, lambda: _renew(row))
        row.failures = [[one.reference.sop_instance_uid, one.reason] for one in result.failed]
        if not _held(row).update(failures=row.failures):
            raise _Taken
        send_result(
            peer.entity,
            result,
            calling_title=settings.ECG_AE_TITLE,
            timeouts=peers.timeouts(),
        )
    except _Taken:
        log.info("custody request taken over", custody=row.pk)
    except DicomError as error:
        _not_told(row, error)
    except OSError as error:
        log.error("not examined", custody=row.pk, error=repr(error))
        _put_back(row, str(error))
    else:
        _held(row).update(outcome=Outcome.ANSWERED, answered_at=timezone.now(), last_error="")
        log.info(
            "commitment answered",
            custody=row.pk,
            committed=len(result.committed),
            failed=len(result.failed),
        )


def _not_told(row: CustodyRequest, error: DicomError) -> None:
    log.warning("commitment not answered", custody=row.pk, error=str(error))
    if not error.retryable:
        _held(row).update(outcome=Outcome.FAILED, last_error=_text(error))
        return
    _put_back(row, _text(error))
    if isinstance(error, AssociationError):
        # One call speaks for all that is due: a sender that is away costs one, not one each.
        _due().filter(calling_title=row.calling_title).update(
            attempts=F("attempts") + 1, not_before=_later(row), last_error=_text(error)
        )


def _put_back(row: CustodyRequest, error: str) -> None:
    is_spent = row.attempts >= settings.ECG_ATTEMPTS
    _held(row).update(
        outcome=Outcome.FAILED if is_spent else Outcome.WAITING,
        not_before=_later(row),
        last_error=error[: leases.TEXT_LENGTH],
    )


def _later(row: CustodyRequest) -> datetime.datetime:
    return timezone.now() + datetime.timedelta(seconds=leases.backoff_s(row.attempts))


def _text(error: object) -> str:
    return str(error)[: leases.TEXT_LENGTH]
