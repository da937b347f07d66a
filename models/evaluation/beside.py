"""Other ways to read the same test ECGs, figure beside figure.

A rule without learning says what is easy; a network on the signal says what is possible; other
networks on pages (the exact packet, the squashed page) say what the way in is worth.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.architecture import Architecture
from models.corpus.records import Record
from models.evaluation.judgement import (
    FEW_POSITIVES,
    Answers,
    Metrics,
    Truth,
    column_auroc,
    macro_auroc,
    plain,
)
from models.evaluation.rate_rule import rule_scores
from models.evaluation.sheets import Sheet
from models.metrics import interval, resamples

RULE: Final = "rate and QRS rule"
SIGNAL: Final = "network on the signal"


def stand_beside(
    records: Sequence[Record],
    sheet: Sheet,
    answers: Answers,
    *,
    runs: Sequence[Path] = (),
    signal: Path | None = None,
) -> dict[str, Metrics]:
    """AUROC of each baseline on the ECGs whose page was answered, by name.

    ``less`` is how much less its macro AUROC is than the judged network's (negative: more), with
    the interval over the same bootstrap samples.
    """
    truth = Truth.of(records)
    rows = np.flatnonzero(answers.answered)
    scores: dict[str, NDArray[Any]] = {RULE: rule_scores(records)}
    if signal is not None:
        from models.evaluation.baselines import signal_logits

        scores[SIGNAL] = signal_logits(signal, records)
    for run in runs:
        name, logits = _of_run(run, sheet)
        scores[name] = logits
    samples = resamples([truth.patients[row] for row in rows])
    own = [macro_auroc(answers.probability, truth, rows[sample]) for sample in samples]
    mine = macro_auroc(answers.probability, truth, rows)
    out = {}
    for name, values in scores.items():
        theirs = [macro_auroc(values, truth, rows[sample]) for sample in samples]
        macro = macro_auroc(values, truth, rows)
        out[name] = {
            "macro_auroc": macro,
            "macro_auroc_interval": interval(theirs),
            "less": mine - macro,
            "less_interval": interval([a - b for a, b in zip(own, theirs, strict=True)]),
            "auroc": {
                key: column_auroc(values, truth, key, rows) for key in truth.keys(FEW_POSITIVES)
            },
        }
    plainly: dict[str, Metrics] = plain(out)
    return plainly


def _of_run(run: Path, sheet: Sheet) -> tuple[str, NDArray[np.float32]]:
    """The name and the logits of a training run's best weights."""
    from models.resnet import build
    from models.train import logits_of

    recipe = json.loads((run / "recipe.json").read_text())
    architecture = Architecture(**recipe["architecture"])
    network = build(architecture)
    network.load_weights(str(run / "best.weights.h5"))
    name = f"{architecture.input_kind}, depth {architecture.depth}, width {architecture.width}"
    if recipe.get("shuffled_labels"):
        name = f"trained on shuffled labels: {name}"
    return f"{name} ({run.name})", logits_of(network, sheet.pages)
