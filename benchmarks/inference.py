"""Our forward pass beside ONNX Runtime and TensorFlow, and what a whole page takes.

The same network, the same packets, the same number of threads, in turn in one run; medians. The
ratio is ONNX Runtime's time over ours, 1 or more being as fast or faster. Then a page of 2200 x
1700 pixels from file to findings: how long decoding, finding the page and the network take.

Needs what requirements/bench.txt lists, best in a virtual environment of its own.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dicom_node.errors import ImageError
from gateway import pages
from models.artifact import Artifact, default_artifact
from models.corpus import draw_page, simulate
from models.forward import BATCH_SIZES, usable_cores
from models.labels import KEYS
from models.packet import SIDE_PX, SLICES, pack
from models.page import NotReadable, find_page
from models.predict import Predictor

Packets = npt.NDArray[np.uint8]
Run = Callable[[Packets], npt.NDArray[np.float32]]

RATIO_AIM = 0.9
PAGE_PX = (2200, 1700)
LAYOUTS = ("3x4+1", "6x2", "12x1", "3x4")


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--network", type=Path, help="an artifact (the one that ships)")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of each (all cores)")
    parser.add_argument("--rounds", type=int, default=40, help="of single packets (40)")
    parser.add_argument("--pages", type=int, default=40, help="of each file format (40)")
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    # Only before the first computation.
    tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    folder = given.network or default_artifact()
    compare(Artifact.load(folder).verify(), threads=given.threads, rounds=given.rounds)
    whole(Predictor(folder, threads=given.threads), threads=given.threads, count=given.pages)


def compare(artifact: Artifact, *, threads: int, rounds: int) -> None:
    """Time the three forward passes in turn and print the medians."""
    forward = artifact.forward(threads=threads)
    network = artifact.network()
    runs: dict[str, Run] = {
        "ours": lambda packets: forward(packets)[0],
        "ONNX Runtime": _onnx_runtime(network, threads),
        "TensorFlow": _tensorflow(network),
    }
    rng = np.random.default_rng(1)
    print(f"\n{artifact.folder.name}, {threads} thread(s) each, medians")
    print("\n| packets at once | ours | ONNX Runtime | TensorFlow, traced | ratio | aim |")
    print("|---|---|---|---|---|---|")
    for size in BATCH_SIZES:
        packets = rng.integers(0, 256, (size, SIDE_PX, SIDE_PX, SLICES), dtype=np.uint8)
        _check_same(runs, packets)
        took = _in_turn(runs, packets, rounds=max(8, rounds // size))
        ours, other, tensorflow = (1e3 * float(np.median(took[name])) for name in runs)
        print(
            f"| {size} | {ours:.2f} ms | {other:.2f} ms | {tensorflow:.2f} ms "
            f"| {other / ours:.2f} | {RATIO_AIM} |"
        )


def _check_same(runs: dict[str, Run], packets: Packets) -> None:
    """Stop unless all give the same logits; the first run also warms each up."""
    ours = runs["ours"](packets)
    for name, run in runs.items():
        away = float(np.abs(run(packets) - ours).max())
        if away > 1e-3:
            raise SystemExit(f"{name}: logits {away:.1e} away from ours, expected 1e-3 at most")


def _in_turn(runs: dict[str, Run], packets: Packets, *, rounds: int) -> dict[str, list[float]]:
    """Time each in turn, the order turning too: what else the machine does meets all alike."""
    took: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds):
        for name in islice(cycle(names), number % 3, number % 3 + len(names)):
            began = time.perf_counter()
            runs[name](packets)
            took[name].append(time.perf_counter() - began)
    return took


def _onnx_runtime(network: Any, threads: int) -> Run:
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
        importlib.import_module("tf2onnx")  # Keras exports with it
    except ImportError as error:
        raise SystemExit(
            f"{error.name} is missing: pip install -r requirements/bench.txt"
        ) from None
    import keras

    # Keras exports only what has been called.
    network(np.zeros((1, SIDE_PX, SIDE_PX, SLICES), np.float32))
    packets = keras.InputSpec(dtype="uint8", shape=(None, SIDE_PX, SIDE_PX, SLICES))
    with tempfile.TemporaryDirectory(prefix="ecg-benchmark-") as name:
        path = Path(name) / "network.onnx"
        network.export(str(path), format="onnx", verbose=False, input_signature=[packets])
        code = path.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(code, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    return lambda values: np.asarray(session.run(None, {given: values})[0], np.float32)


def _tensorflow(network: Any) -> Run:
    import tensorflow as tf

    traced = tf.function(lambda packets: network(packets, training=False))
    return lambda packets: np.asarray(traced(tf.constant(packets)), np.float32)


def whole(predictor: Predictor, *, threads: int, count: int) -> None:
    """Time pages from file to findings and print where the time goes."""
    import cv2

    cv2.setNumThreads(threads)
    print(f"\none page of {PAGE_PX[0]} x {PAGE_PX[1]} pixels, {threads} thread(s), p50 / p95")
    print("\n| file | decode | find the page | network | whole |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="ecg-benchmark-") as name:
        for suffix in ("png", "jpg"):
            paths = list(_files(Path(name), suffix))
            rows = [_time(predictor, path) for path in islice(cycle(paths), count + len(paths))]
            # The first turn over the files warms up.
            took = 1e3 * np.array(rows[len(paths) :])
            whole_ms = took.sum(axis=1)
            cells = [
                f"{_p50_p95(part)} ({100 * part.sum() / whole_ms.sum():.0f} %)" for part in took.T
            ]
            print(f"| {suffix.upper()} | {' | '.join(cells)} | {_p50_p95(whole_ms)} |")


def _p50_p95(took_ms: npt.NDArray[np.float64]) -> str:
    return f"{np.median(took_ms):.1f} / {np.percentile(took_ms, 95):.1f} ms"


def _files(folder: Path, suffix: str) -> Iterator[Path]:
    """Eight drawn pages that are read, at full size."""
    made = 0
    for seed in range(100):
        signal = simulate(KEYS[seed % len(KEYS)], seed)
        raster = draw_page(signal, 250.0, LAYOUTS[seed % len(LAYOUTS)], "pink", seed)
        picture = Image.fromarray(raster).resize(PAGE_PX, Image.Resampling.LANCZOS)
        try:
            find_page(np.asarray(picture))
        except NotReadable:
            continue
        path = folder / f"{made}.{suffix}"
        picture.save(path, quality=90)
        yield path
        made += 1
        if made == 8:
            return


def _time(predictor: Predictor, path: Path) -> tuple[float, float, float]:
    began = time.perf_counter()
    raster = next(pages.rasters(path))
    if isinstance(raster, ImageError):
        raise raster
    decoded = time.perf_counter()
    grey = find_page(raster).grey
    found = time.perf_counter()
    predictor.logits(pack(grey)[None])
    return decoded - began, found - decoded, time.perf_counter() - found


if __name__ == "__main__":
    main()
