"""From the best weights of a training run to an artifact that can be judged.

Everything here is fitted on validation patients (and, for what a familiar page is, on pages of
training patients): probabilities, thresholds, when a page is of a kind that is not read, and when
it is unlike the pages of the training. The test patients stay closed.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models import artifact as artifacts
from models.architecture import Architecture
from models.artifact import Artifact, ModelCard
from models.calibrate import Calibration, calibrate, operating_points
from models.corpus.lessons import Lessons, judging_orders
from models.corpus.pages import packed
from models.corpus.records import Record
from models.evaluation.judgement import plain
from models.evaluation.sheets import Drawing, draw_sheet, kind_drawings, validation_drawings
from models.familiarity import fit
from models.forward import Forward, convert
from models.labels import KEYS, PAGE_KINDS
from models.train import balanced_shares

GOOD_PAGES_REFUSED: Final = 0.002
"""Share of good validation pages that each page kind's threshold may refuse."""
LEAST_KIND_THRESHOLD: Final = {"six_leads": 0.2, "fast_paper": 0.5}
"""No page is refused as of a kind that is less probable. Six leads are hard to tell, and a network
that is seldom asked for them is seldom sure; a slow heart looks a little like fast paper."""
_FAMILIAR_PAGES: Final = 1500
_BATCH: Final = 64


def provisional(
    run: Path, folder: Path, parts: Mapping[str, Sequence[Record]], work: Path, *, pool: Executor
) -> Artifact:
    """Calibrate the best weights of a run and write them, not judged yet, to `folder`."""
    from models.resnet import build

    recipe = json.loads((run / "recipe.json").read_text())
    architecture = Architecture(**recipe["architecture"])
    network = build(architecture)
    network.load_weights(str(run / "best.weights.h5"))
    name, _, version = folder.name.rpartition("-")
    card = ModelCard(
        name=name,
        version=version,
        sha256="",
        architecture=architecture,
        calibration=_neutral(),
        validated=dict.fromkeys(KEYS, False),
        training={"recipe": recipe, "epochs_run": _json(run / "progress.json")},
    )
    raw = artifacts.save(folder, network, card, page="Not judged yet.\n")
    forward = raw.forward()

    validation, training = parts["validation"], parts["train"]
    drawings, ecgs = validation_drawings(validation)
    sheet = draw_sheet("validation", drawings, work, pool=pool)
    rows = np.flatnonzero(sheet.found)
    logits, features = _read(forward, sheet.pages, rows, "validation")
    targets = np.stack([record.targets for record in validation])[ecgs[rows]]
    known = np.stack([record.known for record in validation])[ecgs[rows]]
    ten = logits[:, : len(KEYS)]
    calibration = calibrate(
        ten,
        targets,
        known,
        frequency=_frequency(training),
        trained_frequency=[float(share) for share in balanced_shares()],
        ecgs=ecgs[rows],
    )
    points = operating_points(
        calibration, calibration.probabilities(ten), targets, known, ecgs=ecgs[rows]
    )
    learned = _learned_pages(run, training, work, pool)
    _, cloud = _read(forward, learned, np.arange(len(learned)), "pages of the training")
    card = replace(
        card,
        calibration=calibration,
        page_kind_thresholds=_kind_thresholds(forward, logits, validation, work, pool),
        metrics={"validation": plain({key: asdict(point) for key, point in points.items()})},
    )
    return artifacts.save(
        folder,
        network,
        card,
        page="Not judged yet.\n",
        familiarity=fit(cloud, limit_features=features),
    )


