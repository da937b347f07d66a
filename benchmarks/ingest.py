"""C-STORE taken a second: our Listener beside Orthanc and DCMTK's storescp, on the same disk.

DCMTK's storescu sends, one process an association, the same files to each of the three in turn,
several rounds in changing order; a figure is the median of its rounds. Ours flushes each object and
its row before it answers (so does Orthanc with its SyncStorageArea; storescp flushes nothing).
Ratios are to the better of the other two.

Beside it the processor time that each spent on a picture: where other work shares the machine it
tells more than the clock does. With PostgreSQL, what the server spent is not in it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from archives import Orthanc, StoreSCP
from programs import Program, is_listening, require
from pydicom.uid import JPEGBaseline8Bit, generate_uid
from running import ROOT, Gateway
from servers import postgres
from tqdm import tqdm

SENDER = "BENCHMARK"
SYNTAX = {"jpeg": "--propose-jpeg8", "raw": "--propose-little"}


@dataclass(frozen=True)
class Load:
    """What is sent at once: the kind of picture, how many senders, and how they associate."""

    kind: str
    senders: int
    is_one_each: bool

    @property
    def name(self) -> str:
        """In words, for the table."""
        how = "one picture an association" if self.is_one_each else "one association each"
        return f"{self.kind}, {self.senders} at once, {how}"


@dataclass(frozen=True)
class Target:
    """Who takes them."""

    name: str
    title: str
    port: int


@dataclass(frozen=True)
class Round:
    """What one round showed: pictures a second, and the taker's processor time a picture."""

    per_s: float
    processor_ms: float


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--pictures", type=int, default=40, help="in each round (40)")
    parser.add_argument("--rounds", type=int, default=3, help="of each load and taker (3)")
    parser.add_argument("--postgresql", action="store_true", help="a cluster of its own, durable")
    parser.add_argument("--quick", action="store_true", help="one round of few pictures")
    given = parser.parse_args()
    pictures, rounds = (12, 1) if given.quick else (given.pictures, given.rounds)
    loads = [Load(kind, n, False) for kind in SYNTAX for n in (1, 4, 10, 20)]
    loads += [Load("jpeg", n, True) for n in (1, 4, 10)]
    with tempfile.TemporaryDirectory(prefix="ecg-benchmark-") as name:
        folder = Path(name)
        files = {kind: make_files(folder / kind, pictures, kind) for kind in SYNTAX}
        with database(given.postgresql) as url, takers(folder, url) as targets:
            seen = measure(loads, files, targets, rounds)
    kind = "PostgreSQL" if given.postgresql else "SQLite"
    print(f"\n{psutil.cpu_count()} cores, {kind}, {pictures} pictures a round, {rounds} rounds;")
    print("pictures a second | milliseconds of processor time a picture\n")
    names = [target.name for target in targets]
    print("| load |", " | ".join([*names, "ratio to the better", *names]), "|")
    print("|" + "---|" * (2 + 2 * len(targets)))
    for load in loads:
        sent = [seen[load, target.name] for target in targets]
        ours, *others = rates = [statistics.median(one.per_s for one in rounds) for rounds in sent]
        spent = [statistics.median(one.processor_ms for one in rounds) for rounds in sent]
        cells = [f"{rate:.1f}" for rate in rates] + [f"{ours / max(others):.2f}"]
        print("|", " | ".join([load.name, *cells, *(f"{one:.1f}" for one in spent)]), "|")


def make_files(folder: Path, count: int, kind: str) -> list[Path]:
    """Write `count` objects of about 2.8 MB raw or 0.4 MB JPEG, each of its own UID."""
    import io

    import numpy as np
    from pictures import page, picture
    from PIL import Image
    from pydicom.encaps import encapsulate

    folder.mkdir()
    rgb = np.asarray(Image.fromarray(page("3x4+1", "pink", 1)).convert("RGB").resize((1100, 850)))
    ds = picture(np.ascontiguousarray(rgb))
    if kind == "jpeg":
        coded = io.BytesIO()
        Image.fromarray(rgb).save(coded, "JPEG", quality=97, subsampling=0)
        ds.PixelData = encapsulate([coded.getvalue()])
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        ds.PhotometricInterpretation = "YBR_FULL"
        ds.LossyImageCompression = "01"
    paths = []
    for number in range(count):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        path = folder / f"{number:04}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def database(is_postgresql: bool) -> AbstractContextManager[str]:
    """Return a database of production's kind and durability; its URL is empty for SQLite."""
    return postgres(is_durable=True) if is_postgresql else nullcontext("")


