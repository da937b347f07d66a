"""Disposals: what the retention policy removed, appended and never changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from gateway.models import Disposal
from webadmin.admin.screen import MachineFacts, short_uid
from webadmin.filters import DayRangeFilter, Dropdown


class KindFilter(Dropdown):
    """By what was removed."""

    title = gettext_lazy("what was removed")
    parameter_name = "kind"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Disposal.Kind.choices]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Disposal]) -> QuerySet[Disposal]:
        return rows.filter(kind=self.value()) if self.value() else rows


@admin.register(Disposal)
class DisposalAdmin(MachineFacts[Disposal]):
    """One line for each file that was removed, and one for each batch of records."""

    noun = gettext_lazy("Disposal")
    change_form_template = "webadmin/disposal.html"
    ordering = ("-pk",)
    list_display = ("at", "what", "uid_shown", "size", "policy", "actor", "detail")
    list_filter = (KindFilter, ("at", DayRangeFilter))
    search_fields = ("=uid",)
    search_help_text = gettext_lazy("SOP Instance UID")

    @admin.display(description=gettext_lazy("what"), ordering="kind")
    def what(self, row: Disposal) -> str:
        return row.get_kind_display()

    @admin.display(description=gettext_lazy("SOP Instance UID"))
    def uid_shown(self, row: Disposal) -> SafeString | str:
        return short_uid(row.uid) if row.uid else "–"

    @admin.display(description=gettext_lazy("size"), ordering="size_bytes")
    def size(self, row: Disposal) -> str:
        return filesizeformat(row.size_bytes) if row.size_bytes else "–"

    def page(self, _request: HttpRequest, row: Disposal) -> dict[str, Any]:
        return {"disposal": row}
