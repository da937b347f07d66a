"""What comes through the DICOM door of a running gateway, and what a person can find of it."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import echoscu, storescu
from pictures import picture, save_picture
from programs import eventually
from pydicom.uid import UID
from running import Gateway, gateway

pytestmark = pytest.mark.life


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    peers: list[tuple[str, ...]] = [
        ("CART", "127.0.0.1", "104", "--sender"),
        ("FARAWAY", "192.0.2.1", "104", "--sender"),
    ]
    with gateway(tmp_path_factory.mktemp("gateway"), peers=peers) as started:
        yield started


def rows(running: Gateway, question: str, *values: Any) -> list[tuple[Any, ...]]:
    """Ask the gateway's database."""
    connection = sqlite3.connect(f"file:{running.folder}/gateway.sqlite3?mode=ro", uri=True)
    try:
        return connection.execute(question, values).fetchall()
    finally:
        connection.close()


def send(running: Gateway, path: Path, *, calling: str = "CART", called: str = "") -> Any:
    return storescu(
        path,
        host=running.host,
        port=running.port,
        calling=calling,
        called=called or running.title,
    )


@pytest.mark.parametrize(
    ("calling", "called", "reason", "said"),
    [
        ("STRANGER", "", "CALLING_UNKNOWN", "Calling AE Title Not Recognized"),
        ("FARAWAY", "", "CALLING_UNKNOWN", "Calling AE Title Not Recognized"),
        ("CART", "WRONGTITLE", "CALLED_UNKNOWN", "Called AE Title Not Recognized"),
    ],
)
def test_who_may_not_call_is_rejected_for_good_and_on_record(
    calling: str, called: str, reason: str, said: str, running: Gateway, tmp_path: Path
) -> None:
    save_picture(tmp_path / "ecg.dcm")
    sent = send(running, tmp_path / "ecg.dcm", calling=calling, called=called)
    assert sent.returncode != 0
    assert "Rejected Permanent" in sent.output
    assert said in sent.output
    found = (
        "SELECT outcome, reason FROM gateway_association WHERE calling_title=? AND called_title=?"
    )
    eventually(
        lambda: ("rejected", reason) in rows(running, found, calling, called or running.title),
        what="the association on record",
    )
    assert rows(running, "SELECT count(*) FROM gateway_instance") == [(0,)]


def test_an_echo_is_answered_and_on_record(running: Gateway) -> None:
    answered = echoscu(host=running.host, port=running.port, calling="CART", called=running.title)
    assert answered.returncode == 0, answered.output
    found = "SELECT count(*) FROM gateway_association WHERE outcome='released'"
    eventually(lambda: rows(running, found)[0][0] >= 1, what="the association on record")


def test_a_class_we_do_not_take_gets_no_presentation_context(
    running: Gateway, tmp_path: Path
) -> None:
    ds = picture()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2")
    ds.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    sent = send(running, tmp_path / "ct.dcm")
    assert sent.returncode != 0
    assert "No Acceptable Presentation Contexts" in sent.output


def test_bytes_are_kept_as_received_and_a_picture_that_is_none_is_rejected_with_its_reason(
    running: Gateway, tmp_path: Path
) -> None:
    import numpy as np

    blank = np.full((900, 1200), 255, np.uint8)
    ds = save_picture(tmp_path / "blank.dcm", blank, accession_number="BLANK")
    sent = send(running, tmp_path / "blank.dcm")
    assert sent.returncode == 0, sent.output
    question = "SELECT state, reason, spool_name, size_bytes FROM gateway_instance "
    question += "WHERE sop_instance_uid=?"
    eventually(
        lambda: rows(running, question, ds.SOPInstanceUID)[0][0] == "rejected",
        timeout_s=90,
        what="the rejection",
    )
    ((_, reason, name, size),) = rows(running, question, ds.SOPInstanceUID)
    assert "blank" in reason
    kept = (running.folder / "spool" / name).read_bytes()
    assert len(kept) == size
    assert ds.PixelData in kept


def test_garbage_on_the_port_disturbs_nobody(running: Gateway, tmp_path: Path) -> None:
    for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 4, b"\x01\x00"):
        with socket.create_connection((running.host, running.port), timeout=10) as connection:
            connection.sendall(garbage)
    save_picture(tmp_path / "ecg.dcm")
    assert send(running, tmp_path / "ecg.dcm").returncode == 0
    assert not list((running.folder / "spool" / "incoming").iterdir())
