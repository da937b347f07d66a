"""Commitments: what we asked Peers to commit themselves to, and what they answered."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from gateway.models import Commitment
from webadmin import words
from webadmin.admin.screen import MachineFacts, short_uid, show
from webadmin.filters import DayRangeFilter, Dropdown

_DISPATCHES_SHOWN = 100


class OutcomeFilter(Dropdown):
    """By what became of it."""

    title = gettext_lazy("outcome")
    parameter_name = "outcome"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Commitment.Outcome.choices]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Commitment]) -> QuerySet[Commitment]:
        return rows.filter(outcome=self.value()) if self.value() else rows


@admin.register(Commitment)
class CommitmentAdmin(MachineFacts[Commitment]):
    """One line a request; what it covers are the Dispatches that name it last."""

    noun = gettext_lazy("Commitment")
    change_form_template = "webadmin/commitment.html"
    list_display = ("asked_at", "peer_title", "came", "covers", "answered_at", "uid", "reason")
    list_filter = (OutcomeFilter, ("asked_at", DayRangeFilter))
    list_select_related = ("peer",)
    search_fields = ("=transaction_uid", "^peer__title")
    search_help_text = gettext_lazy("Transaction UID, AE title")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Commitment]:
        return super().get_queryset(request).annotate(dispatches_count=Count("dispatches"))

    @admin.display(description=gettext_lazy("peer"), ordering="peer__title")
    def peer_title(self, row: Commitment) -> str:
        return row.peer.title

    @admin.display(description=gettext_lazy("outcome"), ordering="outcome")
    def came(self, row: Commitment) -> SafeString:
        return show(words.commitment(row.outcome))

    @admin.display(description=gettext_lazy("dispatches"))
    def covers(self, row: Commitment) -> int:
        return int(getattr(row, "dispatches_count", 0))

    @admin.display(description=gettext_lazy("Transaction UID"), ordering="transaction_uid")
    def uid(self, row: Commitment) -> SafeString:
        return short_uid(row.transaction_uid)

    def page(self, _request: HttpRequest, row: Commitment) -> dict[str, Any]:
        covered = row.dispatches.select_related("report", "peer").order_by("pk")
        return {
            "commitment": row,
            "badge": words.commitment(row.outcome),
            "dispatches": [(one, words.proof(one)) for one in covered[:_DISPATCHES_SHOWN]],
        }
