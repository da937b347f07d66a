"""Connections to the database that outlive the threads that use them.

Each association has a thread of its own, and Django a connection for each thread. Opening one costs
more than all that is asked of it for one picture, and closing the last one of an SQLite database
empties its journal into it.
"""

from __future__ import annotations

import threading
from typing import Final

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

KEPT: Final = 8
"""So many wait for the next thread; those of a burst beyond that are closed."""

_idle: list[BaseDatabaseWrapper] = []
_lock = threading.Lock()


def borrow() -> None:
    """Give this thread a connection that another has left, when there is one."""
    with _lock:
        if _idle:
            connections[DEFAULT_DB_ALIAS] = _idle.pop()


def give_back() -> None:
    """Leave this thread's connection to the next."""
    connection = connections[DEFAULT_DB_ALIAS]
    del connections[DEFAULT_DB_ALIAS]
    with _lock:
        if (
            connection.connection is not None
            and not connection.errors_occurred
            and len(_idle) < KEPT
        ):
            if not connection.allow_thread_sharing:
                connection.inc_thread_sharing()
            _idle.append(connection)
            return
    connection.close()
