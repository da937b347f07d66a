"""The chain: every row of the trail as it was written, each link hashed with the one before.

Rows are chained a few seconds after they were written, in batches, oldest first. The number of a
link is its primary key, so of two processes that append at once one fails and leaves it to the
other; that is all the locking there is.

What it proves: a row that was edited or deleted, a link that was edited, removed or put elsewhere
no longer fits what follows it. Who may write to the database could compute the whole rest of the
chain anew, or cut off its end; so note its head outside from time to time (``manage.py audit
head``) and hold the chain against it (``manage.py audit verify --head``).

Rows that the retention policy removed are named by the Disposal that says so, and a Disposal is a
row of the chain itself.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import structlog
from celery import shared_task
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef

from webadmin.chained import BY_TABLE, SOURCES, Source, sha256
from webadmin.models import AuditLink

log = structlog.get_logger(__name__)

ROOT: Final = "0" * 64
"""What the first link has before it."""

_BATCH: Final = 1000
_WORK_S: Final = 8.0
_LOOK_BACK: Final = 1000
"""Rows become final, and transactions end, in another order than rows are numbered; what is later
than by so many rows is found once an hour."""


class Head(NamedTuple):
    """The last link: its hash stands for everything before it."""

    number: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.number}:{self.sha256}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Return the head that was noted as ``NUMBER:HASH``.

        Raises
        ------
        ValueError
            It is none.
        """
        number, colon, digest = text.strip().partition(":")
        if not colon or not number.isdecimal() or len(digest) != len(ROOT):
            raise ValueError("expected a head as NUMBER:HASH with 64 hexadecimal digits")
        return cls(int(number), digest.lower())


def head() -> Head:
    """Return the last link."""
    last = AuditLink.objects.order_by("-number").values_list("number", "sha256").first()
    return Head(*last) if last else Head(0, ROOT)


def link_sha256(link: AuditLink, before: str) -> str:
    """Return the hash that a link has after one with the hash `before`."""
    return sha256([link.number, link.at, link.table, link.row, link.row_sha256, before])


def row_sha256(link: AuditLink, values: Sequence[Any]) -> str:
    """Return the hash that the row of a link has with these values."""
    return BY_TABLE[link.table].sha256_of(link.row, values)


# --- appending ------------------------------------------------------------------------------------


def extend(*, work_s: float = _WORK_S, is_thorough: bool = False) -> int:
    """Chain what was written since, for about so long; return how many rows.

    Parameters
    ----------
    is_thorough
        Look through the whole tables, not only among their latest rows.
    """
    until = time.monotonic() + work_s
    count = 0
    while links := _unchained(is_thorough):
        try:
            _append(links)
        except IntegrityError:
            return count  # another process is at it
        count += len(links)
        if time.monotonic() > until:
            break
    return count


def _append(links: list[AuditLink]) -> None:
    with transaction.atomic():
        number, before = head()
        for link in links:
            number += 1
            link.number = number
            link.sha256 = before = link_sha256(link, before)
        AuditLink.objects.bulk_create(links)


def _unchained(is_thorough: bool) -> list[AuditLink]:
    """Return the oldest rows that have no link yet, as links without number and place."""
    found: list[AuditLink] = []
    cut = None
    for source in SOURCES:
        after = 0 if is_thorough else _last_row(source) - _LOOK_BACK
        links = [_link(source, *values) for values in _rows_after(source, after)]
        if len(links) == _BATCH:  # what it has more may be older than what others have
            cut = min(links[-1].at, cut or links[-1].at)
        found += links
    if cut is not None:
        found = [link for link in found if link.at <= cut]
    return sorted(found, key=lambda link: (link.at, link.table, link.row))


def _last_row(source: Source) -> int:
    links = AuditLink.objects.filter(table=source.table).order_by("-row")
    return links.values_list("row", flat=True).first() or 0


def _rows_after(source: Source, after: int) -> list[tuple[Any, ...]]:
    linked = AuditLink.objects.filter(table=source.table, row=OuterRef("pk"))
    rows = source.rows().filter(~Exists(linked), pk__gt=after)
    return list(rows.values_list("pk", source.at, *source.columns)[:_BATCH])


def _link(source: Source, pk: int, at: Any, *values: Any) -> AuditLink:
    return AuditLink(at=at, table=source.table, row=pk, row_sha256=source.sha256_of(pk, values))


# --- reading it back ------------------------------------------------------------------------------


def in_batches(last: int) -> Iterator[list[AuditLink]]:
    """Return the links up to number `last`, in order, some at a time."""
    number = 0
    rows = AuditLink.objects.order_by("number").filter(number__lte=last)
    while links := list(rows.filter(number__gt=number)[:_BATCH]):
        yield links
        number = links[-1].number


def entries() -> Iterator[tuple[AuditLink, tuple[Any, ...] | None]]:
    """Return every link with the values of its row now; None where that is gone."""
    for links in in_batches(head().number):
        rows = {(table, pk): row for table, found in rows_of(links) for pk, row in found.items()}
        for link in links:
            yield link, rows.get((link.table, link.row))


def rows_of(links: list[AuditLink]) -> Iterator[tuple[str, dict[int, tuple[Any, ...]]]]:
    """Return the rows of links as they are now, table by table."""
    by_table: dict[str, list[int]] = defaultdict(list)
    for link in links:
        by_table[link.table].append(link.row)
    for table, pks in by_table.items():
        if source := BY_TABLE.get(table):
            rows = source.model._default_manager.filter(pk__in=pks)
            found = rows.order_by().values_list("pk", *source.columns)
            yield table, {pk: tuple(values) for pk, *values in found}


# --- by the clock ---------------------------------------------------------------------------------


@shared_task(name="webadmin.chain.sweep")
def sweep() -> None:
    """Chain what was written lately."""
    extend()


@shared_task(name="webadmin.chain.sweep_thoroughly")
def sweep_thoroughly() -> None:
    """Chain what became final long after it was written."""
    extend(work_s=60.0, is_thorough=True)
