"""The whole gateway as its users run it: real processes, a folder and ports of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from programs import Program, eventually, free_port, is_listening

ROOT = Path(__file__).resolve().parent.parent

ROLES = {
    "listener": "manage.py listen",
    "analyst": "-Q analysis",
    "courier": "-Q delivery",
    "herald": "-Q alerts",
    "steward": "-Q upkeep",
    "trainer": "-Q training",
    "sweeper": "gateway beat",
    "desk": "gunicorn",
    "valkey": "valkey-server",
}
"""The processes of `manage.py up`, each by a piece of its command line."""


class Gateway:
    """One gateway under ``manage.py up``.

    Parameters
    ----------
    folder
        Its data folder.
    database_url
        Empty: SQLite in the folder.
    settings
        Further variables of ``.env.example``.
    """

    def __init__(self, folder: Path, *, database_url: str = "", **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.title = "ECGGATEWAY"
        self.host = "127.0.0.1"
        self.port = free_port()
        self.web_port = free_port()
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "gateway.settings",
            "ECG_DATA_DIR": str(folder),
            "DATABASE_URL": database_url,
            "BROKER_URL": "",
            "ECG_DICOM_HOST": self.host,
            "ECG_DICOM_PORT": str(self.port),
            "ECG_WEB_PORT": str(self.web_port),
            **settings,
        }
        self._up = Program(
            [sys.executable, ROOT / "manage.py", "up"],
            folder=folder,
            name="up",
            environment=self.environment,
        )

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one command of ``manage.py`` in this gateway's environment."""
        done = subprocess.run(
            [sys.executable, ROOT / "manage.py", *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def start(self) -> None:
        """Start all processes and wait until the Listener, the Desk and the broker are there."""
        socket = self.folder / "valkey" / "valkey.sock"

        def ready() -> bool:
            has_broker = bool(self.environment["BROKER_URL"]) or socket.exists()
            return is_listening(self.port) and is_listening(self.web_port) and has_broker

        self._up.start(ready=ready, timeout_s=90)

    def stop(self) -> None:
        """Ask ``up`` to end, as Ctrl-C does."""
        self._up.stop()

    @property
    def pid(self) -> int:
        """The process id of ``up`` itself."""
        assert self._up.pid is not None
        return self._up.pid

    def log(self, *, last_lines: int = 80) -> str:
        """Return the end of what all processes printed."""
        return self._up.log(last_lines=last_lines)

    def process(self, role: str) -> psutil.Process:
        """Return the main process of a role, waiting until it runs."""

        def find() -> psutil.Process | None:
            for process in psutil.Process(self.pid).children():
                try:
                    if ROLES[role] in " ".join(process.cmdline()):
                        return process
                except (psutil.NoSuchProcess, psutil.ZombieProcess):
                    continue
            return None

        return eventually(find, timeout_s=60, what=f"the {role} to run") or psutil.Process()

    def kill(self, role: str) -> None:
        """``kill -9`` a role, its children with it: as the OOM killer does."""
        main = self.process(role)
        for process in [*main.children(recursive=True), main]:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def freeze(self) -> None:
        """Stop every process in its tracks: to all others, a machine that is cut off."""
        for process in self._everything():
            process.suspend()

    def thaw(self) -> None:
        """Let the processes go on where they were, with what they believe to hold."""
        for process in reversed(self._everything()):
            process.resume()

    def _everything(self) -> list[psutil.Process]:
        up = psutil.Process(self.pid)
        return [up, *up.children(recursive=True)]

    def kill_up(self) -> None:
        """``kill -9`` the supervisor; its processes end with it, and their ports are free again."""
        children = psutil.Process(self.pid).children(recursive=True)
        self._up.kill()
        eventually(
            lambda: (
                not any(child.is_running() for child in children)
                and not is_listening(self.port)
                and not is_listening(self.web_port)
            ),
            timeout_s=60,
            what="the processes to end with their supervisor",
        )

    def memory_bytes(self, role: str) -> int:
        """Return the resident memory of a role, its children included."""
        main = self.process(role)
        return sum(p.memory_info().rss for p in [main, *main.children(recursive=True)])


@contextmanager
def gateway(
    folder: Path, *, peers: list[tuple[str, ...]], database_url: str = "", **settings: str
) -> Iterator[Gateway]:
    """Run a gateway that knows `peers`: arguments of ``manage.py peer add``, one tuple each."""
    running = Gateway(folder, database_url=database_url, **settings)
    running.manage("migrate", "--verbosity=0")
    for peer in peers:
        running.manage("peer", "add", *peer)
    running.start()
    try:
        yield running
    finally:
        running.stop()
