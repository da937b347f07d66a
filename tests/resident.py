"""A program with a folder of its own, from ``with`` to the end of ``with``."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"


class Resident:
    """A folder and the program that lives in it, from ``with`` to the end of ``with``."""

    def __init__(self, prefix: str, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix=f"ecg-{prefix}-"))
        self._is_ours = folder is None

    def start(self) -> None:
        """Start, or start again after `stop` or `kill`, on the same port with the same data."""
        raise NotImplementedError

    def stop(self) -> None:
        """End in good order; the data stay."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._remove()

    def _remove(self) -> None:
        if self._is_ours:
            shutil.rmtree(self.folder, ignore_errors=True)
