"""Two machines with one database, one broker and one spool; then one of them is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from peers import Orthanc, Valkey, storescu
from pictures import save_picture
from programs import eventually
from running import Gateway, gateway

pytestmark = [pytest.mark.life, pytest.mark.timeout(300)]

PAIR = ["1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.88.33"]
LIFE_S = 120.0
MANY = 60


@pytest.fixture
def machines(
    orthanc: Orthanc, postgres_url: str, valkey: Valkey, tmp_path: Path
) -> Iterator[tuple[Gateway, Gateway]]:
    """Run two gateways that have nothing of their own but their data folders and ports."""
    shared = {
        "ECG_SPOOL_DIR": str(tmp_path / "spool"),
        "BROKER_URL": valkey.url,
        "ECG_LEASE_S": "6",
        "ECG_SWEEP_S": "1",
        "ECG_DICOM_TIMEOUT_S": "5",
        # Small batches, so that there is something to share.
        "ECG_BATCH_SIZE": "2",
    }
    peers: list[tuple[str, ...]] = [
        ("STORESCU", "127.0.0.1", "104", "--sender"),
        (*map(str, orthanc.entity_args), "--destination"),
    ]
    with gateway(tmp_path / "one", peers=peers, database_url=postgres_url, **shared) as one:
        two = Gateway(tmp_path / "two", database_url=postgres_url, **shared)
        two.start()
        try:
            yield one, two
        finally:
            two.stop()


def send(machine: Gateway, folder: Path, accession: str) -> None:
    path = folder / f"{accession}.dcm"
    save_picture(path, accession_number=accession)
    sent = storescu(
        path, host=machine.host, port=machine.port, calling="STORESCU", called=machine.title
    )
    assert sent.returncode == 0, sent.output


def have_a_pair_each(archive: Orthanc, accessions: list[str]) -> bool:
    found = {
        accession: sorted(
            archive.tags(instance)["SOPClassUID"]
            for instance in archive.find_by_accession(accession)
        )
        for accession in accessions
    }
    assert found == dict.fromkeys(accessions, PAIR), found
    return True


def workers_of(machine: Gateway) -> set[int]:
    """Return the process ids of a machine."""
    return {process.pid for process in psutil.Process(machine.pid).children(recursive=True)}


def who_analysed(url: str) -> set[int]:
    """Return the process ids that wrote findings."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT DISTINCT actor FROM gateway_transition WHERE event = 'analyse'"
        ).fetchall()
    return {int(actor.rsplit(":", 1)[1]) for (actor,) in rows}


def test_two_machines_share_the_load_and_one_that_is_cut_off_loses_and_doubles_nothing(
    machines: tuple[Gateway, Gateway], orthanc: Orthanc, postgres_url: str, tmp_path: Path
) -> None:
    one, two = machines
    both: list[str] = []

    def share() -> bool:
        """Send more until each has its part: one that is a little quicker may take all of a few."""
        for machine in machines if len(both) < MANY else ():
            both.append(f"BOTH-{len(both)}")
            send(machine, tmp_path, both[-1])
        analysed = who_analysed(postgres_url)
        return all(analysed & workers_of(machine) for machine in machines)

    eventually(share, timeout_s=LIFE_S, what="both to analyse")
    eventually(lambda: have_a_pair_each(orthanc, both), timeout_s=LIFE_S, what="all reports")

    cut_off = [f"CUT-{number}" for number in range(6)]
    for accession in cut_off[:4]:
        send(two, tmp_path, accession)
    two.freeze()
    try:
        for accession in cut_off[4:]:
            send(one, tmp_path, accession)
        # What the other holds is taken over when its leases run out.
        eventually(lambda: have_a_pair_each(orthanc, cut_off), timeout_s=LIFE_S, what="its reports")
    finally:
        two.thaw()
    # It comes back with what it believes to hold, and is wrong about all of it.
    send(two, tmp_path, "BACK")
    everything = [*both, *cut_off, "BACK"]
    eventually(lambda: have_a_pair_each(orthanc, everything), timeout_s=LIFE_S, what="the last one")
    assert orthanc.count() == 2 * len(everything)
