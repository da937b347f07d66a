"""Real programs for tests: find one, give it a port, start it, wait for it, stop it.

`eventually` is the only place in the suite that waits; everything else asks it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from secrets import randbelow
from types import TracebackType
from typing import Self, TypeVar

import pytest

T = TypeVar("T")

# The Debian package of every program that a test may ask for.
PACKAGES = {
    "Orthanc": "orthanc",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "dciodvfy": "dicom3tools",
    "dcmcrle": "dcmtk",
    "dcmdump": "dcmtk",
    "docker-compose": "docker-compose",
    "dsr2html": "dcmtk",
    "echoscu": "dcmtk",
    "findscu": "dcmtk",
    "initdb": "postgresql",
    "java": "default-jre-headless",
    "make": "make",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "postgres": "postgresql",
    "simple_storage": "ctn",
    "storescp": "dcmtk",
    "storescu": "dcmtk",
    "systemd-analyze": "systemd",
    "wlmscpfs": "dcmtk",
}

# Above the well-known ports and below the range from which Linux lends ports to clients: a server
# that is stopped and started again finds its port still free.
_PORTS = range(20_000, 32_000)
_ports_given: set[int] = set()


def require(program: str) -> Path:
    """Return the path of `program`; fail the test, naming its Debian package, when it is missing.

    A missing part is a failure, never a skip: a suite that skips proves nothing.
    """
    places = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"]
    postgresql = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: folder.parent.name.zfill(4)
    )
    places = [*(str(folder) for folder in reversed(postgresql)), *places]
    found = shutil.which(program, path=os.pathsep.join(places))
    if found is None:
        package = PACKAGES.get(program, program)
        pytest.fail(
            f"The program {program!r} is missing. Install it: apt-get install {package} "
            "(`make test` installs everything the suite needs).",
            pytrace=False,
        )
    return Path(found)


def free_port() -> int:
    """Return a TCP port that nothing on the loopback listens on and no earlier call returned."""
    for _ in range(1000):
        port = _PORTS[randbelow(len(_PORTS))]
        if port in _ports_given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _ports_given.add(port)
        return port
    pytest.fail(f"Found no free TCP port between {_PORTS.start} and {_PORTS.stop}.")


def is_listening(port: int, *, host: str = "127.0.0.1") -> bool:
    """Tell whether something accepts TCP connections on `port`."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def eventually(
    predicate: Callable[[], T],
    *,
    timeout_s: float = 10.0,
    interval_s: float = 0.05,
    what: str = "",
    unless: Callable[[], str | None] | None = None,
) -> T:
    """Ask `predicate` again and again until it returns something true; return that.

    An AssertionError inside the predicate counts as "not yet"; any other exception ends the wait.

    Parameters
    ----------
    predicate
        What should become true.
    timeout_s, interval_s
        How long to ask, and how long to wait between two questions, in seconds.
    what
        What is awaited, for the message; without it the predicate's name.
    unless
        Returns a reason why waiting has become pointless, or None.

    Raises
    ------
    AssertionError
        When the time is spent, with the last answer.
    """
    deadline = time.monotonic() + timeout_s
    name = what or getattr(predicate, "__qualname__", repr(predicate))
    while True:
        answer: object
        try:
            if value := predicate():
                return value
            answer = value
        except AssertionError as not_yet:
            answer = not_yet
        if unless is not None and (reason := unless()) is not None:
            raise AssertionError(f"Waiting for {name}: {reason}")
        if time.monotonic() >= deadline:
            raise AssertionError(f"Waited {timeout_s:g} s for {name}; the last answer: {answer!r}")
        time.sleep(interval_s)


class Program:
    """One program, started by a test and stopped by it alone.

    Parameters
    ----------
    arguments
        The program and its arguments.
    folder
        An existing folder: its working folder and the home of its log.
    name
        What messages call it; the log is ``<name>.log``.
    environment
        Variables on top of the inherited ones.
    user
        The account to run under, when the test runs as root.
    stop_signal
        What asks it to end. It is killed when it has not ended ten seconds later.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        folder: Path,
        name: str,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self.folder = folder
        self.name = name
        self.environment = dict(environment or {})
        self.user = user if os.geteuid() == 0 else None
        self.stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        """Where everything goes that the program prints."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process id, or None when it was not started."""
        return None if self._process is None else self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def log(self, *, last_lines: int = 60) -> str:
        """Return the end of what it printed."""
        if not self.log_path.exists():
            return ""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-last_lines:])

    def start(self, *, ready: Callable[[], object], timeout_s: float = 30.0) -> None:
        """Start it and wait until `ready` is true; an error carries the end of its log."""
        assert not self.is_alive, f"{self.name} runs already"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.arguments,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
            )
        try:
            eventually(ready, timeout_s=timeout_s, what=f"{self.name} to answer", unless=self._end)
        except BaseException as error:
            self.kill()
            if isinstance(error, AssertionError):
                raise AssertionError(f"{error}\n--- {self.log_path.name}:\n{self.log()}") from None
            raise

    def _end(self) -> str | None:
        if self._process is None or self._process.poll() is None:
            return None
        return f"it ended with exit status {self._process.returncode}"

    def stop(self) -> int | None:
        """Ask it to end, wait for that, and return its exit status (None: it did not run)."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """End it as a power cut would: ``kill -9``."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
