"""A Storage SCP that remembers, and pictures to send to it."""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from peers import eventually, require
from pydicom.filereader import read_dataset
from pydicom.uid import JPEG2000, JPEG2000Lossless

from dicom_node.capture import secondary_capture
from dicom_node.entity import ApplicationEntity
from dicom_node.scp import AssociationRecord, Caller, Limits, ReceivedInstance, Refusal, StorageSCP
from dicom_node.status import Status

TITLE = "ECGGATEWAY"


class Hospital:
    """A Storage SCP with callbacks a test can read and change while it runs."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.incoming = folder / "incoming"
        self.spool = folder / "spool"
        self.spool.mkdir()
        self.instances: list[ReceivedInstance] = []
        self.records: list[AssociationRecord] = []
        self.unknown_titles: set[str] = set()
        self.on_instance: Callable[[ReceivedInstance], int] = lambda _: Status.SUCCESS
        self.scp = StorageSCP(
            TITLE,
            "127.0.0.1",
            0,
            admit=self.admit,
            on_instance=self._take,
            on_association=self.records.append,
            incoming_folder=self.incoming,
            limits=limits,
        )

    @property
    def port(self) -> int:
        return self.scp.port

    @property
    def entity(self) -> ApplicationEntity:
        return ApplicationEntity(TITLE, "127.0.0.1", self.scp.port)

    def admit(self, caller: Caller) -> Refusal | None:
        return Refusal.CALLING_UNKNOWN if caller.title in self.unknown_titles else None

    def _take(self, instance: ReceivedInstance) -> int:
        status = self.on_instance(instance)
        if status == Status.SUCCESS:
            kept = self.spool / f"{instance.path.stem}.dcm"
            instance.path.rename(kept)
            self.instances.append(replace(instance, path=kept))
        return status

    def ends(self) -> list[AssociationRecord]:
        """Return the records of associations that are over."""
        return [record for record in self.records if record.ended_at is not None]

    def await_end(self, count: int = 1) -> AssociationRecord:
        """Wait until so many associations are over and return the last record."""
        eventually(lambda: len(self.ends()) >= count, what=f"{count} associations to end")
        return self.ends()[-1]

    def is_clean(self) -> bool:
        """Tell whether no half object and no thread of an association is left."""
        threads = [t for t in threading.enumerate() if "AcceptorThread" in t.name]
        return not list(self.incoming.iterdir()) and not threads


@pytest.fixture
def open_hospital(tmp_path: Path) -> Iterator[Callable[..., Hospital]]:
    """Open Storage SCPs with limits of the test's choice; they are stopped after it."""
    with ExitStack() as stack:

        def open_one(**limits: Any) -> Hospital:
            hospital = Hospital(tmp_path, Limits(**limits))
            stack.enter_context(hospital.scp)
            return hospital

        yield open_one


@pytest.fixture
def hospital(open_hospital: Callable[..., Hospital]) -> Hospital:
    """Return a running Storage SCP with short timeouts."""
    return open_hospital(association_timeout_s=2.0, idle_timeout_s=2.0)


