"""Real archives: Orthanc, and DCMTK's storescp, which can be told to misbehave."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

from programs import Program, eventually, free_port, is_listening, require
from resident import LOOPBACK, Resident


def _keyword(name: str) -> str:
    """Return the DICOM keyword of a name in snake case: sop_class_uid is SOPClassUID."""
    return "".join(
        word.upper() if word in {"id", "sop", "uid"} else word.capitalize()
        for word in name.split("_")
    )


class Orthanc(Resident):
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

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._program.pid is not None
        return self._program.pid

    def freeze(self) -> None:
        """Stop it in its tracks: it takes connections and never answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

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


class StoreSCP(Resident):
    """DCMTK's storescp: takes any storage object in any syntax and keeps the bytes as sent.

    Parameters
    ----------
    title
        Its Application Entity title.
    options
        Further options of storescp, such as ``("--abort-after",)``: a faulty archive to order;
        ``("--config-file", file, profile)`` says what it takes.
    """

    def __init__(self, title: str = "STORESCP", *, options: tuple[str, ...] = ()) -> None:
        super().__init__("storescp")
        self.title = title
        self.host = LOOPBACK
        self.port = free_port()
        self.received = self.folder / "received"
        self.received.mkdir()
        syntaxes = () if "--config-file" in options else ("+xa",)
        accept = (*syntaxes, "--bit-preserving", "--disable-host-lookup", *options)
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
