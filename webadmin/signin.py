"""A login link that works once: for the first minute of an installation, and for the demo.

The token is Django's password reset token with a purpose of its own. It is an HMAC over the
user's row, the time of the last login included, so that using it spends it, and nothing is stored.
"""

from __future__ import annotations

import datetime

from django.contrib import admin
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import base36_to_int, urlsafe_base64_decode, urlsafe_base64_encode
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables

from webadmin import audit

LINK_LIFETIME_S = 3600


class SignInTokens(PasswordResetTokenGenerator):
    """Tokens of sign-in links: spent by any login, dead after an hour."""

    key_salt = "webadmin.signin"

    def check_token(self, user: User | None, token: str | None) -> bool:
        """Return whether `token` was made for `user`, is unspent and young enough."""
        if user is None or not token or not super().check_token(user, token):
            return False
        return self._seconds_since(token) <= LINK_LIFETIME_S

    def _seconds_since(self, token: str) -> int:
        made = base36_to_int(token.split("-")[0])
        return self._num_seconds(self._now()) - made

    def _make_hash_value(self, user: User, timestamp: int) -> str:
        # Django cuts the last login to seconds; two logins in one second must differ here.
        exact = user.last_login.astimezone(datetime.UTC).isoformat() if user.last_login else ""
        return f"{super()._make_hash_value(user, timestamp)}{exact}"


tokens = SignInTokens()


def signin_link(username: str, base_url: str) -> str:
    """Return a link that signs `username` in once; a missing user is made.

    Parameters
    ----------
    username
        A new one becomes a superuser without a password: links are its only way in.
    base_url
        Where people reach the Desk, for example ``http://127.0.0.1:8000``.

    Raises
    ------
    ValueError
        The user exists and is not active, or is no member of staff.
    """
    user = User.objects.filter(username=username).first()
    if user is None:
        user = User.objects.create_superuser(username=username)  # no password: unusable
    if not user.is_active or not user.is_staff:
        raise ValueError(f"expected an active member of staff, received {username!r}")
    who = urlsafe_base64_encode(str(user.pk).encode())
    audit.record(audit.Action.LINK_MADE, actor="manage.py signin", subject=user)
    path = reverse("signin", kwargs={"who": who, "token": tokens.make_token(user)})
    return base_url.rstrip("/") + path


@method_decorator([sensitive_variables("token"), never_cache], name="dispatch")
class SignIn(View):
    """The page behind a link. Looking at it spends nothing, so link scanners do no harm."""

    def get(self, request: HttpRequest, who: str, token: str) -> HttpResponse:
        """Show a button, or say that the link is spent."""
        user = _user(who)
        if not tokens.check_token(user, token):
            return self._page(request, user=None, status=410)
        return self._page(request, user=user, status=200)

    def post(self, request: HttpRequest, who: str, token: str) -> HttpResponse:
        """Sign the user in and spend the link."""
        with transaction.atomic():  # the row is locked: of two presses at once one wins
            user = _user(who, lock=True)
            if user is None or not tokens.check_token(user, token):
                return self._page(request, user=None, status=410)
            login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        return redirect("admin:index")

    def _page(self, request: HttpRequest, *, user: User | None, status: int) -> HttpResponse:
        context = {**admin.site.each_context(request), "title": "Sign in", "user_to_be": user}
        return TemplateResponse(request, "webadmin/signin.html", context, status=status)


def _user(who: str, *, lock: bool = False) -> User | None:
    users = User.objects.filter(is_active=True, is_staff=True)
    if lock:
        users = users.select_for_update()
    try:
        return users.filter(pk=int(urlsafe_base64_decode(who).decode())).first()
    except (ValueError, OverflowError):
        return None
