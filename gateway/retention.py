"""What is removed because its time has passed, and what stays whatever the policy says.

One number of days a kind, all of them 0 by default: nothing is ever removed. Of pictures and
reports the bytes go and the rows stay, so that the Desk still says what was found and where it
went; of the machine's own records the rows go. The trail of an ECG (its Transitions) and the
Disposals, which say what was removed, stay for ever.

The days of a picture or a report count from when its ECG came to rest. The same object sent again
after its bytes were removed is kept again, for as many days from then on (:mod:`gateway.keeping`).
They count anew, too, from when its sender was promised that we keep it (:mod:`gateway.holdings`):
it may delete its own copy on the strength of that.

The row and its Disposal are committed first and the file is removed after that: a process that dies
between the two leaves a file without use, which the next run removes, and never a row without its
file that does not know it.
"""

from __future__ import annotations

import datetime
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from gateway import spans, spool
from gateway.leases import TEXT_LENGTH, append_transition
from gateway.models import (
    Alert,
    Association,
    Commitment,
    CustodyRequest,
    Delivery,
    Dispatch,
    Disposal,
    Instance,
    Report,
    Transition,
)
from gateway.models.peers import Proof
from gateway.states import WAITING, State

log = structlog.get_logger(__name__)

Row = TypeVar("Row", bound=Model)
Reason = tuple[str, Q]

RESTS: Final = (State.DELIVERED, State.PROVEN, State.REJECTED)
"""States in which nobody is owed anything any more."""

RESTORED: Final = "restore"
COMMITTED: Final = "commit"
AGED_OUT: Final = "age_out"
"""Events of the trail that change no state."""

_BATCH: Final = 200
_LEFT_BEHIND: Final = datetime.timedelta(days=7)


class AgedOut(spool.SpoolError):
    """The bytes were removed on purpose; the row says when."""


@dataclass(frozen=True)
class Outlook:
    """What a policy removes now, or did, and what it leaves.

    Attributes
    ----------
    kind
        For people: pictures, reports, associations...
    policy
        The setting, with its days.
    count, size_bytes
        What goes.
    held
        How many are old enough and stay, by the reason why.
    """

    kind: str
    policy: str
    days: int
    count: int
    size_bytes: int
    held: dict[str, int]


_holds: dict[str, Callable[[], Iterable[Any]]] = {}


def hold(name: str, ids: Callable[[], Iterable[Any]]) -> None:
    """Keep pictures and reports of some ECGs, whatever their age.

    Parameters
    ----------
    name
        Why, as in "in a frozen training set"; another call of that name takes the first one's
        place.
    ids
        Returns the ids of the ECGs, a queryset of them at best. What it raises ends the run before
        anything is removed.
    """
    _holds[name] = ids


def picture_file(instance: Instance) -> Path:
    """Return the spooled file of an ECG.

    Raises
    ------
    AgedOut, SpoolError
        It was removed by the policy; it is missing.
    """
    _check(instance.aged_out_at, "picture")
    return spool.locate(instance.spool_name)


def report_file(report: Report) -> Path:
    """Return the spooled file of a report, whose bytes are still those of its row.

    Raises
    ------
    AgedOut, SpoolError
        It was removed by the policy; it is missing or has changed.
    """
    _check(report.aged_out_at, "report")
    return spool.verified(report.spool_name, sha256=report.sha256)


def _check(aged_out_at: datetime.datetime | None, what: str) -> None:
    if aged_out_at is not None:
        day = timezone.localtime(aged_out_at).date()
        raise AgedOut(f"the bytes of this {what} were removed on {day} by the retention policy")


def removed(detail: str) -> Iterator[tuple[str, range]]:
    """Return which rows of which table a Disposal of records says it removed."""
    count_and_kind, colon, numbers = detail.partition(": ")
    kind = count_and_kind.partition(" ")[2]
    for one in _records():
        if colon and one.kind == kind:
            for span in spans.read(numbers):
                yield one.model._meta.label_lower, span


def is_set() -> bool:
    """Return whether any policy removes anything."""
    return any((settings.ECG_KEEP_PICTURES_DAYS, settings.ECG_KEEP_REPORTS_DAYS,
                settings.ECG_KEEP_RECORDS_DAYS))  # fmt: skip


def preview() -> list[Outlook]:
    """Return what :func:`apply` would remove now; remove nothing."""
    now = timezone.now()
    return [
        *(one.outlook(now) for one in _BYTES if one.days),
        *(one.outlook(now) for one in _records() if one.days),
    ]


def apply(*, actor: str, work_s: float | None = None) -> tuple[list[Outlook], bool]:
    """Remove what is due.

    Parameters
    ----------
    actor
        Who, for the Disposals.
    work_s
        Stop after about so long; the next call goes on.

    Returns
    -------
    list of Outlook
        What was removed, and what stays and why.
    bool
        Whether nothing that is due is left.
    """
    now = timezone.now()
    until = time.monotonic() + work_s if work_s is not None else float("inf")
    done: list[Outlook] = []
    policies: tuple[_Bytes | _Records, ...] = (*_BYTES, *_records())
    for one in policies:
        if not one.days:
            continue
        count = size_bytes = 0
        one.clear()
        for batch_count, batch_bytes in one.remove(now, actor):
            count, size_bytes = count + batch_count, size_bytes + batch_bytes
            if time.monotonic() > until:
                return done, False
        done.append(Outlook(one.kind, one.policy, one.days, count, size_bytes, one.held(now)))
        if count:
            log.info("aged out", kind=one.kind, count=count, size_bytes=size_bytes)
    return done, True


