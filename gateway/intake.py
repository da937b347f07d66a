"""Whether there is room for another object: intake stops before the disk is full, not when it is.

A full disk takes more than the spool with it. The database on it cannot commit what workers have
found, and what is here already can no longer be reported. So a part of the disk is kept for those
(``ECG_LOW_WATER_MB``): below it every door is shut and says so, what is inside goes on, and the
doors open by themselves when there is room again.

The disks are those of the spool and, with SQLite, of the database. A PostgreSQL has its own,
which cannot be seen from here.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Final

import structlog
from django.conf import settings
from django.db import connection

from gateway import spool

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
"""A disk is looked at so often at most, however many objects come."""

MARGIN_BYTES: Final = 16 << 20
"""So much more than the mark opens the doors again, so that they do not swing."""

MIN_FILES: Final = 1000
"""A disk that has no room for so many more files is full, whatever bytes it has."""


class IntakeShut(OSError):
    """There is no room: nothing is taken now, and whoever has it keeps it."""


class _Gauge:
    """What was last seen of the disks, for all threads of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen_s = 0.0
        self._of: object = None
        self._reason = ""

    def read(self) -> str:
        """Return why intake is shut, empty when it is open; look again when that is old."""
        of = (_folders(), settings.ECG_LOW_WATER_MB)
        with self._lock:
            if of == self._of and time.monotonic() - self._seen_s < LOOK_S:
                return self._reason
            was_shut = of == self._of and bool(self._reason)
            reason = _shortage(*of, was_shut=was_shut)
            if bool(reason) != was_shut:
                if reason:
                    log.error("intake shut", reason=reason)
                elif was_shut:
                    log.warning("intake open again")
            self._of, self._reason, self._seen_s = of, reason, time.monotonic()
            return reason


_gauge = _Gauge()


def shortage() -> str:
    """Return why nothing is taken now, in a sentence for people; empty when there is room."""
    return _gauge.read()


def require() -> None:
    """Return when there is room for another object.

    Raises
    ------
    IntakeShut
        There is none, and why.
    """
    if reason := shortage():
        raise IntakeShut(reason)


def _folders() -> tuple[tuple[str, Path], ...]:
    folders = [("spool", spool.root())]
    if connection.vendor == "sqlite":
        folders.append(("database", Path(str(connection.settings_dict["NAME"])).parent))
    return tuple(folders)


def _shortage(folders: tuple[tuple[str, Path], ...], mark_mb: int, *, was_shut: bool) -> str:
    least_bytes = (mark_mb << 20) + (MARGIN_BYTES if was_shut else 0)
    for what, folder in folders:
        try:
            disk = os.statvfs(_existing(folder))
        except OSError:
            continue  # whoever writes there will hear why not
        free_bytes = disk.f_bavail * disk.f_frsize
        if mark_mb and free_bytes < least_bytes:
            return (
                f"the disk of the {what} is nearly full: {free_bytes >> 20} MB are free, "
                f"nothing is taken below {least_bytes >> 20} MB (ECG_LOW_WATER_MB)"
            )
        if mark_mb and disk.f_files and disk.f_favail < MIN_FILES:
            return (
                f"the disk of the {what} is nearly full: it has room for {disk.f_favail} more "
                f"files, nothing is taken below {MIN_FILES}"
            )
    return ""


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
