"""Every figure of an evaluation, from the answers on its sheets.

By finding, by layout, by what befell the page, by header; calibration, what was called present on
what, and the controls that must fail. All of it is plain JSON, as it stands in a card.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from models.calibrate import Calibration
from models.corpus.layouts import TRAINING_LAYOUTS, UNSEEN_LAYOUTS
from models.evaluation.judgement import (
    FEW_POSITIVES,
    TOLD,
    WHOLE_LAYOUTS,
    Answers,
    Metrics,
    Truth,
    column_auroc,
    macro_auroc,
    macro_f1,
    mean,
    plain,
)
from models.evaluation.sheets import MIXED
from models.labels import KEYS, PAGE_KINDS
from models.metrics import (
    calibration_error,
    calibration_error_by_chance,
    figures,
    interval,
    reliability,
    resamples,
    share,
)

_GAP_RESAMPLES = 200


def judge(answers: Mapping[str, Answers], truth: Truth, calibration: Calibration) -> Metrics:
    """All figures that need nothing but the answers; plain JSON values, null for none."""
    mixed = answers[MIXED]
    rows = np.flatnonzero(mixed.answered)
    samples = resamples([truth.patients[row] for row in rows])
    pooled = [answers[f"layout/{layout}"] for layout in WHOLE_LAYOUTS]
    test: Metrics = {}
    for column, key in enumerate(KEYS):
        own = rows[truth.known[rows, column] > 0]
        found = figures(
            mixed.probability[own, column],
            truth.targets[own, column],
            threshold=calibration.threshold[key],
            patients=[truth.patients[row] for row in own],
        )
        over = [column_auroc(one.probability, truth, key, _rows(one)) for one in pooled]
        test[key] = {**asdict(found), "auroc_over_layouts": mean(over)}
    metrics = {
        "test": test,
        "macro_auroc": macro_auroc(mixed.probability, truth, rows),
        "macro_auroc_interval": interval(
            [macro_auroc(mixed.probability, truth, rows[sample]) for sample in samples]
        ),
        "macro_auroc_few": macro_auroc(mixed.probability, truth, rows, least=FEW_POSITIVES),
        "macro_f1": macro_f1(mixed.probability, truth, calibration, rows),
        "refused": share(~mixed.answered),
        "refused_why": dict(sorted(Counter(filter(None, mixed.reasons)).items())),
        "calibration": _calibration(mixed.probability[rows], truth, rows),
        "layouts": _layouts(answers, truth, calibration),
        "layout_gap": _layout_gap(answers, truth),
        "effects": _effects(answers, truth, calibration),
        "header": _header(answers, truth, calibration),
        "unseen_style": _row(answers["style/unseen"], truth, calibration),
        "page_kinds_refused": {
            kind: share(~answers[f"kind/{kind}"].answered) for kind in PAGE_KINDS
        },
        "said": _said(mixed.probability[rows], truth, rows, calibration),
        "controls": _controls(answers, truth, rows),
    }
    plainly: Metrics = plain(metrics)
    return plainly


def _rows(answers: Answers) -> NDArray[np.int64]:
    return np.flatnonzero(answers.answered)


def _row(answers: Answers, truth: Truth, calibration: Calibration) -> Metrics:
    rows = _rows(answers)
    return {
        "macro_auroc": macro_auroc(answers.probability, truth, rows),
        "macro_f1": macro_f1(answers.probability, truth, calibration, rows),
        "refused": share(~answers.answered),
        "auroc": {
            key: column_auroc(answers.probability, truth, key, rows)
            for key in truth.keys(FEW_POSITIVES)
        },
    }


def _calibration(
    probability: NDArray[np.float64], truth: Truth, rows: NDArray[np.int64]
) -> Metrics:
    """Said against seen, finding by finding."""
    out = {}
    for column, key in enumerate(KEYS):
        known = truth.known[rows, column] > 0
        p, y = probability[known, column], truth.targets[rows, column][known]
        out[key] = {
            "error": calibration_error(p, y),
            "error_by_chance": calibration_error_by_chance(p),
            "curve": reliability(p, y),
        }
    return out


def _layouts(
    answers: Mapping[str, Answers], truth: Truth, calibration: Calibration
) -> dict[str, Metrics]:
    return {
        layout: {
            "seen_in_training": layout in TRAINING_LAYOUTS,
            **_row(answers[f"layout/{layout}"], truth, calibration),
        }
        for layout in (*TRAINING_LAYOUTS, *UNSEEN_LAYOUTS)
    }


def _layout_gap(answers: Mapping[str, Answers], truth: Truth) -> Metrics:
    """What a layout never trained on costs: mean over the seen less mean over the unseen.

    Compared are layouts that show all ten seconds. The same patients are drawn for all of them in
    each bootstrap sample, so that the interval is that of the difference.
    """
    sides = [
        [answers[f"layout/{layout}"] for layout in side] for side in (WHOLE_LAYOUTS, UNSEEN_LAYOUTS)
    ]

    def gap(sample: NDArray[np.int64]) -> tuple[float, float]:
        seen, unseen = (
            mean([macro_auroc(a.probability, truth, sample[a.answered[sample]]) for a in side])
            for side in sides
        )
        return seen, unseen

    everyone = np.arange(len(truth.patients))
    seen, unseen = gap(everyone)
    drawn = [gap(sample) for sample in resamples(truth.patients, count=_GAP_RESAMPLES)]
    return {
        "seen": seen,
        "unseen": unseen,
        "gap": seen - unseen,
        "gap_interval": interval([a - b for a, b in drawn]),
    }


def _effects(
    answers: Mapping[str, Answers], truth: Truth, calibration: Calibration
) -> dict[str, Metrics]:
    """Each effect, and how much of the clean pages' F1 it keeps."""
    everyone = np.arange(len(truth.patients))
    effects = {
        name.removeprefix("effect/"): one
        for name, one in answers.items()
        if name.startswith("effect/")
    }
    rows = {}
    for name, one in effects.items():
        rows[name] = _row(one, truth, calibration)
        rows[name]["macro_f1_with_refused"] = macro_f1(
            one.probability, truth, calibration, everyone, refused=~one.answered
        )
    for row in rows.values():
        for f1_name, kept in (("macro_f1", "kept"), ("macro_f1_with_refused", "kept_with_refused")):
            clean = rows["clean"][f1_name]
            row[kept] = row[f1_name] / clean if clean else float("nan")
    return rows


