"""The life of a training run: who may start it, who is at it, how far it is, how it ends.

A run is a row. A Trainer claims it under a lease that it renews while it works; one that dies is
followed by another, which goes on after the last epoch that was finished. What takes hours is in
:mod:`webadmin.trainer`; this module loads nothing heavy, for the Desk uses it too.
"""

from __future__ import annotations

import datetime
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from gateway import serving
from gateway.celery import app as celery_app
from gateway.leases import TEXT_LENGTH, backoff_s
from webadmin import audit
from webadmin.models import TrainingItem, TrainingRun, TrainingSet

log = structlog.get_logger(__name__)

State = TrainingRun.State
ATTEMPTS: Final = 5
"""So many in a row that finish no epoch, and a run is given up."""
ENOUGH_FOR_ALL_LAYERS: Final = 1000
"""With fewer ECGs to learn from, only the last layer learns: the others would learn them by heart,
and forget what thousands taught."""
MOST_STEPS: Final = 150


class NotStarted(ValueError):
    """A run is not to be; the message says what is missing."""


class Taken(RuntimeError):
    """Somebody else has the run, or it ended: the caller's work does not count."""


class Cancelled(RuntimeError):
    """A person asked for the end of the run."""


@dataclass(frozen=True)
class Recipe:
    """How a run trains; as `models.train.Recipe` has it.

    Attributes
    ----------
    epochs, steps, batch : int
        An epoch is `steps` batches.
    learning_rate : float
        At its highest.
    average : float
        Of the moving average of the weights, 0 to 1.
    all_layers : bool
        Whether all layers learn, or the last one alone.
    kind_pages : int
        With all layers: simulated pages of each kind that is not to be read, lest it be forgotten.
    """

    epochs: int = 12
    steps: int = 20
    batch: int = 32
    learning_rate: float = 1e-3
    average: float = 0.98
    all_layers: bool = False
    kind_pages: int = 200
    seed: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 500),
            ("steps", 1, 10_000),
            ("batch", 1, 512),
            ("learning_rate", 1e-7, 1.0),
            ("average", 0.0, 0.9999),
            ("kind_pages", 0, 5_000),
        ):
            if not low <= getattr(self, name) <= high:
                raise NotStarted(
                    f"{name}: expected {low:g} to {high:g}; received {getattr(self, name):g}"
                )


