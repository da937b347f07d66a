"""Judge a trained network on ECGs of patients it has never seen, and make the artifact.

    python -m models.evaluate --corpus "$ECG_CORPUS_DIR" --work RUN --out models/store/NAME-VERSION

Calibrates on the validation patients, then opens the test patients once: figures a finding with
intervals and the number of positives, by layout (two of them never trained on), with the header
left away, and two controls that must be at chance (shuffled labels, pages without a trace). Writes
the weights with their card, figures included. Nothing is ever claimed on simulated ECGs.
"""

import argparse
import datetime
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models import artifact as artifacts
from models.architecture import Architecture
from models.calibrate import Calibration, calibrate
from models.card import write_card
from models.corpus.layouts import TRAINING_LAYOUTS, UNSEEN_LAYOUTS
from models.corpus.pages import Order, draw_all, refused_share
from models.corpus.records import Record, load
from models.corpus.styles import UNSEEN_STYLE, style_of
from models.labels import KEYS
from models.metrics import auroc, calibration_error, figures
from models.train import balanced_shares, judging_orders, judging_pages, logits_of

ENOUGH_TO_VALIDATE: Final = 20
"""A finding with fewer real positives in test is not validated, whatever its figures say."""


def evaluate(corpus: Path, work: Path, out: Path) -> artifacts.Artifact:
    """Judge the best weights of a training run and write the artifact to `out`."""
    # Not with the module: the processes that draw load it too, and need no network.
    from models.resnet import build

    recipe = json.loads((work / "recipe.json").read_text())
    architecture = Architecture(**recipe["architecture"])
    network = build(architecture)
    network.load_weights(str(work / "best.weights.h5"))
    calibration = calibrated(network, corpus, work)

    records = load(corpus, parts=("test",))
    data = judging_pages(records, work, name="test")
    probability = calibration.probabilities(logits_of(network, data.pages))
    each = _each(probability, data.targets, data.known, calibration)
    metrics: dict[str, Any] = {
        "test": {key: _plain(asdict(value)) for key, value in each.items()},
        "macro_auroc": _macro(each),
        "refused": round(refused_share(judging_orders(records)), 4),
        "calibration_error": {
            key: round(calibration_error(*_known(probability, data, column)), 4)
            for column, key in enumerate(KEYS)
        },
        "layouts": _by_layout(network, calibration, records),
        "header_left_away": _variant(network, calibration, records, style="pink", header=False),
        "header_printed": _variant(network, calibration, records, style="pink", header=True),
        "unseen_style": _variant(network, calibration, records, style=UNSEEN_STYLE, header=True),
        "controls": _controls(network, calibration, records, probability, data),
    }
    validated = {key: each[key].positives >= ENOUGH_TO_VALIDATE for key in KEYS}
    name, _, version = out.name.rpartition("-")
    card = artifacts.ModelCard(
        name=name,
        version=version,
        sha256="",
        architecture=architecture,
        calibration=calibration,
        validated=validated,
        metrics=metrics,
        training={
            "recipe": recipe,
            "epochs_run": json.loads((work / "progress.json").read_text()),
            "ecgs": {
                part: len(load(corpus, parts=(part,))) for part in ("train", "validation", "test")
            },
            "judged_on": datetime.datetime.now(datetime.UTC).date().isoformat(),
        },
    )
    return artifacts.save(out, network, card, page=write_card(card))


def calibrated(network: Any, corpus: Path, work: Path) -> Calibration:
    """Calibrate on the validation patients."""
    data = judging_pages(load(corpus, parts=("validation",)), work, name="validation")
    real = load(corpus, parts=("train",))
    return calibrate(
        logits_of(network, data.pages),
        data.targets,
        data.known,
        frequency=[float(np.mean([r.targets[c] for r in real])) for c in range(len(KEYS))],
        trained_frequency=[float(share) for share in balanced_shares()],
    )


