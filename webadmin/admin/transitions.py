"""Transitions: every step of every ECG, appended and never changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway.models import Transition
from gateway.states import State
from webadmin import trail, words
from webadmin.admin.screen import MachineFacts, show
from webadmin.filters import DayRangeFilter, Dropdown


class ToStateFilter(Dropdown):
    """By the state it led to."""

    title = gettext_lazy("state reached")
    parameter_name = "to"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [(state.value, str(state.label)) for state in State]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Transition]) -> QuerySet[Transition]:
        return rows.filter(to_state=self.value()) if self.value() else rows


@admin.register(Transition)
class TransitionAdmin(MachineFacts[Transition]):
    """The audit trail across all ECGs, newest first."""

    noun = gettext_lazy("Transition")
    change_form_template = "webadmin/transition.html"
    ordering = ("-pk",)
    list_display = ("at", "ecg", "reached", "what", "actor", "detail")
    list_filter = (ToStateFilter, ("at", DayRangeFilter))
    search_fields = ("=instance__sop_instance_uid", "^actor")
    search_help_text = gettext_lazy("SOP Instance UID, actor")

    @admin.display(description=gettext_lazy("ECG"), ordering="instance_id")
    def ecg(self, row: Transition) -> SafeString:
        link = reverse("admin:gateway_instance_change", args=[row.instance_id])
        return format_html(
            '<a class="desk-link" href="{}">{}</a>', link, _("ECG %d") % row.instance_id
        )

    @admin.display(description=gettext_lazy("state"), ordering="to_state")
    def reached(self, row: Transition) -> SafeString:
        return show(words.state(row.to_state))

    @admin.display(description=gettext_lazy("what happened"), ordering="event")
    def what(self, row: Transition) -> str:
        return trail.describe(row.event)

    def page(self, _request: HttpRequest, row: Transition) -> dict[str, Any]:
        return {
            "transition": row,
            "what": trail.describe(row.event),
            "from_badge": words.state(row.from_state) if row.from_state else None,
            "to_badge": words.state(row.to_state),
        }
