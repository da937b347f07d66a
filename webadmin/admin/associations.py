"""Associations: who called, what became of it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway.models import Association
from webadmin import trail, words
from webadmin.admin.screen import MachineFacts, show
from webadmin.filters import DayRangeFilter, Dropdown


class OutcomeFilter(Dropdown):
    """By how the association ended."""

    title = gettext_lazy("outcome")
    parameter_name = "outcome"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Association.Outcome.choices]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Association]) -> QuerySet[Association]:
        return rows.filter(outcome=self.value()) if self.value() else rows


@admin.register(Association)
class AssociationAdmin(MachineFacts[Association]):
    """One line a call, refused ones with the reason."""

    noun = gettext_lazy("Association")
    change_form_template = "webadmin/association.html"
    list_display = ("started", "calling", "called_title", "address", "ended", "objects", "reason")
    list_filter = (OutcomeFilter, ("started_at", DayRangeFilter))
    search_fields = ("^calling_title", "=address", "=uid")
    search_help_text = gettext_lazy("Calling title, address")

    @admin.display(description=gettext_lazy("began"), ordering="started_at")
    def started(self, row: Association) -> Any:
        return row.started_at

    @admin.display(description=gettext_lazy("calling title"), ordering="calling_title")
    def calling(self, row: Association) -> str:
        return row.calling_title or _("not given")

    @admin.display(description=gettext_lazy("outcome"), ordering="outcome")
    def ended(self, row: Association) -> SafeString:
        return show(words.association(row.outcome))

    @admin.display(description=gettext_lazy("objects"), ordering="instances_count")
    def objects(self, row: Association) -> int:
        return row.instances_count

    def page(self, _request: HttpRequest, row: Association) -> dict[str, Any]:
        lasted = trail.span(row.ended_at - row.started_at) if row.ended_at else _("still open")
        instances = row.instances.select_related("study").order_by("pk")[:200]
        return {
            "association": row,
            "badge": words.association(row.outcome),
            "lasted": lasted,
            "instances": [(instance, words.state(instance.state)) for instance in instances],
        }
