"""Judge a network on ECGs of patients it has never seen; make the artifact of a training run.

    python -m models.evaluate models/store/NAME-VERSION
    python -m models.evaluate models/store/NAME-VERSION --make RUN

The first draws the test ECGs under every condition (layouts seen and unseen, scans, photographs,
screens, headers, pages without a trace), puts them before the network as it is served, prints the
whole table, and says whether the card's figures come out again. It ends with status 1 if one
differs by more than 0.005.

The second makes that folder of a training run's best weights: calibrates and places thresholds on
the validation patients, then opens the test patients once, and writes weights, card.json,
MODEL_CARD.md and pictures. Nothing is ever claimed on edited or simulated ECGs.
"""

import argparse
import datetime
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from models import artifact as artifacts
from models.artifact import Artifact
from models.corpus.pages import drawing_pool
from models.corpus.records import Record, add_corpus_argument, load
from models.evaluation.beside import stand_beside
from models.evaluation.card import write_card
from models.evaluation.card_tables import tables
from models.evaluation.examination import judge
from models.evaluation.judgement import Answers, Metrics, Truth, answer
from models.evaluation.making import provisional
from models.evaluation.sheets import MIXED, Sheet, conditions, draw_sheet
from models.labels import KEYS
from models.predict import Predictor

TOLERANCE: Final = 0.005
"""Figures that differ by no more are the same."""
ENOUGH_TO_VALIDATE: Final = 20
"""A finding with fewer real positives in test is not validated, whatever its figures say."""
QUICK: Final = 10
"""``--quick`` judges one ECG in so many."""


def judge_artifact(
    predictor: Predictor, records: Sequence[Record], work: Path, *, pool: Executor
) -> tuple[Metrics, Mapping[str, Answers], Mapping[str, Sheet]]:
    """Draw, read and judge the test ECGs under every condition."""
    answers: dict[str, Answers] = {}
    sheets: dict[str, Sheet] = {}
    everything = conditions(records)
    for name, drawings in tqdm(everything.items(), desc="conditions", unit="sheet"):
        sheets[name] = draw_sheet(name, drawings, work, pool=pool)
        answers[name] = answer(predictor, sheets[name])
    metrics = judge(answers, Truth.of(records), predictor.card.calibration)
    return metrics, answers, sheets


def differences(card: Any, found: Any, where: str = "") -> Iterator[str]:
    """Name each figure of the card that did not come out again."""
    if isinstance(found, Mapping):
        for key, value in found.items():
            inner = f"{where} / {key}" if where else str(key)
            if not isinstance(card, Mapping) or key not in card:
                yield f"{inner}: not in the card"
            else:
                yield from differences(card[key], value, inner)
    elif isinstance(found, list):
        if not isinstance(card, list) or len(card) != len(found):
            yield f"{where}: the card says {card}, found {found}"
        else:
            for place, (one, other) in enumerate(zip(card, found, strict=True)):
                yield from differences(one, other, f"{where} [{place}]")
    elif isinstance(found, int | float) and isinstance(card, int | float):
        if abs(found - card) > TOLERANCE:
            yield f"{where}: the card says {card}, found {found}"
    elif found != card:
        yield f"{where}: the card says {card}, found {found}"


