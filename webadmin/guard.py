"""Views beside the admin's own: who may come in, and who that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

View = Callable[..., HttpResponseBase]


def guarded(permission: str, view: View) -> View:
    """Return `view` for those who are signed in to the Desk and have `permission`; else 403."""

    def guard(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.has_perm(permission):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return admin.site.admin_view(guard)


def person(request: HttpRequest) -> User:
    """Return who asks, in a view of the Desk."""
    assert isinstance(request.user, User)  # noqa: S101 (admin_view lets in nobody else)
    return request.user
