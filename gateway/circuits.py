"""Whether a Peer may be called now, and on how many associations at once; known to every process.

A circuit is closed while its Peer answers and opens with the first call that brings no answer, or
the answer that the Peer is out of resources. Then nobody calls for a while, a longer one each time;
after it one caller tries with one object, and what that one finds is true for all. So an archive
that was away for an hour is met by one object, not by everything that waited for it, and whoever
waits costs no attempt: it is the Peer's trouble, not the ECG's.

A line is one association that may be open with a Peer. It is held by a lease, for its holder may
die on the telephone.
"""

from __future__ import annotations

import datetime
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Min, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from gateway import doorbell, leases
from gateway.models import Circuit, Dispatch, Instance, Line, Peer
from gateway.states import State

log = structlog.get_logger(__name__)

LONGEST_S: Final = 120.0
"""An archive that is back is noticed after so long at the latest."""

HELD_S: Final = 600.0
"""So long what waits for a Peer that is away is not looked at; :func:`forget` and a call that is
answered let it go on before."""

TRIED: Final = 8
"""Of so many patients one ECG is let go on to find an archive that was away."""

BUSY_S: Final = 1.0
"""So long who finds all lines taken does something else before looking again."""

PATIENCE_S: Final = 0.5
"""So long a Courier waits for a line first: a batch is mostly through by then, and what it would
have to put back and claim anew costs more than that. No longer, for others may be due elsewhere."""

_LOOK_S: Final = 0.02


class NotNow(Exception):
    """The Peer is not called now.

    Attributes
    ----------
    wait_s : float
        For how long at least.
    is_busy : bool
        It answers, but all its lines, or the one trial, are taken.
    is_soon_free : bool
        A line of a Peer that answers is a matter of a moment.
    """

    def __init__(
        self, reason: str, wait_s: float, *, is_busy: bool = False, is_soon_free: bool = False
    ) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.is_busy = is_busy
        self.is_soon_free = is_soon_free


class Call:
    """The right to open one association with a Peer.

    Attributes
    ----------
    is_trial : bool
        The circuit is open, and this call shows whether it stays so: one object is enough.
    """

    def __init__(self, peer: Peer, line: Line, seen: Circuit | None) -> None:
        self.peer = peer
        self.is_trial = seen is not None
        self.wait_s = 0.0
        """Once it failed: for how long the Peer is left alone."""
        self._line = line
        self._seen = seen
        self._is_answered = False

    @property
    def token(self) -> uuid.UUID | None:
        """What the line is held with."""
        return self._line.token

    def renew(self) -> None:
        """Hold the line for another while."""
        _mine(self._line).update(expires_at=timezone.now() + _hold_time())

    def failed(self, reason: str, *, opens: bool = True) -> None:
        """Open the circuit, or keep it open for longer: the Peer did not answer, or cannot now.

        With ``opens`` false a closed circuit stays closed: what failed is less than a delivery.
        """
        if self.wait_s or not (opens or self.is_trial):
            return
        self.wait_s = _open(self.peer, self._seen, reason)

    def answered(self) -> None:
        """The Peer has answered, whatever it said."""
        self._is_answered = True

    def end(self) -> None:
        """Let the line go; close the circuit if the trial was answered."""
        if self._seen is not None and not self.wait_s:
            if self._is_answered:
                _close(self.peer)
            else:
                Circuit.objects.filter(pk=self._seen.pk).update(trial_until=None)
        _mine(self._line).update(token=None, expires_at=None)


@contextmanager
def call(peer: Peer, *, patience_s: float = 0.0) -> Iterator[Call]:
    """Hold one of the lines of `peer` while the block runs; it says how the call went.

    Parameters
    ----------
    peer
    patience_s
        For how long to wait for a line while the Peer answers.

    Raises
    ------
    NotNow
        Its circuit is open, or no line is free.
    """
    one = _dial_patiently(peer, patience_s)
    try:
        yield one
    finally:
        one.end()


def _dial_patiently(peer: Peer, patience_s: float) -> Call:
    until = time.monotonic() + patience_s
    while True:
        try:
            return dial(peer)
        except NotNow as rest:
            if not rest.is_soon_free or time.monotonic() >= until:
                raise
            time.sleep(_LOOK_S)


def dial(peer: Peer) -> Call:
    """Take one of the lines of `peer`; :meth:`Call.end` lets it go. Raises as :func:`call`."""
    seen = _circuit(peer)
    if seen is not None:
        _must_rest(seen)
    line = _take_line(peer)
    if line is None:
        limit = f"{peer.max_lines} at once is its limit"
        raise NotNow(limit, BUSY_S, is_busy=True, is_soon_free=seen is None)
    if seen is not None and not _is_first_to_try(seen):
        _mine(line).update(token=None, expires_at=None)
        raise NotNow(seen.reason, BUSY_S, is_busy=True)
    return Call(peer, line, seen)


def is_open(peer: Peer) -> bool:
    """Return whether the last call of `peer` brought no answer."""
    return _circuit(peer) is not None


def resting() -> set[int]:
    """Return the Peers that nobody calls just now."""
    shut = Circuit.objects.filter(opened_at__isnull=False, retry_at__gt=timezone.now())
    return {row.peer_id for row in shut.select_related("peer") if row.address == str(row.peer)}


def waiting_for(peer: Peer) -> int:
    """Return how many ECGs have a report that waits for `peer`."""
    rows = Dispatch.objects.filter(peer=peer, outcome=Dispatch.Outcome.WAITING)
    return rows.values("report__instance").distinct().count()