def suggested(training_set: TrainingSet) -> Recipe:
    """Return the recipe for a set of this size."""
    count = training_set.items.filter(split=TrainingItem.Split.TRAINING).count()
    steps = min(MOST_STEPS, max(10, 2 * count // Recipe.batch))
    is_large = count >= ENOUGH_FOR_ALL_LAYERS
    rate = 2e-4 if is_large else Recipe.learning_rate
    return Recipe(steps=steps, all_layers=is_large, learning_rate=rate)


def start(
    training_set: TrainingSet, user: User, recipe: Recipe | None = None, *, rings: bool = True
) -> TrainingRun:
    """Have a network trained on a frozen set, beginning from the one that serves.

    Parameters
    ----------
    training_set
    user
        Who wants it.
    recipe
        By default as :func:`suggested` for this set.
    rings
        False: no Trainer is told; the caller trains.

    Raises
    ------
    NotStarted
        The set has nothing to learn from or to calibrate by, or a run on it is under way.
    models.artifact.ArtifactError
        The network that serves is not what it should be.
    """
    splits = set(training_set.items.values_list("split", flat=True).distinct())
    for split in (TrainingItem.Split.TRAINING, TrainingItem.Split.VALIDATION):
        if split not in splits:
            raise NotStarted(f"{training_set}: expected ECGs of the split {split}; found none")
    champion = serving.champion()
    serving.verified(champion)
    with transaction.atomic():
        TrainingSet.objects.select_for_update().get(pk=training_set.pk)
        if under_way().filter(training_set=training_set).exists():
            raise NotStarted(f"a run on {training_set} is under way")
        run = TrainingRun.objects.create(
            training_set=training_set,
            start=champion,
            recipe=asdict(recipe or suggested(training_set)),
            started_by=user,
        )
        name = training_set.name
        audit.record("retrain", actor=user.get_username(), subject=run, training_set=name)
    if rings:
        ring(run)
    log.info("training run started", run=run.pk, training_set=training_set.pk)
    return run


def ring(run: TrainingRun) -> None:
    """Tell a Trainer that a run waits; a bell that is lost is rung again by the sweeper."""

    def send() -> None:
        try:
            celery_app.send_task("webadmin.tasks.train", (run.pk,), retry=False, ignore_result=True)
        except Exception as error:  # noqa: BLE001 (whatever a broker or its client answers)
            log.warning("broker away; the sweeper will ring", run=run.pk, error=repr(error))

    transaction.on_commit(send, robust=True)


def under_way() -> QuerySet[TrainingRun]:
    """Return the runs that have not come to an end."""
    return TrainingRun.objects.filter(state__in=(State.WAITING, State.TRAINING, State.TRAINED))


@transaction.atomic
def cancel(run: TrainingRun, *, actor: str) -> bool:
    """Ask for the end of a run in somebody's name; return whether there was anything to end.

    One that nobody is at ends at once, the others with the Trainer's next step.
    """
    now = timezone.now()
    held = Q(lease_token__isnull=False, lease_expires_at__gt=now)
    mine = under_way().filter(pk=run.pk)
    ended = mine.exclude(held).update(
        state=State.CANCELLED, is_cancel_asked=True, ended_at=now, time_left_s=None
    )
    asked = 0 if ended else mine.update(is_cancel_asked=True)
    if ended:
        clear(run)
    if ended or asked:
        audit.record("cancel", actor=actor, subject=run)
    run.refresh_from_db()
    return bool(ended or asked)


@transaction.atomic
def evaluate_again(run: TrainingRun, user: User) -> bool:
    """Have the candidate of a run evaluated beside the network that serves now, in one's name."""
    changed = TrainingRun.objects.filter(
        pk=run.pk, state=State.EVALUATED, candidate__isnull=False
    ).update(
        state=State.TRAINED,
        evaluation_asked_by=user,
        ended_at=None,
        attempts=0,
        is_cancel_asked=False,
    )
    if changed:
        audit.record(audit.Action.EVALUATED, actor=user.get_username(), subject=run)
        ring(run)
    run.refresh_from_db()
    return bool(changed)


def work_folder(run: TrainingRun) -> Path:
    """Return where a run keeps its pages and checkpoints while it lasts."""
    return Path(settings.ECG_MODELS_DIR) / "runs" / str(run.pk)


def clear(run: TrainingRun) -> None:
    """Remove what a run kept: pages of patients are not needed when it has ended."""
    shutil.rmtree(work_folder(run), ignore_errors=True)


# --- the Trainer ----------------------------------------------------------------------------------


def work() -> int:
    """Do what waits, one run after the other; return how many were worked on."""
    from webadmin import trainer

    count = 0
    while (run := claim()) is not None:
        count += 1
        trainer.take(run)
    return count


def claim(pk: int | None = None) -> TrainingRun | None:
    """Take the run that waits longest under a lease, and count the attempt; None: none waits."""
    now = timezone.now()
    waiting = under_way().filter(Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lte=now))
    if pk is not None:
        waiting = waiting.filter(pk=pk)
    for number in waiting.order_by("started_at", "pk").values_list("pk", flat=True):
        token = uuid.uuid4()
        taken = waiting.filter(pk=number).update(
            lease_token=token, lease_expires_at=_lease_end(), attempts=F("attempts") + 1
        )
        if taken:
            return TrainingRun.objects.select_related("training_set", "start", "candidate").get(
                pk=number, lease_token=token
            )
    return None


def _lease_end() -> datetime.datetime:
    return timezone.now() + datetime.timedelta(seconds=settings.ECG_LEASE_S)


def _held(run: TrainingRun) -> QuerySet[TrainingRun]:
    return TrainingRun.objects.filter(
        pk=run.pk, lease_token=run.lease_token, lease_token__isnull=False
    )


@contextmanager
def holding(run: TrainingRun) -> Iterator[None]:
    """Renew the caller's lease in the background: a step may take longer than one."""
    stop = threading.Event()

    def renew() -> None:
        try:
            while not stop.wait(settings.ECG_LEASE_S / 3):
                try:
                    _held(run).update(lease_expires_at=_lease_end())
                except DatabaseError as error:
                    log.warning("lease not renewed", run=run.pk, error=repr(error))
        finally:
            connection.close()

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def note(run: TrainingRun, **values: Any) -> None:
    """Write how far a run is, and hold it further.

    Raises
    ------
    Taken
        The lease ran out and another Trainer has the run.
    Cancelled
        A person asked for its end.
    """
    if not _held(run).update(lease_expires_at=_lease_end(), **values):
        raise Taken(f"training run {run.pk}: expected our lease, found another's")
    for name, value in values.items():
        setattr(run, name, value)
    if _held(run).filter(is_cancel_asked=True).exists():
        raise Cancelled(f"training run {run.pk}: its end was asked for")


def end(run: TrainingRun, state: str, *, reason: str = "") -> None:
    """Write how a run ended, let it go, and remove what it kept."""
    ended = _held(run).update(
        state=state,
        reason=reason[:TEXT_LENGTH],
        ended_at=timezone.now(),
        time_left_s=None,
        lease_token=None,
        lease_expires_at=None,
    )
    if not ended:
        return
    clear(run)
    log.info("training run ended", run=run.pk, state=state, reason=reason)


def put_back(run: TrainingRun, reason: str) -> None:
    """Let a run go until its back-off has passed, or give it up after too many attempts."""
    if run.attempts >= ATTEMPTS:
        end(run, State.FAILED, reason=f"{reason} (after {run.attempts} attempts)")
        return
    later = timezone.now() + datetime.timedelta(seconds=backoff_s(run.attempts))
    _held(run).update(lease_token=None, lease_expires_at=later, reason=reason[:TEXT_LENGTH])
    log.warning("training run put back", run=run.pk, reason=reason)


class Clock:
    """How long is left, from how fast it went so far; and when to write that down."""

    EVERY_S: Final = 2.0

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None
        self._noted = 0.0

    def is_due(self) -> bool:
        """Return whether it is time to write again."""
        now = time.monotonic()
        if now - self._noted < self.EVERY_S:
            return False
        self._noted = now
        return True

    def left_s(self, done: int, total: int) -> float | None:
        """Return the seconds left of `total` steps; None before the first could be timed."""
        now = time.monotonic()
        if self._began is None:
            # The first step compiles the network, and says nothing of the others.
            self._began = now, done
            return None
        began, first = self._began
        return (now - began) / (done - first) * (total - done) if done > first else None
