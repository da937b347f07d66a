"""Peak memory: the Listener under large objects on many associations, the Analyst at work.

Beside the limits the deployment files give them: Listener 300 MB, Analyst 1.5 GB. And with
``--long``, what each process holds after so many small pictures beside what it held after the first
hundred: uncompressed and JPEG, so that the decoders of both are at work.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from peers import Orthanc
from PIL import Image
from programs import eventually
from pydicom import Dataset
from pydicom.uid import generate_uid
from running import Gateway, gateway
from tqdm import tqdm

from benchmarks.life import SENDER, _send, make_files

LISTENER_LIMIT_BYTES = 300e6
ANALYST_LIMIT_BYTES = 1.5e9
CHUNK = 100
HELD = ("listener", "analyst", "courier")


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
    parser.add_argument("--long", type=int, default=0, help="small pictures, e.g. 10000 (none)")
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
                if given.long:
                    measure_long(running, archive, folder, given.long)
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
    wanted = archive.count() + 2 * len(files)
    with Watch(running, "analyst") as watch:
        _send(running, files)
        eventually(lambda: archive.count() >= wanted, timeout_s=600, interval_s=0.2)
    return watch.peaks["analyst"]


def measure_long(running: Gateway, archive: Orthanc, folder: Path, count: int) -> None:
    """Send `count` small pictures, a hundred at a time, and print what each process holds."""
    templates = small_pictures()
    there = archive.count()
    print("\n| small pictures | listener | analyst | courier |")
    print("|---|---|---|---|")
    first: dict[str, int] = {}
    with tqdm(total=count, desc="small", unit="picture") as bar:
        for start in range(0, count, CHUNK):
            paths = [folder / f"small-{number}.dcm" for number in range(min(CHUNK, count - start))]
            for number, path in enumerate(paths, start=start):
                ds = templates[number % len(templates)]
                ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(None)
                ds.StudyInstanceUID, ds.PatientID = generate_uid(None), f"S-{number}"
                ds.save_as(path, enforce_file_format=True)
            _send(running, paths)
            done = start + len(paths)
            eventually(
                lambda: archive.count() >= there + 2 * done,  # noqa: B023
                timeout_s=600,
                interval_s=0.2,
            )
            bar.update(len(paths))
            if done in (CHUNK, count) or done % (10 * CHUNK) == 0:
                held = {role: running.memory_bytes(role) for role in HELD}
                first = first or held
                shown = (
                    f"{held[role] / 1e6:.0f} MB ({held[role] / first[role]:.2f})" for role in HELD
                )
                print(f"| {done:,} | {' | '.join(shown)} |", flush=True)


def small_pictures() -> list[Dataset]:
    """Return pages half as wide as usual, each uncompressed and as a baseline JPEG."""
    from pictures import page, picture

    from dicom_node.capture import jpeg_capture
    from dicom_node.jpeg import read_jpeg

    made = []
    for layout in ("3x4+1", "6x2", "12x1"):
        whole = Image.fromarray(page(layout, "pink", 1))
        half = whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.BOX)
        made.append(picture(np.asarray(half)))
        coded = BytesIO()
        half.save(coded, "JPEG", quality=92)
        frame = read_jpeg(coded.getvalue())
        if frame is None:
            raise SystemExit("the coded page is no baseline JPEG; nothing to measure")
        made.append(jpeg_capture(frame, picture(np.asarray(half))))
    return made


if __name__ == "__main__":
    main()
