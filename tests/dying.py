"""A process that dies in the middle of its work, at the line a test chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection


class Died(BaseException):
    """The process ended here."""


def dies_at_writing(last: int, work: Callable[[], object]) -> bool:
    """Do work, and die instead of writing for the `last` time; False when it writes less often."""
    count = 0

    def wrapper(execute: Any, sql: str, *rest: Any) -> Any:
        nonlocal count
        count += sql.startswith(("INSERT", "UPDATE", "DELETE"))
        if count == last:
            raise Died
        return execute(sql, *rest)

    try:
        with connection.execute_wrapper(wrapper):
            work()
    except Died:
        return True
    return False