@contextmanager
def listening(folder: Path, database_url: str) -> Iterator[tuple[Gateway, int]]:
    """Run the Listener alone, its bell rings for nobody; yield its gateway and its process id."""
    gateway = Gateway(folder / "var", database_url=database_url, ECG_LOG_LEVEL="WARNING")
    gateway.manage("migrate", "--verbosity=0")
    gateway.manage("peer", "add", SENDER, "any", "104", "--sender")
    listener = Program(
        [sys.executable, ROOT / "manage.py", "listen"],
        folder=folder,
        name="listener",
        environment=gateway.environment,
    )
    with listener:
        listener.start(ready=lambda: is_listening(gateway.port), timeout_s=60)
        assert listener.pid is not None
        yield gateway, listener.pid


@contextmanager
def takers(folder: Path, database_url: str) -> Iterator[list[Target]]:
    """Run the three."""
    archive = Orthanc(SyncStorageArea=True, OverwriteInstances=True)
    ours, others = listening(folder, database_url), StoreSCP(options=("--fork",))
    with ours as (gateway, _), others as storescp, archive as orthanc:
        yield [
            Target("ours", gateway.title, gateway.port),
            Target("Orthanc", orthanc.title, orthanc.port),
            Target("storescp", storescp.title, storescp.port),
        ]


def measure(
    loads: list[Load],
    files: dict[str, list[Path]],
    targets: list[Target],
    rounds: int,
) -> dict[tuple[Load, str], list[Round]]:
    """Send every load to every taker, in turn; return the rounds of each."""
    seen: dict[tuple[Load, str], list[Round]] = {}
    chance = random.Random(1)
    with tqdm(total=len(loads) * rounds * len(targets), desc="sending", unit="round") as bar:
        for load in loads:
            for _ in range(rounds):
                for target in chance.sample(targets, len(targets)):
                    fresh = renamed(files[load.kind])
                    before_s = processor_s(target.port)
                    took_s = send(load, fresh, target)
                    spent_ms = 1000 * (processor_s(target.port) - before_s)
                    one = Round(len(fresh) / took_s, spent_ms / len(fresh))
                    seen.setdefault((load, target.name), []).append(one)
                    bar.update()
    return seen


def processor_s(port: int) -> float:
    """Return the processor time so far of who listens on `port`, what it has forked included."""
    listening = (c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN)
    main = psutil.Process(next(c.pid for c in listening if c.laddr.port == port and c.pid))
    spent_s = 0.0
    for one in (*main.children(recursive=True), main):
        with suppress(psutil.NoSuchProcess):  # it has ended, and its time is its parent's now
            spent_s += sum(one.cpu_times()[:4])
    return spent_s


def renamed(files: list[Path]) -> list[Path]:
    """Give each object a new UID in place: whoever has had it would do less with it."""
    for path in files:
        content = path.read_bytes()
        # The File Meta Information and the data set carry it, at the same length.
        old = content[132:].split(b"\x02\x00\x03\x00UI", 1)[1]
        length = int.from_bytes(old[:2], "little")
        uid = old[2 : 2 + length]
        digits = uid.rstrip(b"\0")
        new = digits[:-12] + f"{random.randrange(10**11, 10**12)}".encode()
        path.write_bytes(content.replace(digits, new))
    return files


def send(load: Load, files: list[Path], target: Target) -> float:
    """Send all files as the load says; return the seconds until the last was answered."""
    shares = [share for n in range(load.senders) if (share := files[n :: load.senders])]
    command = [
        str(require("storescu")),
        "-R",
        "-nh",
        "-aet",
        SENDER,
        "-aec",
        target.title,
        SYNTAX[load.kind],
    ]
    command += ["127.0.0.1", str(target.port)]
    began = time.perf_counter()
    if load.is_one_each:
        script = 'for file in "${@:2}"; do $1 "$file" || exit 1; done'
        calls = [["bash", "-c", script, "send", " ".join(command), *map(str, s)] for s in shares]
    else:
        calls = [[*command, *map(str, share)] for share in shares]
    senders = [subprocess.Popen(call, stdout=subprocess.DEVNULL) for call in calls]
    codes = [sender.wait(timeout=300) for sender in senders]
    took_s = time.perf_counter() - began
    if any(codes):
        raise SystemExit(f"{target.name}: expected every picture to be stored ({load.name})")
    return took_s


if __name__ == "__main__":
    main()
