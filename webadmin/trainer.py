"""What a Trainer does with a run: pages out of the spool, a training, a candidate, its evaluation.

Of each ECG only the page as the network sees it is written into the work folder (224 x 672, the
tracing alone), which nobody else may read, and which goes when the run ends.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray

from dicom_node.errors import ImageError
from gateway import serving
from gateway.models import Instance, ModelVersion
from models.artifact import Artifact, ArtifactError
from models.corpus.lessons import EXTRAS, Lessons, kind_lessons
from models.evaluation.judgement import MARK_POSITIVES
from models.labels import KEYS
from models.packet import pack, unpack
from models.page import NotReadable
from models.train import Epoch, TrainingError, train
from models.train import Recipe as TrainingRecipe
from webadmin import evaluating, export, retraining
from webadmin.models import Label, Reading, TrainingItem, TrainingRun
from webadmin.retraining import Cancelled, Clock, Recipe, State, Taken

log = structlog.get_logger(__name__)

PAGES_SHARE: Final = 0.1
"""Of a run's progress, 0 to 1, that reading the pages counts for."""
TRAINED_SHARE: Final = 0.9
"""Of a run's progress when the training is through; the evaluation is the rest."""
_PAGE: Final = (224, 672)


def take(run: TrainingRun) -> None:
    """Bring a claimed run to its end, or as far as it goes; what happened is in its row."""
    with retraining.holding(run):
        _take(run)


def _take(run: TrainingRun) -> None:
    try:
        if run.attempts > retraining.ATTEMPTS:
            raise TrainingError(f"{retraining.ATTEMPTS} attempts ended without a word")
        if run.candidate is None:
            make_candidate(run)
        evaluate_candidate(run)
    except Taken as taken:
        log.warning("training run lost", error=str(taken))
    except Cancelled:
        retraining.end(run, State.CANCELLED)
    except (TrainingError, ArtifactError, evaluating.NotEvaluated) as error:
        retraining.end(run, State.FAILED, reason=str(error))
    except Exception as error:  # one run's trouble must not end the Trainer
        log.exception("training run failed", run=run.pk)
        retraining.put_back(run, f"{type(error).__name__}: {error}")


def make_candidate(run: TrainingRun) -> ModelVersion:
    """Train, calibrate, write and register the candidate of a run.

    Raises
    ------
    TrainingError
        There is nothing to train with, or nothing to calibrate by.
    """
    work = retraining.work_folder(run)
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    retraining.note(run, state=State.TRAINING, reason="")
    fitted, check = (
        _lessons(run, TrainingItem.Split.TRAINING),
        _lessons(run, TrainingItem.Split.VALIDATION),
    )
    start = serving.verified(run.start)
    recipe = _recipe(Recipe(**run.recipe), start)
    everything = fitted
    if not recipe.frozen and run.recipe["kind_pages"]:
        everything = fitted + kind_lessons(work, each=run.recipe["kind_pages"])
    watch = _Watch(run)
    train(
        recipe,
        work,
        start=start.folder,
        lessons=(everything, check),
        on_step=watch.step,
        on_epoch=watch.epoch,
    )
    retraining.note(run, progress=TRAINED_SHARE, time_left_s=None)
    artifact = _write(run, start, (fitted, check))
    candidate = serving.row_of(artifact)
    ModelVersion.objects.filter(pk=candidate.pk).update(folder=artifact.folder.name)
    candidate.refresh_from_db()
    retraining.note(run, candidate=candidate, state=State.TRAINED, attempts=0)
    return candidate


def evaluate_candidate(run: TrainingRun) -> None:
    """Evaluate the candidate of a run beside the network that serves, on the locked test split."""
    if run.candidate is None:
        raise TrainingError("expected a candidate to evaluate; found none")
    evaluating.evaluate(
        run.candidate,
        run.training_set,
        actor=(run.evaluation_asked_by or run.started_by).get_username(),
        run=run,
        on_ecg=lambda done, total: _evaluated(run, done, total),
    )
    retraining.note(run, progress=1.0)
    retraining.end(run, State.EVALUATED)


def _evaluated(run: TrainingRun, done: int, total: int) -> None:
    if done % 8 == 0:
        retraining.note(run, progress=TRAINED_SHARE + (1 - TRAINED_SHARE) * done / total)


