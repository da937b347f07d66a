"""What a network's card says of each class; the card is JSON as the network brought it.

A card of an older or another network may lack a part; what it does not say is not claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from models.labels import LABELS
from webadmin.words import Badge

Card = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """What a card says of one class, in words."""

    meaning: str
    badge: Badge
    threshold: str
    undetermined: str
    positives: str
    auroc: str
    sensitivity: str
    specificity: str


def claims(card: Card) -> list[Claim]:
    """Return what the card says of each class, in the order of the labels."""
    test = card.get("metrics", {}).get("test", {})
    return [_claim(label.key, _(label.meaning), card, test.get(label.key, {})) for label in LABELS]


def is_validated(card: Card, key: str) -> bool:
    """Return whether enough real ECGs of a class stood in the test to claim anything."""
    return bool(card.get("validated", {}).get(key, False))


def band(card: Card, key: str) -> tuple[float, float] | None:
    """Return the probabilities between which a class is undetermined; None without a band."""
    calibration = card.get("calibration", {})
    low = calibration.get("undetermined_from", {}).get(key)
    high = calibration.get("threshold", {}).get(key)
    return (low, high) if low is not None and high is not None and low < high else None


def _badge(*, is_validated: bool) -> Badge:
    if is_validated:
        return Badge(_("validated"), "good", "check_circle")
    return Badge(_("not validated"), "warn", "warning")


def _claim(key: str, meaning: str, card: Card, test: Card) -> Claim:
    threshold = card.get("calibration", {}).get("threshold", {}).get(key)
    edges = band(card, key)
    low, high = test.get("auroc_interval") or (None, None)
    interval = (
        _(" (%(low).2f to %(high).2f)") % {"low": low, "high": high}
        if low is not None and high is not None
        else ""
    )
    return Claim(
        meaning=meaning,
        badge=_badge(is_validated=is_validated(card, key)),
        threshold=_percent(threshold),
        undetermined=_("from %s") % f"{edges[0]:.1%}" if edges else "–",
        positives=str(test.get("positives", "–")),
        auroc="–" if test.get("auroc") is None else f"{test['auroc']:.3f}{interval}",
        sensitivity=_percent(test.get("sensitivity")),
        specificity=_percent(test.get("specificity")),
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
