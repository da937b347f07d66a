"""Unfold's classes under the types of the Django classes they extend; Unfold ships no types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webadmin import audit

if TYPE_CHECKING:
    from django.contrib.admin import FieldListFilter, ModelAdmin, SimpleListFilter
    from django.contrib.auth.admin import GroupAdmin, UserAdmin
    from django.contrib.auth.models import User
    from django.forms import Form
    from django.forms import ModelForm as RowForm
    from django.http import HttpRequest

    BaseUserAdmin = UserAdmin[User]
    BaseGroupAdmin = GroupAdmin
    DropdownFilter = SimpleListFilter
    RangeFilter = FieldListFilter
    DropdownForm = Form
    ModelForm = RowForm[Any]

    class RangeForm(Form):
        def __init__(self, name: str, *args: Any, **kwargs: Any) -> None: ...

else:
    import unfold.admin
    from django.contrib.auth import admin as auth_admin
    from django.forms import ModelForm
    from unfold.contrib.filters.admin import DropdownFilter
    from unfold.contrib.filters.admin import RangeDateFilter as RangeFilter
    from unfold.contrib.filters.forms import DropdownForm
    from unfold.contrib.filters.forms import RangeDateForm as RangeForm

    class ModelAdmin(unfold.admin.ModelAdmin):
        """Unfold's ModelAdmin, which may be written ``ModelAdmin[Row]`` as in Django's stubs.

        What Django logs of a change is written into the trail as well.
        """

        change_list_template = "webadmin/list.html"

        def __class_getitem__(cls, _row: object) -> type:
            return cls

        def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
            audit.record(audit.Action.ADDED, request=request, subject=obj, what=message)
            return super().log_addition(request, obj, message)

        def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
            audit.record(audit.Action.CHANGED, request=request, subject=obj, what=message)
            return super().log_change(request, obj, message)

        def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
            for row in queryset:
                audit.record(audit.Action.DELETED, request=request, subject=row, what=str(row))
            return super().log_deletions(request, queryset)

    class BaseUserAdmin(auth_admin.UserAdmin, ModelAdmin):
        """Django's screen of users."""

    class BaseGroupAdmin(auth_admin.GroupAdmin, ModelAdmin):
        """Django's screen of groups."""


__all__ = [
    "BaseGroupAdmin",
    "BaseUserAdmin",
    "DropdownFilter",
    "DropdownForm",
    "ModelAdmin",
    "ModelForm",
    "RangeFilter",
    "RangeForm",
]
