"""Networks as people name them."""

from __future__ import annotations

import getpass

from gateway.models import ModelVersion


def named(text: str) -> ModelVersion:
    """Return a network by its name and version (``name@version``) or by its number.

    Raises
    ------
    ValueError
        None is called so, or several are.
    """
    if text.isdecimal():
        found = list(ModelVersion.objects.filter(pk=int(text)))
    else:
        name, _, version = text.partition("@")
        found = list(ModelVersion.objects.filter(name=name, version=version))
    if len(found) != 1:
        numbers = ", ".join(str(row.pk) for row in found) or "none"
        raise ValueError(f"expected one network called {text!r}; found {numbers}")
    return found[0]


def command_actor() -> str:
    """Return who types a command, as an actor."""
    try:
        return f"command:{getpass.getuser()}"[:64]
    except (KeyError, OSError):
        return "command"
