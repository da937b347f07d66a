"""Dispatches: which report is meant for which Peer, by which rule, and how that ended."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway import dispatching, evidence
from gateway.models import Delivery, Dispatch, Peer
from webadmin import trail, words
from webadmin.admin.screen import MachineFacts, show
from webadmin.filters import DayRangeFilter, Dropdown


class OutcomeFilter(Dropdown):
    """By how it ended."""

    title = gettext_lazy("outcome")
    parameter_name = "outcome"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Dispatch.Outcome.choices]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Dispatch]) -> QuerySet[Dispatch]:
        return rows.filter(outcome=self.value()) if self.value() else rows


class PeerFilter(Dropdown):
    """By the Peer it is meant for."""

    title = gettext_lazy("peer")
    parameter_name = "peer"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        meant = Peer.objects.filter(dispatches__isnull=False).distinct()
        return [(str(peer.pk), str(peer)) for peer in meant]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Dispatch]) -> QuerySet[Dispatch]:
        chosen = self.value() or ""
        return rows.filter(peer=int(chosen)) if chosen.isdecimal() else rows


class ProofFilter(Dropdown):
    """By whether the Peer has shown that it keeps what it stored."""

    title = gettext_lazy("proof")
    parameter_name = "proof"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [("unproven", _("Unproven")), ("proven", _("Proven"))]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Dispatch]) -> QuerySet[Dispatch]:
        if self.value() == "unproven":
            return rows.filter(pk__in=evidence.unproven().values("pk"))
        return rows.filter(proven_at__isnull=False) if self.value() == "proven" else rows


@admin.register(Dispatch)
class DispatchAdmin(MachineFacts[Dispatch]):
    """One line a report and Peer. What a person can do is to say that one is no longer meant."""

    noun = gettext_lazy("Dispatch")
    lists_patients = True
    change_form_template = "webadmin/dispatch.html"
    list_display = (
        "decided_at",
        "ecg",
        "report_kind",
        "peer_title",
        "by",
        "came",
        "ended_at",
        "proof",
    )
    list_filter = (OutcomeFilter, ProofFilter, PeerFilter, ("decided_at", DayRangeFilter))
    list_select_related = ("report", "peer")
    search_fields = (
        "=report__sop_instance_uid",
        "=report__instance__sop_instance_uid",
        "^report__instance__study__accession_number",
        "^rule",
    )
    search_help_text = gettext_lazy("Accession number, UID of report or ECG, rule")
    actions = ("withdraw_selected",)

    @admin.display(description=gettext_lazy("ECG"), ordering="report__instance_id")
    def ecg(self, row: Dispatch) -> SafeString:
        number = row.report.instance_id
        link = reverse("admin:gateway_instance_change", args=[number])
        return format_html('<a class="desk-link" href="{}">{}</a>', link, _("ECG %d") % number)

    @admin.display(description=gettext_lazy("report"), ordering="report__kind")
    def report_kind(self, row: Dispatch) -> SafeString:
        link = reverse("admin:gateway_report_change", args=[row.report_id])
        name = row.report.get_kind_display()
        return format_html('<a class="desk-link" href="{}">{}</a>', link, name)

    @admin.display(description=gettext_lazy("peer"), ordering="peer__title")
    def peer_title(self, row: Dispatch) -> str:
        return row.peer.title

    @admin.display(description=gettext_lazy("by rule"), ordering="rule")
    def by(self, row: Dispatch) -> str:
        return row.rule or "–"

    @admin.display(description=gettext_lazy("outcome"), ordering="outcome")
    def came(self, row: Dispatch) -> SafeString:
        return show(words.dispatch(row.outcome))

    @admin.display(description=gettext_lazy("proof"), ordering="proven_at")
    def proof(self, row: Dispatch) -> SafeString | str:
        badge = words.proof(row)
        if badge is None:
            return "–"
        if row.proven_at is not None or row.ended_at is None:
            return show(badge)
        since = trail.span(timezone.now() - row.ended_at)
        return format_html(
            '{} <span class="desk-quiet-text">{}</span>', show(badge), _("for %s") % since
        )

    def page(self, _request: HttpRequest, row: Dispatch) -> dict[str, Any]:
        attempts = Delivery.objects.filter(report=row.report, peer=row.peer).select_related("peer")
        return {
            "dispatch": row,
            "badge": words.dispatch(row.outcome),
            "proof_badge": words.proof(row),
            "commitment": row.commitment,
            "deliveries": [(attempt, words.delivery(attempt.outcome)) for attempt in attempts],
        }

    def has_withdraw_permission(self, request: HttpRequest) -> bool:
        """Return whether this person may say that a report is not to be sent any more."""
        return request.user.has_perm("gateway.change_instance")

    @admin.action(
        permissions=["withdraw"], description=gettext_lazy("No longer meant: do not send these")
    )
    def withdraw_selected(self, request: HttpRequest, rows: QuerySet[Dispatch]) -> None:
        """End the chosen Dispatches that wait or were refused, in the name of this person."""
        chosen = list(rows)
        ended = dispatching.withdraw(chosen)
        for row in chosen:
            self.log_change(request, row, "no longer meant")
        messages.success(
            request,
            _("%(ended)d of %(all)d are not sent any more.") % {"ended": ended, "all": len(chosen)},
        )
