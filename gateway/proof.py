"""A Peer that stored a report shows that it keeps it: by Storage Commitment, or it is looked up.

The Success of a C-STORE says that an archive took an object, not that it still has it. What a
Dispatch waits for is in its row alone (``proof_due_at``), as everywhere here: a claim is that time
moved on by one conditional UPDATE, so two Couriers do not ask twice, and one that dies is followed
by another. A request is written down before it goes out, for its answer may be faster than we are;
it comes on the same association or through the Listener, early, late, twice or never
(:func:`answered`).
"""

from __future__ import annotations

import datetime
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from dicom_node import commitment as protocol
from dicom_node.commitment import CommitmentResult, Reference
from dicom_node.errors import AssociationError, CommitmentRefused, DicomError, NoAcceptedContext
from gateway import circuits, evidence, leases, peers, readback
from gateway.circuits import NotNow
from gateway.models import Commitment, Dispatch, Peer
from gateway.models.peers import Proof

log = structlog.get_logger(__name__)

BATCH = 100
WORK_S = 20.0
"""So long a Courier asks for proof before deliveries have their turn again."""

CLAIM_S = 300.0
LOOKS = 3
"""So often an object is not found before it counts as not there: archives index late."""

UNANSWERED_ASKS = 2
_LOOKING_S = 15.0
_ANSWER_WAIT_S = 1.0
_DAY: Final = datetime.timedelta(days=1)
_MAX_PATIENCE_S: Final = 86_400.0
_NO_SUCH_OBJECT: Final = 0x0112
_NOT_COMMITTED_TO: Final = frozenset({0x0119, 0x0122})
# PS3.3 section C.14.1.1.
_REASONS: Final = {
    0x0110: "processing failure",
    _NO_SUCH_OBJECT: "no such object",
    0x0213: "resource limitation",
    0x0122: "SOP Class not supported",
    0x0119: "class and instance do not fit",
    0x0131: "duplicate Transaction UID",
}
NO_MEANS = "it has no Storage Commitment, and nothing says that it answers queries"


def answered(calling_title: str, result: CommitmentResult) -> None:
    """Take an answer to a request of ours; what fits none changes nothing.

    Committed is true of whichever request it answers, however late. Failed counts only for the
    latest that covers the object: it may have been sent again since.
    """
    asked = (
        Commitment.objects.filter(transaction_uid=result.transaction_uid)
        .select_related("peer")
        .first()
    )
    if asked is None or asked.peer.title.strip() != calling_title.strip():
        log.warning(
            "commitment answer to no request of ours",
            peer=calling_title,
            transaction=result.transaction_uid,
        )
        return
    stored = Dispatch.objects.filter(peer=asked.peer, outcome=Dispatch.Outcome.STORED)
    uids = [one.sop_instance_uid for one in result.committed]
    failed = {one.reference.sop_instance_uid: one.reason for one in result.failed}
    with transaction.atomic():
        outcome = Commitment.Outcome.PARTLY if failed else Commitment.Outcome.COMMITTED
        Commitment.objects.filter(pk=asked.pk, answered_at=None).update(
            answered_at=timezone.now(), outcome=outcome, reason=_summary(failed)
        )
        evidence.prove(stored.filter(report__sop_instance_uid__in=uids), Dispatch.Means.COMMITMENT)
        latest = stored.filter(commitment=asked, report__sop_instance_uid__in=failed)
        for row in latest.select_related("report", "peer").order_by("pk"):
            _failed(row, failed[row.report.sop_instance_uid])
    log.info(
        "commitment answered",
        peer=calling_title,
        transaction=result.transaction_uid,
        committed=len(uids),
        failed=len(failed),
    )


def prove_waiting() -> bool:
    """Ask for the proof that is due, a batch a Peer in turn; return whether more is due now.

    A Peer that does not answer has its turn once, and rests.
    """
    Commitment.objects.filter(
        outcome=Commitment.Outcome.ASKED, answer_due_at__lte=timezone.now()
    ).update(outcome=Commitment.Outcome.UNANSWERED)
    resting = circuits.resting()
    until = time.monotonic() + WORK_S
    while time.monotonic() < until:
        numbers = _due().exclude(peer__in=resting).values("peer")
        found = list(Peer.objects.filter(pk__in=numbers).order_by("pk"))
        if not found:
            return False
        for peer in found:
            if not _turn(peer):
                resting.add(peer.pk)
    return True


# --- a turn ------------------------------------------------------------------------------------


def _unproven() -> QuerySet[Dispatch]:
    return Dispatch.objects.filter(outcome=Dispatch.Outcome.STORED, proven_at=None)


def _due() -> QuerySet[Dispatch]:
    return _unproven().filter(proof_due_at__lte=timezone.now())


@contextmanager
def _call(peer: Peer) -> Iterator[None]:
    """Call `peer` as a delivery would; but what fails here says nothing about deliveries."""
    with circuits.call(peer) as call:
        try:
            yield
        except AssociationError as error:
            if error.retryable:
                call.failed(str(error), opens=False)
            else:
                call.answered()
            raise
        except DicomError:
            call.answered()
            raise
        call.answered()


