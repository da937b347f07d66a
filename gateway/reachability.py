"""Which Peers let us wait in vain: remembered in the process, so that they slow nobody else down.

A Peer that refuses a connection costs nobody time and is simply called again. One that swallows
what it is sent costs a time-out a call; after such a call it is left alone for a while, a longer
one each time, and comes last among those that are served.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from gateway.models import Peer

#: A call that failed sooner cost nobody time.
SLOW_S: Final = 0.5
FIRST_S: Final = 30.0
LONGEST_S: Final = 120.0


@dataclass(frozen=True)
class _Silence:
    """Until when (monotonic seconds) a Peer is left alone, for how long in all, and why."""

    until: float
    length_s: float
    reason: str


_silences: dict[str, _Silence] = {}
"""By title, host and port: at another address it is another Peer."""


def failed(peer: Peer, reason: str, *, after_s: float) -> None:
    """Remember that a call of `peer` brought no answer in `after_s`."""
    if after_s < SLOW_S:
        return
    last = _silences.get(str(peer))
    length_s = min(LONGEST_S, 2 * last.length_s) if last else FIRST_S
    _silences[str(peer)] = _Silence(time.monotonic() + length_s, length_s, reason)


def answered(peer: Peer) -> None:
    """Forget that `peer` did not answer."""
    _silences.pop(str(peer), None)


def is_doubtful(peer: Peer) -> bool:
    """Return whether the last call of `peer` brought no answer."""
    return str(peer) in _silences


def rest_s(peer: Peer) -> float:
    """Return for how long `peer` is still left alone; 0: it may be called."""
    silence = _silences.get(str(peer))
    return max(0.0, silence.until - time.monotonic()) if silence else 0.0


def reason(peer: Peer) -> str:
    """Return why `peer` is left alone."""
    silence = _silences.get(str(peer))
    return silence.reason if silence else ""


def forget() -> None:
    """Call every Peer again, as after a start."""
    _silences.clear()
