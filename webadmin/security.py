"""What stands around every page of the Desk: whose request it is, how long a session lasts, what a
browser may do with a page.

The Content Security Policy lets a page load scripts from this host alone and run none that stands
in it. Two things are allowed that a stricter policy would not, for Unfold's sake: ``unsafe-eval``,
because Alpine evaluates the expressions of its attributes, and inline *styles*, because Unfold
writes its colours into the page. Neither lets text that found its way into a page run as a script.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from webadmin import audit

Answer = Callable[[HttpRequest], HttpResponseBase]

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
PERMISSIONS_POLICY: Final = ", ".join(
    f"{name}=()"
    for name in ("camera", "microphone", "geolocation", "payment", "usb", "display-capture")
)
RENEWED_S: Final = 60.0
"""A session is written again no more often than so, however many pictures a page loads."""

_BEGAN, _SEEN = "desk.began", "desk.seen"


def know_the_request(answer: Answer) -> Answer:
    """Let the trail name the person and the address behind what happens far below a view."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        token = audit.present_request.set(request)
        try:
            return answer(request)
        finally:
            audit.present_request.reset(token)

    return middleware


def end_sessions(answer: Answer) -> Answer:
    """Sign out who has done nothing for ECG_SESSION_MINUTES, and everybody after 12 hours."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if SESSION_KEY in request.session:
            now = time.time()
            began = request.session.setdefault(_BEGAN, now)
            seen = request.session.setdefault(_SEEN, now)
            is_idle = now - seen > settings.SESSION_COOKIE_AGE
            if is_idle or now - began > settings.SESSION_LONGEST_S:
                logout(request)
            elif now - seen > min(RENEWED_S, settings.SESSION_COOKIE_AGE / 2):
                request.session[_SEEN] = now  # written, it ends so much later
        return answer(request)

    return middleware


def set_policies(answer: Answer) -> Answer:
    """Tell browsers what a page may do."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = answer(request)
        if response.get("Content-Type", "").startswith("text/html"):
            response.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return response

    return middleware


def locked_out(
    request: HttpRequest,
    _response: HttpResponse | None = None,
    _credentials: dict[str, str] | None = None,
) -> HttpResponse:
    """Say that there were too many attempts; not whether the name is known."""
    minutes = round(settings.AXES_COOLOFF_TIME.total_seconds() / 60)
    context = {**admin.site.each_context(request), "title": _("Sign in"), "minutes": minutes}
    return TemplateResponse(request, "webadmin/locked_out.html", context, status=429).render()
