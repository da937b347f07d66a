"""What the Trainer does when it is rung for; the rows say what there is to do."""

from __future__ import annotations

from typing import Final

from celery import shared_task

from webadmin import curation, retraining

LONGEST_S: Final = 10 * 86_400
"""A training may take days on a small machine; how far it is stands in its row."""


@shared_task(name="webadmin.tasks.train", time_limit=LONGEST_S)
def train(run: int) -> None:  # noqa: ARG001 (the id is for whoever reads the queue)
    """Train and evaluate what waits, one after the other, until nothing does."""
    retraining.work()


@shared_task(name="webadmin.tasks.sweep_training", time_limit=LONGEST_S)
def sweep_training() -> None:
    """Take up the runs whose bell was lost, and those whose Trainer has died."""
    train(0)


@shared_task(name="webadmin.tasks.sweep_curation")
def sweep_curation() -> None:
    """Fill up the queues of ECGs that people are to read."""
    curation.fill()
