"""Tables that read well as plain text and as Markdown."""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out cells in columns of equal width, as a Markdown table.

    Raises
    ------
    ValueError
        If a row has not as many cells as the head.
    """
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"expected {len(head)} cells; received {len(row)}: {row}")
    widths = [max(3, *(_width(line[at]) for line in (head, *rows))) for at in range(len(head))]
    lines = [_line(head, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (w - _width(cell)) for cell, w in zip(cells, widths, strict=True)]
    return "| " + " | ".join(padded) + " |"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def three(value: float | None) -> str:
    """Three digits; a dash for what is not known."""
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def percent(value: float | None) -> str:
    """Per cent with one digit; a dash for what is not known."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f} %"


def between(figures: Mapping[str, Any], name: str) -> str:
    """A figure with its interval, as far as they are known."""
    low, high = figures.get(f"{name}_interval") or (None, None)
    bounds = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    return three(figures.get(name)) + bounds
