"""Double reading: two people who know nothing of each other read an ECG; a third decides.

An assignment is one reading that is wanted. A person takes it for a while, reads, and what follows
comes of itself: two who agree on all ten findings make a label; two who differ make an adjudication
for a third. Nobody reads an ECG twice for one queue, or decides between themselves and another.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any, Final

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from gateway.models import Instance
from webadmin import audit, labelling, queues
from webadmin.labelling import label_of, labels_of
from webadmin.models import Assignment, Deed, Label, Reading
from webadmin.queues import BLINDED, Kind, Queue, fill

__all__ = [
    "ADJUDICATE",
    "NotYours",
    "after",
    "agree",
    "check",
    "fill",
    "free",
    "held_by",
    "label_of",
    "labels_of",
    "pair_of",
    "release",
    "request",
    "take",
    "waiting_instances",
]

FOR_A_READING: Final = "assignment"
"""In the detail of a look that told nothing else than what may be told to who gives a reading."""

ADJUDICATE: Final = "webadmin.adjudicate"
READ: Final = "webadmin.add_reading"

TAKEN: Final = datetime.timedelta(minutes=30)
"""So long a reading is kept for who took it."""

_TRIES: Final = 5


class NotYours(PermissionError):
    """This reading is not this person's to give; the text says why, to them."""


def request(instances: Iterable[Instance]) -> int:
    """Want these ECGs to be read by two people, before all others; return how many are new."""
    return queues.add({row.pk: 1.0 for row in instances}, Queue.REQUESTED)


def free(user: User, *, kinds: Iterable[str] = BLINDED) -> QuerySet[Assignment]:
    """Return the readings that this person could take now, the most wanted first.

    What they have taken already counts as free; what they have read in the same queue does not,
    and neither does the other reading of a pair of which they have taken one. Whoever has looked at
    the ECG, at another time than for a reading like these, is not blinded any more.
    """
    now = timezone.now()
    mine = Q(taken_by=user)
    rows = Assignment.objects.filter(
        mine | Q(taken_by=None) | Q(taken_until=None) | Q(taken_until__lte=now),
        done_at=None,
        kind__in=list(kinds),
    )
    read = Reading.objects.filter(instance=OuterRef("instance"), reader=user)
    held = Assignment.objects.filter(
        mine, instance=OuterRef("instance"), queue=OuterRef("queue"), done_at=None
    ).exclude(pk=OuterRef("pk"))
    seen = Deed.objects.filter(
        actor=user.get_username(),
        action=audit.Action.VIEWED,
        uid=OuterRef("instance__sop_instance_uid"),
    ).exclude(detail__has_key=FOR_A_READING)
    return rows.filter(~Exists(read), ~Exists(seen), mine | ~Exists(held))


def held_by(user: User) -> QuerySet[Assignment]:
    """Return the readings that a person has taken and not given yet.

    Until then they are told nothing else of these ECGs, wherever they look.
    """
    return Assignment.objects.filter(taken_by=user, done_at=None)


def take(user: User, *, queue: str = "", kind: str = "") -> Assignment | None:
    """Take the reading that is wanted most, for half an hour; None: there is none for this person.

    Who has taken one that they have not given yet gets that one again.

    Parameters
    ----------
    queue
        Of this queue; by default of any.
    kind
        ``adjudication``; by default a blinded reading.

    Raises
    ------
    PermissionDenied
        They may not read, or not adjudicate.
    """
    is_adjudication = kind == Kind.ADJUDICATION
    if not user.has_perm(ADJUDICATE if is_adjudication else READ):
        raise PermissionDenied
    rows = free(user, kinds=(Kind.ADJUDICATION,) if is_adjudication else BLINDED)
    if queue:
        rows = rows.filter(queue=queue)
    for _ in range(_TRIES):
        begun = rows.filter(taken_by=user, taken_until__gt=timezone.now()).first()
        found = begun or rows.first()
        if found is None:
            return None
        now = timezone.now()
        # Another person may take it between the look and this; then the next one is ours.
        was_free = Q(taken_by=user) | Q(taken_by=None) | Q(taken_until=None)
        taken = Assignment.objects.filter(
            was_free | Q(taken_until__lte=now), pk=found.pk, done_at=None
        ).update(taken_by=user, taken_until=now + TAKEN)
        if taken:
            found.refresh_from_db()
            return found
    return None


