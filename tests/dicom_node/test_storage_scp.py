"""The Storage SCP against real clients: who comes in, what is kept, what is answered."""

from __future__ import annotations

import hashlib
import logging
import resource
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers import echoscu, eventually, storescu
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.presentation import build_context

from dicom_node import contexts, scu
from dicom_node.image import StoredImage
from dicom_node.scp import Caller, Refusal, StorageSCP
from dicom_node.status import Status

# The options with which storescu offers a picture in the syntax it is in.
PROPOSALS = {
    "explicit": "-xe",
    "implicit": "-xi",
    "big_endian": "-xb",
    "deflated": "-xd",
    "baseline": "-xy",
    "extended": "-xx",
    "lossless_sv1": "-xs",
    "jpeg_ls": "-xt",
    "jpeg_ls_near": "-xu",
    "jpeg_2000_lossless": "-xv",
    "jpeg_2000": "-xw",
    "rle": "-xr",
}


def data_set_bytes(path: Path) -> bytes:
    """Return what follows the File Meta Information."""
    content = path.read_bytes()
    length = int.from_bytes(content[140:144], "little")
    return content[144 + length :]


def test_a_client_gets_its_echo(hospital: Any) -> None:
    assert echoscu(port=hospital.port).returncode == 0
    assert hospital.await_end().outcome == "released"
    assert [record.outcome for record in hospital.records] == ["accepted", "released"]


@pytest.mark.parametrize("colour", ["rgb", "grey"])
@pytest.mark.parametrize("encoding", sorted(PROPOSALS))
def test_every_transfer_syntax_is_kept_as_it_was_sent(
    hospital: Any, pictures: Path, encoding: str, colour: str
) -> None:
    picture = pictures / f"{colour}.{encoding}.dcm"
    sent = storescu(picture, port=hospital.port, options=(PROPOSALS[encoding],))
    assert sent.returncode == 0, sent.output
    (instance,) = hospital.instances
    kept = data_set_bytes(instance.path)
    assert instance.sha256_dataset == hashlib.sha256(kept).hexdigest()
    assert instance.calling_title == "STORESCU"
    assert instance.calling_address == "127.0.0.1"
    source, received = dcmread(picture), dcmread(instance.path)
    assert received.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID
    assert received.file_meta.ImplementationClassUID == contexts.IMPLEMENTATION_CLASS_UID
    assert received.file_meta.SourceApplicationEntityTitle == "STORESCU"
    assert instance.transfer_syntax_uid == source.file_meta.TransferSyntaxUID
    assert instance.sop_instance_uid == source.SOPInstanceUID
    assert received == source
    with StoredImage(picture) as sent_image, StoredImage(instance.path) as kept_image:
        assert np.array_equal(sent_image.read(), kept_image.read())
    assert hospital.await_end().instances_count == 1
    assert hospital.is_clean()


def test_jpeg_lossless_with_any_predictor_is_taken(hospital: Any, pictures: Path) -> None:
    outcomes = scu.store(hospital.entity, [pictures / "rgb.lossless.dcm"], calling_title="VIEWER")
    assert [outcome.kind for outcome in outcomes] == ["stored"]
    assert hospital.instances[0].transfer_syntax_uid == contexts.JPEG_LOSSLESS


def test_the_bytes_are_those_the_sender_had_on_disk(hospital: Any, pictures: Path) -> None:
    picture = pictures / "rgb.explicit.dcm"
    scu.store(hospital.entity, [picture], calling_title="VIEWER")
    assert data_set_bytes(hospital.instances[0].path) == data_set_bytes(picture)


def test_many_objects_on_one_association_are_each_kept(hospital: Any, pictures: Path) -> None:
    paths = sorted(pictures.glob("*.dcm"))
    outcomes = scu.store(hospital.entity, paths, calling_title="VIEWER")
    assert {outcome.kind for outcome in outcomes} == {"stored"}
    assert len({instance.path for instance in hospital.instances}) == len(paths)
    assert hospital.await_end().instances_count == len(paths)


