"""Numbers of the curation pages: shares, kappas, and the lengths of their bars."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def percent(value: float | None) -> str:
    """Return a share, 0..1, as ``87.5%``."""
    return "–" if value is None else f"{value:.1%}"


@register.filter
def percent_range(edges: tuple[float, float] | None) -> str:
    """Return an interval of shares as ``71.3 – 95.0%``."""
    return "–" if edges is None else f"{100 * edges[0]:.1f} – {edges[1]:.1%}"


@register.filter
def number(value: float | None) -> str:
    """Return a number with two places."""
    return "–" if value is None else f"{value:.2f}"


@register.filter
def plain(value: float) -> str:
    """Return a coordinate the way SVG reads it, whatever the language of the page."""
    return f"{value:.3f}"


@register.filter
def bar_start(value: float) -> str:
    """Return where a bar from zero to a value begins."""
    return plain(min(0.0, value))


@register.filter
def bar_width(value: float) -> str:
    """Return how long a bar from zero to a value is; a trace of it shows even at zero."""
    return plain(max(0.02, abs(value)))