def release(assignment: Assignment, user: User) -> bool:
    """Give a reading back that this person took and did not do; False: it was not theirs."""
    mine = Assignment.objects.filter(pk=assignment.pk, taken_by=user, done_at=None)
    return bool(mine.update(taken_by=None, taken_until=None))


def check(assignment: Assignment, reader: User) -> None:
    """Raise unless this person may give this reading.

    Raises
    ------
    NotYours
        It was given, somebody else has taken it, or they have read this ECG before.
    """
    if assignment.done_at is not None:
        raise NotYours("this reading was given already")
    if assignment.taken_by_id != reader.pk:
        raise NotYours("this reading is taken by somebody else, or by nobody: take it first")
    if Reading.objects.filter(instance=assignment.instance_id, reader=reader).exists():
        raise NotYours("you have read this ECG before")


@transaction.atomic
def after(reading: Reading) -> Label | Assignment | None:
    """Do what follows from a reading: a label, an adjudication, or nothing yet.

    Raises
    ------
    NotYours
        The reader has read this ECG in this queue before; nothing of it counts.
    """
    assignment = reading.assignment
    if assignment is None:
        return None
    # The two of a pair may end at the same moment: one after the other looks at both. Rows that
    # refer to this one do not wait for it, or each would for the other.
    Instance.objects.select_for_update(no_key=True).get(pk=assignment.instance_id)
    _not_twice(reading, assignment)
    Assignment.objects.filter(pk=assignment.pk, done_at=None).update(
        done_at=reading.read_at, taken_by=reading.reader
    )
    if assignment.kind == Kind.ADJUDICATION:
        return _label(reading, Label.Source.ADJUDICATED, [*pair_of(assignment), reading])
    pair = pair_of(assignment)
    if len(pair) < len(BLINDED):
        return None
    if agree(*pair):
        return _label(reading, Label.Source.AGREED, pair)
    wanted, _ = Assignment.objects.get_or_create(
        instance_id=assignment.instance_id,
        queue=assignment.queue,
        kind=Kind.ADJUDICATION,
        defaults={"priority": assignment.priority},
    )
    return wanted


def waiting_instances() -> QuerySet[Assignment, int]:
    """Return the ids of the ECGs that are still to be read: their pictures do not age out."""
    return Assignment.objects.filter(done_at=None).order_by().values_list("instance_id", flat=True)


def pair_of(assignment: Assignment) -> list[Reading]:
    """Return the first and the second reading that an assignment is or decides about."""
    rows = Reading.objects.filter(
        assignment__instance=assignment.instance_id,
        assignment__queue=assignment.queue,
        assignment__kind__in=BLINDED,
    )
    return sorted(
        rows.select_related("assignment", "reader"), key=lambda row: _kind(row) != Kind.FIRST
    )


def agree(one: Reading, other: Reading) -> bool:
    """Return whether two readings say the same of all ten findings."""
    return _said(one) == _said(other)


def _said(reading: Reading) -> tuple[bool, dict[str, Any]]:
    is_unreadable = reading.decision == Reading.Decision.UNREADABLE
    return is_unreadable, {} if is_unreadable else dict(reading.findings)


def _kind(reading: Reading) -> str:
    return reading.assignment.kind if reading.assignment else ""


def _not_twice(reading: Reading, assignment: Assignment) -> None:
    others = Reading.objects.filter(
        assignment__instance=assignment.instance_id, assignment__queue=assignment.queue
    ).exclude(pk=reading.pk)
    if others.filter(reader=reading.reader_id).exists():
        raise NotYours("you have read this ECG in this queue before")


def _label(reading: Reading, source: str, readings: list[Reading]) -> Label:
    is_unreadable = reading.decision == Reading.Decision.UNREADABLE
    return labelling.write(
        reading.instance,
        labelling.UNDECIDED if is_unreadable else reading.findings,
        source=source,
        decided_by=reading.reader,
        readings=readings,
        comment=labelling.UNREADABLE_COMMENT if is_unreadable else reading.comment,
    )
