"""CTN's Storage SCP: a real party that takes few kinds of objects."""

from __future__ import annotations

from pathlib import Path

from dcmtk import echoscu
from programs import Program, free_port, require
from resident import LOOPBACK, Resident


class SimpleStorage(Resident):
    """``simple_storage`` of the Central Test Node: what it takes is built in, 3D SR is not."""

    def __init__(self, title: str = "CTN") -> None:
        super().__init__("ctn")
        self.title = title
        self.host = LOOPBACK
        self.port = free_port()
        place = ("-c", title, str(self.port))
        self._program = Program(
            [require("simple_storage"), "-s", *place], folder=self.folder, name="simple_storage"
        )

    @property
    def entity_args(self) -> tuple[str, str, int]:
        """Title, host and port."""
        return self.title, self.host, self.port

    def start(self) -> None:
        """Start it and wait until it answers; a connection without a word would end it."""
        self._program.start(ready=self._answers)

    def _answers(self) -> bool:
        return echoscu(port=self.port, called=self.title).returncode == 0

    def stop(self) -> None:
        """Stop it; what it received stays."""
        self._program.stop()

    def log(self) -> str:
        """Return the end of its log."""
        return self._program.log()

    def files(self) -> list[Path]:
        """Return the files it received: it names them by their SOP Instance UID."""
        return sorted(self.folder.rglob("2.25.*"))
