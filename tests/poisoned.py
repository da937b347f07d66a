"""The gateway's own worker, in which two kinds of picture are poison: for `celery -A poisoned`.

No library here is known to crash over a file, or it would have been mended. So this worker has one
that does: it hangs in foreign code that holds the interpreter lock, or ends like a broken pointer.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Generator
from pathlib import Path

from gateway import pages
from gateway.celery import app

__all__ = ["app"]

HANGS = b"HANGS-THE-DECODER"
CRASHES = b"CRASHES-THE-DECODER"

_pages = pages.pages


def _poisoned(path: Path) -> Generator[pages.PageOrReason, None, None]:
    start = path.read_bytes()[:4096]
    if HANGS in start:
        ctypes.PyDLL(None).sleep(3600)
    if CRASHES in start:
        os.kill(os.getpid(), signal.SIGSEGV)
    yield from _pages(path)


pages.pages = _poisoned
