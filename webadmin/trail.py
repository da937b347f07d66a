"""The life of one instance as a timeline: what happened, when, by whom, how long it took."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from gateway import retention
from gateway.models import Peer, Transition
from gateway.states import Event
from webadmin import words

ARRIVAL = "receive"
"""The one event that leads from nothing, and so is not in the table of transitions."""


_BYTES = {
    retention.AGED_OUT: gettext_noop("its bytes were removed by the retention policy"),
    retention.RESTORED: gettext_noop("sent again after that, and kept again"),
    retention.COMMITTED: gettext_noop("its sender was promised that it is kept"),
}


@dataclass(frozen=True)
class Step:
    """One transition, and the time since the one before."""

    badge: words.Badge
    what: str
    at: datetime.datetime
    waited: str
    actor: str
    detail: str


def steps(transitions: Iterable[Transition]) -> list[Step]:
    """Return the transitions of an instance, oldest first, as steps."""
    told: list[Step] = []
    before: datetime.datetime | None = None
    for row in transitions:
        told.append(
            Step(
                badge=words.state(row.to_state),
                what=describe(row.event),
                at=row.at,
                waited="" if before is None else span(row.at - before),
                actor=row.actor,
                detail=row.detail,
            )
        )
        before = row.at
    return told


def describe(event: str) -> str:
    """Return an event in words; its bare name when it is none of the table's."""
    if event == ARRIVAL:
        return _("arrived by C-STORE")
    if event in _BYTES:
        return _(_BYTES[event])
    return str(Event(event).label) if event in Event.values else event.replace("_", " ")


def span(duration: datetime.timedelta) -> str:
    """Return a duration in the unit a person would use: ``0.4 s``, ``12 min``, ``3.5 h``."""
    seconds = max(0.0, duration.total_seconds())
    if seconds < 60:
        return _("%.1f s") % seconds
    if seconds < 3600:
        return _("%.0f min") % (seconds / 60)
    if seconds < 48 * 3600:
        return _("%.1f h") % (seconds / 3600)
    return _("%.0f days") % (seconds / 86400)


def silence(peer: Peer) -> words.Badge | None:
    """Return the badge of a Peer that does not answer; None of one that does, or was not called."""
    row = getattr(peer, "circuit", None)
    if row is None or row.opened_at is None or row.address != str(peer):
        return None
    length = span(timezone.now() - row.opened_at)
    return words.Badge(_("no answer for %s") % length, "bad", "link_off", title=row.reason)
