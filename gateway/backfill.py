"""ECGs of the past, brought from an archive day by day, without delaying those of today.

Three brakes: so many a minute, only while few rows wait for a worker, and one at a time. A day is
finished when everything it has is here; what is not finished is looked at again by the next run,
which costs queries and brings nothing twice. Killing it at any line loses nothing: an instance is
either here or will be asked for again.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import structlog
from django.db import close_old_connections
from django.db.models import F
from django.utils import timezone

from dicom_node.errors import AssociationError, Cancelled, DicomError
from gateway.archive import Archive, Candidate, Day
from gateway.leases import TEXT_LENGTH
from gateway.models import Backfill, Instance, Peer
from gateway.states import WAITING

log = structlog.get_logger(__name__)

T = TypeVar("T")

DEFAULT_MODALITIES = ("ECG", "OT", "SC")
DEFAULT_PACE = 60
DEFAULT_WAITING = 8
"""So many rows may wait when the next one comes: fewer than the Analyst takes at once, so that a
new ECG is in the next batch."""

ATTEMPTS = 4
FAILURES_IN_A_ROW = 5
"""So many objects that do not come, one after the other, are no fault of theirs."""
FIRST_PAUSE_S = 2.0
LOOK_S = 0.5


class Stopped(RuntimeError):
    """We were told to stop; what is done is on record."""


class ArchiveAway(RuntimeError):
    """The archive did not answer, or gave nothing, again and again."""


@dataclass(frozen=True)
class Brakes:
    """How fast ECGs may come.

    Attributes
    ----------
    per_minute
        At most so many.
    waiting
        Only while fewer rows than this wait for a worker.
    """

    per_minute: int = DEFAULT_PACE
    waiting: int = DEFAULT_WAITING


@dataclass(frozen=True)
class Progress:
    """Where a run is, for whoever shows it.

    Attributes
    ----------
    day
        The day it is at.
    days
        How many days are behind it, with the part of this one.
    brought, failed
        ECGs of this run.
    waits
        Whether the gateway has to catch up first.
    """

    day: datetime.date
    days: float
    brought: int
    failed: int
    waits: bool = False


def find_or_make(peer: Peer, first: datetime.date, last: datetime.date) -> Backfill:
    """Return the row of this search, whose earlier runs are gone on with."""
    row, _ = Backfill.objects.get_or_create(peer=peer, from_date=first, to_date=last)
    return row


def days(first: datetime.date, last: datetime.date) -> list[datetime.date]:
    """Return the days from `first` to `last`, both included."""
    return [first + datetime.timedelta(days=n) for n in range((last - first).days + 1)]


def left(row: Backfill) -> list[datetime.date]:
    """Return the days that are not finished."""
    first = row.from_date
    if row.done_through is not None:
        first = max(first, row.done_through + datetime.timedelta(days=1))
    return days(first, row.to_date)


def preview(archive: Archive, dates: list[datetime.date], stop: threading.Event) -> Iterator[Day]:
    """Yield what each day has and what would come of it; bring nothing."""
    for date in dates:
        yield _ask(partial(archive.day, date), stop)


class Run:
    """One run of a backfill.

    Parameters
    ----------
    stop
        Set it to end the run after what is under way.
    tell
        Called whenever something has changed.
    """

    def __init__(
        self,
        row: Backfill,
        archive: Archive,
        *,
        brakes: Brakes,
        stop: threading.Event,
        tell: Callable[[Progress], None],
    ) -> None:
        self.row = row
        self._archive = archive
        self._brakes = brakes
        self._stop = stop
        self._tell = tell
        self._last_s = 0.0
        self._failed_in_a_row = 0
        self.brought = 0
        self.failed = 0

    def go(self) -> None:
        """Bring what is left.

        Raises
        ------
        Stopped
            By whoever set `stop`.
        ArchiveAway
            It does not answer; the next run goes on where this one ended.
        """
        Backfill.objects.filter(pk=self.row.pk).update(
            failures_count=0, last_error="", ended_at=None
        )
        self.row.refresh_from_db()
        whole = True
        for number, date in enumerate(left(self.row)):
            close_old_connections()
            is_finished = self._bring_day(number, date)
            # Days behind one that is not finished are brought, and looked at again another time.
            whole = whole and is_finished
            if whole:
                Backfill.objects.filter(pk=self.row.pk).update(done_through=date)
        if whole:
            Backfill.objects.filter(pk=self.row.pk).update(ended_at=timezone.now())
        self.row.refresh_from_db()

    def _bring_day(self, number: int, date: datetime.date) -> bool:
        """Bring one day; return whether everything of it is here."""
        self._tell(Progress(date, number, self.brought, self.failed))
        day = _ask(partial(self._archive.day, date), self._stop)
        is_finished = True
        studies = set(day.begun)
        for done, one in enumerate(day.wanted):
            self._wait(Progress(date, number + done / len(day.wanted), self.brought, self.failed))
            try:
                is_new = _ask(partial(self._archive.bring, one), self._stop)
            except DicomError as error:
                is_finished = False
                self._fail(one, error)
            else:
                self._count(one, studies, is_new=is_new)
            part = (done + 1) / len(day.wanted)
            self._tell(Progress(date, number + part, self.brought, self.failed))
        self._tell(Progress(date, number + 1, self.brought, self.failed))
        return is_finished

    def _count(self, one: Candidate, studies: set[str], *, is_new: bool) -> None:
        self._failed_in_a_row = 0
        if not is_new:
            return
        self.brought += 1
        is_first = one.study_instance_uid not in studies
        studies.add(one.study_instance_uid)
        Backfill.objects.filter(pk=self.row.pk).update(
            instances_count=F("instances_count") + 1,
            studies_count=F("studies_count") + int(is_first),
        )

    def _fail(self, one: Candidate, error: DicomError) -> None:
        self.failed += 1
        self._failed_in_a_row += 1
        log.warning("not brought", uid=one.sop_instance_uid, error=str(error))
        Backfill.objects.filter(pk=self.row.pk).update(
            failures_count=F("failures_count") + 1, last_error=str(error)[:TEXT_LENGTH]
        )
        if self._failed_in_a_row == FAILURES_IN_A_ROW:
            raise ArchiveAway(f"{FAILURES_IN_A_ROW} ECGs in a row did not come ({error})")

    def _wait(self, progress: Progress) -> None:
        """Return when the next one may come."""
        pause_s = self._last_s + 60.0 / self._brakes.per_minute - time.monotonic()
        if pause_s > 0:
            self._stop.wait(pause_s)
        told = False
        while not self._stop.is_set() and waiting_count() >= self._brakes.waiting:
            if not told:
                self._tell(replace(progress, waits=True))
                told = True
            close_old_connections()
            self._stop.wait(LOOK_S)
        if self._stop.is_set():
            raise Stopped
        self._last_s = time.monotonic()


def waiting_count() -> int:
    """Return how many rows a worker could take now; those that were put off do not count."""
    return Instance.objects.filter(state__in=WAITING, not_before__lte=timezone.now()).count()


def _ask(question: Callable[[], T], stop: threading.Event) -> T:
    """Ask, and ask again where that can help: an archive that restarts is no end of a backfill."""
    pause_s = FIRST_PAUSE_S
    for attempt in range(1, ATTEMPTS + 1):
        if stop.is_set():
            raise Stopped
        try:
            return question()
        except Cancelled:
            raise Stopped from None
        except DicomError as error:
            if not error.retryable:
                raise
            if attempt == ATTEMPTS:
                if isinstance(error, AssociationError):
                    raise ArchiveAway(str(error)) from error
                raise
            log.info("asked again", attempt=attempt, error=str(error))
            stop.wait(pause_s)
            pause_s *= 2
    raise AssertionError("unreachable")
