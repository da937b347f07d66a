"""The steps of an ECG's life after it was received, and who drives them. No Celery here.

Each step claims rows, does its work outside any transaction, and writes what it found together
with the new state in one. Every step may die at any line and be done again by someone else: the
findings are written once with ANALYSED, the reports are composed once with REPORTED, and a
delivery repeated after a crash sends the same bytes under the same UID.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from gateway import doorbell, leases
from gateway.analysis import analyse
from gateway.composition import compose
from gateway.delivery import deliver
from gateway.models import Instance
from gateway.states import State

COMPOSITION_BATCH = 16
DELIVERY_BATCH = 16
WORK_S = 60.0


@dataclass(frozen=True)
class Step:
    """One step of the life: the state it takes rows from, how many at once, and the work."""

    state: State
    limit: int
    work: Callable[[list[Instance]], None]

    def once(self) -> int:
        """Work on one batch of what waits; return how many rows that were.

        Rows that were tried before are taken alone: if one of them kills the process or spoils a
        batch, it does so to nobody else.
        """
        fresh = leases.claim(self.state, limit=self.limit, tried_before=False)
        if fresh:
            self.work(fresh)
        again = leases.claim(self.state, limit=1, tried_before=True)
        if again and not _is_spent(again[0]):
            leases.space(again[0])
            self.work(again)
        return len(fresh) + len(again)


def _until_nothing_waits(*steps: Step) -> int:
    """Take the steps in turn, a batch each, until nothing waits; return how many rows were worked.

    After a while it rings for itself and returns, so that a task that works is told from one that
    hangs.
    """
    worked, until = 0, time.monotonic() + WORK_S
    while time.monotonic() < until:
        now = sum(step.once() for step in steps)
        if not now:
            return worked
        worked += now
    doorbell.ring(0, steps[0].state)
    return worked


def _is_spent(instance: Instance) -> bool:
    """Give up on a row whose attempts ended without a word: it ends whoever works on it."""
    if instance.attempts <= settings.ECG_ATTEMPTS:
        return False
    reason = f"{settings.ECG_ATTEMPTS} attempts ended without an answer, as if the process had died"
    if instance.state == State.RECEIVED:
        # FAILED, not REJECTED: nobody has seen whether it is an ECG, so a person has to.
        limit_s = settings.ECG_PICTURE_LIMIT_S
        reason += f": the object crashes its decoder, or takes longer than {limit_s:g} s"
    leases.give_up(instance, reason, actor=leases.actor("pipeline"))
    return True


def _composition() -> Step:
    return Step(State.ANALYSED, COMPOSITION_BATCH, compose)


def _delivery() -> Step:
    return Step(State.REPORTED, DELIVERY_BATCH, deliver)


def analyse_waiting() -> int:
    """Do an Analyst's work until nothing waits; return how many rows were worked on."""
    return _until_nothing_waits(Step(State.RECEIVED, settings.ECG_BATCH_SIZE, analyse))


def compose_waiting() -> int:
    """Compose reports until nothing waits; return how many rows were worked on."""
    return _until_nothing_waits(_composition())


def deliver_waiting() -> int:
    """Deliver until nothing waits; return how many rows were worked on."""
    return _until_nothing_waits(_delivery())


def report_waiting() -> int:
    """Do a Courier's work, composing and delivering in turn, until nothing waits."""
    return _until_nothing_waits(_composition(), _delivery())
