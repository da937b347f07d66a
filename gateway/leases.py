"""Who may work on a row: claim, advance, postpone, give up.

A claim is one conditional UPDATE that sets a token and an expiry; whoever gets zero rows lost the
race. Every later write is conditional on the same state *and* token, so a worker whose lease ran
out while it slept changes nothing. Retrying is a matter of the row alone (``attempts``,
``not_before``, ``last_error``): there is no second retry layer above or below it.
"""

from __future__ import annotations

import datetime
import os
import random
import socket
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from gateway.models import Instance, Transition
from gateway.states import RESUME, WAITING, Event, State, follow

log = structlog.get_logger(__name__)

MAX_BACKOFF_S = 3600.0
CONFIGURATION_S = 120.0
TEXT_LENGTH = 300


class LeaseLost(RuntimeError):
    """The row moved on, or its lease ran out and was taken: the caller's work does not count."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(
            f"instance {instance.pk}: expected state {instance.state!r} under our lease, "
            "found it taken or moved on"
        )


def actor(role: str) -> str:
    """Return who writes a transition: the role and the process that has it."""
    return f"{role}@{socket.gethostname()}:{os.getpid()}"[:64]


def claimable(state: State, now: datetime.datetime) -> QuerySet[Instance]:
    """Return the rows in `state` that nobody holds and whose time has come."""
    return Instance.objects.filter(
        Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lte=now),
        state=state,
        not_before__lte=now,
    )


def claim(
    state: State,
    *,
    limit: int = 1,
    ids: list[int] | None = None,
    tried_before: bool | None = None,
    lease_s: float | None = None,
) -> list[Instance]:
    """Take up to `limit` waiting rows, oldest first, and count the attempt.

    Parameters
    ----------
    state
        The state to claim in.
    limit
        At most so many rows.
    ids
        Only these rows, where given.
    tried_before
        True: only rows that were attempted before; False: only rows that were not. An attempt
        counts when it begins, so a row that killed its worker is known by it.
    lease_s
        How long the claim holds; default ``ECG_LEASE_S``.

    Returns
    -------
    list of Instance
        The rows now leased to the caller, each with its ``lease_token``. May be empty.
    """
    now = timezone.now()
    token = uuid.uuid4()
    waiting = claimable(state, now)
    if ids is not None:
        waiting = waiting.filter(pk__in=ids)
    if tried_before is not None:
        waiting = waiting.filter(**{"attempts__gt" if tried_before else "attempts": 0})
    first = waiting.order_by("not_before", "pk").values_list("pk", flat=True)

    def take(pks: list[int]) -> int:
        return waiting.filter(pk__in=pks).update(
            lease_token=token,
            lease_expires_at=now
            + datetime.timedelta(seconds=settings.ECG_LEASE_S if lease_s is None else lease_s),
            attempts=F("attempts") + 1,
            is_held=False,
        )

    if connection.features.has_select_for_update_skip_locked:
        with transaction.atomic():
            pks = list(first.select_for_update(skip_locked=True)[:limit])
            taken = take(pks) if pks else 0
    else:
        # SQLite lets one writer in at a time. Most rings find nothing, and need not queue to learn
        # that; who comes second to the same rows looks again.
        pks, taken = list(first[:limit]), 0
        while pks and not (taken := take(pks)):
            pks = list(first[:limit])
    if not taken:
        return []
    # By their ids: most rows have no token, and a database that counted them will not look it up.
    rows = Instance.objects.filter(pk__in=pks, lease_token=token, state=state)
    return list(rows.select_related("study", "model_version").order_by("pk"))


def renew(batch: Sequence[Instance], *, lease_s: float) -> None:
    """Hold the caller's rows for `lease_s` from now; a row that was lost stays lost."""
    now = timezone.now()
    for token in {row.lease_token for row in batch if row.lease_token}:
        held = [row.pk for row in batch if row.lease_token == token]
        Instance.objects.filter(pk__in=held, lease_token=token, lease_expires_at__gt=now).update(
            lease_expires_at=now + datetime.timedelta(seconds=lease_s)
        )


