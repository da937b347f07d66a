"""The SCU against archives that take, refuse, break and keep silent."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from peers import StoreSCP, eventually, free_port
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from dicom_node import contexts, scu
from dicom_node.capture import secondary_capture
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import (
    AssociationAborted,
    AssociationError,
    NoAcceptedContext,
    NotSendable,
    PeerTimeout,
    PeerUnreachable,
    RejectedForGood,
    RejectedForNow,
)
from dicom_node.scu import Timeouts
from dicom_node.status import Status

SHORT = Timeouts(connect_s=2.0, association_s=1.0, response_s=1.0, network_s=1.0)
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
SECONDARY_CAPTURE = next(iter(contexts.STORAGE_CLASSES))


@contextmanager
def archive(
    answer: Callable[[Any], Any],
    *,
    syntaxes: tuple[str, ...] = tuple(contexts.TRANSFER_SYNTAXES),
    classes: tuple[str, ...] = (SECONDARY_CAPTURE,),
) -> Iterator[ApplicationEntity]:
    """Run an archive that answers each C-STORE as told."""
    ae = AE("ARCHIVE")
    ae.supported_contexts = [build_context(uid, list(syntaxes)) for uid in classes]
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)]
    )
    try:
        yield ApplicationEntity("ARCHIVE", "127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()
        eventually(lambda: not ae.active_associations)


@contextmanager
def listener(behave: Callable[[socket.socket], None]) -> Iterator[ApplicationEntity]:
    """Run a TCP server that does with its connections what it is told, each on a thread."""
    server = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def run() -> None:
        with ExitStack() as stack:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                stack.enter_context(connection)
                thread = threading.Thread(target=behave, args=(connection,))
                threads.append(thread)
                thread.start()

    runner = threading.Thread(target=run)
    runner.start()
    try:
        yield ApplicationEntity("SILENT", "127.0.0.1", server.getsockname()[1])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        runner.join(10)
        for thread in threads:
            thread.join(10)


@pytest.fixture
def picture(pictures: Path) -> Path:
    return pictures / "rgb.explicit.dcm"


def store(peer: ApplicationEntity, *paths: Path) -> list[scu.StoreOutcome]:
    return scu.store(peer, paths, calling_title="GATEWAY", timeouts=SHORT)


def test_dcmtk_s_archive_keeps_the_bytes_it_was_sent(pictures: Path) -> None:
    # storescp takes JPEG Lossless with first-order prediction only.
    paths = sorted(set(pictures.glob("*.dcm")) - set(pictures.glob("*.lossless.dcm")))
    with StoreSCP() as peer:
        entity = ApplicationEntity(peer.title, peer.host, peer.port)
        outcomes = scu.store(entity, paths, calling_title="GATEWAY")
        assert {outcome.kind for outcome in outcomes} == {"stored"}
        by_uid = {str(dcmread(path).SOPInstanceUID): path for path in peer.files()}
        # Every encoding of a colour shares the UID, so the last one sent is the one kept.
        assert {outcome.sop_instance_uid for outcome in outcomes} == set(by_uid)


def test_dcmtk_s_archive_answers_an_echo() -> None:
    with StoreSCP() as peer:
        scu.echo(ApplicationEntity(peer.title, peer.host, peer.port), calling_title="GATEWAY")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0x0000, "stored"),
        (0x0111, "stored"),
        (0xB000, "warning"),
        (0xB006, "warning"),
        (0xB007, "warning"),
        (0xA700, "retry"),
        (0x0110, "retry"),
        (0x0122, "refused"),
        (0x0124, "refused"),
        (0xA900, "refused"),
        (0xC000, "refused"),
        (0xFE00, "retry"),
    ],
)
def test_each_status_of_an_archive_is_told_apart(picture: Path, status: int, kind: str) -> None:
    with archive(lambda event: status) as peer:
        (outcome,) = store(peer, picture)
    assert (outcome.status, outcome.kind) == (status, kind)
    assert outcome.sop_instance_uid == dcmread(picture).SOPInstanceUID
    assert outcome.reason


def test_the_peer_s_comment_is_kept_apart_from_the_reason(picture: Path) -> None:
    answer = Dataset()
    answer.Status = 0xA700
    answer.ErrorComment = "Quota of Smith^John exceeded"
    with archive(lambda event: answer) as peer:
        (outcome,) = store(peer, picture)
    assert outcome.comment == "Quota of Smith^John exceeded"
    assert "Smith" not in outcome.reason


def test_one_refused_object_does_not_stop_the_next(pictures: Path) -> None:
    statuses = iter([0xC000, 0x0000, 0xA700])
    with archive(lambda event: next(statuses)) as peer:
        outcomes = store(peer, *sorted(pictures.glob("grey.*.dcm"))[:3])
    assert [outcome.kind for outcome in outcomes] == ["refused", "stored", "retry"]


def test_each_outcome_is_told_before_the_next_object_is_sent(pictures: Path) -> None:
    received: list[str] = []
    told: list[tuple[int, str, int]] = []

    def keep(event: Any) -> int:
        received.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    paths = sorted(pictures.glob("grey.*.dcm"))[:3]
    with archive(keep) as peer:
        scu.store(
            peer,
            paths,
            calling_title="GATEWAY",
            timeouts=SHORT,
            on_outcome=lambda index, outcome: told.append((index, outcome.kind, len(received))),
        )
    assert told == [(0, "stored", 1), (1, "stored", 2), (2, "stored", 3)]


def test_only_what_is_sent_is_proposed(pictures: Path) -> None:
    proposed: list[Any] = []

    def note(event: Any) -> int:
        proposed[:] = event.assoc.requestor.requested_contexts
        return 0

    paths = [pictures / "rgb.explicit.dcm", pictures / "rgb.rle.dcm", pictures / "grey.rle.dcm"]
    with archive(note) as peer:
        store(peer, *paths)
    assert sorted((str(cx.abstract_syntax), *cx.transfer_syntax) for cx in proposed) == sorted(
        [
            (SECONDARY_CAPTURE, contexts.EXPLICIT_LE),
            (SECONDARY_CAPTURE, contexts.IMPLICIT_LE),
            (SECONDARY_CAPTURE, contexts.RLE),
        ]
    )


@pytest.mark.parametrize(
    ("sent", "taken"),
    [("explicit", contexts.IMPLICIT_LE), ("implicit", contexts.EXPLICIT_LE)],
)
def test_a_peer_that_takes_only_the_other_plain_syntax_gets_the_same_data_set(
    pictures: Path, sent: str, taken: str
) -> None:
    received: list[Dataset] = []

    def keep(event: Any) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        received.append(ds)
        return 0

    path = pictures / f"rgb.{sent}.dcm"
    with archive(keep, syntaxes=(taken,)) as peer:
        (outcome,) = store(peer, path)
    assert outcome.kind == "stored"
    assert received[0].file_meta.TransferSyntaxUID == taken
    # Implicit VR has only OW for pixel data (PS3.5 A.1); every value is the same.
    assert [(element.tag, element.value) for element in received[0]] == [
        (element.tag, element.value) for element in dcmread(path)
    ]


def test_the_file_s_own_syntax_is_used_where_the_peer_takes_both(pictures: Path) -> None:
    received: list[bytes] = []

    def keep(event: Any) -> int:
        received.append(event.request.DataSet.getvalue())
        return 0

    path = pictures / "rgb.implicit.dcm"
    with archive(keep) as peer:
        store(peer, path)
    assert path.read_bytes().endswith(received[0])


def test_a_compressed_object_is_never_converted(pictures: Path) -> None:
    with (
        archive(lambda event: 0, syntaxes=(contexts.EXPLICIT_LE,)) as peer,
        pytest.raises(NoAcceptedContext) as failure,
    ):
        store(peer, pictures / "rgb.baseline.dcm")
    assert not failure.value.retryable


def test_a_peer_that_takes_some_of_the_objects_gets_those(pictures: Path) -> None:
    with archive(lambda event: 0, syntaxes=(contexts.EXPLICIT_LE,)) as peer:
        outcomes = store(peer, pictures / "rgb.baseline.dcm", pictures / "rgb.explicit.dcm")
    assert [(outcome.kind, outcome.status) for outcome in outcomes] == [
        ("refused", None),
        ("stored", 0),
    ]


def test_a_peer_that_does_not_know_the_class_says_so_before_anything_is_sent(
    picture: Path,
) -> None:
    with (
        archive(lambda event: 0, classes=(BASIC_TEXT_SR,)) as peer,
        pytest.raises(NoAcceptedContext),
    ):
        store(peer, picture)


def test_a_wrong_title_is_a_rejection_for_good(hospital: Any, picture: Path) -> None:
    peer = ApplicationEntity("WRONG", "127.0.0.1", hospital.port)
    with pytest.raises(RejectedForGood, match="called AE title not recognised") as failure:
        store(peer, picture)
    assert not failure.value.retryable
    assert (failure.value.result, failure.value.source, failure.value.diagnostic) == (1, 1, 7)


def test_a_busy_peer_is_a_rejection_for_now(
    open_hospital: Callable[..., Any], call: Callable[..., Any], picture: Path
) -> None:
    hospital = open_hospital(max_associations=1)
    holder = call(hospital.port)
    holder.associate()
    with pytest.raises(RejectedForNow, match="local limit exceeded") as failure:
        store(hospital.entity, picture)
    assert failure.value.retryable
    holder.release()


def test_nobody_listening_is_unreachable(picture: Path) -> None:
    peer = ApplicationEntity("NOBODY", "127.0.0.1", free_port())
    with pytest.raises(PeerUnreachable, match="refused") as failure:
        store(peer, picture)
    assert failure.value.retryable
    with pytest.raises(PeerUnreachable):
        scu.echo(peer, calling_title="GATEWAY", timeouts=SHORT)


def test_a_host_that_has_no_address_is_unreachable(picture: Path) -> None:
    with pytest.raises(PeerUnreachable, match="resolved"):
        store(ApplicationEntity("NOBODY", "no-such-host.invalid", 104), picture)


def test_a_peer_that_never_answers_the_request_times_out(picture: Path) -> None:
    started = time.monotonic()
    with listener(lambda connection: None) as peer:
        with pytest.raises(PeerTimeout) as failure:
            store(peer, picture)
        assert failure.value.retryable
        with pytest.raises(PeerTimeout):
            scu.echo(peer, calling_title="GATEWAY", timeouts=SHORT)
    assert time.monotonic() - started < 10


def test_a_peer_that_sends_half_an_answer_times_out(picture: Path) -> None:
    def half(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(struct.pack(">BBL", 2, 0, 200) + bytes(50))

    started = time.monotonic()
    with listener(half) as peer, pytest.raises(AssociationError) as failure:
        store(peer, picture)
    assert failure.value.retryable
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(300)])
def test_a_peer_that_speaks_another_protocol_is_an_error(picture: Path, answer: bytes) -> None:
    def speak(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(answer)

    with listener(speak) as peer, pytest.raises(AssociationError):
        store(peer, picture)


def test_a_peer_that_closes_at_once_is_an_abort(picture: Path) -> None:
    with (
        listener(lambda connection: connection.close()) as peer,
        pytest.raises(AssociationAborted),
    ):
        store(peer, picture)


def test_a_peer_that_never_answers_a_store_times_out(picture: Path) -> None:
    going = threading.Event()
    started = time.monotonic()
    with archive(lambda event: int(not going.wait(20))) as peer:
        (outcome,) = store(peer, picture)
        going.set()
    assert (outcome.kind, outcome.status, outcome.is_sent) == ("retry", None, True)
    assert outcome.reason == "the peer did not answer in time"
    assert time.monotonic() - started < 15


def test_a_peer_that_aborts_on_the_first_object_is_an_abort(picture: Path) -> None:
    def abort(event: Any) -> int:
        event.assoc.abort()
        return 0

    with archive(abort) as peer:
        outcomes = store(peer, picture, picture)
    assert [outcome.kind for outcome in outcomes] == ["retry", "retry"]
    assert [outcome.is_sent for outcome in outcomes] == [True, False]
    assert all("aborted" in outcome.reason for outcome in outcomes)


def test_dcmtk_s_archive_aborting_after_the_object_is_an_abort(picture: Path) -> None:
    with StoreSCP(options=("--abort-after",)) as peer:
        (outcome,) = store(ApplicationEntity(peer.title, peer.host, peer.port), picture)
    assert (outcome.kind, outcome.is_sent) == ("retry", True)
    assert "aborted" in outcome.reason


def test_what_was_stored_before_an_abort_is_known(pictures: Path) -> None:
    count = iter(range(10))

    def abort_second(event: Any) -> int:
        if next(count) == 1:
            event.assoc.abort()
        return 0

    with archive(abort_second) as peer:
        outcomes = store(peer, *sorted(pictures.glob("grey.*.dcm"))[:3])
    assert [outcome.kind for outcome in outcomes] == ["stored", "retry", "retry"]
    assert [outcome.status for outcome in outcomes] == [0, None, None]
    assert [outcome.is_sent for outcome in outcomes] == [True, True, False]
    assert "aborted" in outcomes[1].reason


def test_a_peer_that_refuses_the_echo_is_an_error() -> None:
    ae = AE("ARCHIVE")
    ae.add_supported_context(contexts.VERIFICATION)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, lambda event: 0x0122)]
    )
    try:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", server.server_address[1])
        with pytest.raises(AssociationError, match="0x0122"):
            scu.echo(peer, calling_title="GATEWAY", timeouts=SHORT)
    finally:
        server.shutdown()


def test_a_file_that_is_no_dicom_object_is_refused_and_the_others_go(
    picture: Path, tmp_path: Path
) -> None:
    junk, headless = tmp_path / "junk.dcm", tmp_path / "headless.dcm"
    junk.write_bytes(b"no DICOM")
    buffer = BytesIO()
    dcmread(picture).save_as(buffer, enforce_file_format=False)
    headless.write_bytes(buffer.getvalue()[132:])
    with archive(lambda event: 0) as peer:
        outcomes = store(peer, junk, tmp_path / "absent.dcm", picture)
        assert [outcome.kind for outcome in outcomes] == ["refused", "refused", "stored"]
        with pytest.raises(NotSendable):
            store(peer, junk)
        with pytest.raises(NotSendable):
            store(peer)


def test_a_large_object_arrives_whole(tmp_path: Path, hospital: Any) -> None:
    raster: npt.NDArray[np.uint8] = np.random.default_rng(1).integers(
        0, 256, (1700, 2200, 3), dtype=np.uint8
    )
    path = tmp_path / "large.dcm"
    secondary_capture(raster, patient_id="PID-1").save_as(path, enforce_file_format=True)
    (outcome,) = scu.store(hospital.entity, [path], calling_title="GATEWAY")
    assert outcome.status == Status.SUCCESS
    assert dcmread(hospital.instances[0].path).PixelData == raster.tobytes()


def test_no_thread_is_left_behind(picture: Path) -> None:
    before = set(threading.enumerate())
    with archive(lambda event: 0) as peer:
        store(peer, picture)
    with pytest.raises(AssociationError), listener(lambda connection: None) as silent:
        store(silent, picture)
    eventually(lambda: set(threading.enumerate()) <= before)
