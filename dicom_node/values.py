"""Numbers of data elements, which may be absent, several, text, or none at all."""

import math
from typing import Any


def first_number(value: Any) -> float | None:
    """Return the first value of an element as a finite number, ``None`` without one."""
    if value is None:
        return None
    if not isinstance(value, str | int | float):
        value = next(iter(value), None)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def numbers(value: Any) -> list[float]:
    """Return the finite numbers among the values of an element."""
    several = [value] if value is None or isinstance(value, str | int | float) else list(value)
    found = [first_number(one) for one in several]
    return [number for number in found if number is not None]