def from_lessons(
    run: Path,
    folder: Path,
    lessons: tuple[Lessons, Lessons],
    *,
    start: Artifact,
    name: str,
    version: str,
    training: Mapping[str, Any],
    learned: Collection[str] = KEYS,
) -> Artifact:
    """Calibrate the best weights of a run on pages and write them, not judged yet, to `folder`.

    Parameters
    ----------
    run : Path
        The work folder of `models.train.train`.
    lessons : two of Lessons
        The real pages it was trained on, and those that chose the epoch and calibrate now.
    start : Artifact
        What the training began from: what it tells of pages that are not to be read is kept.
    training : dict
        What the card says of the training, beside the recipe.
    learned : keys of findings
        Where only the last layer learned, the others are answered as by `start`, to the same
        thresholds.
    """
    from models.resnet import build

    recipe = json.loads((run / "recipe.json").read_text())
    architecture = Architecture(**recipe["architecture"])
    network = build(architecture)
    network.load_weights(str(run / "best.weights.h5"))
    kept = [key for key in KEYS if key not in learned] if recipe["frozen"] else []
    if recipe["frozen"]:
        _keep(network, start, kept)
    code = convert(network)
    forward = Forward(code, outputs=len(KEYS) + architecture.extra)
    fitted, check = lessons
    logits, features = _read(forward, check.pages, np.arange(len(check)), "validation")
    ten = logits[:, : len(KEYS)]
    known = fitted.known[:, : len(KEYS)]
    positives = (fitted.targets[:, : len(KEYS)] * known).sum(axis=0)
    calibration = calibrate(
        ten,
        check.targets,
        check.known,
        frequency=[float(share) for share in positives / np.maximum(known.sum(axis=0), 1.0)],
        trained_frequency=[float(share) for share in balanced_shares()],
    )
    calibration = _kept_calibration(calibration, start.card.calibration, kept)
    points = operating_points(
        calibration, calibration.probabilities(ten), check.targets, check.known
    )
    if recipe["frozen"]:
        familiarity = start.familiarity()
    else:
        few = np.arange(0, len(fitted), max(1, len(fitted) // _FAMILIAR_PAGES))
        _, cloud = _read(forward, fitted.pages, few, "pages of the training")
        familiarity = fit(cloud, limit_features=features)
    card = ModelCard(
        name=name,
        version=version,
        sha256="",
        architecture=architecture,
        calibration=calibration,
        validated=dict.fromkeys(KEYS, False),
        metrics={"validation": plain({key: asdict(point) for key, point in points.items()})},
        training={**training, "recipe": recipe, "epochs_run": _json(run / "progress.json")},
        page_kind_thresholds=_kept_kind_thresholds(start.card, logits),
    )
    page = "Not judged yet.\n"
    return artifacts.save(folder, network, card, page=page, familiarity=familiarity, serving=code)


def _kept_calibration(new: Calibration, old: Calibration, findings: Sequence[str]) -> Calibration:
    def merged(name: str) -> dict[str, float]:
        values: dict[str, float] = getattr(old, name)
        return dict(getattr(new, name)) | {key: values[key] for key in findings}

    return Calibration(*(merged(field.name) for field in fields(Calibration)))


def _keep(network: Any, start: Artifact, findings: Sequence[str]) -> None:
    """Answer `findings`, and what comes after the ten, as `start` does: its are the features."""
    layer, theirs = network.get_layer("logits"), start.network().get_layer("logits")
    own, given = layer.get_weights(), theirs.get_weights()
    width = min(own[0].shape[1], given[0].shape[1])
    columns = [*map(KEYS.index, findings), *range(len(KEYS), width)]
    for mine, other in zip(own, given, strict=True):
        mine[..., columns] = other[..., columns]
    layer.set_weights(own)


def _kept_kind_thresholds(start: ModelCard, good: NDArray[np.float32]) -> dict[str, float]:
    """The thresholds of the network before, and as high as good pages ask for."""
    thresholds = {}
    for kind, before in start.page_kind_thresholds.items():
        column = good[:, len(KEYS) + PAGE_KINDS.index(kind)].astype(np.float64)
        probability = 1.0 / (1.0 + np.exp(-np.clip(column, -30, 30)))
        least = float(np.quantile(probability, 1.0 - GOOD_PAGES_REFUSED))
        thresholds[kind] = round(min(max(before, least), 0.999), 4)
    return thresholds


def _learned_pages(
    run: Path, training: Sequence[Record], work: Path, pool: Executor
) -> NDArray[np.uint8]:
    """Pages the network learned from: some of the run's own, or drawn anew where it kept none."""
    kept, note = run / "real.u8", run / "real.json"
    if kept.is_file() and note.is_file():
        shape = tuple(json.loads(note.read_text())["shape"])
        pages = np.memmap(kept, np.uint8, "r", shape=shape)
        return np.asarray(pages[:: max(1, len(pages) // _FAMILIAR_PAGES)])
    some = training[:: max(1, len(training) // _FAMILIAR_PAGES)]
    drawings = [Drawing(order) for order in judging_orders(some)]
    sheet = draw_sheet("pages of the training", drawings, work, pool=pool)
    return np.asarray(sheet.pages[sheet.found])


def _kind_thresholds(
    forward: Forward,
    good: NDArray[np.float32],
    validation: Sequence[Record],
    work: Path,
    pool: Executor,
) -> dict[str, float]:
    """From which probability on a page is of a kind that is not read.

    As low as `LEAST_KIND_THRESHOLD`, and as high as good pages ask for. A network that has not
    learned the kinds (they are told no better than by chance) refuses none.
    """
    thresholds = {}
    for place, kind in enumerate(PAGE_KINDS):
        column = len(KEYS) + place
        if good.shape[1] <= column:
            continue
        drawings = kind_drawings(kind, validation[::2], seed=830_000_000)
        sheet = draw_sheet(f"validation {kind}", drawings, work, pool=pool)
        logits, _ = _read(forward, sheet.pages, np.flatnonzero(sheet.found), kind)
        ours = 1.0 / (1.0 + np.exp(-np.clip(logits[:, column].astype(np.float64), -30, 30)))
        theirs = 1.0 / (1.0 + np.exp(-np.clip(good[:, column].astype(np.float64), -30, 30)))
        least = float(np.quantile(theirs, 1.0 - GOOD_PAGES_REFUSED))
        threshold = min(max(LEAST_KIND_THRESHOLD[kind], least), 0.999)
        if len(ours) and float((ours >= threshold).mean()) > 0.5:
            thresholds[kind] = round(threshold, 4)
    return thresholds


def _read(
    forward: Forward, pages: NDArray[np.uint8], rows: NDArray[np.int64], describe: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    parts = []
    for start in tqdm(
        range(0, len(rows), _BATCH), desc=f"reading {describe}", unit="batch", disable=None
    ):
        some = rows[start : start + _BATCH]
        parts.append(forward(np.stack([packed(np.asarray(pages[row])) for row in some])))
    return np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])


def _frequency(records: Sequence[Record]) -> list[float]:
    """How frequent each finding is among the real ECGs where it is known."""
    targets = np.stack([record.targets for record in records])
    known = np.stack([record.known for record in records])
    return [float(share) for share in targets.sum(axis=0) / np.maximum(known.sum(axis=0), 1.0)]


def _neutral() -> Calibration:
    def all_at(value: float) -> dict[str, float]:
        return dict.fromkeys(KEYS, value)

    return Calibration(all_at(1.0), all_at(0.0), all_at(0.5), all_at(0.5))


def _json(path: Path) -> Any:
    return json.loads(path.read_text())
