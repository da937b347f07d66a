"""The audit trail: what machines and people did, by the chain that proves it."""

from __future__ import annotations

import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from webadmin import audit, chain, entries
from webadmin.admin.screen import MachineFacts
from webadmin.chained import BY_TABLE, SOURCES
from webadmin.filters import DayRangeFilter, Dropdown
from webadmin.models import AuditLink, Deed

COUNTED = 10_000
"""Rows that are counted for the pages of the list; a day or a search leads to what is older."""

OLD = datetime.timedelta(days=2)


class KindFilter(Dropdown):
    """By the kind of row."""

    title = _("kind")
    parameter_name = "kind"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        names = [(source.table, str(source.model._meta.verbose_name)) for source in SOURCES]
        return sorted(names, key=lambda one: one[1].lower())

    def queryset(self, _request: HttpRequest, rows: QuerySet[AuditLink]) -> QuerySet[AuditLink]:
        return rows.filter(table=self.value()) if self.value() else rows


class DeedFilter(Dropdown):
    """By what a person did."""

    title = _("done by a person")
    parameter_name = "deed"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in audit.Action.choices]

    def queryset(self, _request: HttpRequest, rows: QuerySet[AuditLink]) -> QuerySet[AuditLink]:
        if not self.value():
            return rows
        deeds = BY_TABLE[Deed._meta.label_lower]
        return rows.filter(entries.of_rows(deeds, Q(action=self.value())))


class FewPages(Paginator):  # type: ignore[type-arg]
    """Pages of the latest rows: a long trail is not counted to its end for every look at it."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[AuditLink] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[:COUNTED].count()


class TrailList(ChangeList):
    """The list with the rows behind its links, a statement for each table."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        found = entries.of(self.result_list)
        for link in self.result_list:
            link.entry = found[link.number]


@admin.register(AuditLink)
class TrailAdmin(MachineFacts[AuditLink]):
    """One line for everything that happened, newest first."""

    noun = _("Entry")
    lists_patients = True
    change_form_template = "webadmin/trail_entry.html"
    list_before_template = "webadmin/trail_before.html"
    paginator = FewPages
    show_full_result_count = False
    sortable_by = ()
    ordering = ("-number",)
    list_display = ("number", "at", "what", "who", "about")
    list_filter = (KindFilter, DeedFilter, ("at", DayRangeFilter))
    search_fields = ("number",)
    search_help_text = _("Patient ID, accession number, UID or person, exactly")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return TrailList

    def find(
        self,
        request: HttpRequest,  # noqa: ARG002
        rows: QuerySet[AuditLink],
        words: str,
    ) -> tuple[QuerySet[AuditLink], bool]:
        for word in words.split():
            rows = entries.search(rows, word)
        return rows, False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        verified = Deed.objects.filter(action=audit.Action.TRAIL_VERIFIED).order_by("-pk").first()
        context = {
            "verified": verified,
            "is_old": verified is not None and timezone.now() - verified.at > OLD,
        }
        return super().changelist_view(request, context | (extra_context or {}))

    @admin.display(description=_("what happened"))
    def what(self, row: AuditLink) -> str:
        return self._entry(row).what

    @admin.display(description=_("who"))
    def who(self, row: AuditLink) -> str:
        return self._entry(row).who or "–"

    @admin.display(description=_("about"))
    def about(self, row: AuditLink) -> SafeString | str:
        entry = self._entry(row)
        if not entry.link:
            return entry.about or "–"
        return format_html('<a class="desk-link" href="{}">{}</a>', entry.link, entry.about)

    def _entry(self, row: AuditLink) -> entries.Entry:
        return row.entry  # type: ignore[attr-defined,no-any-return]

    def page(self, request: HttpRequest, row: AuditLink) -> dict[str, Any]:
        audit.record(audit.Action.VIEWED, request=request, subject=row)
        before = AuditLink.objects.filter(number=row.number - 1).first()
        previous = before.sha256 if before else chain.ROOT if row.number == 1 else ""
        entry = entries.of([row])[row.number]
        return {
            "link": row,
            "entry": entry,
            "values": [(name.replace("_", " "), value) for name, value in entry.values.items()],
            "is_row_whole": bool(entry.values)
            and chain.row_sha256(row, tuple(entry.values.values())) == row.row_sha256,
            "is_link_whole": chain.link_sha256(row, previous) == row.sha256,
            "previous": previous,
        }