def _header(answers: Mapping[str, Answers], truth: Truth, calibration: Calibration) -> Metrics:
    """The same ECGs with another header: neither figures nor probabilities may move."""
    printed = answers["header/printed"]
    out: Metrics = {"printed": _row(printed, truth, calibration)}
    for name in TOLD:
        other = answers[f"header/{name}"]
        both = np.flatnonzero(printed.answered & other.answered)
        moved = other.probability[both] - printed.probability[both]
        out[name] = {
            **_row(other, truth, calibration),
            "mean_change": float(np.abs(moved).mean()),
            "af_moved": float(moved[:, KEYS.index("af")].mean()),
            "verdicts_changed": _verdicts_changed(printed, other, both, calibration),
        }
    return out


def _verdicts_changed(
    one: Answers, other: Answers, rows: NDArray[np.int64], calibration: Calibration
) -> float:
    """Share of "present or not" that differ."""
    threshold = np.array([calibration.threshold[key] for key in KEYS])
    return float(
        np.mean((one.probability[rows] >= threshold) != (other.probability[rows] >= threshold))
    )


def _said(
    probability: NDArray[np.float64],
    truth: Truth,
    rows: NDArray[np.int64],
    calibration: Calibration,
) -> Metrics:
    """How often each finding is called present on ECGs with each finding, and with none.

    "none" is an ECG of none of the ten, or a page on which nothing is called present; it is not
    the same as normal, and how the two are told apart stands here.
    """
    threshold = np.array([calibration.threshold[key] for key in KEYS])
    present = probability >= threshold
    true = truth.targets[rows] > 0
    groups = {key: true[:, column] for column, key in enumerate(KEYS)}
    groups["none"] = np.asarray(~true.any(axis=1))
    return {
        name: {
            "ecgs": int(group.sum()),
            **{key: int(present[group, column].sum()) for column, key in enumerate(KEYS)},
            "none": int((~present[group].any(axis=1)).sum()),
        }
        for name, group in groups.items()
    }


def _controls(
    answers: Mapping[str, Answers], truth: Truth, rows: NDArray[np.int64]
) -> dict[str, float]:
    """Figures that must be about one half, whatever the network."""
    rng = np.random.default_rng(5)
    shuffled = []
    for _ in range(20):
        order = rng.permutation(rows)
        other = Truth(
            truth.targets[order], truth.known[order], tuple(truth.patients), truth.record_ids
        )
        shuffled.append(macro_auroc(answers[MIXED].probability[rows], other))
    erased = answers["control/trace erased"]
    return {
        "labels_shuffled": mean(shuffled),
        # Such a page is refused. Its whole picture is put before the network all the same.
        "trace_erased": macro_auroc(erased.probability, truth),
        "trace_erased_refused": share(~erased.answered),
    }
