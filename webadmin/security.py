"""What stands around every page of the Desk."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from webadmin import audit

Answer = Callable[[HttpRequest], HttpResponseBase]


def know_the_request(answer: Answer) -> Answer:
    """Let the trail name the person and the address behind what happens far below a view."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        token = audit.present_request.set(request)
        try:
            return answer(request)
        finally:
            audit.present_request.reset(token)

    return middleware
