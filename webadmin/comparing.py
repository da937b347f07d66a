"""A network in shadow beside the one that serves, on the ECGs that both have read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db.models import Count, F, Sum

from gateway.models import Finding, ModelVersion, ShadowReading
from models.labels import LABELS

PRESENT: Final = Finding.Verdict.PRESENT
LATEST: Final = 5000
"""So many ECGs are compared, the latest: more tell no more, and take longer."""


@dataclass(frozen=True)
class Compared:
    """One finding in the words of both.

    Attributes
    ----------
    ecgs : int
        Read by both.
    both, only_serving, only_shadow, neither : int
        Who calls it present.
    difference : float or None
        Mean of the shadow's probability less that of the network that served; None without ECGs.
    """

    meaning: str
    ecgs: int
    both: int
    only_serving: int
    only_shadow: int
    neither: int
    difference: float | None

    @property
    def agreement(self) -> float | None:
        """Share of the ECGs, 0 to 1, on which both call it present, or both do not."""
        return (self.both + self.neither) / self.ecgs if self.ecgs else None

    @property
    def agreement_percent(self) -> str:
        """The same for people."""
        return "–" if self.agreement is None else f"{self.agreement:.1%}"

    @property
    def moved(self) -> str:
        """The difference for people."""
        return "–" if self.difference is None else f"{self.difference:+.3f}"


@dataclass(frozen=True)
class Comparison:
    """All that is known of a network in shadow.

    Attributes
    ----------
    read, refused, unfinished : int
        ECGs it has read, found nothing on for a reason, and never came back from.
    reasons : list of (str, int)
        Why nothing was found, the most frequent first.
    findings : list of Compared
        In the order of the labels.
    """

    read: int
    refused: int
    unfinished: int
    reasons: list[tuple[str, int]]
    findings: list[Compared]


def compare(version: ModelVersion) -> Comparison:
    """Compare what a network said in shadow with what the network of the reports said."""
    rows = ShadowReading.objects.filter(model_version=version)
    latest = list(rows.order_by("-pk").values_list("instance", flat=True)[:LATEST])
    done = rows.filter(read_at__isnull=False)
    why = done.exclude(reason="").order_by().values_list("reason").annotate(many=Count("pk"))
    return Comparison(
        read=done.filter(reason="").count(),
        refused=done.exclude(reason="").count(),
        unfinished=rows.filter(read_at__isnull=True).count(),
        reasons=[(reason, many) for reason, many in why.order_by("-many", "reason")[:5]],
        findings=_findings(version, latest),
    )


def _findings(version: ModelVersion, instances: list[int]) -> list[Compared]:
    # Both sides of a pair are findings of one ECG and one key; the other side is of the network
    # that the ECG's reports name.
    pairs = (
        Finding.objects.filter(
            model_version=version,
            instance__in=instances,
            instance__findings__key=F("key"),
            instance__findings__model_version=F("instance__model_version"),
        )
        .exclude(instance__model_version=version)
        .order_by()
        .values_list("key", "verdict", "instance__findings__verdict")
        .annotate(
            many=Count("pk"),
            moved=Sum(F("probability") - F("instance__findings__probability")),
        )
    )
    table: dict[str, dict[tuple[bool, bool], int]] = {}
    moved: dict[str, float] = {}
    for key, ours, theirs, many, by in pairs:
        cells = table.setdefault(key, {})
        cell = (ours == PRESENT, theirs == PRESENT)
        cells[cell] = cells.get(cell, 0) + many
        moved[key] = moved.get(key, 0.0) + by
    found = []
    for label in LABELS:
        cells = table.get(label.key, {})
        total = sum(cells.values())
        found.append(
            Compared(
                meaning=label.meaning,
                ecgs=total,
                both=cells.get((True, True), 0),
                only_serving=cells.get((False, True), 0),
                only_shadow=cells.get((True, False), 0),
                neither=cells.get((False, False), 0),
                difference=moved[label.key] / total if total else None,
            )
        )
    return found
