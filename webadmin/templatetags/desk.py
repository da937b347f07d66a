"""What the Desk's templates say again and again."""

from __future__ import annotations

from typing import Any

from django import template
from django.contrib.admin.views.main import ChangeList
from django.template import RequestContext
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from gateway.states import WAITING, State
from webadmin import help, words

RESTING = [state for state in State if state not in WAITING]

register = template.Library()


@register.inclusion_tag("webadmin/badge.html")
def badge(value: words.Badge) -> dict[str, Any]:
    """Show a coloured word with its shape."""
    return {"badge": value}


@register.simple_tag(takes_context=True)
def purpose(context: RequestContext) -> SafeString:
    """Show in a sentence what this screen is for."""
    said = help.purpose(context.flatten())
    return format_html('<p class="desk-purpose">{}</p>', said) if said else mark_safe("")


@register.simple_tag(takes_context=True)
def first_step(context: RequestContext) -> str:
    """Say what to do first where this list is empty."""
    return help.first(context.flatten())


@register.filter
def status_code(value: int | None) -> str:
    """Return a DIMSE status the way DICOM writes it: ``0xA700``."""
    return "" if value is None else f"0x{value:04X}"


@register.filter
def kilobytes(value: int) -> str:
    """Return a size a person can compare: ``812 kB``, ``10.4 MB``."""
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{max(1, round(value / 1e3))} kB"


@register.filter
def dicom_date(value: str) -> str:
    """Return a date of PS3.5 section 6.2, ``20260131``, as ``2026-01-31``."""
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if len(value) == 8 else value


@register.filter
def person(name: str) -> str:
    """Return a DICOM person name (PS3.5 section 6.2.1) as people write it.

    ``Okafor^Ngozi^A`` becomes ``Okafor, Ngozi A``; a name's other scripts follow in brackets.
    """
    written = []
    for group in name.split("="):
        family, *given = (part.strip() for part in group.split("^"))
        rest = " ".join(part for part in given if part)
        written.append(", ".join(part for part in (family, rest) if part))
    first, *others = [text for text in written if text] or [""]
    return f"{first} ({', '.join(others)})" if others else first


@register.simple_tag
def state_chips(changelist: ChangeList) -> list[dict[str, Any]]:
    """Return one link a state; each keeps the other filters and the search."""
    chosen = changelist.params.get("state") or changelist.get_filters_params().get("state")
    chosen = chosen[-1] if isinstance(chosen, list) else chosen
    choices = [(None, _("All")), ("waiting", _("Waiting"))]
    choices += [(state, words.state(state).text) for state in RESTING]
    return [
        {
            "title": title,
            "link": changelist.get_query_string({"state": value} if value else {}, ["state", "p"]),
            "is_chosen": chosen == value,
        }
        for value, title in choices
    ]
