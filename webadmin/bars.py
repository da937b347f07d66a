"""Findings as bars: how probable, where the threshold lies, what that makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from gateway.models import Finding, Instance
from webadmin import cards, words

_ORDER = (Finding.Verdict.PRESENT, Finding.Verdict.UNDETERMINED, Finding.Verdict.ABSENT)


@dataclass(frozen=True)
class Bar:
    """One finding, ready to draw. Lengths are percent of the track, as CSS wants them."""

    meaning: str
    badge: words.Badge
    probability: str
    fill: str
    threshold: str
    threshold_at: str
    band_from: str
    band_width: str
    is_validated: bool

    @property
    def spoken(self) -> str:
        """The bar as a sentence, for people who do not see it."""
        return _(
            "%(finding)s: %(verdict)s, probability %(probability)s, threshold %(threshold)s"
        ) % {
            "finding": self.meaning,
            "verdict": self.badge.text.lower(),
            "probability": self.probability,
            "threshold": self.threshold,
        }


def bars(findings: Iterable[Finding], card: cards.Card) -> list[Bar]:
    """Return findings as bars: present first, then undetermined, then absent; surest first.

    Parameters
    ----------
    findings
        Of one network on one instance.
    card
        That network's card: which classes are validated, and each class's undetermined band.
    """
    rows = sorted(findings, key=lambda row: (_ORDER.index(row.verdict), -row.probability, row.key))
    return [_bar(row, card) for row in rows]


def bars_of(instance: Instance) -> list[Bar]:
    """Return the bars of what the network in the instance's reports found."""
    version = instance.model_version
    if version is None:
        return []
    rows = [row for row in instance.findings.all() if row.model_version_id == version.pk]
    return bars(rows, version.card)


def _bar(row: Finding, card: cards.Card) -> Bar:
    low, high = cards.band(card, row.key) or (row.threshold, row.threshold)
    return Bar(
        meaning=str(words.MEANINGS.get(row.key, row.key)),
        badge=words.verdict(row.key, row.verdict),
        probability=f"{row.probability:.1%}",
        fill=f"{row.probability * 100:.2f}%",
        threshold=f"{row.threshold:.1%}",
        threshold_at=f"{row.threshold * 100:.2f}%",
        band_from=f"{low * 100:.2f}%",
        band_width=f"{(high - low) * 100:.2f}%",
        is_validated=cards.is_validated(card, row.key),
    )
