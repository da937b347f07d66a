"""Guidelines: versions of the rules by which people label; what was read by does not change."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.forms import ModelForm as RowForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from webadmin.models import Guideline
from webadmin.unfolded import ModelAdmin


@admin.register(Guideline)
class GuidelineAdmin(ModelAdmin[Guideline]):
    """One line a version; the latest is in force."""

    list_display = ("version", "in_force_since", "written_by", "used")
    search_fields = ("version",)
    warn_unsaved_form = True
    list_before_template = "webadmin/guidelines_before.html"
    fields = ("version", "text", "in_force_since")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Guideline]:
        rows = super().get_queryset(request).select_related("written_by")
        return rows.annotate(reading_count=Count("readings"))

    @admin.display(description=gettext_lazy("readings by it"), ordering="reading_count")
    def used(self, row: Guideline) -> int:
        return row.reading_count  # type: ignore[attr-defined,no-any-return]

    def has_change_permission(self, request: HttpRequest, obj: Guideline | None = None) -> bool:
        return super().has_change_permission(request, obj) and not _is_used(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Guideline | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not _is_used(obj)

    def save_model(
        self, request: HttpRequest, obj: Guideline, form: RowForm[Any], change: bool
    ) -> None:
        """Keep who wrote it."""
        if not change:
            obj.written_by = request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # Many at once would be deleted without a look at whether each was used.
        return {name: how for name, how in super().get_actions(request).items()
                if name != "delete_selected"}  # fmt: skip


def _is_used(row: Guideline | None) -> bool:
    return row is not None and row.pk is not None and row.readings.exists()
