"""Many numbers in few letters: ``1-200,205`` is 1 to 200 and 205."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator


def write(numbers: Iterable[int]) -> str:
    """Return numbers in ascending order as spans."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def read(text: str) -> Iterator[range]:
    """Return the spans of a text as ranges.

    Raises
    ------
    ValueError
        The text is none that :func:`write` makes.
    """
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if found is None:
            raise ValueError(f"expected numbers as 1-200,205, received {part!r}")
        yield range(int(found[1]), int(found[2] or found[1]) + 1)