def _turn(peer: Peer) -> bool:
    """Ask `peer` for one batch; return whether it may be asked for another at once."""
    rows = _claim(peer)
    if not rows:
        return False
    if peer.proof == Proof.NONE:
        with transaction.atomic():
            _mark(rows, proof_due_at=None, proof_error="")
            evidence.conclude({row.report.instance_id for row in rows})
        return True
    looked_up = [row for row in rows if _is_read_back(peer, row)]
    asked = [row for row in rows if row not in looked_up]
    is_well = True
    if asked:
        is_well = _ask(peer, asked)
    if looked_up:
        is_well = _look_up(peer, looked_up) and is_well
    return is_well


def _claim(peer: Peer) -> list[Dispatch]:
    """Take what is due for `peer`, oldest first; only rows that were asked for equally often.

    So what is new does not wait as long as what was never answered.
    """
    until = _after(CLAIM_S)
    with transaction.atomic():
        due = _due().filter(peer=peer).order_by("proof_due_at", "pk")
        first = due.first()
        if first is None:
            return []
        chosen = due.filter(proof_attempts=first.proof_attempts)
        if connection.features.has_select_for_update_skip_locked:
            chosen = chosen.select_for_update(skip_locked=True, of=("self",))
        rows = list(chosen.select_related("report", "commitment")[:BATCH])
        Dispatch.objects.filter(pk__in=[row.pk for row in rows]).update(proof_due_at=until)
    for row in rows:
        row.proof_due_at = until
    return rows


def _is_read_back(peer: Peer, row: Dispatch) -> bool:
    if peer.proof == Proof.QUERY or row.is_read_back:
        return True
    if peer.proof != Proof.AUTO:
        return False
    since = peer.refuses_commitment_since
    if since is not None and timezone.now() - since < _DAY:
        return True
    is_silent = (
        row.commitment is not None
        and row.commitment.outcome == Commitment.Outcome.UNANSWERED
        and row.proof_attempts >= UNANSWERED_ASKS
    )
    return is_silent and readback.means_of(peer) is not None


def _ask(peer: Peer, rows: Sequence[Dispatch]) -> bool:
    """Ask `peer` to commit itself to `rows`, all claimed; return whether it answered us."""
    try:
        with _call(peer):
            _request(peer, rows)
    except NotNow as rest:
        _mark(rows, proof_due_at=_after(rest.wait_s))
        return False
    except NoAcceptedContext as error:
        now = timezone.now()
        Peer.objects.filter(pk=peer.pk).update(refuses_commitment_since=now)
        peer.refuses_commitment_since = now
        log.warning("commitment refused", peer=peer.title)
        return _without(peer, rows, str(error))
    except CommitmentRefused as error:
        if not error.retryable:
            return _without(peer, rows, str(error))
        _mark(rows, proof_due_at=_back_off(rows[0]), proof_error=_text(error))
        return False
    except DicomError as error:
        _rest(peer, rows, error)
        return False
    if peer.refuses_commitment_since is not None:
        evidence.look_again(peer)
    return True


def _request(peer: Peer, rows: Sequence[Dispatch]) -> None:
    """Write a request for those of `rows` that are still ours, send it, and take a quick answer."""
    patience_s = settings.ECG_PROOF_PATIENCE_S * 2.0 ** min(rows[0].proof_attempts, 20)
    due_at = _after(min(_MAX_PATIENCE_S, patience_s))
    asked = Commitment(
        peer=peer, transaction_uid=protocol.new_transaction_uid(), answer_due_at=due_at
    )
    with transaction.atomic():
        asked.save()
        _mark(rows, commitment=asked, proof_attempts=F("proof_attempts") + 1, proof_due_at=due_at)
    reports = Dispatch.objects.filter(commitment=asked).order_by("pk")
    references = [
        Reference(*pair)
        for pair in reports.values_list("report__sop_class_uid", "report__sop_instance_uid")
    ]
    if not references:
        asked.delete()  # all of it came to an end meanwhile
        return
    for row in rows:
        row.proof_attempts += 1
    try:
        result = protocol.request(
            peer.entity,
            references,
            transaction_uid=asked.transaction_uid,
            calling_title=settings.ECG_AE_TITLE,
            timeouts=peers.timeouts(),
            wait_s=_ANSWER_WAIT_S,
        )
    except DicomError as error:
        _refused(asked, str(error))
        raise
    if result is not None:
        answered(peer.title, result)


def _refused(asked: Commitment, reason: str) -> None:
    Commitment.objects.filter(pk=asked.pk, answered_at=None).update(
        outcome=Commitment.Outcome.REFUSED, reason=reason[: leases.TEXT_LENGTH]
    )


def _without(peer: Peer, rows: Sequence[Dispatch], reason: str) -> bool:
    """Go on with `rows` at a Peer that does not commit itself to them."""
    if peer.proof == Proof.AUTO:
        _mark(rows, proof_error=_text(reason), is_read_back=readback.means_of(peer) is not None)
        return _look_up(peer, rows)
    _mark(rows, proof_due_at=timezone.now() + _DAY, proof_error=_text(reason))
    return False


