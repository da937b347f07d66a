"""From C-STORE to the reports in Orthanc: how long for one, and how many a second.

Answers: how long one picture on an association of its own takes to be stored, when nothing else is
to be done, and again while a backlog is worked through.
One at a time: the time from the answer to the C-STORE until Orthanc holds both reports.
Sustained: pictures a second through the whole life, with all processes and Orthanc on this machine,
beside bare decode + page + packet + forward pass of the same files in one process that has the
machine to itself. Below, the processor time that each process spent on a picture: where other work
shares the machine it tells more than the clock does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil
from peers import Orthanc
from programs import eventually
from running import ROLES, Gateway, gateway
from tqdm import tqdm

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

SENDER = "BENCHMARK"


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.life", description=__doc__)
    parser.add_argument("--single", type=int, default=20, help="pictures one at a time (20)")
    parser.add_argument("--sustained", type=int, default=200, help="pictures in the stream (200)")
    parser.add_argument(
        "--answers", type=int, default=60, help="C-STOREs beside as many waiting (60)"
    )
    parser.add_argument("--database", default="", help="a PostgreSQL URL; default SQLite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ecg-benchmark-") as name:
        folder = Path(name)
        files = make_files(folder / "files", 1 + given.single + given.sustained + 2 * given.answers)
        bare_per_s, bare_cpu_s = measure_bare(files[: given.sustained])
        with Orthanc() as archive:
            peers: list[tuple[str, ...]] = [
                (SENDER, "127.0.0.1", "104", "--sender"),
                (*map(str, archive.entity_args), "--destination"),
            ]
            with gateway(folder / "var", peers=peers, database_url=given.database) as running:
                warm, single, stream = (
                    files[0],
                    files[1 : given.single + 1],
                    files[given.single + 1 :][: given.sustained],
                )
                measure_single(running, archive, [warm])
                idle_s, waits_s = measure_single(running, archive, single)
                before_s = processor_s(running, archive)
                life_per_s = measure_sustained(running, archive, stream)
                spent_s = processor_s(running, archive)
                rest = files[-2 * given.answers :]
                backlog, asked = rest[: given.answers], rest[given.answers :]
                busy_s = measure_answers(running, archive, backlog, asked)
    report(waits_s, life_per_s, bare_per_s)
    report_answers(idle_s, busy_s)
    spent = {role: (spent_s[role] - before_s[role]) / len(stream) for role in spent_s}
    report_processor(spent, bare_cpu_s)


def make_files(folder: Path, count: int) -> list[Path]:
    """Write `count` pictures of a few layouts, each an object of its own."""
    from pictures import page, picture

    folder.mkdir()
    rasters = [page(layout, "pink", seed) for seed in (1, 2) for layout in ("3x4+1", "6x2", "12x1")]
    files = []
    for number in tqdm(range(count), desc="drawing", unit="picture"):
        ds = picture(
            rasters[number % len(rasters)], patient_id=f"P-{number}", accession_number=f"B{number}"
        )
        path = folder / f"{number}.dcm"
        ds.save_as(path, enforce_file_format=True)
        files.append(path)
    return files


def measure_bare(files: list[Path]) -> tuple[float, float]:
    """Measure decode + page + forward alone, batched, in this process.

    Returns
    -------
    pictures a second, and seconds of processor time a picture
    """
    import django

    django.setup()
    from django.conf import settings

    from gateway import network, pages

    predictor = network.predictor()
    first = pages.first_usable(files[0]).page
    if first is None:
        raise SystemExit("the drawn page was refused; nothing to measure")
    size = settings.ECG_BATCH_SIZE
    predictor.classify([first] * size)
    began, began_cpu = time.perf_counter(), time.process_time()
    for start in tqdm(range(0, len(files), size), desc="bare", unit="batch"):
        found = [pages.first_usable(path).page for path in files[start : start + size]]
        predictor.classify([page for page in found if page is not None])
    count, spent_s = len(files), time.process_time() - began_cpu
    return count / (time.perf_counter() - began), spent_s / count


def processor_s(running: Gateway, archive: Orthanc) -> dict[str, float]:
    """Return the processor time so far, in seconds, of each role and of Orthanc."""
    families = {role: _family(running.process(role)) for role in ROLES}
    families["Orthanc"] = _family(psutil.Process(archive.pid))
    return {
        role: sum(sum(process.cpu_times()[:2]) for process in family)
        for role, family in families.items()
    }


def _family(main: psutil.Process) -> list[psutil.Process]:
    return [main, *main.children(recursive=True)]


def _send(running: Gateway, files: list[Path]) -> None:
    from dicom_node import scu
    from dicom_node.entity import ApplicationEntity

    outcomes = scu.store(
        ApplicationEntity(running.title, running.host, running.port),
        files,
        calling_title=SENDER,
    )
    if any(outcome.kind != "stored" for outcome in outcomes):
        raise SystemExit(f"not stored: {outcomes}")


def measure_single(
    running: Gateway, archive: Orthanc, files: list[Path]
) -> tuple[list[float], list[float]]:
    """Return how long each took to be stored, and from then until Orthanc held both reports."""
    answers_s, waits_s = [], []
    for path in tqdm(files, desc="one at a time", unit="picture"):
        wanted = archive.count() + 2
        answers_s.append(_timed_send(running, path))
        began = time.perf_counter()
        eventually(lambda: archive.count() >= wanted, timeout_s=120, interval_s=0.01)  # noqa: B023
        waits_s.append(time.perf_counter() - began)
    return answers_s, waits_s


def measure_sustained(running: Gateway, archive: Orthanc, files: list[Path]) -> float:
    """Return pictures a second from the first byte sent to the last report stored."""
    wanted = archive.count() + 2 * len(files)
    began = time.perf_counter()
    _send(running, files)
    answered_s = time.perf_counter() - began
    with tqdm(total=2 * len(files), desc="sustained", unit="report") as bar:

        def arrived() -> bool:
            count = archive.count()
            bar.n = 2 * len(files) - (wanted - count)
            bar.refresh()
            return count >= wanted

        eventually(arrived, timeout_s=600, interval_s=0.1)
    print(f"all {len(files)} C-STOREs answered after {answered_s:.1f} s")
    return len(files) / (time.perf_counter() - began)


def measure_answers(
    running: Gateway, archive: Orthanc, backlog: list[Path], files: list[Path]
) -> list[float]:
    """Return how long each of `files` takes to be stored while a backlog is worked through."""
    wanted = archive.count() + 2 * (len(backlog) + len(files))
    _send(running, backlog)
    answers_s = [_timed_send(running, path) for path in files]
    eventually(lambda: archive.count() >= wanted, timeout_s=600, interval_s=0.2)
    return answers_s


def _timed_send(running: Gateway, path: Path) -> float:
    began = time.perf_counter()
    _send(running, [path])
    return time.perf_counter() - began


def report(waits_s: list[float], life_per_s: float, bare_per_s: float) -> None:
    """Print the table."""
    p50 = statistics.median(waits_s)
    p95 = statistics.quantiles(waits_s, n=20)[-1] if len(waits_s) > 1 else p50
    print(f"\n{psutil.cpu_count()} cores, {len(waits_s)} single pictures")
    print("| what | measured | beside | ratio |")
    print("|---|---|---|---|")
    print(f"| C-STORE answered -> both SRs in Orthanc, p50 | {p50:.2f} s | | |")
    print(f"| the same, p95 | {p95:.2f} s | | |")
    print(
        f"| sustained, whole life | {life_per_s:.1f}/s | bare decode + page + forward "
        f"{bare_per_s:.1f}/s | {life_per_s / bare_per_s:.2f} |"
    )


def report_answers(idle_s: list[float], busy_s: list[float]) -> None:
    """Print how long a C-STORE takes, idle and busy."""
    print("\n| a C-STORE, its association included | p50 | p95 |")
    print("|---|---|---|")
    found = []
    for what, seconds in (("idle", idle_s), ("while a backlog is worked through", busy_s)):
        found.append((statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]))
        print(f"| {what} | {1000 * found[-1][0]:.0f} ms | {1000 * found[-1][1]:.0f} ms |")
    (idle_p50, idle_p95), (busy_p50, busy_p95) = found
    print(f"| ratio | {busy_p50 / idle_p50:.1f} | {busy_p95 / idle_p95:.1f} |")


def report_processor(spent_s: dict[str, float], bare_s: float) -> None:
    """Print what each process spent on a picture, the most first."""
    print("\n| process | processor time a picture |")
    print("|---|---|")
    for role, seconds in sorted(spent_s.items(), key=lambda pair: -pair[1]):
        print(f"| {role} | {1000 * seconds:.1f} ms |")
    print(f"| all | {1000 * sum(spent_s.values()):.1f} ms |")
    print(f"| bare decode + page + forward | {1000 * bare_s:.1f} ms |")


if __name__ == "__main__":
    main()
