"""Deliveries: every attempt to store a report, with what the archive answered."""

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

from dicom_node.status import judge
from gateway.models import Delivery, Peer
from webadmin import words
from webadmin.admin.screen import MachineFacts, show
from webadmin.filters import DayRangeFilter, Dropdown


class OutcomeFilter(Dropdown):
    """By what came of the attempt."""

    title = gettext_lazy("outcome")
    parameter_name = "outcome"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Delivery.Outcome.choices]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
        return rows.filter(outcome=self.value()) if self.value() else rows


class PeerFilter(Dropdown):
    """By the Peer it went to."""

    title = gettext_lazy("peer")
    parameter_name = "peer"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        tried = Peer.objects.filter(deliveries__isnull=False).distinct()
        return [(str(peer.pk), str(peer)) for peer in tried]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
        chosen = self.value() or ""
        return rows.filter(peer=int(chosen)) if chosen.isdecimal() else rows


@admin.register(Delivery)
class DeliveryAdmin(MachineFacts[Delivery]):
    """One line an attempt."""

    noun = gettext_lazy("Delivery")
    lists_patients = True
    change_form_template = "webadmin/delivery.html"
    list_display = ("attempted_at", "ecg", "report_kind", "peer_title", "came", "answer", "reason")
    list_filter = (OutcomeFilter, PeerFilter, ("attempted_at", DayRangeFilter))
    list_select_related = ("report", "peer")
    search_fields = (
        "=report__sop_instance_uid",
        "=report__instance__sop_instance_uid",
        "^report__instance__study__accession_number",
    )
    search_help_text = gettext_lazy("Accession number, UID of report or ECG")

    @admin.display(description=gettext_lazy("ECG"), ordering="report__instance_id")
    def ecg(self, row: Delivery) -> SafeString:
        number = row.report.instance_id
        link = reverse("admin:gateway_instance_change", args=[number])
        return format_html('<a class="desk-link" href="{}">{}</a>', link, _("ECG %d") % number)

    @admin.display(description=gettext_lazy("report"), ordering="report__kind")
    def report_kind(self, row: Delivery) -> SafeString:
        link = reverse("admin:gateway_report_change", args=[row.report_id])
        return format_html(
            '<a class="desk-link" href="{}">{}</a>', link, row.report.get_kind_display()
        )

    @admin.display(description=gettext_lazy("peer"), ordering="peer__title")
    def peer_title(self, row: Delivery) -> str:
        return row.peer.title

    @admin.display(description=gettext_lazy("outcome"), ordering="outcome")
    def came(self, row: Delivery) -> SafeString:
        return show(words.delivery(row.outcome))

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def answer(self, row: Delivery) -> SafeString | str:
        if row.status is None:
            return _("no answer")
        return format_html('<code title="{}">0x{}</code>', meaning(row), f"{row.status:04X}")

    def page(self, _request: HttpRequest, row: Delivery) -> dict[str, Any]:
        return {
            "delivery": row,
            "badge": words.delivery(row.outcome),
            "meaning": meaning(row),
        }


def meaning(row: Delivery) -> str:
    """Return what the archive's status says, in words (PS3.4 Table B.2-1, PS3.7 Annex C)."""
    return _("no answer: the association failed") if row.status is None else _(judge(row.status)[1])
