"""A question to the worklist from a process that opens no DICOM socket: the Desk.

The Desk writes the question down and rings; a Courier asks the worklist and writes the answer to
the same place, where the Desk finds it. The place is a record of Django's session store, which has
what such a note needs: it lies in the database, is signed, has a random name that cannot be
guessed, and expires. Nobody is ever signed in by it. The message carries that name and no patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog
from celery import shared_task
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore

from dicom_node.order import Order
from gateway.celery import app as celery_app

log = structlog.get_logger(__name__)

TASK: Final = "gateway.lookups.answer"
LIFETIME_S: Final = 300
PATIENCE_S: Final = 60
"""How long a question waits for a Courier; an answer to nobody is not worth asking for."""


@dataclass(frozen=True)
class Answer:
    """What the worklists have.

    Attributes
    ----------
    orders
        The one that fits, or those a person may choose from.
    problem
        Why there is not just one; empty when there is.
    """

    orders: tuple[Order, ...]
    problem: str = ""


class NotRung(RuntimeError):
    """The broker is away, so nobody hears of the question."""


def ask(typed: Order, *, asker: int, title: str = "") -> str:
    """Write a question down for a Courier and return its name.

    Parameters
    ----------
    typed
        What :func:`gateway.worklist.look_up` is asked with.
    asker
        The user who may see the answer.

    Raises
    ------
    NotRung
        Nobody can be told of it.
    """
    note = SessionStore()
    note.set_expiry(LIFETIME_S)
    note["asker"], note["typed"], note["title"] = asker, typed.as_values(), title
    note.create()
    name = str(note.session_key)
    try:
        celery_app.send_task(TASK, (name,), retry=False, ignore_result=True, expires=PATIENCE_S)
    except Exception as error:
        log.warning("broker away; the worklist is not asked", error=type(error).__name__)
        note.delete()
        raise NotRung("the broker is away") from error
    return name


def answered(name: str, *, asker: int) -> Answer | None:
    """Return the answer, once, or None while there is none.

    Raises
    ------
    KeyError
        There is no such question of this user, or not any more.
    """
    note = SessionStore(session_key=name)
    if note.get("asker") != asker:
        raise KeyError("no such question")
    if "orders" not in note:
        return None
    orders = tuple(Order.from_values(values) for values in note["orders"])
    answer = Answer(orders, str(note["problem"]))
    note.delete()
    return answer


@shared_task(name=TASK)
def answer(name: str) -> None:
    """Ask the worklists what a note says, and write what they have beside it."""
    # Whoever only asks loads nothing that opens a DICOM socket.
    from gateway import worklist

    note = SessionStore(session_key=name)
    values = note.get("typed")
    if values is None:
        return
    orders: tuple[Order, ...] = ()
    problem = ""
    try:
        orders = (worklist.look_up(Order.from_values(values), title=note["title"]),)
    except worklist.LookUpFailed as error:
        orders, problem = tuple(getattr(error, "orders", ())), str(error)
    note["orders"], note["problem"] = [order.as_values() for order in orders], problem
    try:
        note.save(must_create=False)
    except UpdateError:
        log.info("nobody waits for the worklist's answer any more")
