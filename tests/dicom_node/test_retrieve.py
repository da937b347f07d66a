"""Objects fetched from real archives, by C-GET and by C-MOVE to our own Storage SCP."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from peers import Orthanc, eventually
from pydicom import Dataset, dcmread
from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from dicom_node import contexts, enquiry, scu
from dicom_node.capture import secondary_capture
from dicom_node.contexts import STORAGE_CLASSES, TRANSFER_SYNTAXES
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import Cancelled, NoAcceptedContext, PeerTimeout, QueryFailed, QueryRefused
from dicom_node.scp import ReceivedInstance
from dicom_node.scu import Timeouts
from dicom_node.status import Status

SHORT = Timeouts(connect_s=2.0, association_s=2.0, response_s=2.0, network_s=2.0)
SECONDARY_CAPTURE = next(iter(STORAGE_CLASSES))


class Shelf:
    """Where what is fetched is put, as the gateway's spool does."""

    def __init__(self, folder: Path) -> None:
        self.incoming = folder / "incoming"
        self.incoming.mkdir()
        self.kept = folder / "kept"
        self.kept.mkdir()
        self.instances: list[ReceivedInstance] = []
        self.status: int = Status.SUCCESS

    def take(self, received: ReceivedInstance) -> int:
        if self.status == Status.SUCCESS:
            received.path.rename(self.kept / f"{received.sop_instance_uid}.dcm")
            self.instances.append(received)
        return self.status

    def get(self, peer: Any, ds: Dataset, **options: Any) -> scu.RetrieveOutcome:
        entity = (
            peer if isinstance(peer, ApplicationEntity) else ApplicationEntity(*peer.entity_args)
        )
        return scu.get(
            entity,
            ds,
            calling_title="GATEWAY",
            incoming_folder=self.incoming,
            on_instance=self.take,
            timeouts=SHORT,
            **options,
        )


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def study(ds: Dataset) -> Dataset:
    key = Dataset()
    key.QueryRetrieveLevel = "STUDY"
    key.StudyInstanceUID = ds.StudyInstanceUID
    return key


def data_set_bytes(path: Path) -> bytes:
    """Return the data set of a DICOM file as it is encoded."""
    content = path.read_bytes()
    length = int.from_bytes(content[140:144], "little")
    return content[144 + length :]


def test_every_encoding_is_fetched_as_the_archive_holds_it(
    orthanc: Orthanc, pictures: Path, shelf: Shelf, tmp_path: Path
) -> None:
    # One UID an encoding, so that each is an object of its own.
    syntaxes = {}
    for number, path in enumerate(sorted(pictures.glob("rgb.*.dcm"))):
        ds = dcmread(path)
        uid = UID(f"1.2.826.0.1.{number + 1}")
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
        ds.StudyInstanceUID = UID("1.2.826.0.9")
        ds.save_as(tmp_path / "one.dcm", enforce_file_format=True)
        orthanc.upload(tmp_path / "one.dcm")
        syntaxes[uid] = str(ds.file_meta.TransferSyntaxUID)
    outcome = shelf.get(orthanc, study(ds), sop_classes=[SECONDARY_CAPTURE])
    assert (outcome.status, outcome.completed) == (0, len(syntaxes))
    assert {i.sop_instance_uid: i.transfer_syntax_uid for i in shelf.instances} == syntaxes
    for instance in shelf.instances:
        kept = shelf.kept / f"{instance.sop_instance_uid}.dcm"
        ds = dcmread(kept)
        assert ds.SOPInstanceUID == instance.sop_instance_uid
        assert hashlib.sha256(data_set_bytes(kept)).hexdigest() == instance.sha256_dataset
    assert not list(shelf.incoming.iterdir())


def test_what_we_cannot_keep_is_refused_and_the_archive_says_so(
    orthanc: Orthanc, pictures: Path, shelf: Shelf
) -> None:
    orthanc.upload(pictures / "rgb.explicit.dcm")
    shelf.status = Status.OUT_OF_RESOURCES
    # Orthanc ends with 0xA702, and has DCMTK append the failed UID to the command set.
    with pytest.raises(QueryFailed, match="0xA702") as caught:
        shelf.get(orthanc, study(dcmread(pictures / "rgb.explicit.dcm")))
    assert caught.value.retryable
    assert not list(shelf.incoming.iterdir())
    assert not shelf.instances


