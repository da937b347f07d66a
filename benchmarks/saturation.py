"""What happens under ever more senders: 1, 2, 4 ... 64 at once, each on an association of its own.

Every sender is a process and sends its pictures one after the other; who is turned away because too
many call at once calls again, as a sender does. Shown are pictures a second, the time from a
C-STORE to its answer, how often somebody was turned away, and the memory of the Listener. In the
end every picture that was answered with Success has to be in the database, once.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil
from running import Gateway
from tqdm import tqdm

from benchmarks.ingest import SENDER, database, listening, make_files, renamed
from dicom_node import scu
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import RejectedForNow

SENDERS = (1, 2, 4, 8, 16, 32, 64)
TRIES = 200

COUNT = """
from django.db.models import Count
from gateway.models import Instance
uids = Instance.objects.values_list("sop_instance_uid")
print(uids.distinct().count(), uids.count())
"""


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.saturation", description=__doc__)
    parser.add_argument("--pictures", type=int, default=6, help="of each sender (6)")
    parser.add_argument("--postgresql", action="store_true", help="a cluster of its own, durable")
    given = parser.parse_args()
    rows, answered = [], 0
    with tempfile.TemporaryDirectory(prefix="ecg-benchmark-") as name:
        folder = Path(name)
        files = make_files(folder / "jpeg", max(SENDERS) * given.pictures, "jpeg")
        with database(given.postgresql) as url, listening(folder, url) as (gateway, pid):
            for senders in tqdm(SENDERS, desc="senders", unit="step"):
                some = renamed(files[: senders * given.pictures])
                took_s, waits_s, refusals = send(gateway, some, senders)
                answered += len(waits_s)
                rows.append((senders, len(some), took_s, waits_s, refusals, memory_mb(pid)))
            distinct, count = map(int, gateway.manage("shell", "-c", COUNT).stdout.split()[-2:])
    kind = "PostgreSQL" if given.postgresql else "SQLite"
    print(f"\n{os.cpu_count()} cores, {kind}, JPEG pictures of 0.4 MB\n")
    print("| senders | sent | a second | answer p50 / p95 | turned away | Listener |")
    print("|---|---|---|---|---|---|")
    for senders, sent, took_s, waits_s, refusals, mb in rows:
        p50, p95 = statistics.median(waits_s), sorted(waits_s)[int(0.95 * len(waits_s))]
        print(
            f"| {senders} | {sent} | {sent / took_s:.1f} | {1000 * p50:.0f} / {1000 * p95:.0f} ms "
            f"| {refusals} | {mb:.0f} MB |"
        )
    print(f"\nanswered {answered}, in the database {distinct}, doubled {count - distinct}")
    if not answered == distinct == count:
        raise SystemExit("expected each answered picture once in the database")


def send(gateway: Gateway, files: list[Path], senders: int) -> tuple[float, list[float], int]:
    """Send from so many processes at once.

    Returns
    -------
    seconds in all, seconds until each answer, and how often a sender was turned away
    """
    forked = multiprocessing.get_context("fork")
    entity = ApplicationEntity(gateway.title, gateway.host, gateway.port)
    results: multiprocessing.Queue[tuple[list[float], int]] = forked.Queue()
    shares = [files[n::senders] for n in range(senders)]
    processes = [forked.Process(target=_sender, args=(entity, s, results)) for s in shares]
    began = time.perf_counter()
    for process in processes:
        process.start()
    found = [results.get(timeout=300) for _ in processes]
    took_s = time.perf_counter() - began
    for process in processes:
        process.join()
    return took_s, [wait for waits, _ in found for wait in waits], sum(n for _, n in found)


def _sender(
    entity: ApplicationEntity,
    files: list[Path],
    results: multiprocessing.Queue[tuple[list[float], int]],
) -> None:
    waits_s: list[float] = []
    last = time.perf_counter()

    def note(_index: int, outcome: scu.StoreOutcome) -> None:
        nonlocal last
        now = time.perf_counter()
        if outcome.status == 0x0000:
            waits_s.append(now - last)
        last = now

    refusals = 0
    for _ in range(TRIES):
        try:
            last = time.perf_counter()
            scu.store(entity, files[len(waits_s) :], calling_title=SENDER, on_outcome=note)
        except RejectedForNow:
            refusals += 1
        if len(waits_s) == len(files):
            break
        time.sleep(0.2)
    results.put((waits_s, refusals))


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process and its children, in MB."""
    main = psutil.Process(pid)
    family = [main, *main.children(recursive=True)]
    return sum(float(process.memory_info().rss) for process in family) / 1e6


if __name__ == "__main__":
    main()
