"""Model versions: the networks that made findings here, and what their cards claim."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from gateway.models import ModelVersion
from models.labels import LABELS
from webadmin import cards, words
from webadmin.admin.screen import MachineFacts, short_uid


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
        count = sum(cards.is_validated(row.card, label.key) for label in LABELS)
        return f"{count} of {len(LABELS)}"

    @admin.display(description="SHA-256 of the weights")
    def weights(self, row: ModelVersion) -> SafeString:
        return short_uid(row.sha256)

    def page(self, _request: HttpRequest, row: ModelVersion) -> dict[str, Any]:
        return {
            "version": row,
            "heading": str(row),
            "notice": words.NOTICE,
            "claims": cards.claims(row.card),
            "read_count": row.instances.count(),
        }