def test_a_wrong_called_title_is_rejected_for_good(hospital: Any) -> None:
    answer = echoscu(port=hospital.port, called="SOMEBODY")
    assert "Rejected Permanent, Source: Service User" in answer.output
    assert "Called AE Title Not Recognized" in answer.output
    record = hospital.await_end()
    assert (record.outcome, record.reason) == ("rejected", "CALLED_UNKNOWN")
    assert (record.calling_title, record.called_title) == ("ECHOSCU", "SOMEBODY")
    assert record.ended_at is not None


def test_an_unknown_calling_title_is_rejected_for_good(hospital: Any, pictures: Path) -> None:
    hospital.unknown_titles = {"STRANGER"}
    answer = storescu(pictures / "rgb.explicit.dcm", port=hospital.port, calling="STRANGER")
    assert "Calling AE Title Not Recognized" in answer.output
    assert "Rejected Permanent, Source: Service User" in answer.output
    assert hospital.await_end().reason == "CALLING_UNKNOWN"
    assert not hospital.instances


def test_when_nobody_can_decide_about_callers_they_are_rejected_for_now(
    hospital: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(caller: Caller) -> Refusal | None:
        raise RuntimeError("no database")

    monkeypatch.setattr(hospital.scp, "_admit", fail)
    assert "Rejected Transient" in echoscu(port=hospital.port).output
    assert hospital.await_end().reason == "UNDECIDED"


def test_one_association_too_many_is_rejected_for_now(
    open_hospital: Callable[..., Any],
) -> None:
    hospital = open_hospital(max_associations=2, idle_timeout_s=10.0)
    ae = AE("VIEWER")
    ae.add_requested_context(contexts.VERIFICATION)
    held = [ae.associate("127.0.0.1", hospital.port, ae_title="ECGGATEWAY") for _ in range(2)]
    assert all(association.is_established for association in held)
    refused = echoscu(port=hospital.port)
    assert "Rejected Transient" in refused.output
    assert "Local Limit Exceeded" in refused.output
    assert hospital.ends()[0].reason == "BUSY"
    for association in held:
        association.release()
    eventually(lambda: hospital.scp.active_count == 0)
    assert echoscu(port=hospital.port).returncode == 0


def test_a_class_or_syntax_we_do_not_take_gets_no_presentation_context(hospital: Any) -> None:
    ae = AE("VIEWER")
    ct, ambulatory = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.9.1.3"
    mpeg = "1.2.840.10008.1.2.4.102"
    secondary_capture_class = next(iter(contexts.STORAGE_CLASSES))
    wanted = [
        build_context(ct),
        build_context(ambulatory),
        build_context(secondary_capture_class, mpeg),
        *(build_context(uid, contexts.RLE) for uid in contexts.STORAGE_CLASSES),
    ]
    association = ae.associate("127.0.0.1", hospital.port, contexts=wanted, ae_title="ECGGATEWAY")
    try:
        taken = {context.abstract_syntax for context in association.accepted_contexts}
        assert taken == set(contexts.STORAGE_CLASSES)
        # PS3.8 Table 9-18: 3 abstract syntax, 4 transfer syntaxes not supported.
        assert [context.result for context in association.rejected_contexts] == [3, 3, 4]
    finally:
        association.release()


def test_a_sender_that_offers_several_syntaxes_in_one_context_need_not_compress(
    hospital: Any,
) -> None:
    ae = AE("VIEWER")
    offer = [contexts.JPEG_BASELINE, contexts.JPEG_2000, contexts.IMPLICIT_LE]
    wanted = [build_context(next(iter(contexts.STORAGE_CLASSES)), offer)]
    association = ae.associate("127.0.0.1", hospital.port, contexts=wanted, ae_title="ECGGATEWAY")
    try:
        assert association.accepted_contexts[0].transfer_syntax == [contexts.IMPLICIT_LE]
    finally:
        association.release()


@pytest.mark.parametrize(
    ("uid", "status"),
    [
        ("1.2.3", Status.SUCCESS),
        ("1." + "2" * 62, Status.SUCCESS),
        ("1..2", Status.SUCCESS),
        ("1.2.3.", Status.SUCCESS),
        ("1.02.3", Status.SUCCESS),
        ("..", Status.INVALID_SOP_INSTANCE),
        ("../../etc/passwd", Status.INVALID_SOP_INSTANCE),
        ("1.2/../../../tmp/x", Status.INVALID_SOP_INSTANCE),
        ("1.2.a", Status.INVALID_SOP_INSTANCE),
        ("", Status.INVALID_SOP_INSTANCE),
        ("1.2\n3", Status.INVALID_SOP_INSTANCE),
        ("1." + "2" * 63, Status.INVALID_SOP_INSTANCE),
    ],
)
def test_a_uid_is_taken_or_refused_by_rule_and_never_becomes_a_path(
    hospital: Any, call: Callable[..., Any], uid: str, status: int, tmp_path: Path
) -> None:
    caller = call(hospital.port)
    caller.associate()
    assert caller.store(b"\x08\x00\x05\x00CS\x00\x00", sop_instance_uid=uid) == status
    assert [instance.sop_instance_uid for instance in hospital.instances] == (
        [uid] if status == Status.SUCCESS else []
    )
    caller.release()
    assert hospital.await_end().outcome == "released"
    assert hospital.is_clean()
    assert {path.name for path in tmp_path.iterdir()} == {"incoming", "spool"}


def test_a_class_that_is_not_the_negotiated_one_is_refused(
    hospital: Any, call: Callable[..., Any]
) -> None:
    caller = call(hospital.port)
    caller.associate()
    other = "1.2.840.10008.5.1.4.1.1.7.4"
    assert caller.store(b"", sop_class_uid=other) == Status.SOP_CLASS_NOT_SUPPORTED
    assert caller.store(b"") == Status.SUCCESS
    caller.release()


def test_a_store_without_a_data_set_cannot_be_understood(
    hospital: Any, call: Callable[..., Any]
) -> None:
    caller = call(hospital.port)
    caller.associate()
    assert caller.store(None) == Status.CANNOT_UNDERSTAND
    assert caller.store(b"") == Status.SUCCESS
    caller.release()


def test_the_data_set_is_kept_even_when_it_is_not_one(
    hospital: Any, call: Callable[..., Any]
) -> None:
    caller = call(hospital.port)
    caller.associate()
    junk = bytes(range(256)) * 1001
    assert caller.store(junk, pieces=7) == Status.SUCCESS
    assert data_set_bytes(hospital.instances[0].path) == junk
    assert hospital.instances[0].sha256_dataset == hashlib.sha256(junk).hexdigest()
    caller.release()


def test_a_callback_that_fails_leaves_the_object_with_its_sender(
    hospital: Any, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Any) -> int:
        raise RuntimeError("the database is down")

    picture = pictures / "rgb.explicit.dcm"
    hospital.on_instance = fail
    with caplog.at_level(logging.ERROR, "dicom_node"):
        (outcome,) = scu.store(hospital.entity, [picture], calling_title="VIEWER")
    assert (outcome.status, outcome.kind) == (Status.OUT_OF_RESOURCES, "retry")
    assert "the database is down" in caplog.text
    hospital.await_end()
    assert hospital.ends()[-1].instances_count == 0
    assert hospital.is_clean()
    hospital.on_instance = lambda _: Status.SUCCESS
    (outcome,) = scu.store(hospital.entity, [picture], calling_title="VIEWER")
    assert outcome.kind == "stored"


def test_the_callback_s_own_failure_status_is_answered_and_the_file_removed(
    hospital: Any, pictures: Path
) -> None:
    hospital.on_instance = lambda _: Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
    (outcome,) = scu.store(hospital.entity, [pictures / "rgb.rle.dcm"], calling_title="VIEWER")
    assert outcome.status == 0xA900
    hospital.await_end()
    assert hospital.is_clean()


def test_a_disk_that_refuses_bytes_is_out_of_resources_and_the_association_goes_on(
    hospital: Any, call: Callable[..., Any]
) -> None:
    caller = call(hospital.port)
    caller.associate()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        # The limit bites in the middle of the data set.
        assert caller.store(bytes(1_000_000), pieces=20) == Status.OUT_OF_RESOURCES
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert not list(hospital.incoming.iterdir())
    assert caller.store(bytes(1_000_000), pieces=20) == Status.SUCCESS
    caller.release()


def test_a_folder_that_vanished_is_out_of_resources(
    hospital: Any, call: Callable[..., Any]
) -> None:
    caller = call(hospital.port)
    caller.associate()
    shutil.rmtree(hospital.incoming)
    assert caller.store(b"abcd") == Status.OUT_OF_RESOURCES
    hospital.incoming.mkdir()
    assert caller.store(b"abcd") == Status.SUCCESS
    caller.release()


def test_an_object_beyond_the_limit_is_not_kept(
    open_hospital: Callable[..., Any], call: Callable[..., Any]
) -> None:
    hospital = open_hospital(max_object_bytes=1000)
    caller = call(hospital.port)
    caller.associate()
    assert caller.store(bytes(1001)) == Status.OUT_OF_RESOURCES
    assert not list(hospital.incoming.iterdir())
    assert caller.store(bytes(1000)) == Status.SUCCESS
    caller.release()


def test_a_callback_that_hears_of_associations_may_fail(
    hospital: Any, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("no row")

    monkeypatch.setattr(hospital.scp, "_on_association", fail)
    outcomes = scu.store(hospital.entity, [pictures / "rgb.rle.dcm"], calling_title="VIEWER")
    assert outcomes[0].kind == "stored"


def test_senders_at_once_are_each_served(hospital: Any, pictures: Path) -> None:
    paths = sorted(pictures.glob("*.dcm"))[:6]
    kinds: list[str] = []

    def work() -> None:
        outcomes = scu.store(hospital.entity, paths, calling_title="VIEWER")
        kinds.extend(outcome.kind for outcome in outcomes)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert kinds == ["stored"] * 48
    assert len({instance.path for instance in hospital.instances}) == 48
    hospital.await_end(8)
    eventually(hospital.is_clean)


def test_stopping_lets_a_running_association_end(
    open_hospital: Callable[..., Any], call: Callable[..., Any]
) -> None:
    hospital = open_hospital()
    caller = call(hospital.port)
    caller.associate()
    stopping = threading.Thread(target=hospital.scp.stop)
    stopping.start()
    assert caller.store(b"last") == Status.SUCCESS
    caller.release()
    stopping.join(10)
    assert not stopping.is_alive()
    assert hospital.ends()[-1].outcome == "released"
    with pytest.raises(ConnectionRefusedError):
        call(hospital.port)


def test_stopping_ends_an_association_that_does_not_end(
    open_hospital: Callable[..., Any], call: Callable[..., Any]
) -> None:
    hospital = open_hospital()
    caller = call(hospital.port)
    caller.associate()
    hospital.scp.stop(grace_s=0.1)
    assert hospital.ends()[-1].outcome == "aborted"
    assert hospital.is_clean()


def test_a_port_in_use_is_an_error_at_the_start(hospital: Any, tmp_path: Path) -> None:
    second = StorageSCP(
        "OTHER",
        "127.0.0.1",
        hospital.port,
        admit=lambda _: None,
        on_instance=lambda _: 0,
        incoming_folder=tmp_path / "other",
    )
    with pytest.raises(OSError, match="in use"):
        second.start()
    second.stop()
