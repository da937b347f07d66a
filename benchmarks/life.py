"""From C-STORE to the reports in Orthanc: how long for one, and how many a second.

One at a time: the time from the answer to the C-STORE until Orthanc holds both reports.
Sustained: pictures a second through the whole life, with all processes and Orthanc on this machine,
beside bare decode + page + packet + forward pass of the same files in one process that has the
machine to itself.
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
from running import Gateway, gateway
from tqdm import tqdm

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

SENDER = "BENCHMARK"


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.life", description=__doc__)
    parser.add_argument("--single", type=int, default=20, help="pictures one at a time (20)")
    parser.add_argument("--sustained", type=int, default=200, help="pictures in the stream (200)")
    parser.add_argument("--database", default="", help="a PostgreSQL URL; default SQLite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ecg-benchmark-") as name:
        folder = Path(name)
        files = make_files(folder / "files", given.single + given.sustained + 1)
        bare_per_s = measure_bare(files[: given.sustained])
        with Orthanc() as archive:
            peers: list[tuple[str, ...]] = [
                (SENDER, "127.0.0.1", "104", "--sender"),
                (*map(str, archive.entity_args), "--destination"),
            ]
            with gateway(folder / "var", peers=peers, database_url=given.database) as running:
                warm, single, stream = (
                    files[0],
                    files[1 : given.single + 1],
                    files[-given.sustained :],
                )
                measure_single(running, archive, [warm])
                waits_s = measure_single(running, archive, single)
                life_per_s = measure_sustained(running, archive, stream)
    report(waits_s, life_per_s, bare_per_s)


def make_files(folder: Path, count: int) -> list[Path]:
    """Write `count` pictures of a few layouts, each an object of its own."""
    from pictures import page, picture

    folder.mkdir()
    rasters = [page(layout, "pink", seed) for seed in (1, 2) for layout in ("3x4+1", "6x2", "12x1")]
    files = []
    for number in tqdm(range(count), desc="drawing", unit="picture"):
        ds = picture(rasters[number % len(rasters)], patient_id=f"P-{number}", accession_number=f"B{number}")
        path = folder / f"{number}.dcm"
        ds.save_as(path, enforce_file_format=True)
        files.append(path)
    return files


def measure_bare(files: list[Path]) -> float:
    """Return pictures a second of decode + page + forward alone, batched, in this process."""
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
    began = time.perf_counter()
    for start in tqdm(range(0, len(files), size), desc="bare", unit="batch"):
        found = [pages.first_usable(path).page for path in files[start : start + size]]
        predictor.classify([page for page in found if page is not None])
    return len(files) / (time.perf_counter() - began)


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


def measure_single(running: Gateway, archive: Orthanc, files: list[Path]) -> list[float]:
    """Return the seconds from each C-STORE's answer until Orthanc holds both its reports."""
    waits_s = []
    for path in tqdm(files, desc="one at a time", unit="picture"):
        wanted = len(archive.instances()) + 2
        _send(running, [path])
        began = time.perf_counter()
        eventually(lambda: len(archive.instances()) >= wanted, timeout_s=120, interval_s=0.01)  # noqa: B023
        waits_s.append(time.perf_counter() - began)
    return waits_s


def measure_sustained(running: Gateway, archive: Orthanc, files: list[Path]) -> float:
    """Return pictures a second from the first byte sent to the last report stored."""
    wanted = len(archive.instances()) + 2 * len(files)
    began = time.perf_counter()
    _send(running, files)
    answered_s = time.perf_counter() - began
    with tqdm(total=2 * len(files), desc="sustained", unit="report") as bar:

        def arrived() -> bool:
            count = len(archive.instances())
            bar.n = 2 * len(files) - (wanted - count)
            bar.refresh()
            return count >= wanted

        eventually(arrived, timeout_s=600, interval_s=0.1)
    print(f"all {len(files)} C-STOREs answered after {answered_s:.1f} s")
    return len(files) / (time.perf_counter() - began)


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


if __name__ == "__main__":
    main()
