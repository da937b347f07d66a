"""A person changed a Peer or a rule: what waited for that goes on at once."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import m2m_changed, post_delete, post_save

from gateway import circuits, evidence, leases
from gateway.models import Peer, Rule


def watch() -> None:
    """Look again at what is held whenever a Peer or a rule is saved, in the same transaction."""
    for model in (Peer, Rule):
        post_save.connect(_look_again, sender=model, dispatch_uid=f"saved {model.__name__}")
        post_delete.connect(_look_again, sender=model, dispatch_uid=f"deleted {model.__name__}")
    post_save.connect(_ask_again, sender=Peer, dispatch_uid="proof of a saved Peer")
    named = Rule.destinations.through
    m2m_changed.connect(_look_again, sender=named, dispatch_uid="destinations of rules")


def _look_again(**_: Any) -> None:
    leases.look_again()


def _ask_again(instance: Peer, **_: Any) -> None:
    evidence.look_again(instance)
    circuits.forget(instance)
