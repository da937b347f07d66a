"""Pull every plug, again and again, and count what became of each ECG.

    python tests/torture.py --kills 200 --seed 1
    python tests/torture.py --kills 200 --seed 1 --postgresql

A stream of ECGs goes to a real gateway and on to two archives, while `kill -9` ends one process
after another: Listener, workers, Sweeper, Desk, broker, the supervisor with all of them, and with
``--postgresql`` the database. One archive is a real one that is stopped and frozen now and then,
the other goes through every fault an archive can have. What was not answered with Success is sent
again, and now and then what was. In the end every ECG has exactly one pair of reports in either
archive, and the spool, the rows and their trails agree. It ends by itself, and with status 1 where
that is not so.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [
        str(Path(__file__).resolve().parents[1]),
        str(Path(__file__).resolve().parents[2]),
    ]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

from archives import Orthanc
from pictures import page, save_picture
from programs import eventually
from running import ROLES, Gateway
from scripted import MoodyArchive
from servers import Postgres
from tqdm import tqdm

from dicom_node import scu
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import DicomError
from dicom_node.timeouts import Timeouts

SENDER = "TORTURER"
PAIR = ["1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.88.33"]
HARMLESS = ("file without a row", "reception that never ended")
"""What a process leaves that dies between a file and its row: verify sets it aside."""

RECOVERY_S = 600.0
FROZEN_S = 4.0
PATIENTS = 7
"""So few that some always wait for another of theirs."""

RESENT = 50
"""So many that were answered are sent again in the end."""

FAULTS = 0.3
"""The share of archives' faults among all that happens."""

AS_A_PERSON = """
from gateway import leases
from gateway.models import Instance, RefusedOutput
RefusedOutput.objects.all().delete()
for row in Instance.objects.filter(state="failed"):
    leases.resume(row, actor="torture")
    print(row.reason or "resumed")
"""
"""What a person does when an archive is mended that had refused for good."""


