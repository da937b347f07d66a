"""Whether the spool and the rows say the same, and every row's trail leads to where it is.

Nothing is changed by looking, and it may be looked while the gateway works: a file without a row is
wrong only if it is older than the work on one object can last, and still without one at a second
look. What is found is named by UIDs and row ids, never by patients.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import structlog
from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from gateway import spool
from gateway.models import Delivery, Dispatch, Instance, Report, Transition

log = structlog.get_logger(__name__)

GRACE_S: Final = 3600.0
"""So long a file may lie without its row: no reception and no composition lasts longer."""

KINDS: Final[tuple[spool.Kind, ...]] = ("instances", "reports")

_PREAMBLE_BYTES: Final = 132
_CHUNK_BYTES: Final = 1 << 20
_PAGE: Final = 500


class Fault(StrEnum):
    """What can be wrong, worst first."""

    LOST = "row without its file"
    CHANGED = "file is not what its row says"
    TRAIL = "trail does not lead to the state"
    UNSENT = "said to be stored, without an attempt that was"
    ORPHAN = "file without a row"
    UNFINISHED = "reception that never ended"


HARMLESS: Final = (Fault.ORPHAN, Fault.UNFINISHED)
"""What a process leaves that is killed between a file and its row: it costs its bytes."""


@dataclass(frozen=True)
class Found:
    """One thing that is wrong.

    Attributes
    ----------
    what : str
        A UID, or the name of a file in the spool.
    number : int or None
        The row's id.
    """

    fault: Fault
    what: str
    number: int | None = None


Progress = Callable[[str], None]
"""Called with the name of what was looked at, once for each row and file."""


def inspect(*, grace_s: float = GRACE_S, progress: Progress | None = None) -> Iterator[Found]:
    """Look at every row and every file; yield what is wrong as it is found.

    Parameters
    ----------
    grace_s
        How old a file without a row must be to be wrong.
    progress
        Told of each thing that was looked at.
    """
    tell = progress or (lambda _name: None)
    yield from _files_of(Instance.objects.filter(aged_out_at=None), _data_set_sha256, tell)
    yield from _files_of(Report.objects.filter(aged_out_at=None), _file_sha256, tell)
    yield from _trails(tell)
    yield from _unsent()
    yield from _orphans(grace_s, tell)


def count() -> int:
    """Return how many rows and files there are to look at, about."""
    files = sum(1 for kind in KINDS for _ in _files(kind))
    return 2 * Instance.objects.count() + Report.objects.count() + files


def set_aside(found: Found) -> bool:
    """Move a file that no row names out of the way, into ``orphans``; False: it is named now.

    It is never deleted: a person may find out whose it is.
    """
    if found.fault not in HARMLESS or _is_named(found.what):
        return False
    source = spool.root() / found.what
    target = spool.root() / "orphans" / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except FileNotFoundError:
        return False
    spool.sync_folder(target.parent)
    log.warning("file without a row set aside", name=found.what)
    return True


def _pages(rows: QuerySet[Any]) -> Iterator[list[Any]]:
    """Yield rows in pages by id: what is added meanwhile changes no page."""
    last = None
    while True:
        page = list((rows if last is None else rows.filter(pk__gt=last)).order_by("pk")[:_PAGE])
        if not page:
            return
        yield page
        last = page[-1].pk


def _files_of(
    rows: QuerySet[Any], digest: Callable[[Path], str], tell: Progress
) -> Iterator[Found]:
    """Compare the files of rows with what the rows say of them."""
    for page in _pages(rows):
        for row in page:
            tell(row.spool_name)
            fault = _fault_of(row, digest)
            # It may have aged out, or been sent again, while we read.
            if fault and (now := rows.filter(pk=row.pk).first()) and _fault_of(now, digest):
                yield Found(fault, row.sop_instance_uid, row.pk)


def fault_of(instance: Instance) -> Fault | None:
    """Return what is wrong with the spooled file of an ECG, its bytes read again.

    Raises
    ------
    OSError
        It is there and cannot be read.
    """
    return _fault_of(instance, _data_set_sha256)


def _fault_of(row: Any, digest: Callable[[Path], str]) -> Fault | None:
    path = spool.root() / row.spool_name
    try:
        return None if digest(path) == row.sha256 else Fault.CHANGED
    except FileNotFoundError:
        return Fault.LOST


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _data_set_sha256(path: Path) -> str:
    """Return the digest of the Data Set: of what follows the File Meta (PS3.10 section 7.1)."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(_PREAMBLE_BYTES)
        head = file.read(12)
        if len(head) < 12 or head[:6] != b"\x02\x00\x00\x00UL":
            return "no File Meta Information"
        file.seek(struct.unpack("<L", head[8:])[0], os.SEEK_CUR)
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _trails(tell: Progress) -> Iterator[Found]:
    """Follow each row's transitions from nothing to its state."""
    for page in _pages(Instance.objects.only("pk", "state", "sop_instance_uid")):
        for row in page:
            tell(row.sop_instance_uid)
        broken = _broken(page)
        # Rows move while we look: only what is broken twice is.
        for row in _broken([row for row in page if row.pk in broken]).values():
            yield Found(Fault.TRAIL, row.sop_instance_uid, row.pk)


