"""Intake stops before the disk is full, at every door and in words, and opens again by itself."""

from __future__ import annotations

import datetime
import hashlib
import io
import logging
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pictures import page
from PIL import Image
from programs import eventually
from pytest_django import Settings

from dicom_node import scu
from dicom_node.capture import secondary_capture
from dicom_node.entity import ApplicationEntity
from dicom_node.scp import ReceivedInstance, StorageSCP
from dicom_node.status import Status
from gateway import backfill, ingest, intake, spool
from gateway.archive import Archive
from gateway.models import Instance, Peer

MEGABYTE = 1 << 20


@pytest.fixture
def disk() -> Iterator[Path]:
    """Return a folder on another file system than the database's: memory, so that it fills fast."""
    folder = Path(tempfile.mkdtemp(prefix="ecg-disk-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _spool(settings: Settings, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ECG_SPOOL_DIR = disk / "spool"
    monkeypatch.setattr(intake, "LOOK_S", 0.05)


@pytest.fixture
def full(settings: Settings, disk: Path) -> Path:
    """Fill the disk beyond the mark with a file, and return it."""
    settings.ECG_LOW_WATER_MB = free_mb(disk) - 24
    return fill(disk)


def free_mb(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize // MEGABYTE


def fill(folder: Path) -> Path:
    path = folder / "ballast"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 36 * MEGABYTE)
    return path


def arrive(uid: str) -> ReceivedInstance:
    path = spool.incoming() / f"{uuid.uuid4().hex}.part"
    path.write_bytes(b"\0" * 128 + b"DICM" + uid.encode())
    return ReceivedInstance(
        path=path,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        sop_instance_uid=uid,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        calling_title="CART",
        calling_address="127.0.0.1",
        association_id="association-1",
        sha256_dataset=hashlib.sha256(uid.encode()).hexdigest(),
    )


@pytest.mark.django_db(transaction=True)
def test_a_sender_hears_out_of_resources_while_the_disk_is_nearly_full_and_then_success(
    settings: Settings, disk: Path, tmp_path: Path
) -> None:
    Peer.objects.create(title="CART", host="", is_sender=True)
    secondary_capture(page()[::4, ::4], patient_id="P-1").save_as(
        tmp_path / "ecg.dcm", enforce_file_format=True
    )
    settings.ECG_LOW_WATER_MB = free_mb(disk) - 24
    with StorageSCP(
        "ECGGATEWAY",
        "127.0.0.1",
        0,
        admit=lambda _: None,
        on_instance=ingest.receive,
        on_association=ingest.record,
        incoming_folder=spool.incoming(),
    ) as listener:
        entity = ApplicationEntity("ECGGATEWAY", "127.0.0.1", listener.port)

        def send() -> int | None:
            (outcome,) = scu.store(entity, [tmp_path / "ecg.dcm"], calling_title="CART")
            return outcome.status

        ballast = fill(disk)
        eventually(intake.shortage, timeout_s=10, what="the mark to be seen")
        assert send() == Status.OUT_OF_RESOURCES
        assert not Instance.objects.exists()
        assert not list(spool.incoming().iterdir())
        ballast.unlink()
        eventually(lambda: not intake.shortage(), timeout_s=10, what="the room to be seen")
        assert send() == Status.SUCCESS
    assert spool.locate(Instance.objects.get().spool_name).is_file()


@pytest.mark.django_db
def test_a_mark_above_what_either_disk_has_shuts_intake(settings: Settings) -> None:
    settings.ECG_LOW_WATER_MB = 0
    assert not intake.shortage()
    settings.ECG_LOW_WATER_MB = 1 << 40
    assert "the disk of the spool is nearly full" in intake.shortage()
    if connection.vendor == "sqlite":
        # The disk of the database has less than the one in memory, or the other way about.
        beside = Path(connection.settings_dict["NAME"]).parent
        roomy, scarce = sorted((free_mb(beside), free_mb(settings.ECG_SPOOL_DIR.parent)))[::-1]
        settings.ECG_LOW_WATER_MB = (roomy + scarce) // 2
        named = "database" if free_mb(beside) == scarce else "spool"
        assert f"the disk of the {named} is nearly full" in intake.shortage()


@pytest.mark.django_db(transaction=True)
def test_the_log_says_it_once_and_not_for_every_object(
    settings: Settings, full: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            assert ingest.receive(arrive(f"1.2.{number}")) == Status.OUT_OF_RESOURCES
            eventually(intake.shortage, timeout_s=5, what="the gauge to be read again")
        full.unlink()
        eventually(
            lambda: ingest.receive(arrive("1.2.9")) == Status.SUCCESS,
            timeout_s=10,
            what="an object to be taken again",
        )
        ingest.receive(arrive("1.2.10"))
    lines = [record.getMessage() for record in caplog.records]
    assert [("shut" in line, "open again" in line) for line in lines] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.django_db
def test_the_disk_is_looked_at_once_a_second_however_many_objects_come(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []
    statvfs = os.statvfs
    monkeypatch.setattr(intake, "LOOK_S", 3600.0)
    monkeypatch.setattr(
        os,
        "statvfs",
        lambda path: looks.append(path) or statvfs(path),  # type: ignore[func-returns-value]
    )
    settings.ECG_LOW_WATER_MB = 3  # another mark: what was seen before does not count
    for _ in range(1000):
        intake.require()
    assert len(looks) <= 2


@pytest.mark.django_db
def test_the_command_line_says_why_nothing_is_taken(full: Path, tmp_path: Path) -> None:
    Image.fromarray(page()[::4, ::4]).save(tmp_path / "ecg.png")
    with pytest.raises(CommandError, match=r"disk of the spool is nearly full.*MB are free"):
        call_command("submit", str(tmp_path / "ecg.png"), "--patient-id", "P", stdout=io.StringIO())
    assert not Instance.objects.exists()
    assert not list(spool.incoming().iterdir())


@pytest.mark.django_db
def test_a_backfill_stops_before_it_asks_for_another(full: Path) -> None:
    peer = Peer.objects.create(title="PACS", host="127.0.0.1", port=1, is_archive=True)
    day = datetime.date(2024, 3, 1)
    run = backfill.Run(
        backfill.find_or_make(peer, day, day),
        Archive(peer, modalities=["ECG"]),
        brakes=backfill.Brakes(per_minute=60_000),
        stop=threading.Event(),
        tell=lambda _: None,
    )
    with pytest.raises(intake.IntakeShut, match="nearly full"):
        run._wait(backfill.Progress(day, 0, 0, 0))
