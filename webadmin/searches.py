"""What a person searches for, kept out of addresses.

A search for a patient would stand in the address of the list: in the history of a browser that
others use, in bookmarks, in the log of a proxy. It is kept in the session instead, and the address
has a word in its place that means nothing to anybody else.
"""

from __future__ import annotations

import secrets
from typing import Final

from django.contrib.admin.views.main import SEARCH_VAR
from django.http import HttpRequest, HttpResponseRedirect

KEPT: Final = 50
"""Searches that a session remembers; the oldest are forgotten."""

_MARK: Final = "~"
_SEARCHES: Final = "desk.searches"


def out_of_address(
    request: HttpRequest, parameter: str = SEARCH_VAR
) -> HttpResponseRedirect | None:
    """Send a browser that asks with the words themselves to the address without them."""
    words = request.GET.get(parameter, "").strip()
    if request.method != "GET" or not words or words.startswith(_MARK):
        return None
    searches = dict(request.session.get(_SEARCHES, {}))
    name = next((name for name, kept in searches.items() if kept == words), "")
    if not name:
        name = _MARK + secrets.token_urlsafe(6)
        searches[name] = words
        request.session[_SEARCHES] = dict(list(searches.items())[-KEPT:])
    query = request.GET.copy()
    query[parameter] = name
    return HttpResponseRedirect(f"{request.path}?{query.urlencode()}")


def words_of(request: HttpRequest, name: str) -> str | None:
    """Return the words that a name in an address stands for; None when they are forgotten."""
    if not name.startswith(_MARK):
        return name
    words: str | None = request.session.get(_SEARCHES, {}).get(name)
    return words
