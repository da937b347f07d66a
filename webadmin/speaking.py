"""The names of tables and columns in the language of whoever looks.

The tables of the gateway name themselves in English, for logs and commands as well. At the Desk
they are asked for by forms, headers of lists and filters; from here on those get their translation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.utils.translation import gettext_lazy, gettext_noop

from models.labels import LABELS

APPS = ("gateway", "webadmin")

UNFOLD = (
    gettext_noop("Add row"),
    gettext_noop("All applications"),
    gettext_noop("Apply Filters"),
    gettext_noop("Cancel"),
    gettext_noop("Dark"),
    gettext_noop("Date"),
    gettext_noop("Date from"),
    gettext_noop("Date to"),
    gettext_noop("From"),
    gettext_noop("General"),
    gettext_noop("Light"),
    gettext_noop("Loading more results..."),
    gettext_noop("More actions"),
    gettext_noop("No recent searches"),
    gettext_noop("No results found"),
    gettext_noop("No results matching your query"),
    gettext_noop("Recent searches"),
    gettext_noop("Reset filters"),
    gettext_noop("Return to site"),
    gettext_noop("Run"),
    gettext_noop("Search apps and models..."),
    gettext_noop("Select action"),
    gettext_noop("Select action to run"),
    gettext_noop("Select all rows"),
    gettext_noop("Select record"),
    gettext_noop("Select value"),
    gettext_noop("Submit"),
    gettext_noop("System"),
    gettext_noop("This page yielded into no results. Create a new item or reset your filters."),
    gettext_noop("To"),
    gettext_noop("Toggle password visibility"),
    gettext_noop("Type to search"),
    gettext_noop("Value"),
)
"""What Unfold says and brings no translation of."""

MACHINES = (
    gettext_noop("stored"),
    gettext_noop("stored already: the peer has an object of this UID"),
    gettext_noop("user"),
    gettext_noop("patient id"),
    gettext_noop("contrast"),
    gettext_noop("skew degrees"),
)
"""What machines say in a word or two: of a C-STORE, a page's quality, a row of the trail."""

FORMS = frozenset({"peer", "rule", "alertrule", "guideline"})
"""Tables that people fill in: the help texts of the others are for whoever reads the code."""


def words() -> Iterator[str]:
    """Return every name and help text that a person may see of a table, a column or a finding."""
    yield from (label.meaning for label in LABELS)
    for holder, name in _places():
        yield str(getattr(holder, name))


def translate() -> None:
    """Have the names of tables and columns said in the language of each request.

    Migrations do not see it: they hold a column's name where it was given, in English.
    """
    for holder, name in _places():
        setattr(holder, name, gettext_lazy(str(getattr(holder, name))))


def _places() -> Iterator[tuple[Any, str]]:
    for model in _models():
        yield model._meta, "verbose_name"
        yield model._meta, "verbose_name_plural"
        for field in (*model._meta.local_fields, *model._meta.local_many_to_many):
            yield field, "verbose_name"
            if field.help_text and model._meta.model_name in FORMS:
                yield field, "help_text"


def _models() -> Iterable[type[Model]]:
    return (model for app in APPS for model in apps.get_app_config(app).get_models())
