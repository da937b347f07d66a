"""The card's pictures: ROC curves, reliability, what was called present; and the worst errors.

The first three hold figures only and lie beside the card. The sheets of worst errors show pages of
real ECGs: they stay in the work folder and are committed nowhere.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.evaluation.beside import SIGNAL
from models.evaluation.charts import (
    BLUE,
    FAINT,
    GREY,
    INK,
    PALE_BLUE,
    PAPER,
    RED,
    Chart,
    Colour,
    panels,
)
from models.evaluation.judgement import FEW_POSITIVES, MARK_POSITIVES, Answers, Truth
from models.evaluation.sheets import Drawing, page_picture
from models.labels import KEYS, LABELS
from models.metrics import resamples, roc_curve

FOLDER: Final = "pictures"
_NAMES: Final = {label.key: label.meaning for label in LABELS} | {"none": "None of the ten"}
_AT: Final = np.linspace(0.0, 1.0, 101)
_ERRORS_EACH: Final = 3


def draw_pictures(folder: Path, answers: Answers, truth: Truth, metrics: dict[str, Any]) -> None:
    """Draw the three pictures of figures into ``pictures/`` below an artifact's folder."""
    roc(answers, truth, metrics).save(folder / FOLDER / "roc.png")
    reliability(metrics).save(folder / FOLDER / "reliability.png")
    said(metrics).save(folder / FOLDER / "said.png")


def roc(answers: Answers, truth: Truth, metrics: dict[str, Any]) -> Chart:
    """ROC curves with their bootstrap band, and the frozen threshold as a dot."""
    keys = truth.keys(FEW_POSITIVES)
    ceiling = metrics.get("baselines", {}).get(SIGNAL, {}).get("auroc", {})
    chart, fields = panels(max(1, len(keys)), columns=min(4, max(1, len(keys))))
    rows = np.flatnonzero(answers.answered)
    for key, field in zip(keys, fields, strict=False):
        column, own = KEYS.index(key), metrics["test"][key]
        known = rows[truth.known[rows, column] > 0]
        scores, y = answers.probability[known, column], truth.targets[known, column]
        note = f"AUROC {_short(own['auroc'])}{_bounds(own['auroc_interval'])}"
        note += f", n = {own['positives']} / {own['negatives']}"
        field.frame(_NAMES[key], note, across="1 - specificity", up="sensitivity")
        low, high = _band(scores, y, [truth.patients[row] for row in known])
        there = [field.at(x, v) for x, v in zip(_AT, high, strict=True)]
        back = [field.at(x, v) for x, v in zip(_AT[::-1], low[::-1], strict=True)]
        chart.area(there + back, colour=PALE_BLUE)
        chart.line([field.at(0, 0), field.at(1, 1)], colour=GREY)
        false, true = roc_curve(scores, y)
        curve = [field.at(a, b) for a, b in zip(false, true, strict=True)]
        chart.line(curve, colour=BLUE, width=2)
        if own["sensitivity"] is not None and own["specificity"] is not None:
            chart.dot(field.at(1.0 - own["specificity"], own["sensitivity"]), 5, colour=RED)
        if key in ceiling:
            corner = (field.left + field.side - 8, field.top + field.side - 12)
            words = f"signal network {_short(ceiling[key])}"
            chart.text(corner, words, size=11, colour=GREY, anchor="rs")
    return chart


