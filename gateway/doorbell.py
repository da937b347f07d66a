"""Ring for a row that waits. Ringing may fail; the row still waits and the sweeper rings again."""

from __future__ import annotations

import time
from typing import Final

import structlog

from gateway.celery import app as celery_app
from gateway.states import State

log = structlog.get_logger(__name__)

# By name: whoever rings, the Desk for one, must not load what the workers need for the work.
TASKS: Final = {
    State.RECEIVED: "gateway.tasks.analyse",
    State.ANALYSED: "gateway.tasks.deliver",
    State.REPORTED: "gateway.tasks.deliver",
}
"""The task that takes the next step from each waiting state."""

ALERT: Final = "gateway.tasks.alert"
CUSTODY: Final = "gateway.tasks.answer_custody"

SILENCE_S = 5.0
"""After a failed ring the bell rests so long, so that a broker that swallows connections costs a
burst of C-STOREs one timeout, not one each."""

_silent_until = 0.0


def ring(instance_id: int, state: State, *, in_s: float = 0.0) -> bool:
    """Tell the worker of `state` that a row waits; never raises for a broker that is away.

    Parameters
    ----------
    in_s
        The worker starts no sooner, in seconds.

    Returns
    -------
    bool
        Whether the message was handed to the broker.
    """
    task = TASKS.get(state)
    return task is not None and _send(task, instance_id, in_s)


def ring_alert(number: int) -> bool:
    """Tell a Herald that an alert waits; as :func:`ring`."""
    return _send(ALERT, number)


def ring_custody(number: int, *, in_s: float = 0.0) -> bool:
    """Tell a Steward that a sender waits to hear what we keep; as :func:`ring`."""
    return _send(CUSTODY, number, in_s)


def _send(task: str, number: int, in_s: float = 0.0) -> bool:
    global _silent_until
    if time.monotonic() < _silent_until:
        return False
    try:
        celery_app.send_task(
            task, (number,), countdown=in_s or None, retry=False, ignore_result=True
        )
    except Exception as error:  # noqa: BLE001 (whatever a broker or its client answers)
        _silent_until = time.monotonic() + SILENCE_S
        log.warning("broker away; the sweeper will ring", number=number, error=repr(error))
        return False
    return True