@dataclass
class Outcome:
    """What a run did and found.

    Attributes
    ----------
    kills, faults_seen : Counter
        By role; by what an archive did.
    failed : int
        ECGs that a person had to set going again, for an archive had refused them.
    sent, answered : int
        ECGs, and how many of them were answered with Success at once.
    lost, doubled : dict
        Accession number -> SOP Classes in the archive, where they are not one pair.
    faults : dict
        What `manage.py verify` says besides files that nobody names.
    set_aside : int
        Files that nobody names.
    """

    kills: Counter[str] = field(default_factory=Counter)
    faults_seen: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    sent: int = 0
    answered: int = 0
    lost: dict[str, list[str]] = field(default_factory=dict)
    doubled: dict[str, list[str]] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    set_aside: int = 0
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or left broken."""
        return not (self.lost or self.doubled or self.faults)


class Stream:
    """Sends ECGs one after another until told to stop, and keeps a ledger of the answers."""

    def __init__(self, gateway: Gateway, folder: Path, chance: random.Random) -> None:
        self.answered: dict[str, bool] = {}
        self._gateway = gateway
        self._folder = folder
        self._chance = chance
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._rasters = [page(layout, "pink", 1) for layout in ("3x4+1", "6x2")]

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            number = len(self.answered)
            accession = f"T{number}"
            raster = self._rasters[number % len(self._rasters)]
            path = self._folder / f"{accession}.dcm"
            patient = f"P{number % PATIENTS}"
            save_picture(path, raster, accession_number=accession, patient_id=patient)
            self.answered[accession] = False
            self.send(accession)
            known = self._chance.choice(list(self.answered))
            # A sender that is not sure sends again, answered or not.
            if not self.answered[known] or self._chance.random() < 0.1:
                self.send(known)

    def send(self, accession: str) -> bool:
        """Send one ECG; return whether Success was answered, now or earlier."""
        entity = ApplicationEntity(self._gateway.title, self._gateway.host, self._gateway.port)
        waits = Timeouts(connect_s=3, association_s=5, response_s=10, network_s=10)
        try:
            (outcome,) = scu.store(
                entity,
                [self._folder / f"{accession}.dcm"],
                calling_title=SENDER,
                timeouts=waits,
            )
        except DicomError:
            return self.answered[accession]
        self.answered[accession] |= outcome.status == 0x0000
        return self.answered[accession]


def torture(
    folder: Path,
    *,
    kills: int,
    seed: int,
    postgresql: bool = False,
    pause_s: float = 1.5,
    faults: float = FAULTS,
) -> Outcome:
    """Run the gateway under `kills` kills; return what was found when it had recovered.

    Parameters
    ----------
    folder
        An empty folder for the gateway and the pictures.
    kills
        How many, at moments and of processes that follow from `seed`.
    pause_s
        Between two kills, at most twice as long.
    faults
        How many faults of archives come with a kill, 0 to 1.
    """
    if not postgresql:
        return _torture(folder, kills, seed, pause_s, faults, database=None, url="")
    # Durable: an immediate stop must lose nothing that was committed.
    with Postgres(is_durable=True) as database, database.database() as url:
        return _torture(folder, kills, seed, pause_s, faults, database=database, url=url)


def _torture(
    folder: Path,
    kills: int,
    seed: int,
    pause_s: float,
    faults: float,
    *,
    database: Postgres | None,
    url: str,
) -> Outcome:
    chance = random.Random(seed)
    found = Outcome()
    began = time.monotonic()
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    quick = {
        "ECG_LEASE_S": "6",
        "ECG_SWEEP_S": "1",
        "ECG_DICOM_TIMEOUT_S": "2",
        "ECG_BACKOFF_S": "1",
        "ECG_RESTART_PAUSE_S": "1",
        "ECG_LOG_LEVEL": "WARNING",
    }
    with Orthanc() as archive, MoodyArchive() as moody:
        gateway = Gateway(folder / "var", database_url=url, **quick)
        gateway.manage("migrate", "--verbosity=0")
        gateway.manage("peer", "add", SENDER, "127.0.0.1", "104", "--sender")
        for entity in (archive.entity_args, moody.entity_args):
            gateway.manage("peer", "add", *map(str, entity), "--destination")
        gateway.start()
        try:
            with Stream(gateway, pictures, chance) as stream:
                plugs = _plugs(gateway, database)
                troubles = _troubles(archive, moody)
                for _ in tqdm(range(kills), desc="kills", unit="kill"):
                    time.sleep(chance.uniform(0.0, 2 * pause_s))
                    role = chance.choice(list(plugs))
                    plugs[role]()
                    found.kills[role] += 1
                    if chance.random() < faults:
                        trouble = chance.choice(list(troubles))
                        troubles[trouble]()
                        found.faults_seen[trouble] += 1
                moody.be("")
            found.sent = len(stream.answered)
            found.answered = sum(stream.answered.values())
            unsure = [one for one, is_known in stream.answered.items() if not is_known]
            sure = chance.sample(list(stream.answered), min(RESENT, len(stream.answered)))
            for accession in tqdm([*unsure, *sure], desc="sent again", unit="ECG"):
                eventually(lambda: stream.send(accession), timeout_s=RECOVERY_S)  # noqa: B023
            said = gateway.manage("shell", "--no-imports", "-c", AS_A_PERSON).stdout
            found.failed = len(said.splitlines())
            _settle(archive, moody, list(stream.answered), found)
            _verify(gateway, found)
        finally:
            gateway.stop()
    found.seconds = time.monotonic() - began
    return found


def _plugs(gateway: Gateway, database: Postgres | None) -> dict[str, Callable[[], None]]:
    """Return what can be pulled, by name."""

    def up() -> None:
        gateway.kill_up()
        gateway.start()

    def postgres() -> None:
        assert database is not None
        database.crash()
        database.start()

    plugs: dict[str, Callable[[], None]] = {
        role: functools.partial(gateway.kill, role) for role in ROLES
    }
    plugs["up"] = up
    return plugs if database is None else plugs | {"postgresql": postgres}


def _troubles(archive: Orthanc, moody: MoodyArchive) -> dict[str, Callable[[], None]]:
    """Return what can go wrong with archives, by name."""

    def restart() -> None:
        archive.stop()
        archive.start()

    def freeze() -> None:
        archive.freeze()
        time.sleep(FROZEN_S)
        archive.thaw()

    moods = {mood: functools.partial(moody.be, mood) for mood in ("", *moody.MOODS)}
    moods["well again"] = moods.pop("")
    return {"Orthanc restarts": restart, "Orthanc freezes": freeze, **moods}


def _settle(archive: Orthanc, moody: MoodyArchive, accessions: list[str], found: Outcome) -> None:
    """Wait until every ECG has its reports in both archives, and count them."""

    def classes(accession: str) -> list[str]:
        instances = archive.find_by_accession(accession)
        there = sorted(archive.tags(instance)["SOPClassUID"] for instance in instances)
        return there if len(there) < len(PAIR) or _has_pair(moody, accession) else []

    waiting = list(accessions)
    with tqdm(total=len(accessions), desc="reports", unit="ECG") as bar:

        def all_there() -> bool:
            while waiting and len(classes(waiting[-1])) >= len(PAIR):
                waiting.pop()
                bar.update()
            return not waiting

        try:
            eventually(all_there, timeout_s=RECOVERY_S, interval_s=0.5)
        except AssertionError:
            bar.write(f"{len(waiting)} ECGs have no reports after {RECOVERY_S:.0f} s")
    for accession in accessions:
        there = classes(accession)
        elsewhere = moody.taken[accession]
        if any(there.count(one) > 1 for one in there):
            found.doubled[accession] = there
        elif any(len(uids) > 1 for uids in elsewhere.values()):
            found.doubled[accession] = sorted(elsewhere)
        elif there != PAIR:
            found.lost[accession] = there


def _has_pair(moody: MoodyArchive, accession: str) -> bool:
    """Return whether the other archive has both, or what stands in for what it refused."""
    taken = moody.taken[accession]
    return PAIR[0] in taken and len(taken) >= len(PAIR)


def _verify(gateway: Gateway, found: Outcome) -> None:
    """Let the gateway look at itself."""
    done = gateway.manage("verify", "--grace-s=0", "--repair", "--json", check=False)
    said = json.loads(done.stdout)
    found.set_aside = said["set_aside"]
    found.faults = {name: many for name, many in said["faults"].items() if many}


def main() -> int:
    """Run from the command line; print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="how many (200)")
    parser.add_argument("--seed", type=int, default=1, help="of moments and processes (1)")
    parser.add_argument("--pause-s", type=float, default=1.5, help="mean between two kills (1.5)")
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ecg-torture-") as name:
        found = torture(
            Path(name),
            kills=given.kills,
            seed=given.seed,
            postgresql=given.postgresql,
            pause_s=given.pause_s,
        )
    print(f"\n{sum(found.kills.values())} kills in {found.seconds:.0f} s, seed {given.seed}")
    for role, many in sorted(found.kills.items()):
        print(f"  {many:>4}  {role}")
    for trouble, many in sorted(found.faults_seen.items()):
        print(f"  {many:>4}  {trouble}")
    print(f"{found.sent} ECGs sent, {found.answered} answered with Success before the end")
    print(f"{found.failed} set going again by a person, for an archive had refused them")
    print(f"lost: {len(found.lost)} {found.lost or ''}")
    print(f"doubled: {len(found.doubled)} {found.doubled or ''}")
    print(f"verify: {found.faults or 'clean'}; {found.set_aside} files without a row set aside")
    return 0 if found.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
