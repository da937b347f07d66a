"""The pipeline's steps on their queues. A message is a doorbell: the rows say what there is to do.

``analyse`` and ``deliver`` carry the id that rang, but a worker takes what waits longest: under
load one ring does the work of many, and the rings of rows already done find nothing and cost one
query.
"""

from __future__ import annotations

from celery import shared_task
from django.core.management import call_command

from gateway import (
    alerts,
    circuits,
    custody,
    doorbell,
    heatmaps,
    leases,
    pipeline,
    proof,
    retention,
    shadow,
)
from gateway.models import Instance
from gateway.states import State

RINGS_A_SWEEP = 8
AGE_OUT_S = 60.0

CUSTODY_LIMIT_S = 4 * 3600
"""Of one look at all that a sender names, each object read from the disk."""


@shared_task(name="gateway.tasks.analyse")
def analyse(instance_id: int) -> None:  # noqa: ARG001 (the id is for whoever reads the queue)
    """Analyse what waits, batch after batch, until nothing does."""
    pipeline.analyse_waiting()


@shared_task(name="gateway.tasks.explain")
def explain(instance_id: int, key: str) -> None:
    """Draw where a network saw a finding; a person waits for it."""
    instance = Instance.objects.filter(pk=instance_id).select_related("model_version").first()
    if instance is not None:
        heatmaps.draw_apart(instance, key)


@shared_task(name="gateway.tasks.deliver")
def deliver(instance_id: int) -> None:  # noqa: ARG001
    """Compose and deliver what waits, batch after batch, until nothing does."""
    pipeline.report_waiting()


@shared_task(name="gateway.tasks.alert")
def alert(number: int) -> None:  # noqa: ARG001
    """Send the alerts that wait."""
    alerts.send_waiting()


@shared_task(name="gateway.tasks.sweep_analysis")
def sweep_analysis() -> None:
    """Ring again for received instances that nobody holds."""
    sweep((State.RECEIVED,))


@shared_task(name="gateway.tasks.read_along")
def read_along() -> None:
    """Have the networks in shadow read along, if nothing waits."""
    shadow.read_along()


@shared_task(name="gateway.tasks.sweep_delivery")
def sweep_delivery() -> None:
    """Ring again for analysed and reported instances that nobody holds."""
    circuits.try_again()
    sweep((State.ANALYSED, State.REPORTED))


@shared_task(name="gateway.tasks.prove")
def prove() -> None:
    """Ask archives to show that they keep what they took; the rest after what is delivered now."""
    if proof.prove_waiting():
        prove.delay()


@shared_task(name="gateway.tasks.sweep_proof")
def sweep_proof() -> None:
    """Ask for the proof that is due."""
    prove()


@shared_task(name="gateway.tasks.answer_custody", time_limit=CUSTODY_LIMIT_S)
def answer_custody(number: int) -> None:
    """Tell senders what we keep of what they sent; the rest after other upkeep."""
    if custody.answer_waiting():
        answer_custody.delay(number)


@shared_task(name="gateway.tasks.sweep_custody", time_limit=CUSTODY_LIMIT_S)
def sweep_custody() -> None:
    """Answer the requests whose bell was lost, and those whose time has come again."""
    custody.answer_waiting()


@shared_task(name="gateway.tasks.sweep_alerts")
def sweep_alerts() -> None:
    """Send the alerts whose bell was lost, and those whose time has come again."""
    alerts.send_waiting()


@shared_task(name="gateway.tasks.tidy")
def tidy() -> None:
    """Remove sessions that ended, and with them worklist lookups that nobody collected."""
    call_command("clearsessions")


@shared_task(name="gateway.tasks.age_out")
def age_out() -> None:
    """Remove what the retention policy says, as far as it goes in a minute; the rest in another."""
    _, is_done = retention.apply(actor=leases.actor("retention"), work_s=AGE_OUT_S)
    if not is_done:
        age_out.delay()


def sweep(states: tuple[State, ...]) -> int:
    """Ring for overdue rows in `states`; return how many rang.

    A worker that was woken works until nothing waits, so a few rings wake as many workers as
    there are; ringing for every row of a long queue would only grow the broker's.
    """
    return sum(
        doorbell.ring(pk, state)
        for state in states
        for pk in leases.overdue((state,), limit=RINGS_A_SWEEP)
    )
