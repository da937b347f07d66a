"""Whether the chain still holds: every link against the one before it, and against its row."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from celery import shared_task
from django.utils import timezone

from gateway import retention
from gateway.models import Disposal
from webadmin import audit
from webadmin.chain import ROOT, Head, head, in_batches, link_sha256, row_sha256, rows_of
from webadmin.chained import BY_TABLE
from webadmin.models import AuditLink

log = structlog.get_logger(__name__)

FAULTS_KEPT: Final = 1000


@dataclass(frozen=True)
class Fault:
    """One place where the chain does not hold."""

    number: int
    what: str
    table: str = ""
    row: int | None = None

    def __str__(self) -> str:
        about = f" ({self.table} {self.row})" if self.table else ""
        return f"link {self.number}{about}: {self.what}"


@dataclass
class Verdict:
    """What a verification found; of its faults the first, in the order of the chain."""

    head: Head
    links_count: int = 0
    faults_count: int = 0
    faults: list[Fault] = field(default_factory=list)
    removed_count: int = 0
    """Rows that the retention policy removed after they were chained."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing and nothing was changed."""
        return self.faults_count == 0

    def add(self, faults: list[Fault]) -> None:
        """Count faults, and keep them while they are not too many."""
        self.faults_count += len(faults)
        self.faults += faults[: FAULTS_KEPT - len(self.faults)]


def verify(
    *, noted: Head | None = None, progress: Callable[[int, int], None] | None = None
) -> Verdict:
    """Hold every link against the one before it and against its row.

    Parameters
    ----------
    noted
        A head that was noted outside: the chain still has to go through it.
    progress
        Told now and then how many links of how many are done.
    """
    verdict = Verdict(head())
    removed = _Removed()
    number, before = 0, ROOT
    for links in in_batches(verdict.head.number):
        found = list(_check_rows(links, removed))
        for link in links:
            if link.number != number + 1:
                lost = f"links {number + 1} to {link.number - 1} are missing"
                found.append(Fault(number + 1, lost))
            elif link.sha256 != link_sha256(link, before):
                what = "it was changed, or put here from elsewhere"
                found.append(Fault(link.number, what, link.table, link.row))
            if noted and link.number == noted.number and link.sha256 != noted.sha256:
                found.append(Fault(link.number, "it is not the head that was noted"))
            number, before = link.number, link.sha256
        verdict.add(sorted(found, key=lambda fault: fault.number))
        verdict.links_count += len(links)
        if progress:
            progress(number, verdict.head.number)
    if noted and noted.number > number:
        lost = f"the chain ends before the head that was noted, at {number}"
        verdict.add([Fault(noted.number, lost)])
    verdict.removed_count = removed.count
    return verdict


def _check_rows(links: list[AuditLink], removed: _Removed) -> Iterator[Fault]:
    """Tell of links whose rows are others now, or gone."""
    now = dict(rows_of(links))
    missing = []
    for link in links:
        if link.table not in BY_TABLE:
            yield Fault(link.number, "of no table we know", link.table, link.row)
        elif link.row not in now[link.table]:
            missing.append(link)
        elif link.row_sha256 != row_sha256(link, now[link.table][link.row]):
            yield Fault(link.number, "the row was changed", link.table, link.row)
    for link in removed.unexplained(missing):
        yield Fault(link.number, "the row was deleted", link.table, link.row)


class _Removed:
    """The rows that the retention policy removed, as the Disposals say."""

    def __init__(self) -> None:
        self.count = 0
        self._spans: dict[str, list[tuple[int, int]]] = {}

    def unexplained(self, missing: list[AuditLink]) -> list[AuditLink]:
        """Return those of missing rows that no Disposal names."""
        left = [link for link in missing if not self._explains(link)]
        if left:  # by a Disposal that was written since, perhaps
            self._load()
            left = [link for link in left if not self._explains(link)]
        self.count += len(missing) - len(left)
        return left

    def _explains(self, link: AuditLink) -> bool:
        spans = self._spans.get(link.table, [])
        place = bisect.bisect_right(spans, (link.row, 1 << 63)) - 1
        return place >= 0 and link.row <= spans[place][1]

    def _load(self) -> None:
        spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
        told = Disposal.objects.filter(kind=Disposal.Kind.RECORD)
        for detail in told.values_list("detail", flat=True):
            for table, span in retention.removed(detail):
                spans[table].append((span.start, span.stop - 1))
        self._spans = {table: sorted(found) for table, found in spans.items()}


def verify_and_tell(*, actor: str, noted: Head | None = None, **how: Any) -> Verdict:
    """Verify, and write down that it was done and what came of it."""
    started = timezone.now()
    verdict = verify(noted=noted, **how)
    audit.record(
        audit.Action.TRAIL_VERIFIED,
        actor=actor,
        head=str(verdict.head),
        links=verdict.links_count,
        faults=verdict.faults_count,
        first=str(verdict.faults[0]) if verdict.faults else "",
        took_s=round((timezone.now() - started).total_seconds(), 1),
    )
    if not verdict.is_whole:
        log.error("trail broken", faults=verdict.faults_count, first=verdict.faults[0].number)
    return verdict


@shared_task(name="webadmin.auditing.check", time_limit=4 * 3600)
def check() -> None:
    """Verify the whole chain once a night."""
    verify_and_tell(actor="sweeper")
