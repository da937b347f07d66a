"""Model versions: the networks that made findings here, and what their cards claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from gateway.models import ModelVersion
from models.labels import LABELS
from webadmin import bars, words
from webadmin.admin.screen import MachineFacts, short_uid


@dataclass(frozen=True)
class Claim:
    """What a card says of one class."""

    meaning: str
    badge: words.Badge
    threshold: str
    band: str


@admin.register(ModelVersion)
class ModelVersionAdmin(MachineFacts[ModelVersion]):
    """One line a network, by the hash of its weights."""

    noun = "Model version"
    change_form_template = "webadmin/model_version.html"
    list_display = ("named", "first_used_at", "ecgs", "validated", "weights")
    search_fields = ("^name", "^version", "^sha256")
    search_help_text = "Name, version, SHA-256"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelVersion]:
        return super().get_queryset(request).annotate(ecg_count=Count("instances"))

    @admin.display(description="model", ordering="name")
    def named(self, row: ModelVersion) -> str:
        return str(row)

    @admin.display(description="ECGs read", ordering="ecg_count")
    def ecgs(self, row: ModelVersion) -> int:
        return row.ecg_count  # type: ignore[attr-defined,no-any-return]

    @admin.display(description="validated classes")
    def validated(self, row: ModelVersion) -> str:
        count = sum(bars.is_validated(row.card, label.key) for label in LABELS)
        return f"{count} of {len(LABELS)}"

    @admin.display(description="SHA-256 of the weights")
    def weights(self, row: ModelVersion) -> SafeString:
        return short_uid(row.sha256)

    def page(self, _request: HttpRequest, row: ModelVersion) -> dict[str, Any]:
        return {
            "version": row,
            "heading": str(row),
            "notice": words.NOTICE,
            "claims": claims(row.card),
            "read_count": row.instances.count(),
        }


def claims(card: dict[str, Any]) -> list[Claim]:
    """Return what the card says of each class, in the order of the labels."""
    told = []
    for label in LABELS:
        threshold = card.get("thresholds", {}).get(label.key)
        edges = bars.band(card, label.key)
        told.append(
            Claim(
                meaning=label.meaning,
                badge=_VALIDATED if bars.is_validated(card, label.key) else _NOT_VALIDATED,
                threshold="–" if threshold is None else f"{threshold:.1%}",
                band=f"{edges[0]:.1%} to {edges[1]:.1%}" if edges else "–",
            )
        )
    return told


_VALIDATED = words.Badge("validated", "good", "check_circle")
_NOT_VALIDATED = words.Badge("not validated", "warn", "warning")
