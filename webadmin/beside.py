"""The figures of an evaluation as a table: the candidate beside the network that serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from models.labels import LABELS
from webadmin.words import Badge

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """One figure of both networks, each with its interval."""

    serving: str
    serving_interval: str
    candidate: str
    candidate_interval: str


@dataclass(frozen=True)
class Row:
    """One finding: how many ECGs stand behind it, the figures of both, and what follows."""

    meaning: str
    counts: str
    badge: Badge
    difference: str
    difference_interval: str
    auroc: Pair
    auprc: Pair
    sensitivity: Pair
    specificity: Pair
    sensitivity_at_95: Pair
    calibration_error: Pair


def rows(results: Figures) -> list[Row]:
    """Return the findings of an evaluation in the order of the labels."""
    return [
        _row(label.meaning, results["findings"][label.key])
        for label in LABELS
        if label.key in results["findings"]
    ]


def facts(results: Figures) -> list[tuple[str, str]]:
    """Return what an evaluation stands on, name by name."""
    refused, calibration = results["refused"], results["calibration"]
    return [
        (_("ECGs of the test split"), str(results["ecgs"])),
        (_("Patients"), str(results["patients"])),
        (_("Read by both"), str(results["answered"])),
        (_("Refused, serving / candidate"), _both(refused, "{:.1%}")),
        (_("Calibration error, serving / candidate"), _both(calibration, "{:.3f}")),
        (_("No longer readable here"), str(results.get("missing", 0))),
    ]


def _both(of: Figures, pattern: str) -> str:
    return " / ".join(
        "–" if of[name] is None else pattern.format(of[name]) for name in ("champion", "candidate")
    )


def _row(meaning: str, found: Figures) -> Row:
    low, high = found["difference_interval"]
    return Row(
        meaning=meaning,
        counts=f"{found['positives']} / {found['negatives']}",
        badge=_badge(found["verdict"]),
        difference=_signed(found["difference"]),
        difference_interval="" if low is None else f"{low:+.3f} … {high:+.3f}",
        auroc=_pair(found, "auroc"),
        auprc=_pair(found, "auprc"),
        sensitivity=_pair(found, "sensitivity"),
        specificity=_pair(found, "specificity"),
        sensitivity_at_95=_pair(found, "sensitivity_at_95"),
        calibration_error=_pair(found, "calibration_error"),
    )


def _badge(verdict: str) -> Badge:
    return {
        "better": Badge(_("better"), "good", "arrow_upward"),
        "as good": Badge(_("as good"), "quiet", "drag_handle"),
        "worse": Badge(_("worse"), "bad", "arrow_downward"),
        "unjudged": Badge(_("not judged: too few"), "quiet", "remove"),
    }[verdict]


def _pair(found: Figures, name: str) -> Pair:
    serving, candidate = found["champion"], found["candidate"]
    return Pair(
        _three(serving[name]),
        _interval(serving, name),
        _three(candidate[name]),
        _interval(candidate, name),
    )


def _interval(figures: Figures, name: str) -> str:
    low, high = figures.get(f"{name}_interval") or (None, None)
    return "" if low is None or high is None else f"{low:.2f} … {high:.2f}"


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"
