"""A child that does not outlive its parent, whatever ended that (Linux, prctl(2))."""

from __future__ import annotations

import ctypes
import signal

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel end this process when the thread that made it ends.

    SIGKILL, because whoever outlives its supervisor also outlives its broker and the reader of
    what it prints, and an orderly end may wait for either. Nothing is lost by it: what is true is
    in the database, and what was being done has a lease that runs out.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
