"""Writes of several threads in one transaction: one flush of the disk serves all who wait for it.

Each flush of a commit costs as much for one row as for twenty, and SQLite lets one writer in at a
time, who comes late sleeps. So whoever may write next takes along what the others have brought
meanwhile (group commit). Nobody is told of success before the transaction that holds its rows is
committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError, connection, transaction


class CommitUnknown(OperationalError):
    """The connection broke during COMMIT: the rows may be there or not."""


@dataclass
class _Ticket:
    work: Callable[[], object]
    is_settled: bool = False
    fault: BaseException | None = None


_waiting: list[_Ticket] = []
_turn = threading.Lock()


def run(work: Callable[[], object]) -> None:
    """Run `work` in a transaction, maybe a shared one, and return when that is committed.

    `work` is run again, alone, when a transaction that it shared failed; by another thread
    perhaps, so it must use no connection but the default one of whoever runs it.

    Raises
    ------
    CommitUnknown
        The rows may be there or not.
    BaseException
        What `work` or the commit raised; the rows are not there.
    """
    if connection.in_atomic_block:
        with transaction.atomic():
            work()
        return
    ticket = _Ticket(work)
    _waiting.append(ticket)
    with _turn:
        if not ticket.is_settled:
            count = len(_waiting)
            batch = _waiting[:count]
            del _waiting[:count]
            _settle(batch)
    if ticket.fault is not None:
        raise ticket.fault
    if not ticket.is_settled:
        raise RuntimeError("the thread that took the work along has died")


def _settle(batch: list[_Ticket]) -> None:
    fault = _commit(batch)
    # One that fails by itself must not fail the others. A database that is away fails them all, and
    # is asked once.
    if fault is not None and len(batch) > 1 and not _is_away(fault):
        for ticket in batch:
            ticket.fault = _commit([ticket])
    else:
        for ticket in batch:
            ticket.fault = fault
    for ticket in batch:
        ticket.is_settled = True


def _commit(batch: list[_Ticket]) -> BaseException | None:
    is_committing = False
    try:
        with transaction.atomic():
            for ticket in batch:
                ticket.work()
            is_committing = True
    except (OperationalError, InterfaceError) as fault:
        if not is_committing:
            return fault
        unknown = CommitUnknown(str(fault))
        unknown.__cause__ = fault
        return unknown
    except BaseException as fault:  # noqa: BLE001 (it is raised to all whom it belongs to)
        return fault
    return None


def _is_away(fault: BaseException) -> bool:
    """Return whether the database is no use to the others either, asking it once at most."""
    if not isinstance(fault, OperationalError | InterfaceError):
        return False
    if connection.vendor == "sqlite":
        return True  # locked or full: each of the others would wait as long
    try:
        connection.ensure_connection()
        return not connection.is_usable()
    except (OperationalError, InterfaceError):
        return True