# --- pictures and reports: the bytes go, the rows stay --------------------------------------------


@dataclass(frozen=True)
class _Bytes:
    """The files of one table."""

    kind: str
    setting: str
    model: type[Instance] | type[Report]
    disposal: Disposal.Kind

    @property
    def days(self) -> int:
        return int(getattr(settings, self.setting))

    @property
    def policy(self) -> str:
        return f"{self.setting}={self.days}"

    def _old(self, now: datetime.datetime) -> QuerySet[Any]:
        before = now - datetime.timedelta(days=self.days)
        path = "" if self.model is Instance else "instance__"
        renewed = Transition.objects.filter(
            instance=OuterRef(f"{path}pk"), event__in=(RESTORED, COMMITTED), at__gt=before
        )
        rows = self.model._default_manager.filter(aged_out_at__isnull=True)
        rows = rows.filter(**{f"{path}state_since__lte": before})
        return rows.filter(~Exists(renewed)).order_by("pk")

    def _reasons(self) -> Iterator[Reason]:
        is_picture = self.model is Instance
        path = "" if is_picture else "instance__"
        own = {"report__instance" if is_picture else "report": OuterRef("pk")}
        states = f"{path}state"
        yield "not delivered yet", Q(**{f"{states}__in": WAITING})
        yield "failed: a person has to look at it", Q(**{states: State.FAILED})
        yield "set aside: a person has to look at it", Q(**{states: State.SET_ASIDE})
        yield "in a state that is not known to rest", ~Q(**{f"{states}__in": RESTS})
        aside = Instance.objects.filter(
            conflict_of=OuterRef(f"{path}pk"), state=State.SET_ASIDE, aged_out_at__isnull=True
        )
        yield "another object of its UID is set aside", Q(Exists(aside))
        dispatches = Dispatch.objects.filter(**own)
        waiting = dispatches.filter(outcome=Dispatch.Outcome.WAITING)
        yield "a report waits for a Peer", Q(Exists(waiting))
        unproven = dispatches.filter(
            outcome=Dispatch.Outcome.STORED, proven_at__isnull=True
        ).exclude(peer__proof=Proof.NONE)
        yield "a Peer has not shown that it keeps a report", Q(Exists(unproven))
        asked = _uids_asked_for()
        if asked:
            uid = Q(**{f"{path}sop_instance_uid__in": asked})
            if not is_picture:
                uid |= Q(sop_instance_uid__in=asked)
            yield "a sender asks whether we keep it", uid
        for name, ids in _holds.items():
            yield name, Q(**{f"{path}pk__in": ids()})

    def _due(self, now: datetime.datetime) -> QuerySet[Any]:
        rows = self._old(now)
        for _, stays in self._reasons():
            rows = rows.filter(~stays)
        return rows

    def held(self, now: datetime.datetime) -> dict[str, int]:
        """Return how many are old enough and stay, by the first reason that holds them."""
        return _held(self._old(now), self._reasons())

    def outlook(self, now: datetime.datetime) -> Outlook:
        due = self._due(now)
        size_bytes = due.order_by().aggregate(sum=Sum("size_bytes"))["sum"] or 0
        return Outlook(
            self.kind, self.policy, self.days, due.count(), int(size_bytes), self.held(now)
        )

    def remove(self, now: datetime.datetime, actor: str) -> Iterator[tuple[int, int]]:
        """Remove what is due, a batch at a time; yield how many and how large."""
        after = 0
        while rows := self._release(now, actor, after):
            after = rows[-1].pk
            for row in rows:
                spool.remove(row.spool_name)
            yield len(rows), sum(row.size_bytes for row in rows)

    def _release(self, now: datetime.datetime, actor: str, after: int) -> list[Any]:
        """Commit that the bytes of some rows are gone, and return these rows."""
        with transaction.atomic():
            due = self._due(now).filter(pk__gt=after)  # not past all the earlier ones again
            if connection.features.has_select_for_update_skip_locked:
                due = due.select_for_update(skip_locked=True, of=("self",))
            rows = list(due[:_BATCH])
            if not rows:
                return []
            # Nothing is left of a row that others cannot see any more.
            self.model._default_manager.filter(pk__in=[row.pk for row in rows]).update(
                aged_out_at=timezone.now()
            )
            Disposal.objects.bulk_create(
                Disposal(
                    actor=actor,
                    kind=self.disposal,
                    uid=row.sop_instance_uid,
                    sha256=row.sha256,
                    size_bytes=row.size_bytes,
                    policy=self.policy,
                )
                for row in rows
            )
            if self.model is Instance:
                for row in rows:
                    state = State(row.state)
                    append_transition(
                        row, state, state, event=AGED_OUT, actor=actor, detail=self.policy
                    )
        return rows

    def clear(self) -> None:
        """Remove the files that an earlier run, which died, has left behind."""
        lately = self.model._default_manager.filter(
            aged_out_at__gte=timezone.now() - _LEFT_BEHIND
        ).order_by()
        for name in lately.values_list("spool_name", flat=True).iterator():
            spool.remove(name)