def try_again() -> None:
    """Let the oldest that are held go on for each Peer whose time to be tried has come.

    They are of several patients, for one may have to wait for another of its patient's. One of them
    is sent; the others stay held until that one has found the Peer.
    """
    due = Circuit.objects.filter(opened_at__isnull=False, retry_at__lte=timezone.now())
    for circuit in due.select_related("peer"):
        by_patient = _held(circuit.peer).order_by().values("study__patient_id")
        oldest = by_patient.annotate(oldest=Min("pk")).order_by("oldest")
        numbers = list(oldest.values_list("oldest", flat=True)[:TRIED])
        Instance.objects.filter(pk__in=numbers, is_held=True).update(not_before=timezone.now())


def forget(peer: Peer) -> None:
    """Call `peer` again at once: a person has changed it, or says that it is there."""
    if Circuit.objects.filter(peer=peer).update(**_CLOSED):
        _wake(peer)


# --- circuits ----------------------------------------------------------------------------------

_CLOSED: Final = {
    "failures": 0,
    "opened_at": None,
    "retry_at": None,
    "trial_until": None,
    "reason": "",
}


def _circuit(peer: Peer) -> Circuit | None:
    """Return the circuit of `peer` if it is open; one seen at another address says nothing."""
    row = Circuit.objects.filter(peer=peer, opened_at__isnull=False).first()
    return row if row is not None and row.address == str(peer) else None


def _must_rest(seen: Circuit) -> None:
    now = timezone.now()
    if seen.retry_at is not None and seen.retry_at > now:
        raise NotNow(seen.reason, (seen.retry_at - now).total_seconds())


def _is_first_to_try(seen: Circuit) -> bool:
    """Claim the one trial of an open circuit.

    One Peer is tried at a time: each may let its caller wait in vain, and somebody has to be left
    for the Peers that answer.
    """
    now = timezone.now()
    if Circuit.objects.filter(trial_until__gt=now).exists():
        return False
    still = Circuit.objects.filter(
        Q(trial_until=None) | Q(trial_until__lte=now), pk=seen.pk, retry_at=seen.retry_at
    )
    return bool(still.update(trial_until=now + _hold_time()))


def _open(peer: Peer, seen: Circuit | None, reason: str) -> float:
    """Write that a call of `peer` failed; return for how long it is left alone, in seconds."""
    failures = 1 if seen is None else seen.failures + 1
    wait_s = min(LONGEST_S, settings.ECG_BACKOFF_S * 2.0 ** min(failures - 1, 20))
    wait_s *= random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)
    now = timezone.now()
    values = {
        "address": str(peer),
        "failures": failures,
        "retry_at": now + datetime.timedelta(seconds=wait_s),
        "trial_until": None,
        "reason": reason[: leases.TEXT_LENGTH],
    }
    with transaction.atomic():
        row, is_new = Circuit.objects.get_or_create(peer=peer, defaults=values | {"opened_at": now})
        if not is_new:
            # Calls that failed at the same time are one failure: the first of them has written it.
            known = Circuit.objects.filter(pk=row.pk)
            if row.address == str(peer):
                known = known.filter(failures=failures - 1)
            known.update(**values, opened_at=Coalesce(F("opened_at"), now))
    if failures == 1:
        log.warning("peer does not answer", peer=peer.title, reason=reason)
    # Never 0: who failed is told from who was not called.
    return float(max(wait_s, 0.001))


def _close(peer: Peer) -> None:
    Circuit.objects.filter(peer=peer).update(**_CLOSED)
    log.info("peer answers again", peer=peer.title)
    _wake(peer)


def _wake(peer: Peer) -> None:
    """Let what was held for `peer` go on now, oldest first."""
    if _held(peer).update(not_before=timezone.now()):
        transaction.on_commit(lambda: doorbell.ring(0, State.REPORTED))


def _held(peer: Peer) -> QuerySet[Instance]:
    """Return what waits for `peer` and is held."""
    for_it = Dispatch.objects.filter(peer=peer, outcome=Dispatch.Outcome.WAITING)
    return Instance.objects.filter(
        state=State.REPORTED,
        is_held=True,
        not_before__gt=timezone.now(),
        pk__in=for_it.values("report__instance"),
    )


# --- lines -------------------------------------------------------------------------------------


def _hold_time() -> datetime.timedelta:
    """Return for how long a holder may be silent before it counts as dead: two waits for a Peer.

    No longer, for with one line nothing goes to the Peer until then; a holder that lives after all
    makes one association too many, no more.
    """
    return datetime.timedelta(seconds=2 * settings.ECG_DICOM_TIMEOUT_S)


def _take_line(peer: Peer) -> Line | None:
    """Take a free line of `peer`; None when all are held."""
    while True:
        now = timezone.now()
        lines = {row.number: row for row in Line.objects.filter(peer=peer).order_by("number")}
        for number in range(1, peer.max_lines + 1):
            row = lines.get(number)
            if row is None:
                Line.objects.bulk_create([Line(peer=peer, number=number)], ignore_conflicts=True)
                break
            if row.expires_at is None or row.expires_at <= now:
                token = uuid.uuid4()
                free = Line.objects.filter(pk=row.pk, token=row.token, expires_at=row.expires_at)
                if free.update(token=token, expires_at=now + _hold_time()):
                    row.token = token
                    return row
        else:
            return None


def _mine(line: Line) -> QuerySet[Line]:
    return Line.objects.filter(pk=line.pk, token=line.token)