def _broken(rows: list[Instance]) -> dict[int, Instance]:
    """Return the rows whose trail does not lead to the state they are in, by id."""
    if not rows:
        return {}
    pks = [row.pk for row in rows]
    ends = dict.fromkeys(pks, "")
    is_chain = dict.fromkeys(pks, True)
    # The trail first: a row that moves in between is ahead of it, and looked at again.
    for pk, origin, target in (
        Transition.objects.filter(instance__in=pks)
        .order_by("pk")
        .values_list("instance_id", "from_state", "to_state")
    ):
        is_chain[pk] &= origin == ends[pk]
        ends[pk] = target
    states = dict(Instance.objects.filter(pk__in=pks).values_list("pk", "state"))
    return {
        row.pk: row
        for row in rows
        if row.pk in states and not (is_chain[row.pk] and ends[row.pk] == states[row.pk])
    }


def _unsent() -> Iterator[Found]:
    attempt = Delivery.objects.filter(
        report=OuterRef("report"),
        peer=OuterRef("peer"),
        outcome__in=(Delivery.Outcome.STORED, Delivery.Outcome.WARNING),
    )
    stored = Dispatch.objects.filter(~Exists(attempt), outcome=Dispatch.Outcome.STORED)
    if settings.ECG_KEEP_RECORDS_DAYS:
        # Attempts older than that have been removed.
        kept = datetime.timedelta(days=settings.ECG_KEEP_RECORDS_DAYS)
        stored = stored.filter(ended_at__gt=timezone.now() - kept)
    for row in stored.select_related("report"):
        yield Found(Fault.UNSENT, row.report.sop_instance_uid, row.pk)


def _files(kind: str) -> Iterator[tuple[str, Path]]:
    """Yield the name and path of each spooled file of a kind."""
    folder = spool.root() / kind
    for path in folder.glob("*/*.dcm"):
        yield path.relative_to(spool.root()).as_posix(), path


def _orphans(grace_s: float, tell: Progress) -> Iterator[Found]:
    """Find files that no row names, and receptions that never ended."""
    oldest = time.time() - grace_s
    for kind in KINDS:
        for name, path in _files(kind):
            tell(name)
            if _is_older(path, oldest) and not _is_named(name):
                yield Found(Fault.ORPHAN, name)
    for path in (spool.root() / "incoming").glob("*"):
        if _is_older(path, oldest):
            yield Found(Fault.UNFINISHED, path.relative_to(spool.root()).as_posix())


def _is_older(path: Path, than: float) -> bool:
    try:
        return path.stat().st_mtime <= than
    except FileNotFoundError:
        return False


def _is_named(name: str) -> bool:
    return any(model.objects.filter(spool_name=name).exists() for model in (Instance, Report))


def summary(found: list[Found]) -> dict[str, int]:
    """Return how many there are of each fault, worst first, those of none included."""
    counted = Counter(one.fault for one in found)
    return {fault.value: counted[fault] for fault in Fault}
