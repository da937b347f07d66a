"""Ring for a row that waits. Ringing may fail; the row still waits and the sweeper rings again."""

from __future__ import annotations

import time

import structlog
from kombu.exceptions import OperationalError

from gateway.states import State

log = structlog.get_logger(__name__)

SILENCE_S = 5.0
"""After a failed ring the bell rests so long, so that a broker that swallows connections costs a
burst of C-STOREs one timeout, not one each."""

_silent_until = 0.0


def ring(instance_id: int, state: State) -> bool:
    """Tell the worker of `state` that a row waits; never raises for a broker that is away.

    Returns
    -------
    bool
        Whether the message was handed to the broker.
    """
    global _silent_until
    from gateway import tasks

    task = tasks.FOR_STATE.get(state)
    if task is None or time.monotonic() < _silent_until:
        return False
    try:
        task.apply_async((instance_id,), retry=False, ignore_result=True)
    except (OperationalError, OSError) as error:
        _silent_until = time.monotonic() + SILENCE_S
        log.warning("broker away; the sweeper will ring", instance=instance_id, error=str(error))
        return False
    return True