def _band(
    scores: NDArray[Any], y: NDArray[Any], patients: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    curves = []
    for rows in resamples(patients, count=200):
        if 0 < y[rows].sum() < len(rows):
            false, true = roc_curve(scores[rows], y[rows])
            # Of several points above each other the highest counts, as the curve is drawn.
            curves.append(true[np.searchsorted(false, _AT + 1e-12, side="right") - 1])
    low, high = np.quantile(np.array(curves), [0.025, 0.975], axis=0)
    return low, high


def reliability(metrics: dict[str, Any]) -> Chart:
    """Said against seen, with 95 % intervals of the shares seen."""
    keys = [key for key in KEYS if metrics["test"][key]["positives"] >= MARK_POSITIVES]
    chart, fields = panels(max(1, len(keys)), columns=min(3, max(1, len(keys))))
    for key, field in zip(keys, fields, strict=False):
        own = metrics["calibration"][key]
        note = f"error {_short(own['error'])}; {_short(own['error_by_chance'])} if perfect"
        field.frame(_NAMES[key], note, across="probability said", up="share seen")
        for one in own["curve"]:
            low, high = _wilson(one["seen"], one["ecgs"])
            x = one["said"]
            chart.line([field.at(x, low), field.at(x, high)], colour=BLUE, width=1.5)
        points = [field.at(one["said"], one["seen"]) for one in own["curve"]]
        chart.line(points, colour=BLUE)
        for point in points:
            chart.dot(point, 4.5)
    return chart


def _wilson(seen: float, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z = 1.96
    middle = (seen + z * z / (2 * count)) / (1 + z * z / count)
    half = (
        z * np.sqrt(seen * (1 - seen) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    )
    return float(middle - half), float(middle + half)


def said(metrics: dict[str, Any]) -> Chart:
    """How often each finding was called present on ECGs with each: a row sums to what was said."""
    rows = {name: row for name, row in metrics["said"].items() if row["ecgs"]}
    columns = [*KEYS, "none"]
    cell, height, left, top = 74, 40, 270, 118
    chart = Chart(left + cell * len(columns) + 20, top + height * len(rows) + 42)
    chart.text((16, 14), "What was called present, on ECGs with each finding", size=15, bold=True)
    note = "Number of ECGs, and share of the row. An ECG may have, and be called, several."
    chart.text((16, 38), note, size=11, colour=GREY)
    for number, name in enumerate(columns):
        words = _broken(_NAMES[name] if name != "none" else "nothing present")
        for line, text in enumerate(reversed(words)):
            at = (left + cell * (number + 0.5), top - 8 - 14 * line)
            chart.text(at, text, size=11, anchor="ms")
    for number, (name, row) in enumerate(rows.items()):
        y = top + height * number
        title = f"{_NAMES[name]}  ({row['ecgs']})"
        chart.text((left - 10, y + height / 2), title, size=12, anchor="rm")
        for place, column in enumerate(columns):
            share = row[column] / row["ecgs"]
            x = left + cell * place
            right_one = column == name
            fill = _between(PAPER, BLUE if right_one else RED, 0.85 * share)
            chart.box((x, y), (x + cell, y + height), fill=fill, outline=FAINT)
            colour = PAPER if share > 0.7 else INK
            if row[column]:
                middle = x + cell / 2
                chart.text((middle, y + 14), f"{row[column]}", size=13, colour=colour, anchor="mm")
                percent = f"{100 * share:.0f} %"
                chart.text((middle, y + 29), percent, size=10, colour=colour, anchor="mm")
    foot = "Blue: the finding itself. Red: another one; on ECGs that have both, rightly so."
    chart.text((16, top + height * len(rows) + 16), foot, size=11, colour=GREY)
    return chart


def _broken(words: str) -> list[str]:
    """Words in lines of about eleven letters."""
    lines: list[str] = []
    for word in words.split():
        if lines and len(lines[-1]) + len(word) < 11:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _between(one: Colour, other: Colour, share: float) -> Colour:
    mixed = [round(a + (b - a) * share) for a, b in zip(one, other, strict=True)]
    return (mixed[0], mixed[1], mixed[2])


def draw_errors(
    folder: Path, drawings: Sequence[Drawing], answers: Answers, truth: Truth
) -> list[Path]:
    """Draw, for each finding, the pages it was most wrongly told of and most wrongly missed on."""
    made = []
    for key in truth.keys(FEW_POSITIVES):
        column = KEYS.index(key)
        ready = answers.answered & (truth.known[:, column] > 0)
        with_it = truth.targets[:, column] > 0
        p = answers.probability[:, column]
        wrong = np.flatnonzero(ready & ~with_it)
        missed = np.flatnonzero(ready & with_it)
        worst = [
            *wrong[np.argsort(-p[wrong])][:_ERRORS_EACH],
            *missed[np.argsort(p[missed])][:_ERRORS_EACH],
        ]
        path = folder / f"{key}.jpg"
        _error_sheet(key, [int(row) for row in worst], drawings, p, truth).save_photograph(path)
        made.append(path)
    return made


def _error_sheet(
    key: str,
    rows: Sequence[int],
    drawings: Sequence[Drawing],
    probability: NDArray[np.float64],
    truth: Truth,
) -> Chart:
    width, height, head = 620, 430, 46
    lines = -(-len(rows) // _ERRORS_EACH)
    chart = Chart(width * _ERRORS_EACH, head + height * lines)
    title = f"{_NAMES[key]}: the surest wrong ones, and the surest missed ones"
    chart.text((12, 12), title, size=18, bold=True)
    for place, row in enumerate(rows):
        x, y = width * (place % _ERRORS_EACH), head + height * (place // _ERRORS_EACH)
        found = [_NAMES[name] for name, one in zip(KEYS, truth.targets[row], strict=True) if one]
        words = f"{truth.record_ids[row]}: {', '.join(found) or 'none of the ten'}"
        chart.text((x + 12, y), words, size=13)
        chart.text((x + 12, y + 18), f"said {probability[row]:.3f}", size=12, colour=RED)
        chart.paste(page_picture(drawings[row]), (x + 12, y + 38), (width - 24, height - 52))
    return chart


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _bounds(interval: Sequence[float | None]) -> str:
    low, high = interval
    return "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