_BYTES: Final = (
    _Bytes("pictures", "ECG_KEEP_PICTURES_DAYS", Instance, Disposal.Kind.PICTURE),
    _Bytes("reports", "ECG_KEEP_REPORTS_DAYS", Report, Disposal.Kind.REPORT),
)


def _uids_asked_for() -> set[str]:
    """Return the UIDs in the senders' requests that are still to be answered."""
    waiting = CustodyRequest.objects.filter(outcome=CustodyRequest.Outcome.WAITING)
    return {
        text for row in waiting.values_list("references", flat=True) for text in _strings_of(row)
    }


def _strings_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings_of(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings_of(inner)


def _held(rows: QuerySet[Any], reasons: Iterable[Reason]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for name, stays in reasons:
        if count := rows.filter(stays).count():
            found[name] += count
        rows = rows.filter(~stays)
    return dict(found)


# --- records of the machine: the rows go ----------------------------------------------------------


@dataclass(frozen=True)
class _Records:
    """The rows of one table that have ended.

    Attributes
    ----------
    age
        The column their days count from.
    reasons
        What holds a row that is old enough.
    """

    kind: str
    model: type[Model]
    age: str
    reasons: tuple[Reason, ...]

    setting = "ECG_KEEP_RECORDS_DAYS"

    @property
    def days(self) -> int:
        return int(settings.ECG_KEEP_RECORDS_DAYS)

    @property
    def policy(self) -> str:
        return f"{self.setting}={self.days}"

    def _old(self, now: datetime.datetime) -> QuerySet[Any]:
        before = now - datetime.timedelta(days=self.days)
        rows = self.model._default_manager.filter(**{f"{self.age}__lte": before})
        return rows.order_by("pk")

    def _due(self, now: datetime.datetime) -> QuerySet[Any]:
        rows = self._old(now)
        for _, stays in self.reasons:
            rows = rows.filter(~stays)
        return rows

    def held(self, now: datetime.datetime) -> dict[str, int]:
        """Return how many are old enough and stay, by the first reason that holds them."""
        return _held(self._old(now), self.reasons)

    def outlook(self, now: datetime.datetime) -> Outlook:
        return Outlook(self.kind, self.policy, self.days, self._due(now).count(), 0, self.held(now))

    def remove(self, now: datetime.datetime, actor: str) -> Iterator[tuple[int, int]]:
        """Remove what is due, a batch at a time; yield how many."""
        while True:
            with transaction.atomic():
                pks = list(self._due(now).values_list("pk", flat=True)[:_BATCH])
                if not pks:
                    return
                # So many that the line can name each: who finds one missing finds it here.
                while len(detail := f"{len(pks)} {self.kind}: {spans.write(pks)}") > TEXT_LENGTH:
                    del pks[len(pks) // 2 :]
                self.model._default_manager.filter(pk__in=pks).delete()
                Disposal.objects.create(
                    actor=actor, kind=Disposal.Kind.RECORD, policy=self.policy, detail=detail
                )
            yield len(pks), 0

    def clear(self) -> None:
        """Nothing is left behind: rows go whole."""


def _records() -> tuple[_Records, ...]:
    meant = Dispatch.objects.filter(
        report=OuterRef("report"), peer=OuterRef("peer"), outcome=Dispatch.Outcome.WAITING
    )
    covers = Dispatch.objects.filter(commitment=OuterRef("pk"), proven_at__isnull=True)
    return (
        _Records(
            "associations",
            Association,
            "started_at",
            (("still open", Q(outcome=Association.Outcome.ACCEPTED)),),
        ),
        _Records(
            "deliveries",
            Delivery,
            "attempted_at",
            (
                ("its report waits for that Peer", Q(Exists(meant))),
                ("its ECG does not rest", ~Q(report__instance__state__in=RESTS)),
            ),
        ),
        _Records(
            "alerts",
            Alert,
            "raised_at",
            (
                ("not sent yet", Q(outcome=Alert.Outcome.WAITING)),
                ("reached nobody: a person has to look at it", Q(outcome=Alert.Outcome.FAILED)),
                ("its ECG does not rest", ~Q(instance__state__in=RESTS)),
            ),
        ),
        _Records(
            "requests of senders",
            CustodyRequest,
            "requested_at",
            (("not answered yet", Q(outcome=CustodyRequest.Outcome.WAITING)),),
        ),
        _Records(
            "requests to archives",
            Commitment,
            "asked_at",
            (
                ("not answered yet", Q(outcome=Commitment.Outcome.ASKED)),
                ("what it covers is not proven", Q(Exists(covers))),
            ),
        ),
    )