def _held(instance: Instance) -> QuerySet[Instance]:
    return Instance.objects.filter(
        pk=instance.pk,
        state=instance.state,
        lease_token=instance.lease_token,
        lease_token__isnull=False,
        lease_expires_at__gt=timezone.now(),
    )


def _move(
    instance: Instance, event: Event, *, actor: str, detail: str, changes: Mapping[str, Any]
) -> Transition:
    """Follow `event` from the caller's leased row; LeaseLost if it is no longer the caller's.

    Returns the line of its life that is to be written, too.
    """
    now = timezone.now()
    origin, target = State(instance.state), follow(State(instance.state), event)
    values: dict[str, Any] = {
        "state": target,
        "state_since": now,
        "attempts": 0,
        "not_before": now,
        "last_error": "",
        "lease_token": None,
        "lease_expires_at": None,
        **changes,
    }
    if not _held(instance).update(**values):
        raise LeaseLost(instance)
    for name, value in values.items():
        setattr(instance, name, value)
    return _transition(instance, origin, target, event=event, actor=actor, detail=detail, at=now)


def append_transition(
    instance: Instance,
    origin: State | None,
    target: State,
    *,
    event: str,
    actor: str,
    detail: str = "",
    at: datetime.datetime | None = None,
) -> None:
    """Append one line to the life of `instance`."""
    _transition(
        instance, origin, target, event=event, actor=actor, detail=detail, at=at or timezone.now()
    ).save(force_insert=True)


def _transition(
    instance: Instance,
    origin: State | None,
    target: State,
    *,
    event: str,
    actor: str,
    detail: str,
    at: datetime.datetime,
) -> Transition:
    return Transition(
        instance=instance,
        at=at,
        from_state=origin or "",
        to_state=target,
        event=event,
        actor=actor,
        detail=detail[:TEXT_LENGTH],
    )


def advance(
    instance: Instance,
    event: Event,
    *,
    actor: str,
    detail: str = "",
    lines: list[Transition] | None = None,
    **changes: Any,
) -> None:
    """Move a leased row along `event`, write `changes` with it, and let it go.

    Call it inside the transaction that writes what the new state claims to be true.

    Parameters
    ----------
    lines
        Where given, the line of the row's life is added to it, and not written: the caller writes
        those of a batch at once, in the same transaction.

    Raises
    ------
    LeaseLost
        The lease ran out or the row moved on; roll back.
    IllegalTransition
        The table has no such event in this state.
    """
    if lines is not None:
        lines.append(_move(instance, event, actor=actor, detail=detail, changes=changes))
        return
    with transaction.atomic():
        line = _move(instance, event, actor=actor, detail=detail, changes=changes)
        line.save(force_insert=True)


def backoff_s(attempts: int) -> float:
    """Return the wait after so many attempts: doubled with each, from ``ECG_BACKOFF_S`` to an hour.

    It is spread by half of itself, so that rows that failed together do not return together.
    """
    wait_s = min(MAX_BACKOFF_S, float(settings.ECG_BACKOFF_S * 2.0 ** (attempts - 1)))
    return wait_s * random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)


def space(instance: Instance) -> None:
    """Put off the next attempt at a leased row before this one, in case it ends its process.

    Whatever the attempt says of itself takes the place of this. Else a picture that hangs would be
    back as soon as its lease ran out, and the others would wait for it again and again.
    """
    later = timezone.now() + datetime.timedelta(seconds=backoff_s(instance.attempts))
    _held(instance).update(not_before=later)


