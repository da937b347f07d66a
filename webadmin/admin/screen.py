"""What every screen shares: facts that machines wrote, which nobody may edit here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString

from webadmin import audit, curation, searches, words
from webadmin.guard import person
from webadmin.unfolded import ModelAdmin

Row = TypeVar("Row", bound=Model)


class MachineFacts(ModelAdmin[Row]):
    """A list and a page to look at. Nobody adds, changes or deletes here, superusers included.

    A subclass names its page's template and fills it in :meth:`page`.
    """

    noun: str | Promise = ""
    """What one row is called in the page's title, which never names a patient."""

    actions: Sequence[str] | None = None
    list_per_page = 50
    lists_patients = False
    """Whether the list itself shows patients or their orders; the trail names who saw which."""

    of_ecg = ""
    """The way from a row to the ECG of which it tells what was found; empty: it tells nothing."""

    list_filter_submit = True
    list_filter_sheet = True

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:  # noqa: ARG002
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and write down whose data it showed."""
        if elsewhere := searches.out_of_address(request):
            return elsewhere
        answer = super().changelist_view(request, extra_context)
        shown = (getattr(answer, "context_data", None) or {}).get("cl")
        if shown is not None:
            shown.query = searches.words_of(request, shown.query) or ""  # what the box shows
            if self.lists_patients:  # rows that were asked for here are not asked for again below
                kind = str(self.opts.model_name)
                audit.record_list(request, shown.result_list, kind=kind, search=shown.query)
        return answer

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Row], search_term: str
    ) -> tuple[QuerySet[Row], bool]:
        words = searches.words_of(request, search_term)
        return (queryset.none(), False) if words is None else self.find(request, queryset, words)

    def find(
        self, request: HttpRequest, rows: QuerySet[Row], words: str
    ) -> tuple[QuerySet[Row], bool]:
        """Return the rows that fit a search, and whether some are there twice."""
        return super().get_search_results(request, rows, words)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Row]:
        """Return the rows, without those of ECGs that this person has taken to read."""
        rows = super().get_queryset(request)
        if self.of_ecg:
            taken = curation.held_by(person(request)).values("instance")
            rows = rows.exclude(**{f"{self.of_ecg}__in": taken})
        return rows

    def page(self, _request: HttpRequest, row: Row) -> dict[str, Any]:
        """Return what this screen's page shows of `row`."""
        raise NotImplementedError

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Row | None = None,
    ) -> HttpResponse:
        """Show the page of one row in place of Django's form of it."""
        assert obj is not None  # noqa: S101 (nothing is added here)
        if audit.is_of_patient(obj):
            audit.record(audit.Action.VIEWED, request=request, subject=obj)
        name = f"{self.noun} {obj.pk}"
        context |= {"title": name, "subtitle": None, "heading": name, **self.page(request, obj)}
        context["original"] = name  # the way up in the header; a row's str() may name an order
        return super().render_change_form(request, context, add, change, form_url, obj)


def show(value: words.Badge) -> SafeString:
    """Return a badge for a cell of a list; the same as the template of the tag."""
    icon = format_html('<span class="material-symbols-outlined">{}</span>', value.icon)
    return format_html(
        '<span class="desk-badge desk-{}" title="{}">{}{}</span>',
        value.tone,
        value.title or value.text,
        icon if value.icon else "",
        value.text,
    )


def short_uid(uid: str) -> SafeString:
    """Return a UID that fits a cell: its end, which tells UIDs apart, and all of it as a title."""
    text = uid if len(uid) <= 20 else f"…{uid[-16:]}"
    return format_html('<span class="desk-uid" title="{}">{}</span>', uid, text)
