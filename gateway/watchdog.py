"""A bound on work that cannot be interrupted: what hangs in a decoder takes only its process along.

No exception reaches code that hangs in a library, and a lease that runs out only lets others at the
row. So the process ends itself, from a thread of its own that needs no interpreter lock, and leaves
in the log where it hung. Its worker forks another, and the row, whose attempt was counted when it
began, is from then on taken alone.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_STDERR: Final = 2


@contextmanager
def watched(limit_s: float) -> Iterator[None]:
    """End this process if the block is not through after `limit_s`; 0 is no limit.

    One block at a time: a process has one watchdog.
    """
    if limit_s <= 0:
        yield
        return
    faulthandler.dump_traceback_later(limit_s, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
