"""What a network answers on sheets of test ECGs, and the figures that follow.

Judged is what is served: pages go through `models.predict.Predictor`, refusals included. A page
that is refused has no answer. Figures stand on the pages that were answered, and the share refused
stands beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.calibrate import Calibration
from models.corpus.layouts import LAYOUTS, TRAINING_LAYOUTS
from models.corpus.pages import packed
from models.corpus.records import Record
from models.evaluation.sheets import Sheet
from models.labels import KEYS
from models.metrics import (
    auroc,
    f1,
)
from models.page import Page
from models.predict import Predictor

MARK_POSITIVES: Final = 10
"""Positives in test from which a finding counts in the macro figures."""
FEW_POSITIVES: Final = 3
TOLD: Final = {
    "left away": "left away",
    "stating a diagnosis": "stating a false diagnosis on every page",
}
"""Headers that are compared with the printed one."""
WHOLE_LAYOUTS: Final = tuple(
    layout for layout in TRAINING_LAYOUTS if not LAYOUTS[layout].simultaneous
)
"""Trained layouts that show all ten seconds, as the held-out ones do: what is not printed cannot
be read, and is no fault of an unknown layout."""
_BATCH: Final = 64
_CORNERS: Final = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))

Metrics = dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """What the sources say of the ECGs that judge.

    Attributes
    ----------
    targets, known : float32 (n, 10)
    patients, record_ids : n of str
    """

    targets: NDArray[np.float32]
    known: NDArray[np.float32]
    patients: tuple[str, ...]
    record_ids: tuple[str, ...]

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Truth":
        """The truth of some records."""
        return cls(
            np.stack([record.targets for record in records]),
            np.stack([record.known for record in records]),
            tuple(record.patient for record in records),
            tuple(record.record_id for record in records),
        )

    def positives(self, key: str) -> int:
        """How many ECGs have the finding."""
        return int(self.targets[:, KEYS.index(key)].sum())

    def keys(self, least: int) -> tuple[str, ...]:
        """The findings with so many positives or more, and as many negatives."""
        known = self.known.sum(axis=0)
        return tuple(
            key
            for column, key in enumerate(KEYS)
            if least <= self.positives(key) <= known[column] - least
        )


@dataclass(frozen=True)
class Answers:
    """What the network says of the pages of a sheet.

    Attributes
    ----------
    probability : float64 (n, 10)
        Also of refused pages that were found or cut as a whole; nobody would be told those.
    reasons : n of str
        Why a page was refused, empty for an answer.
    """

    probability: NDArray[np.float64]
    reasons: tuple[str, ...]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which pages got an answer (n,)."""
        return np.array([not reason for reason in self.reasons], bool)


def answer(predictor: Predictor, sheet: Sheet) -> Answers:
    """Put a sheet before the network."""
    probability = np.full((len(sheet.pages), len(KEYS)), np.nan)
    reasons = list(sheet.reasons)
    found = np.flatnonzero(sheet.found)
    steps = tqdm(range(0, len(found), _BATCH), desc=f"reading {sheet.name}", unit="batch")
    for start in steps:
        rows = found[start : start + _BATCH]
        pages = [Page(np.asarray(sheet.pages[row]), _CORNERS) for row in rows]
        for row, reading in zip(rows, predictor.classify(pages), strict=True):
            reasons[row] = reading.reason or ""
            if reading.readable:
                probability[row] = [finding.probability for finding in reading.findings]
    untold = np.flatnonzero(np.isnan(probability[:, 0]))
    for start in range(0, len(untold), _BATCH):
        rows = untold[start : start + _BATCH]
        packets = np.stack([packed(np.asarray(sheet.pages[row])) for row in rows])
        probability[rows] = predictor.card.calibration.probabilities(predictor.logits(packets))
    return Answers(probability, tuple(reasons))


def column_auroc(
    scores: NDArray[Any], truth: Truth, key: str, rows: NDArray[Any] | slice = slice(None)
) -> float:
    """AUROC of one finding over those `rows` (numbers, possibly repeated) where it is known."""
    column = KEYS.index(key)
    known = truth.known[rows, column] > 0
    return auroc(scores[rows, column][known], truth.targets[rows, column][known])


def macro_auroc(
    scores: NDArray[Any],
    truth: Truth,
    rows: NDArray[Any] | slice = slice(None),
    *,
    least: int = MARK_POSITIVES,
) -> float:
    """Mean AUROC over the findings with positives enough in the whole test set."""
    return mean([column_auroc(scores, truth, key, rows) for key in truth.keys(least)])


def macro_f1(
    probability: NDArray[np.float64],
    truth: Truth,
    calibration: Calibration,
    rows: NDArray[Any],
    *,
    refused: NDArray[np.bool_] | None = None,
) -> float:
    """Mean F1 at the frozen thresholds over the findings with positives enough.

    A `refused` page, where given, counts as if nothing were present on it.
    """
    values = []
    for key in truth.keys(MARK_POSITIVES):
        column = KEYS.index(key)
        said = probability[rows, column] >= calibration.threshold[key]
        if refused is not None:
            said = said & ~refused[rows]
        known = truth.known[rows, column] > 0
        values.append(f1(said[known], truth.targets[rows, column][known] > 0))
    return mean(values)


def mean(values: Sequence[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def plain(value: Any) -> Any:
    """Four digits, and null for what is not a number: JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 4) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
