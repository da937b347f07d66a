"""The course of a training as lines to draw: no script, one SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

WIDTH: Final = 320
HEIGHT: Final = 140
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 8, 10, 22


@dataclass(frozen=True)
class Line:
    """One line: its name, the class that colours it, its points, its latest value."""

    name: str
    tone: str
    points: str
    dots: list[tuple[str, str]]
    latest: str


@dataclass(frozen=True)
class Chart:
    """Lines over epochs with the ends of both axes, in units of an SVG of `WIDTH` x `HEIGHT`."""

    title: str
    lines: list[Line]
    low: str
    high: str
    first: str
    last: str

    @property
    def spoken(self) -> str:
        """The chart as a sentence, for people who do not see it."""
        said = ", ".join(f"{line.name} {line.latest}" for line in self.lines)
        return f"{self.title} after epoch {self.last}: {said}"


Epoch = Mapping[str, Any]


def charts(
    curve: Sequence[Epoch], *, names: Mapping[str, str], titles: tuple[str, str]
) -> list[Chart]:
    """Return the losses and the AUROC of a run as two charts; none before the first epoch.

    Parameters
    ----------
    curve
        One entry an epoch, as `webadmin.models.TrainingRun` keeps them.
    names
        What people call ``training_loss``, ``loss`` and ``auroc``.
    titles
        Of the two charts.
    """
    if not curve:
        return []
    losses = [one[key] for one in curve for key in ("training_loss", "loss")]
    aurocs = [one["auroc"] for one in curve]
    return [
        _chart(titles[0], curve, ("training_loss", "loss"), names, 0.0, max([*losses, 1e-6])),
        _chart(titles[1], curve, ("auroc",), names, min([*aurocs, 0.5]), 1.0),
    ]


_TONES: Final = {"training_loss": "run-line-quiet", "loss": "run-line-one", "auroc": "run-line-two"}


def _chart(
    title: str,
    curve: Sequence[Epoch],
    keys: Sequence[str],
    names: Mapping[str, str],
    low: float,
    high: float,
) -> Chart:
    first, last = int(curve[0]["epoch"]), int(curve[-1]["epoch"])

    def at(epoch: float, value: float) -> tuple[str, str]:
        across = (epoch - first) / max(1, last - first)
        up = (value - low) / max(1e-9, high - low)
        x = _LEFT + across * (WIDTH - _LEFT - _RIGHT)
        y = HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)
        return f"{x:.1f}", f"{y:.1f}"

    lines = []
    for key in keys:
        dots = [at(one["epoch"], one[key]) for one in curve]
        points = " ".join(",".join(dot) for dot in dots)
        lines.append(Line(names[key], _TONES[key], points, dots, f"{curve[-1][key]:.3f}"))
    return Chart(title, lines, f"{low:.2f}", f"{high:.2f}", str(first), str(last))