def postpone(instance: Instance, error: str, *, actor: str, gives_up: bool = True) -> bool:
    """Let a leased row go until its back-off has passed, or give up when attempts are spent.

    Parameters
    ----------
    gives_up
        False: it is tried for as long as it takes, for the trouble is not its own.

    Returns
    -------
    bool
        True: it will be tried again. False: it was given up.
    """
    is_spent = instance.attempts >= settings.ECG_ATTEMPTS
    if is_spent and gives_up:
        give_up(instance, f"{error} (after {instance.attempts} attempts)", actor=actor)
        return False
    wait_s = backoff_s(instance.attempts)
    changed = _held(instance).update(
        lease_token=None,
        lease_expires_at=None,
        attempts=instance.attempts - is_spent,
        last_error=error[:TEXT_LENGTH],
        not_before=timezone.now() + datetime.timedelta(seconds=wait_s),
    )
    if not changed:
        raise LeaseLost(instance)
    log.info("postponed", instance=instance.pk, wait_s=round(wait_s, 1), error=error)
    return True


def put_back(instance: Instance, error: Exception, who: str) -> None:
    """Postpone a row after `error`; what cannot even be written is left to its lease."""
    try:
        postpone(instance, f"{type(error).__name__}: {error}", actor=who)
    except (LeaseLost, DatabaseError) as second:
        log.warning("left to its lease", instance=instance.pk, error=repr(second))


def wait_for_configuration(instance: Instance, what: str) -> None:
    """Let a leased row go because a person has to configure something first; no attempt counts.

    It is looked at again when a Peer or a rule is saved, and now and then without that: rows that
    only wait must not come before those that can go on.
    """
    hold(instance, what, wait_s=CONFIGURATION_S)


def hold(instance: Instance, what: str, *, wait_s: float) -> None:
    """Let a leased row go for `wait_s` because nothing could be tried; no attempt counts."""
    _held(instance).update(
        lease_token=None,
        lease_expires_at=None,
        attempts=F("attempts") - 1,
        is_held=True,
        last_error=what[:TEXT_LENGTH],
        not_before=timezone.now() + datetime.timedelta(seconds=wait_s),
    )


def look_again() -> int:
    """Let the reported rows go on at once that were held without an attempt; return how many."""
    now = timezone.now()
    held = Instance.objects.filter(state=State.REPORTED, is_held=True, not_before__gt=now)
    return held.update(not_before=now)


def give_up(instance: Instance, reason: str, *, actor: str) -> None:
    """Move a leased row to FAILED with its reason; a person can resume it."""
    advance(
        instance,
        Event.GIVE_UP,
        actor=actor,
        detail=reason,
        failed_in=instance.state,
        reason=reason[:TEXT_LENGTH],
        last_error=reason[:TEXT_LENGTH],
    )
    log.warning("gave up", instance=instance.pk, failed_in=instance.failed_in, reason=reason)


def resume(instance: Instance, *, actor: str, detail: str = "") -> bool:
    """Bring a FAILED row back to where it failed; False when it is no longer FAILED."""
    if instance.state != State.FAILED:
        return False
    origin, target = State.FAILED, State(instance.failed_in)
    now = timezone.now()
    with transaction.atomic():
        changed = Instance.objects.filter(pk=instance.pk, state=origin).update(
            state=follow(origin, RESUME[target]),
            state_since=now,
            attempts=0,
            not_before=now,
            reason="",
            last_error="",
            failed_in="",
            lease_token=None,
            lease_expires_at=None,
        )
        if changed:
            event = RESUME[target]
            append_transition(
                instance, origin, target, event=event, actor=actor, detail=detail, at=now
            )
    instance.refresh_from_db()
    return bool(changed)


def overdue(states: tuple[State, ...] = WAITING, *, limit: int = 1000) -> list[int]:
    """Return ids of waiting rows that nobody holds and whose time has come, oldest first."""
    now = timezone.now()
    ids: list[int] = []
    for state in states:
        rows = claimable(state, now).order_by("not_before", "pk")
        ids += rows.values_list("pk", flat=True)[: limit - len(ids)]
    return ids
