"""The states an instance can be in, and the only table that connects them.

A state is a past participle: a fact that is true and on disk. Work in progress is a lease
(:mod:`gateway.leases`), so a process that dies leaves no row in a state that nobody leaves.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class State(models.TextChoices):
    """What is true of an instance."""

    RECEIVED = "received", _("Received")
    ANALYSED = "analysed", _("Analysed")
    REPORTED = "reported", _("Reported")
    DELIVERED = "delivered", _("Delivered")
    PROVEN = "proven", _("Proven")
    REJECTED = "rejected", _("Rejected")
    FAILED = "failed", _("Failed")
    SET_ASIDE = "set_aside", _("Set aside (conflict)")


class Event(models.TextChoices):
    """What happens to an instance."""

    ANALYSE = "analyse", _("findings stored")
    REJECT = "reject", _("not an ECG page we can read")
    COMPOSE = "compose", _("reports written")
    DELIVER = "deliver", _("reports stored by every destination")
    PROVE = "prove", _("every destination has shown that it keeps the reports")
    MISS = "miss", _("a destination does not have what it accepted")
    REVIEW = "review", _("a person verified what it shows, which is reported as well")
    GIVE_UP = "give_up", _("attempts spent or trying again cannot help")
    RESUME_ANALYSIS = "resume_analysis", _("a person asked to analyse again")
    RESUME_COMPOSITION = "resume_composition", _("a person asked to compose again")
    RESUME_DELIVERY = "resume_delivery", _("a person asked to deliver again")


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.RECEIVED, Event.ANALYSE): State.ANALYSED,
    (State.RECEIVED, Event.REJECT): State.REJECTED,
    (State.RECEIVED, Event.GIVE_UP): State.FAILED,
    (State.ANALYSED, Event.COMPOSE): State.REPORTED,
    (State.ANALYSED, Event.GIVE_UP): State.FAILED,
    (State.REPORTED, Event.DELIVER): State.DELIVERED,
    (State.REPORTED, Event.GIVE_UP): State.FAILED,
    (State.DELIVERED, Event.PROVE): State.PROVEN,
    (State.DELIVERED, Event.MISS): State.REPORTED,
    (State.PROVEN, Event.MISS): State.REPORTED,
    (State.ANALYSED, Event.REVIEW): State.ANALYSED,
    (State.REPORTED, Event.REVIEW): State.REPORTED,
    (State.DELIVERED, Event.REVIEW): State.REPORTED,
    (State.PROVEN, Event.REVIEW): State.REPORTED,
    (State.FAILED, Event.RESUME_ANALYSIS): State.RECEIVED,
    (State.FAILED, Event.RESUME_COMPOSITION): State.ANALYSED,
    (State.FAILED, Event.RESUME_DELIVERY): State.REPORTED,
}

RESUME: dict[State, Event] = {
    target: event for (origin, event), target in TRANSITIONS.items() if origin is State.FAILED
}
"""The event that leads from FAILED back to the state the instance failed in."""

WAITING = (State.RECEIVED, State.ANALYSED, State.REPORTED)
"""States from which a machine takes the next step; all others rest until a person acts."""


DONE = (State.DELIVERED, State.PROVEN)
"""States in which every destination has stored the reports, whether it has shown it or not yet."""


class IllegalTransition(ValueError):
    """An event that the table does not allow in this state."""

    def __init__(self, state: State, event: Event) -> None:
        allowed = sorted(e.value for (s, e) in TRANSITIONS if s == state) or ["none"]
        super().__init__(
            f"event {event.value!r} is not possible in state {state.value!r}; "
            f"possible: {', '.join(allowed)}"
        )


def follow(state: State, event: Event) -> State:
    """Return the state that `event` leads to from `state`; IllegalTransition if there is none."""
    try:
        return TRANSITIONS[State(state), Event(event)]
    except KeyError:
        raise IllegalTransition(State(state), Event(event)) from None


def diagram() -> str:
    """Return the table as a Mermaid state diagram, the picture in the documentation."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.RECEIVED.name}"]
    lines += [f"    {s.name} --> {t.name}: {e.value}" for (s, e), t in TRANSITIONS.items()]
    lines += [f"    {s.name} --> [*]" for s in (State.PROVEN, State.REJECTED)]
    return "\n".join(lines) + "\n"
