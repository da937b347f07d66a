"""Peak memory: the Listener under large objects on many associations, the Analyst at work.

Beside the limits the deployment files give them: Listener 300 MB, Analyst 1.5 GB.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from peers import Orthanc
from programs import eventually
from running import Gateway, gateway

from benchmarks.life import SENDER, _send, make_files

LISTENER_LIMIT_BYTES = 300e6
ANALYST_LIMIT_BYTES = 1.5e9


class Watch:
    """Sample the memory of some roles until left, and keep the peaks."""

    def __init__(self, running: Gateway, *roles: str) -> None:
        self.peaks = dict.fromkeys(roles, 0)
        self._running = running
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self._stop.wait(0.05):
            for role in self.peaks:
                self.peaks[role] = max(self.peaks[role], self._running.memory_bytes(role))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--associations", type=int, default=10, help="at once (10)")
    parser.add_argument("--megabytes", type=int, default=10, help="of each object (10)")
    parser.add_argument("--pictures", type=int, default=100, help="for the Analyst (100)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ecg-benchmark-") as name:
        folder = Path(name)
        with Orthanc() as archive:
            peers: list[tuple[str, ...]] = [
                (SENDER, "127.0.0.1", "104", "--sender"),
                (*map(str, archive.entity_args), "--destination"),
            ]
            with gateway(folder / "var", peers=peers) as running:
                listener = measure_listener(running, folder, given.associations, given.megabytes)
                analyst = measure_analyst(running, archive, folder, given.pictures)
    print("\n| what | peak | limit | ratio |")
    print("|---|---|---|---|")
    _row(
        f"Listener, {given.associations} associations of {given.megabytes} MB objects",
        listener,
        LISTENER_LIMIT_BYTES,
    )
    _row(f"Analyst, {given.pictures} pictures", analyst, ANALYST_LIMIT_BYTES)


def _row(what: str, peak_bytes: float, limit_bytes: float) -> None:
    print(
        f"| {what} | {peak_bytes / 1e6:.0f} MB | {limit_bytes / 1e6:.0f} MB "
        f"| {peak_bytes / limit_bytes:.2f} |"
    )


def measure_listener(running: Gateway, folder: Path, associations: int, megabytes: int) -> int:
    """Return the Listener's peak while `associations` senders store two large objects each."""
    from pictures import save_picture

    rows = int((megabytes * 1e6 / 3) ** 0.5)
    noise = np.random.default_rng(1).integers(0, 256, (rows, rows, 3), dtype=np.uint8)
    batches = []
    for sender in range(associations):
        paths = [folder / f"large-{sender}-{number}.dcm" for number in range(2)]
        for path in paths:
            save_picture(path, noise)
        batches.append(paths)
    with Watch(running, "listener") as watch, ThreadPoolExecutor(associations) as pool:
        list(pool.map(lambda paths: _send(running, paths), batches))
    return watch.peaks["listener"]


def measure_analyst(running: Gateway, archive: Orthanc, folder: Path, pictures: int) -> int:
    """Return the Analyst's peak while it works through `pictures` ECGs."""
    files = make_files(folder / "files", pictures)
    wanted = len(archive.instances()) + 2 * len(files)
    with Watch(running, "analyst") as watch:
        _send(running, files)
        eventually(lambda: len(archive.instances()) >= wanted, timeout_s=600, interval_s=0.2)
    return watch.peaks["analyst"]


if __name__ == "__main__":
    main()