def make(
    run: Path,
    out: Path,
    *,
    corpus: Path,
    work: Path,
    beside: Sequence[Path] = (),
    signal: Path | None = None,
    control: bool = False,
    quick: bool = False,
) -> Artifact:
    """Write the artifact of a training run to `out`.

    Parameters
    ----------
    run : Path
        The ``--work`` of a training run.
    out : Path
        Folder ``NAME-VERSION`` to write.
    corpus, work : Path
        Of the real ECGs; of the caches, outside the repository.
    beside : training runs
        Other networks on pages, whose figures stand beside.
    signal : Path or None
        The ``--work`` of `models.evaluation.baselines`: the ceiling of the data.
    control : bool
        Train in small on shuffled labels as well.
    quick : bool
        A tenth of the ECGs, to try it out. Such a card is good for nothing else.
    """
    from models.evaluation.pictures import draw_errors, draw_pictures

    step = QUICK if quick else 1
    parts = {part: load(corpus, parts=(part,))[::step] for part in ("train", "validation", "test")}
    records = parts["test"]
    with drawing_pool() as pool:
        raw = provisional(run, work / "provisional" / out.name, parts, work, pool=pool)
        metrics, answers, sheets = judge_artifact(Predictor(raw.folder), records, work, pool=pool)
        control_figures = (
            _control(parts["train"], records, sheets[MIXED], work, pool) if control else {}
        )
    truth = Truth.of(records)
    metrics["validation"] = raw.card.metrics["validation"]
    metrics["baselines"] = stand_beside(
        records, sheets[MIXED], answers[MIXED], runs=beside, signal=signal
    )
    metrics["controls"] |= control_figures
    validated = {key: metrics["test"][key]["positives"] >= ENOUGH_TO_VALIDATE for key in KEYS}
    training = {
        **raw.card.training,
        "ecgs": {part: len(some) for part, some in parts.items()},
        "test_ecgs_of_unknown_patients": sum(r.record_id in r.patient for r in records),
        "judged_on": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    card = replace(raw.card, validated=validated, metrics=metrics, training=training)
    made = artifacts.save(
        out, raw.network(), card, page=write_card(card), familiarity=raw.familiarity()
    )
    draw_pictures(out, answers[MIXED], truth, metrics)
    draw_errors(work / "errors", conditions(records)[MIXED], answers[MIXED], truth)
    print(f"the worst errors, page by page: {work / 'errors'}")
    return made


def _control(
    train: Sequence[Record], test: Sequence[Record], sheet: Sheet, work: Path, pool: Executor
) -> dict[str, float]:
    from models.evaluation.controls import shuffled_training

    found = shuffled_training(train, test, sheet, work, pool=pool)
    return {f"trained_on_{name}": round(value, 4) for name, value in found.items()}


def check(folder: Path, *, corpus: Path, work: Path, quick: bool, control: bool) -> int:
    """Judge an artifact again, print the table, compare with its card; return the exit status."""
    artifact = Artifact.load(folder).verify()
    records = load(corpus, parts=("test",))[:: QUICK if quick else 1]
    with drawing_pool() as pool:
        metrics, _, sheets = judge_artifact(Predictor(folder), records, work, pool=pool)
        if control:
            train = load(corpus, parts=("train",))
            metrics["controls"] |= _control(train, records, sheets[MIXED], work, pool)
    recorded = artifact.card.metrics
    shown: Metrics = {key: recorded[key] for key in ("validation", "baselines") if key in recorded}
    print(tables(replace(artifact.card, metrics={**shown, **metrics})))
    if quick:
        print(f"{len(records)} of the test ECGs only: not compared with the card.")
        return 0
    found = list(differences(recorded, metrics))
    if not found:
        print("reproduces the card")
        return 0
    print(f"does not reproduce the card: {len(found)} figures differ")
    print("\n".join(found))
    return 1


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; its help explains each choice."""
    parser = argparse.ArgumentParser(
        prog="python -m models.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("artifact", type=Path, help="folder models/store/NAME-VERSION")
    add_corpus_argument(parser)
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "ecg-judging",
        help="where drawn pages are kept, outside the repository (default: %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="one ECG in ten")
    parser.add_argument(
        "--make", type=Path, metavar="RUN", help="make the artifact of this training run's --work"
    )
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="RUN",
        action="append",
        default=[],
        help="another training run whose figures stand beside (with --make; repeat for more)",
    )
    parser.add_argument(
        "--signal",
        type=Path,
        metavar="RUN",
        help="the --work of models.evaluation.baselines, the ceiling of the data (with --make)",
    )
    parser.add_argument(
        "--controls",
        choices=("train",),
        help="train in small on shuffled labels as well: must stay at one half",
    )
    given = parser.parse_args(arguments)
    if given.corpus is None:
        parser.error("no real ECGs: give --corpus or set ECG_CORPUS_DIR")
    if given.make is None and (given.beside or given.signal):
        parser.error("--beside and --signal go with --make: their figures are kept in the card")
    return given


def main() -> None:
    """Judge, or make, from the command line."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    given = parse()
    common: dict[str, Any] = {
        "corpus": given.corpus,
        "work": given.work,
        "quick": given.quick,
        "control": given.controls == "train",
    }
    if given.make is None:
        sys.exit(check(given.artifact, **common))
    made = make(given.make, given.artifact, beside=given.beside, signal=given.signal, **common)
    print(tables(made.card))


if __name__ == "__main__":
    main()
