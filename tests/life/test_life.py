"""One ECG's whole life, on the real processes, from DCMTK's storescu to Orthanc."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from judges import dciodvfy
from peers import Orthanc, storescu
from pictures import save_picture
from programs import eventually
from pydicom import dcmread
from running import ROLES, Gateway, gateway

pytestmark = pytest.mark.life
LIFE_S = 120.0


@pytest.fixture(scope="module")
def archive() -> Iterator[Orthanc]:
    with Orthanc() as orthanc:
        yield orthanc


@pytest.fixture(scope="module")
def running(archive: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    peers: list[tuple[str, ...]] = [
        ("STORESCU", "127.0.0.1", "104", "--sender"),
        (*map(str, archive.entity_args), "--destination"),
    ]
    # Short leases: what a dead worker held is taken over soon, so the tests do not wait a minute.
    with gateway(
        folder, peers=peers, ECG_LEASE_S="8", ECG_SWEEP_S="1", ECG_DICOM_TIMEOUT_S="5"
    ) as started:
        yield started


def reports_of(archive: Orthanc, accession: str) -> list[str]:
    """Return the SOP Class UIDs of what the archive holds under an accession number."""
    found = archive.find_by_accession(accession)
    return sorted(archive.tags(instance)["SOPClassUID"] for instance in found)


PAIR = ["1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.88.33"]


def test_a_picture_becomes_two_reports_in_its_study(
    running: Gateway, archive: Orthanc, tmp_path: Path
) -> None:
    ds = save_picture(
        tmp_path / "ecg.dcm",
        accession_number="LIFE-1",
        study_id="LIFE",
        patient_name="王^小东",
        patient_birth_date="19500102",
    )
    sent = storescu(
        tmp_path / "ecg.dcm",
        host=running.host,
        port=running.port,
        calling="STORESCU",
        called=running.title,
    )
    assert sent.returncode == 0, sent.output
    eventually(
        lambda: reports_of(archive, "LIFE-1") == PAIR,
        timeout_s=LIFE_S,
        what="both reports",
    )
    reports = [archive.tags(found) for found in archive.find_by_accession("LIFE-1")]
    assert {report["StudyInstanceUID"] for report in reports} == {ds.StudyInstanceUID}
    assert len({report["SeriesInstanceUID"] for report in reports}) == 2
    assert {report["PatientID"] for report in reports} == {ds.PatientID}
    for found in archive.find_by_accession("LIFE-1"):
        path = tmp_path / f"{found}.dcm"
        path.write_bytes(archive.file(found))
        assert dciodvfy(path) == []
        assert dcmread(path).PatientName == "王^小东"


@pytest.mark.parametrize("role", [*ROLES, "up"])
@pytest.mark.timeout(400)
def test_kill_9_of_any_process_leaves_exactly_one_pair_of_reports(
    role: str, running: Gateway, archive: Orthanc, tmp_path: Path
) -> None:
    accession = f"K-{role}"
    save_picture(tmp_path / "ecg.dcm", accession_number=accession)
    sent = storescu(
        tmp_path / "ecg.dcm",
        host=running.host,
        port=running.port,
        calling="STORESCU",
        called=running.title,
    )
    assert sent.returncode == 0, sent.output
    threading.Event().wait(random.Random(role).uniform(0.0, 0.3))
    if role == "up":
        running.kill_up()
        running.start()
    else:
        running.kill(role)
    eventually(
        lambda: reports_of(archive, accession) == PAIR, timeout_s=LIFE_S, what="both reports"
    )
    # Whoever else believed to hold the row has had its lease run out by then.
    later = save_picture(tmp_path / "next.dcm", accession_number=f"N-{role}")
    assert later.SOPInstanceUID
    eventually(
        lambda: (
            storescu(
                tmp_path / "next.dcm",
                host=running.host,
                port=running.port,
                calling="STORESCU",
                called=running.title,
            ).returncode
            == 0
        ),
        timeout_s=30,
        what="the Listener to take the next picture",
    )
    eventually(
        lambda: reports_of(archive, f"N-{role}") == PAIR,
        timeout_s=LIFE_S,
        what="the next picture's reports",
    )
    assert reports_of(archive, accession) == PAIR
