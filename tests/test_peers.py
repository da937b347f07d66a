"""The suite's own instruments: each peer starts, answers, stops, and says why when it does not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import psycopg
import pytest
import redis
from django.conf import settings
from peers import (
    Orthanc,
    Postgres,
    Program,
    StoreSCP,
    Valkey,
    echoscu,
    eventually,
    free_port,
    is_listening,
    require,
    storescu,
)
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Write a small grey Secondary Capture object."""
    ds = Dataset()
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = generate_uid()
    ds.SeriesInstanceUID = generate_uid()
    ds.PatientID = "P-1"
    ds.PatientName = "Test^Peer"
    ds.AccessionNumber = "A-17"
    ds.Modality = "OT"
    ds.Rows, ds.Columns = 8, 16
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    ds.PixelData = np.arange(128, dtype=np.uint8).tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = tmp_path / "picture.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


def test_an_archive_stores_what_storescu_sends_and_finds_it_again(
    orthanc: Orthanc, picture: Path
) -> None:
    sent = storescu(picture, host=orthanc.host, port=orthanc.port, called=orthanc.title)
    assert sent.returncode == 0, sent.output

    (instance,) = orthanc.wait_for_instances(1)

    assert orthanc.find_by_accession("A-17") == [instance]
    assert orthanc.find_by_accession("A-18") == []
    assert orthanc.find(patient_id="P-*") == [instance]
    assert orthanc.sop_classes(accession_number="A-17") == [SecondaryCaptureImageStorage]
    assert orthanc.count() == 1
    (study,) = orthanc.studies(accession_number="A-17")
    assert study["StudyInstanceUID"] == dcmread(picture).StudyInstanceUID
    assert orthanc.find_by_accession("A-17", "Study") == orthanc.find("Study")
    assert orthanc.tags(instance)["PatientID"] == "P-1"
    received = picture.parent / "received.dcm"
    received.write_bytes(orthanc.file(instance))
    assert dcmread(received).PixelData == dcmread(picture).PixelData


def test_an_archive_can_be_emptied_and_filled_over_http(orthanc: Orthanc, picture: Path) -> None:
    identifier = orthanc.upload(picture)
    assert orthanc.instances() == [identifier]
    orthanc.clear()
    assert orthanc.instances() == []


def test_an_archive_takes_no_call_to_another_title(orthanc: Orthanc) -> None:
    assert echoscu(port=orthanc.port, called=orthanc.title).returncode == 0
    refused = echoscu(port=orthanc.port, called="SOMEBODY")
    assert refused.returncode != 0
    assert "Called AE Title Not Recognized" in refused.output


def test_an_archive_that_was_killed_comes_back_with_what_it_held(picture: Path) -> None:
    with Orthanc(title="KEEPER") as archive:
        identifier = archive.upload(picture)
        archive.kill()
        assert not is_listening(archive.port)
        archive.start()
        assert archive.instances() == [identifier]
    assert not is_listening(archive.port)
    assert not archive.folder.exists()


def test_storescp_keeps_the_bytes_as_they_were_sent(store_scp: StoreSCP, picture: Path) -> None:
    sent = storescu(picture, port=store_scp.port, called=store_scp.title)
    assert sent.returncode == 0, sent.output
    (received,) = eventually(store_scp.files, what="one file")
    assert dcmread(received) == dcmread(picture)


def test_storescp_can_be_a_faulty_archive(picture: Path) -> None:
    with StoreSCP(options=("--abort-after",)) as faulty:
        sent = storescu(picture, port=faulty.port, called=faulty.title)
    assert "Sending Store Request" in sent.output
    assert "Success" not in sent.output
    assert sent.returncode != 0


def test_each_postgres_database_is_empty_and_gone_afterwards(postgres_cluster: Postgres) -> None:
    with postgres_cluster.database() as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE ecg (id integer)")
        connection.commit()
        with postgres_cluster.database() as other, psycopg.connect(other) as second:
            tables = second.execute("SELECT to_regclass('ecg')").fetchone()
        assert tables == (None,)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_postgres_keeps_its_data_over_a_restart() -> None:
    with Postgres() as cluster, cluster.database() as url:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE ecg AS SELECT 42 AS answer")
        cluster.stop()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=2)
        cluster.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT answer FROM ecg").fetchone() == (42,)
    assert not is_listening(cluster.port)


def test_a_broker_answers_on_the_same_port_after_a_restart_and_has_lost_its_messages(
    valkey: Valkey,
) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.lpush("queue", "message")
        assert client.llen("queue") == 1
    valkey.kill()
    assert not is_listening(valkey.port)
    valkey.start()
    with redis.Redis.from_url(valkey.url) as client:
        assert client.llen("queue") == 0
    valkey.stop()
    assert not is_listening(valkey.port)


def test_a_program_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    broken = Program([require("storescp"), "--no-such-option"], folder=tmp_path, name="broken")
    with pytest.raises(AssertionError, match=r"exit status \d+[\s\S]*no-such-option"):
        broken.start(ready=lambda: False)
    assert not broken.is_alive


def test_a_missing_program_is_a_failure_that_names_its_package() -> None:
    with pytest.raises(pytest.fail.Exception, match="apt-get install no-such-program"):
        require("no-such-program")


def test_free_ports_are_free_and_different() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    with socket.socket() as server:
        server.bind(("127.0.0.1", ports[0]))
        server.listen()
        assert is_listening(ports[0])
    assert not is_listening(ports[1])


def test_eventually_returns_the_answer_and_says_what_it_waited_for() -> None:
    answers = iter([0, None, "here"])
    assert eventually(lambda: next(answers), interval_s=0.001) == "here"
    with pytest.raises(AssertionError, match="for the report; the last answer: 0"):
        eventually(lambda: 0, timeout_s=0.01, interval_s=0.001, what="the report")


def test_the_suite_works_in_a_data_folder_of_its_own() -> None:
    data = Path(os.environ["ECG_DATA_DIR"])
    assert data == settings.ECG_DATA_DIR
    assert not data.is_relative_to(settings.BASE_DIR)
    assert str(data) in str(settings.DATABASES["default"]["NAME"])
    assert str(data) in settings.BROKER_URL