def test_an_archive_sends_to_our_own_listener(
    orthanc: Orthanc, pictures: Path, hospital: Any
) -> None:
    orthanc.upload(pictures / "rgb.explicit.dcm")
    orthanc.introduce("ECGGATEWAY", "127.0.0.1", hospital.port)
    entity = ApplicationEntity(*orthanc.entity_args)
    key = study(dcmread(pictures / "rgb.explicit.dcm"))
    outcome = scu.move(
        entity, key, destination="ECGGATEWAY", calling_title="ECGGATEWAY", timeouts=SHORT
    )
    assert outcome.status == 0
    eventually(lambda: len(hospital.instances) == 1)
    with pytest.raises(QueryRefused):
        scu.move(entity, key, destination="NOBODY", calling_title="ECGGATEWAY", timeouts=SHORT)


# --- archives to order ---------------------------------------------------------------------------


@contextmanager
def archive(answer: Callable[[Any], Iterator[Any]]) -> Iterator[ApplicationEntity]:
    """Run an archive that answers C-GET as told."""
    ae = AE("ARCHIVE")
    ae.add_supported_context(contexts.STUDY_ROOT_GET)
    ae.add_supported_context(
        SECONDARY_CAPTURE, list(TRANSFER_SYNTAXES), scp_role=True, scu_role=False
    )
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_GET, answer)])
    try:
        yield ApplicationEntity("ARCHIVE", "127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()
        eventually(lambda: not ae.active_associations)


def ecg() -> Dataset:
    return secondary_capture(np.zeros((500, 500), np.uint8), patient_id="P-1")


def test_a_cancelled_retrieval_keeps_what_came_and_leaves_nothing_half(shelf: Shelf) -> None:
    stop = threading.Event()
    heard = threading.Event()

    def endless(event: Any) -> Iterator[Any]:
        yield 1000
        for _ in range(1000):
            if event.is_cancelled:
                heard.set()
                yield 0xFE00, None
                return
            yield 0xFF00, ecg()

    def take(received: ReceivedInstance) -> int:
        if len(shelf.instances) == 2:
            stop.set()
        return Shelf.take(shelf, received)

    shelf.take = take  # type: ignore[method-assign]
    with archive(endless) as peer, pytest.raises(Cancelled):
        shelf.get(peer, study(ecg()), stop=stop)
    assert heard.wait(5)
    assert len(list(shelf.kept.iterdir())) == len(shelf.instances) == 3
    assert not list(shelf.incoming.iterdir())


def test_an_object_beyond_the_limit_is_not_kept_and_the_others_are(shelf: Shelf) -> None:
    big = secondary_capture(np.zeros((2000, 2000), np.uint8), patient_id="P-1")

    def both(_event: Any) -> Iterator[Any]:
        yield 2
        yield 0xFF00, big
        yield 0xFF00, ecg()

    with archive(both) as peer:
        outcome = shelf.get(peer, study(ecg()), max_object_bytes=1 << 20)
    assert (outcome.status, outcome.completed, outcome.failed) == (0xB000, 1, 1)
    assert outcome.failed_uids == (big.SOPInstanceUID,)
    assert len(shelf.instances) == 1
    assert not list(shelf.incoming.iterdir())


def test_an_archive_that_falls_silent_is_left_and_half_an_object_with_it(shelf: Shelf) -> None:
    over = threading.Event()

    def stall(_event: Any) -> Iterator[Any]:
        yield 2
        yield 0xFF00, ecg()
        over.wait(20)
        yield 0xFE00, None

    began = time.monotonic()
    with archive(stall) as peer:
        with pytest.raises(PeerTimeout):
            shelf.get(peer, study(ecg()))
        assert time.monotonic() - began < 8
        over.set()
    assert len(shelf.instances) == 1
    assert not list(shelf.incoming.iterdir())


def test_an_object_that_comes_when_the_time_is_over_leaves_nothing_behind(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long that the object comes while it is waited for.
    monkeypatch.setattr(enquiry, "_POLL_S", 10.0)

    def endless(_event: Any) -> Iterator[Any]:
        yield 1000
        for _ in range(1000):
            yield 0xFF00, ecg()

    before = open_files()
    with archive(endless) as peer, pytest.raises(PeerTimeout, match="in time"):
        shelf.get(peer, study(ecg()), total_s=1.0)
    assert shelf.instances
    assert not list(shelf.incoming.iterdir())
    assert open_files() == before


def open_files() -> set[tuple[str, int]]:
    """Return the files this process has open; how far it has written to them is not asked."""
    return {(file.path, file.fd) for file in psutil.Process().open_files()}


def test_an_archive_without_c_get_says_so(shelf: Shelf) -> None:
    ae = AE("ARCHIVE")
    ae.add_supported_context("1.2.840.10008.5.1.4.1.2.2.1", ImplicitVRLittleEndian)
    server = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", server.server_address[1])
        with pytest.raises(NoAcceptedContext):
            shelf.get(peer, study(ecg()))
    finally:
        server.shutdown()
        eventually(lambda: not ae.active_associations)
