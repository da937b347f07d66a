"""Users and groups: Django's own screens in Unfold's clothes."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.models import Group, User
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from webadmin.unfolded import BaseGroupAdmin, BaseUserAdmin

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(BaseUserAdmin):
    """The people who work with the Desk."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    filter_horizontal = ()  # two lists side by side are wider than a page


@admin.register(Group)
class GroupAdmin(BaseGroupAdmin):
    """What a group of people may look at."""

    filter_horizontal = ()
