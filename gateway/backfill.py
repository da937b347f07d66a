"""ECGs of the past, brought from an archive day by day, without delaying those of today.

Three brakes: so many a minute, only while few rows wait for a worker, and one at a time. A day is
finished when everything it has is here; what is not finished is looked at again by the next run,
which costs queries and brings nothing twice. Killing it at any line loses nothing: an instance is
either here or will be asked for again.

An object that the archive says it cannot give holds up no other. An archive that ends the
associations on which objects are asked for may do so because of them: the rest of their day is left
for last, and only when the next object asked for fares alike is the archive taken to be away.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.db.models import F
from django.utils import timezone

from dicom_node.errors import AssociationError, Cancelled, DicomError
from gateway import intake
from gateway.archive import Archive, Candidate, Day
from gateway.leases import TEXT_LENGTH
from gateway.models import Backfill, Instance, Peer
from gateway.states import WAITING

log = structlog.get_logger(__name__)

T = TypeVar("T")

DEFAULT_MODALITIES = ("ECG", "OT", "SC", "DOC", "HD", "XC")
"""Those that ECGs were seen under: recordings, documents, pictures, cath lab systems, cameras."""
DEFAULT_PACE = 60
DEFAULT_WAITING = 8
"""So many rows may wait when the next one comes: fewer than the Analyst takes at once, so that a
new ECG is in the next batch."""

ATTEMPTS = 4
FAILURES_IN_A_ROW = 5
"""After so many that the archive left unanswered, one after the other, another day is tried."""
FIRST_PAUSE_S = 2.0
LOOK_S = 0.5


class Stopped(RuntimeError):
    """We were told to stop; what is done is on record."""


class ArchiveAway(RuntimeError):
    """The archive did not answer, again and again."""


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
        yield _look(archive, date, stop)


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
        self._unanswered = 0
        self._given_up: set[str] = set()
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
        IntakeShut
            There is no room here for another ECG; likewise.
        DatabaseError, InterfaceError
            Our database does not answer; likewise.
        """
        self._record(failures_count=0, last_error="", ended_at=None)
        self.row.refresh_from_db()
        whole = True
        dates = left(self.row)
        cut_short: list[datetime.date] = []
        for number, date in enumerate(dates):
            close_old_connections()
            is_finished = self._bring_day(number, date, cut_short)
            # Days behind one that is not finished are brought, and looked at again another time.
            whole = whole and is_finished
            if whole:
                self._record(done_through=date)
        while cut_short:
            # Each time either some more are given up or the day is through.
            self._bring_day(len(dates) - 1, cut_short.pop(0), cut_short)
        if whole:
            self._record(ended_at=timezone.now())
        self.row.refresh_from_db()

    def _bring_day(self, number: int, date: datetime.date, cut_short: list[datetime.date]) -> bool:
        """Bring one day; return whether everything of it is here, and note one left half-way."""
        self._tell(Progress(date, number, self.brought, self.failed))
        day = _look(self._archive, date, self._stop)
        wanted = [one for one in day.wanted if one.sop_instance_uid not in self._given_up]
        is_finished = len(wanted) == len(day.wanted)
        studies = set(day.begun)
        for done, one in enumerate(wanted, start=1):
            part = number + (done - 1) / len(wanted)
            self._wait(Progress(date, part, self.brought, self.failed))
            try:
                is_new = _ask(partial(self._archive.bring, one), self._stop)
            except DicomError as error:
                is_finished = False
                self._fail(one, error)
                if self._unanswered == FAILURES_IN_A_ROW:
                    if done < len(wanted):
                        cut_short.append(date)
                    break
            else:
                self._unanswered = 0
                self._count(one, studies, is_new=is_new)
            self._tell(Progress(date, number + done / len(wanted), self.brought, self.failed))
        self._tell(Progress(date, number + 1, self.brought, self.failed))
        return is_finished

    def _count(self, one: Candidate, studies: set[str], *, is_new: bool) -> None:
        if not is_new:
            return
        self.brought += 1
        is_first = one.study_instance_uid not in studies
        studies.add(one.study_instance_uid)
        self._record(
            instances_count=F("instances_count") + 1,
            studies_count=F("studies_count") + int(is_first),
        )

    def _fail(self, one: Candidate, error: DicomError) -> None:
        self.failed += 1
        self._given_up.add(one.sop_instance_uid)
        # An answer, whatever it says, is one of an archive that is there.
        is_unanswered = isinstance(error, AssociationError) and error.retryable
        self._unanswered = self._unanswered + 1 if is_unanswered else 0
        log.warning("not brought", uid=one.sop_instance_uid, error=str(error))
        self._record(failures_count=F("failures_count") + 1, last_error=str(error)[:TEXT_LENGTH])
        if self._unanswered > FAILURES_IN_A_ROW:
            raise ArchiveAway(f"{self._unanswered} ECGs in a row did not come ({error})") from error

    def _record(self, **values: Any) -> None:
        row = Backfill.objects.filter(pk=self.row.pk)
        _ask(lambda: row.update(**values), self._stop)

    def _wait(self, progress: Progress) -> None:
        """Return when the next one may come."""
        pause_s = self._last_s + 60.0 / self._brakes.per_minute - time.monotonic()
        if pause_s > 0:
            self._stop.wait(pause_s)
        told = False
        while not self._stop.is_set() and _ask(waiting_count, self._stop) >= self._brakes.waiting:
            if not told:
                self._tell(replace(progress, waits=True))
                told = True
            close_old_connections()
            self._stop.wait(LOOK_S)
        if self._stop.is_set():
            raise Stopped
        intake.require()
        self._last_s = time.monotonic()


def waiting_count() -> int:
    """Return how many rows a worker could take now; those that were put off do not count."""
    return Instance.objects.filter(state__in=WAITING, not_before__lte=timezone.now()).count()


def _look(archive: Archive, date: datetime.date, stop: threading.Event) -> Day:
    try:
        return _ask(partial(archive.day, date), stop)
    except AssociationError as error:
        if not error.retryable:
            raise
        raise ArchiveAway(str(error)) from error


def _ask(question: Callable[[], T], stop: threading.Event) -> T:
    """Ask, and ask again where that can help.

    An archive that restarts is no end of a backfill, nor is a database that does.
    """
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
                raise
            log.info("asked again", attempt=attempt, error=str(error))
        except (DatabaseError, InterfaceError) as error:
            if attempt == ATTEMPTS:
                raise
            log.warning("database asked again", attempt=attempt, error=repr(error))
            close_old_connections()
        stop.wait(pause_s)
        pause_s *= 2
    raise AssertionError("unreachable")