def _known(
    probability: NDArray[np.float64], data: Any, column: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    rows = data.known[:, column] > 0
    return probability[rows, column], data.targets[rows, column]


def _each(
    probability: NDArray[np.float64],
    targets: NDArray[np.float32],
    known: NDArray[np.float32],
    calibration: Calibration,
) -> dict[str, Any]:
    return {
        key: figures(
            probability[known[:, column] > 0, column],
            targets[known[:, column] > 0, column],
            threshold=calibration.threshold[key],
        )
        for column, key in enumerate(KEYS)
    }


def _macro(each: dict[str, Any]) -> float:
    """Mean AUROC over the findings with at least three positives."""
    return round(float(np.mean([f.auroc for f in each.values() if f.positives >= 3])), 4)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Four digits, and null for what is not a number: JSON has no NaN."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(one) for one in value]
        if isinstance(value, float):
            return None if math.isnan(value) else round(value, 4)
        return value

    return {name: plain(value) for name, value in values.items()}


def _judge_orders(
    network: Any, calibration: Calibration, records: Sequence[Record], orders: Sequence[Order]
) -> float:
    pages = draw_all(orders, describe="drawing")
    probability = calibration.probabilities(logits_of(network, pages))
    targets = np.stack([record.targets for record in records])
    known = np.stack([record.known for record in records])
    return _macro(_each(probability, targets, known, calibration))


def _by_layout(
    network: Any, calibration: Calibration, records: Sequence[Record]
) -> dict[str, dict[str, Any]]:
    """Macro AUROC with every test ECG drawn in each layout."""
    return {
        layout: {
            "seen_in_training": layout in TRAINING_LAYOUTS,
            "macro_auroc": _judge_orders(
                network,
                calibration,
                records,
                [Order(r.signal_uv, layout, 880_000_000 + i) for i, r in enumerate(records)],
            ),
        }
        for layout in (*TRAINING_LAYOUTS[:4], *UNSEEN_LAYOUTS)
    }


def _variant(
    network: Any, calibration: Calibration, records: Sequence[Record], *, style: str, header: bool
) -> float:
    """Macro AUROC on clean pages of one layout and look; only what is asked for differs."""
    look = replace(style_of(style), header=header)
    orders = [
        Order(r.signal_uv, "3x4+1", 870_000_000 + i, look, degrade=False)
        for i, r in enumerate(records)
    ]
    return _judge_orders(network, calibration, records, orders)


def _controls(
    network: Any,
    calibration: Calibration,
    records: Sequence[Record],
    probability: NDArray[np.float64],
    data: Any,
) -> dict[str, float]:
    """Figures that must be about one half.

    They show that neither the figures nor the drawing of a page carry the answer. They do not show
    that nothing leaked in training: that would take a training with shuffled labels."""
    rng = np.random.default_rng(5)
    shuffled = [
        auroc(probability[:, column], rng.permutation(data.targets[:, column]))
        for column in range(len(KEYS))
        if data.targets[:, column].sum() >= ENOUGH_TO_VALIDATE
    ]
    flat = [
        Order(np.zeros_like(r.signal_uv), "3x4+1", 860_000_000 + i, degrade=False)
        for i, r in enumerate(records)
    ]
    # A page without a trace is refused, so it is cut as a page of the same shape would be.
    return {
        "labels_shuffled": round(float(np.mean(shuffled)), 4),
        "trace_erased": _judge_orders(network, calibration, records, flat),
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; its help explains each choice."""
    parser = argparse.ArgumentParser(
        prog="python -m models.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--corpus",
        type=Path,
        default=os.environ.get("ECG_CORPUS_DIR"),
        help="folder of real ECGs (default: ECG_CORPUS_DIR)",
    )
    parser.add_argument("--work", type=Path, required=True, help="the --work of a training run")
    parser.add_argument("--out", type=Path, required=True, help="folder NAME-VERSION to write")
    given = parser.parse_args(arguments)
    if given.corpus is None:
        parser.error("no corpus: give --corpus or set ECG_CORPUS_DIR")
    return given


def main() -> None:
    """Judge from the command line."""
    given = parse()
    made = evaluate(Path(given.corpus), given.work, given.out)
    print(
        f"{made.folder.name}: macro AUROC {made.card.metrics['macro_auroc']:.3f} on test patients"
    )


if __name__ == "__main__":
    main()