class _Watch:
    """Writes down how far a training is, and ends it where that was asked for."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._clock = Clock()

    def step(self, done: int, total: int) -> None:
        left_s = self._clock.left_s(done, total)
        if self._clock.is_due():
            share = PAGES_SHARE + (TRAINED_SHARE - PAGES_SHARE) * done / total
            retraining.note(self._run, progress=share, time_left_s=left_s)

    def epoch(self, epoch: Epoch) -> None:
        before = [one for one in self._run.curve if one["epoch"] < epoch.number]
        one = {
            "epoch": epoch.number,
            "training_loss": round(epoch.training_loss, 4),
            "loss": round(epoch.loss, 4),
            "auroc": round(epoch.auroc, 4),
            "seconds": round(epoch.seconds, 1),
        }
        # An epoch that is finished is one that need not be done again: the attempts count anew.
        retraining.note(self._run, curve=[*before, one], attempts=1)


def _recipe(recipe: Recipe, start: Artifact) -> TrainingRecipe:
    card = start.card
    return TrainingRecipe(
        replace(card.architecture, extra=len(EXTRAS)),
        seed=recipe.seed,
        epochs=recipe.epochs,
        steps=recipe.steps,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        warmup_epochs=min(1, recipe.epochs - 1),
        average=recipe.average,
        start=f"{card.name} {card.version}",
        frozen=not recipe.all_layers,
    )


# --- pages ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """What a label says of the ten: float32 (10,), and whether it is known."""

    targets: NDArray[np.float32]
    known: NDArray[np.float32]


def truth_of(item: TrainingItem) -> Truth:
    """Return a label as targets; what was left undecided does not count."""
    said = [item.findings.get(key, Reading.Word.UNDECIDED) for key in KEYS]
    return Truth(
        np.array([word == Reading.Word.PRESENT for word in said], np.float32),
        np.array([word != Reading.Word.UNDECIDED for word in said], np.float32),
    )


def _lessons(run: TrainingRun, split: str) -> Lessons:
    """Return the pages of a split, read from the spool once and kept in the work folder."""
    items = list(run.training_set.items.filter(split=split).select_related("instance"))
    path = retraining.work_folder(run) / f"{split}.npy"
    note = path.with_suffix(".json")
    if not note.is_file():
        array = np.lib.format.open_memmap(path, "w+", np.uint8, (len(items), *_PAGE))
        kept: list[int] = []
        for number, item in enumerate(items):
            page = page_of(item.instance)
            if page is not None:
                array[len(kept)] = page
                kept.append(item.pk)
            if number % 8 == 0:
                retraining.note(run)
        array.flush()
        note.write_text(json.dumps(kept))
    order = json.loads(note.read_text())
    if not order:
        raise TrainingError(f"expected ECGs of the split {split} that can be read; found none")
    by_pk = {item.pk: truth_of(item) for item in items}
    sources = (np.load(path, mmap_mode="r")[: len(order)],)
    targets = np.stack([by_pk[pk].targets for pk in order])
    known = np.stack([by_pk[pk].known for pk in order])
    if split == TrainingItem.Split.TRAINING:
        # The pages say nothing of what the logits after the ten answer for.
        unknown = np.zeros((len(order), len(EXTRAS)), np.float32)
        targets, known = np.hstack([targets, unknown]), np.hstack([known, unknown])
    return Lessons(sources, targets, known, tuple(f"item {pk}" for pk in order))


def page_of(instance: Instance) -> NDArray[np.uint8] | None:
    """Return the page that an ECG was read on as the network sees it, uint8 (224, 672).

    None where there is no such page any more, or where it takes two to make one ECG.
    """
    try:
        return unpack(pack(export.page_of(instance).grey))
    except (NotReadable, ImageError, OSError) as error:
        log.warning("not trained on", instance=instance.pk, error=str(error))
    return None


# --- the candidate --------------------------------------------------------------------------------


def _write(run: TrainingRun, start: Artifact, lessons: tuple[Lessons, Lessons]) -> Artifact:
    from models.evaluation.making import from_lessons

    name, version = start.card.name, next_version(run.start)
    said: dict[str, Any] = {
        "training_set": run.training_set.name,
        "training_set_sha256": run.training_set.sha256,
        "learned": judged_findings(run),
        "ecgs": {"training": len(lessons[0]), "validation": len(lessons[1])},
    }
    folder = serving.free_folder(f"{name}-{version}")
    draft = folder.with_name(f".{folder.name}.{run.pk}")
    from_lessons(
        retraining.work_folder(run),
        draft,
        lessons,
        start=start,
        name=name,
        version=version,
        training=said,
        learned=judged_findings(run),
    )
    draft.rename(folder)
    return Artifact.load(folder).verify()


def judged_findings(run: TrainingRun) -> list[str]:
    """Return the findings that the locked test split can judge, by the counts frozen with the set.

    The others are not learned: nobody would see that a network forgot them.
    """
    said = run.training_set.items.filter(
        split=TrainingItem.Split.TEST, label__source__in=Label.SETTLED
    )
    shown: Counter[str] = Counter()
    known: Counter[str] = Counter()
    for findings in said.values_list("findings", flat=True):
        shown.update(key for key, word in findings.items() if word == Reading.Word.PRESENT)
        known.update(key for key, word in findings.items() if word != Reading.Word.UNDECIDED)
    return [key for key in KEYS if min(shown[key], known[key] - shown[key]) >= MARK_POSITIVES]


def next_version(start: ModelVersion) -> str:
    """Return the version of a network that goes on from `start`: 1.2.0 -> 1.2.0+1, +2 ...

    What follows the plus is of this site, so that no version that ships can be taken for it.
    """
    base = start.version.partition("+")[0]
    taken = ModelVersion.objects.filter(name=start.name, version__startswith=f"{base}+")
    numbers = [row.rpartition("+")[2] for row in taken.values_list("version", flat=True)]
    return f"{base}+{max((int(n) for n in numbers if n.isdecimal()), default=0) + 1}"
