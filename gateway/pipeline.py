"""The steps of an ECG's life after it was received, and who drives them. No Celery here.

Each step claims rows, does its work outside any transaction, and writes what it found together
with the new state in one. Every step may die at any line and be done again by someone else: the
findings are written once with ANALYSED, the reports are composed once with REPORTED, and a
delivery repeated after a crash sends the same bytes under the same UID.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings

from gateway import leases
from gateway.analysis import analyse
from gateway.composition import compose_all
from gateway.delivery import deliver
from gateway.models import Instance
from gateway.states import State

DELIVERY_BATCH = 8


def _in_batches(state: State, limit: int, step: Callable[[list[Instance]], None]) -> int:
    """Claim and work until nothing waits in `state`; return how many rows were worked on.

    Rows that were tried before are taken alone: if one of them kills the process or spoils a
    batch, it does so to nobody else.
    """
    worked = 0
    while True:
        fresh = leases.claim(state, limit=limit, tried_before=False)
        if fresh:
            step(fresh)
        again = leases.claim(state, limit=1, tried_before=True)
        if again:
            step(again)
        if not fresh and not again:
            return worked
        worked += len(fresh) + len(again)


def analyse_waiting() -> int:
    """Analyse and compose until nothing waits; return how many rows were worked on."""
    return _in_batches(State.RECEIVED, settings.ECG_BATCH_SIZE, analyse) + _in_batches(
        State.ANALYSED, settings.ECG_BATCH_SIZE, compose_all
    )


def deliver_waiting() -> int:
    """Deliver until nothing waits; return how many rows were worked on."""
    return _in_batches(State.REPORTED, DELIVERY_BATCH, deliver)
