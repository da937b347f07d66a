"""Users and groups: Django's own screens in Unfold's clothes.

Who may change accounts could otherwise make himself mightier than his role: by the mark of a
superuser, by single permissions or by a group with more permissions. So these are for superusers,
and so are the account of one and the names of those who have an account.
"""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from webadmin.unfolded import BaseGroupAdmin, BaseUserAdmin

admin.site.unregister(User)
admin.site.unregister(Group)

WHO_THEY_ARE = ("username", "first_name", "last_name")
"""The trail and verified reports tell by these who did something: nobody takes another's. What is
still empty may be filled in."""

FOR_SUPERUSERS = ("is_superuser", "user_permissions")


@admin.register(User)
class UserAdmin(BaseUserAdmin):
    """The people who work with the Desk."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    add_fieldsets = (
        *BaseUserAdmin.add_fieldsets,
        (None, {"classes": ("wide",), "fields": ("first_name", "last_name")}),
    )
    filter_horizontal = ()  # two lists side by side are wider than a page

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        fields = tuple(super().get_readonly_fields(request, obj))
        if request.user.is_superuser:
            return fields
        given = [name for name in WHO_THEY_ARE if obj is not None and getattr(obj, name)]
        return (*fields, *FOR_SUPERUSERS, *given)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _is_within_reach(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _is_within_reach(request, obj)


@admin.register(Group)
class GroupAdmin(BaseGroupAdmin):
    """What a group of people may do; the roles among them are made by ``manage.py roles``."""

    filter_horizontal = ()


def _is_within_reach(request: HttpRequest, user: User | None) -> bool:
    return user is None or not user.is_superuser or bool(request.user.is_superuser)
