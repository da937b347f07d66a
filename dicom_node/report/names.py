"""Names of persons as people write them."""

from typing import Final

# Where the scripts of East Asia begin.
_WIDE_FROM: Final = 0x2E80


def displayed_name(name: str) -> str:
    """Return a person name as people write it (PS3.5 section 6.2.1).

    The ideographic group first, its components joined; the alphabetic one in brackets behind it.
    """
    groups = [group for group in name.split("=")[:2] if group.strip("^ ")]
    said = [_joined(group) for group in groups]
    if len(said) == 2:
        return f"{said[1]} ({said[0]})"
    return said[0] if said else ""


def _joined(group: str) -> str:
    parts = [part.strip() for part in group.split("^") if part.strip()]
    is_wide = all(ord(character) >= _WIDE_FROM for part in parts for character in part)
    return ("" if is_wide else " ").join(parts)