def _look_up(peer: Peer, rows: Sequence[Dispatch]) -> bool:
    """Look claimed `rows` up at `peer`, one after the other; return whether it answered."""
    means = readback.means_of(peer)
    if means is None:
        _mark(rows, proof_due_at=None, proof_error=f"{peer.title}: {NO_MEANS}")
        return True
    left = list(rows)
    until = time.monotonic() + _LOOKING_S
    while left and time.monotonic() < until:
        row = left[0]
        try:
            with nullcontext() if peer.qido_url else _call(peer):
                is_there = readback.holds(peer, row.report)
        except NotNow as rest:
            _mark(left, proof_due_at=_after(rest.wait_s))
            return False
        except DicomError as error:
            _mark(left, proof_attempts=F("proof_attempts") + 1)
            _rest(peer, left, error)
            return False
        except Exception as error:  # the report's own file: the others have theirs
            log.exception("not looked up", dispatch=row.pk)
            _mark([row], proof_due_at=_back_off(row), proof_error=_text(error))
        else:
            with transaction.atomic():
                held = _held([row])
                if is_there:
                    evidence.prove(held, means)
                elif held.exists():
                    _not_found(row)
        left.pop(0)
    _mark(left, proof_due_at=timezone.now())
    return not left


def _not_found(row: Dispatch) -> None:
    looks = row.proof_looks + 1
    why = f"{row.peer.title} was looked into {looks} times and does not have it"
    if looks >= LOOKS:
        evidence.miss(row, why)
        return
    wait_s = settings.ECG_BACKOFF_S * 6 * 2**looks
    _mark(
        [row],
        proof_attempts=F("proof_attempts") + 1,
        proof_looks=looks,
        proof_due_at=_after(wait_s),
        proof_error=_text(why),
    )


def _rest(peer: Peer, rows: Sequence[Dispatch], error: DicomError) -> None:
    """Leave a Peer that did not answer alone: these rows, and whatever else is due for it."""
    log.warning("proof not asked", peer=peer.title, error=str(error))
    due_at = _back_off(rows[0])
    values = {"proof_error": _text(error), "proof_due_at": due_at}
    _mark(rows, **values)
    _due().filter(peer=peer).update(**values)


# --- rows --------------------------------------------------------------------------------------


def _failed(row: Dispatch, reason: int) -> None:
    """Act on what a Peer does not commit itself to, in the caller's transaction."""
    why = f"{row.peer.title} does not commit itself: {_word(reason)}"
    if reason == _NO_SUCH_OBJECT:
        evidence.miss(row, why)
        return
    if row.proven_at is not None:
        return
    due_at = timezone.now() if reason in _NOT_COMMITTED_TO else _back_off(row)
    Dispatch.objects.filter(pk=row.pk, commitment=row.commitment_id).update(
        proof_due_at=due_at,
        proof_error=_text(why),
        is_read_back=row.is_read_back or reason in _NOT_COMMITTED_TO,
    )


def _held(rows: Iterable[Dispatch]) -> QuerySet[Dispatch]:
    """Return which of `rows` are still as this process claimed or asked them."""
    same = Q(pk__in=[])
    for due_at, mine in _by_due_time(rows).items():
        same |= Q(pk__in=mine, proof_due_at=due_at)
    return _unproven().filter(same)


def _by_due_time(rows: Iterable[Dispatch]) -> dict[datetime.datetime | None, list[int]]:
    groups: dict[datetime.datetime | None, list[int]] = {}
    for row in rows:
        groups.setdefault(row.proof_due_at, []).append(row.pk)
    return groups


def _mark(rows: Sequence[Dispatch], **values: Any) -> None:
    """Write `values` to those of `rows` that nothing has happened to since we took them."""
    if not rows:
        return
    _held(rows).update(**values)
    for row in rows:
        if "proof_due_at" in values:
            row.proof_due_at = values["proof_due_at"]


def _back_off(row: Dispatch) -> datetime.datetime:
    wait_s = settings.ECG_BACKOFF_S * 2.0 ** min(row.proof_attempts, 20)
    spread = random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)
    return _after(min(leases.MAX_BACKOFF_S, wait_s) * spread)


def _after(seconds: float) -> datetime.datetime:
    return timezone.now() + datetime.timedelta(seconds=seconds)


# --- words -------------------------------------------------------------------------------------


def _text(error: object) -> str:
    return str(error)[: leases.TEXT_LENGTH]


def _word(reason: int) -> str:
    return f"{_REASONS.get(reason, 'for a reason of its own')} (0x{reason:04X})"


def _summary(failed: dict[str, int]) -> str:
    counts = {reason: list(failed.values()).count(reason) for reason in failed.values()}
    said = (f"{count} x {_word(reason)}" for reason, count in sorted(counts.items()))
    return "; ".join(said)[: leases.TEXT_LENGTH]