class RawCaller:
    """A DICOM client that writes its PDUs itself, so that it can write wrong ones."""

    SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def associate(self) -> None:
        """Negotiate Secondary Capture, Explicit VR Little Endian, on context 1."""
        self.send_pdu(1, self.association_request())
        kind, _ = self.read_pdu()
        assert kind == 2, f"expected A-ASSOCIATE-AC, received PDU {kind}"

    def association_request(self, called: bytes = b"ECGGATEWAY") -> bytes:
        """Return the body of an A-ASSOCIATE-RQ (PS3.8 Table 9-11)."""
        abstract = self._item(0x30, self.SECONDARY_CAPTURE.encode())
        transfer = self._item(0x40, b"1.2.840.10008.1.2.1")
        user = self._item(0x51, struct.pack(">L", 1 << 16)) + self._item(0x52, b"1.2.3.4")
        titles = called.ljust(16) + b"RAWCALLER".ljust(16)
        return (
            struct.pack(">HH", 1, 0)
            + titles
            + bytes(32)
            + self._item(0x10, b"1.2.840.10008.3.1.1.1")
            + self._item(0x20, struct.pack("BBBB", 1, 0, 0, 0) + abstract + transfer)
            + self._item(0x50, user)
        )

    @staticmethod
    def _item(kind: int, body: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(body)) + body

    def send_pdu(self, kind: int, body: bytes) -> None:
        self.socket.sendall(struct.pack(">BBL", kind, 0, len(body)) + body)

    def send_value(self, header: int, value: bytes, context_id: int = 1) -> None:
        """Send one presentation data value (PS3.8 Annex E)."""
        body = struct.pack(">LBB", len(value) + 2, context_id, header) + value
        self.send_pdu(4, body)

    def store_command(
        self, *, has_data_set: bool = True, sop_class_uid: str = "", sop_instance_uid: str = "1.2.3"
    ) -> bytes:
        elements = {
            0x0002: (sop_class_uid or self.SECONDARY_CAPTURE).encode(),
            0x0100: struct.pack("<H", 1),
            0x0110: struct.pack("<H", 5),
            0x0700: struct.pack("<H", 0),
            0x0800: struct.pack("<H", 1 if has_data_set else 0x0101),
            0x1000: sop_instance_uid.encode(),
        }
        return b"".join(
            struct.pack("<HHL", 0, element, len(value) + len(value) % 2)
            + value
            + bytes(len(value) % 2)
            for element, value in elements.items()
        )

    def store(self, data_set: bytes | None, *, pieces: int = 1, **command: Any) -> int:
        """Send a C-STORE and return the status of its response."""
        encoded = self.store_command(has_data_set=data_set is not None, **command)
        self.send_value(0x03, encoded)
        if data_set is not None:
            size = max(1, -(-len(data_set) // pieces))
            parts = [data_set[at : at + size] for at in range(0, len(data_set), size)] or [b""]
            for part in parts[:-1]:
                self.send_value(0x00, part)
            self.send_value(0x02, parts[-1])
        return self.read_status()

    def read_status(self) -> int:
        kind, body = self.read_pdu()
        assert kind == 4, f"expected P-DATA-TF, received PDU {kind}"
        response = read_dataset(BytesIO(body[6:]), is_implicit_VR=True, is_little_endian=True)
        status: int = response.Status
        return status

    def read_pdu(self) -> tuple[int, bytes]:
        """Return type and body of the next PDU; type 0 when the connection is closed."""
        try:
            header = self._read(6)
        except (EOFError, ConnectionError):
            return 0, b""
        kind, _, length = struct.unpack(">BBL", header)
        return kind, self._read(length)

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def release(self) -> None:
        self.send_pdu(5, bytes(4))
        assert self.read_pdu()[0] == 6
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Close as a machine that loses its power does: without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@pytest.fixture
def call() -> Iterator[Callable[[int], RawCaller]]:
    """Return a function that connects a raw client to a port."""
    with ExitStack() as stack:

        def connect(port: int) -> RawCaller:
            caller = RawCaller(port)
            stack.callback(caller.close)
            return caller

        yield connect


@pytest.fixture(scope="session")
def paper() -> npt.NDArray[np.uint8]:
    """Return an RGB raster with flat areas, edges and colours: (121, 161, 3), odd on purpose."""
    rows, columns = np.mgrid[:121, :161]
    raster = np.full((121, 161, 3), (255, 230, 220), np.uint8)
    raster[(rows % 10 == 0) | (columns % 10 == 0)] = (240, 160, 150)
    trace = (60 + 40 * np.sin(columns[0] / 7)).astype(int)
    raster[trace, columns[0]] = (20, 20, 40)
    return raster


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory, paper: npt.NDArray[np.uint8]) -> Path:
    """Return a folder of one picture in colour and in grey, in every encoding DCMTK can write."""
    folder = tmp_path_factory.mktemp("pictures")
    encoders = {
        "implicit": ("dcmconv", "+ti"),
        "big_endian": ("dcmconv", "+tb"),
        "deflated": ("dcmconv", "+td"),
        "baseline": ("dcmcjpeg", "+eb"),
        "extended": ("dcmcjpeg", "+ee"),
        "lossless": ("dcmcjpeg", "+el", "+sv", "4"),
        "lossless_sv1": ("dcmcjpeg", "+e1"),
        "jpeg_ls": ("dcmcjpls", "+el"),
        "jpeg_ls_near": ("dcmcjpls", "+en", "+md", "2"),
        "rle": ("dcmcrle",),
    }
    for name, raster in (("rgb", paper), ("grey", np.ascontiguousarray(paper[..., 1]))):
        plain = folder / f"{name}.explicit.dcm"
        ds = secondary_capture(raster, patient_id="PID-1", patient_name="Test^Patient")
        ds.save_as(plain, enforce_file_format=True)
        for encoding, (program, *options) in encoders.items():
            target = folder / f"{name}.{encoding}.dcm"
            subprocess.run([require(program), *options, plain, target], check=True, timeout=60)
        lossless = secondary_capture(raster, patient_id="PID-1")
        lossless.compress(JPEG2000Lossless, generate_instance_uid=False)
        lossless.save_as(folder / f"{name}.jpeg_2000_lossless.dcm", enforce_file_format=True)
        lossy = secondary_capture(raster, patient_id="PID-1")
        lossy.compress(JPEG2000, j2k_cr=[4], generate_instance_uid=False)
        lossy.save_as(folder / f"{name}.jpeg_2000.dcm", enforce_file_format=True)
    return folder
