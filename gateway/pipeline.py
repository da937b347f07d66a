"""The steps of an ECG's life after it was received, and who drives them. No Celery here.

Each step claims rows, does its work outside any transaction, and writes what it found together
with the new state in one. Every step may die at any line and be done again by someone else: the
findings are written once with ANALYSED, the reports are composed once with REPORTED, and a
delivery repeated after a crash sends the same bytes under the same UID.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings

from gateway import doorbell, leases
from gateway.analysis import analyse
from gateway.composition import compose_all
from gateway.delivery import deliver
from gateway.models import Instance
from gateway.states import State

DELIVERY_BATCH = 8
WORK_S = 60.0


def _in_batches(state: State, limit: int, step: Callable[[list[Instance]], None]) -> int:
    """Claim and work until nothing waits in `state`; return how many rows were worked on.

    Rows that were tried before are taken alone: if one of them kills the process or spoils a
    batch, it does so to nobody else. After a while it rings for itself and returns, so that a task
    that works is told from one that hangs.
    """
    worked, until = 0, time.monotonic() + WORK_S
    while time.monotonic() < until:
        fresh = leases.claim(state, limit=limit, tried_before=False)
        if fresh:
            step(fresh)
        again = leases.claim(state, limit=1, tried_before=True)
        if again and not _is_spent(again[0]):
            step(again)
        if not fresh and not again:
            return worked
        worked += len(fresh) + len(again)
    doorbell.ring(0, state)
    return worked


def _is_spent(instance: Instance) -> bool:
    """Give up on a row whose attempts ended without a word: it ends whoever works on it."""
    if instance.attempts <= settings.ECG_ATTEMPTS:
        return False
    reason = f"{settings.ECG_ATTEMPTS} attempts ended without an answer, as if the process had died"
    leases.give_up(instance, reason, actor=leases.actor("pipeline"))
    return True


def analyse_waiting() -> int:
    """Analyse and compose until nothing waits; return how many rows were worked on."""
    return _in_batches(State.RECEIVED, settings.ECG_BATCH_SIZE, analyse) + _in_batches(
        State.ANALYSED, settings.ECG_BATCH_SIZE, compose_all
    )


def deliver_waiting() -> int:
    """Deliver until nothing waits; return how many rows were worked on."""
    return _in_batches(State.REPORTED, DELIVERY_BATCH, deliver)
