"""A candidate beside the network that serves, on the locked test split: is it better?

Both read each object whole, as an Analyst does. Every opening of the split is written down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import structlog
from django.db import transaction

from dicom_node.errors import ImageError
from gateway import network, pages, serving
from gateway.models import ModelVersion, Promotion
from gateway.reading import ObjectReading, read_objects
from gateway.retention import picture_file
from models.artifact import Artifact, judged
from models.labels import KEYS
from webadmin import audit
from webadmin.models import Evaluation, Label, TrainingItem, TrainingRun, TrainingSet

log = structlog.get_logger(__name__)

ENOUGH_TO_VALIDATE: Final = 20
"""A finding with fewer ECGs that show it in the test split is not validated."""


class NotEvaluated(ValueError):
    """There is nothing to evaluate on, or with; the message says what is missing."""


def evaluate(
    candidate: ModelVersion,
    training_set: TrainingSet,
    *,
    actor: str,
    run: TrainingRun | None = None,
    on_ecg: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a network beside the one that serves now, and write that down.

    Parameters
    ----------
    candidate
        Its artifact is kept here.
    training_set
        Whose locked test split is opened.
    actor
        Who wants to know.
    run
        What made the candidate, where this is the end of it.
    on_ecg
        Called after each ECG with how many are done, and of how many. What it raises ends it.

    Raises
    ------
    NotEvaluated
        It is the network that serves, or no ECG of the split can be read any more.
    models.artifact.ArtifactError
        The artifact of one of the two is not what it should be.
    """
    from models.evaluation.contest import Margins, Side, contest
    from models.evaluation.judgement import Answers, Truth
    from webadmin import trainer, trainingsets

    champion = serving.champion()
    if champion.pk == candidate.pk:
        raise NotEvaluated(f"{candidate} serves; there is nothing to evaluate it beside")
    two = [network.load(candidate), network.load(champion)]
    purpose = f"{candidate} beside {champion}"
    opened = trainingsets.open_test_split(training_set, actor=actor, purpose=purpose, run=run)
    # Sets may be older than the rule that they freeze no others there.
    items = list(opened.filter(label__source__in=Label.SETTLED))
    read, answers = _read(items, two, on_ecg)
    if not read:
        raise NotEvaluated(f"{training_set}: expected ECGs of the test split that can be read")
    known = [trainer.truth_of(item) for item in read]
    truth = Truth(
        np.stack([one.targets for one in known]),
        np.stack([one.known for one in known]),
        tuple(item.patient_sha256 for item in read),
        tuple(str(item.pk) for item in read),
    )
    ours, theirs = (
        Side(
            Answers(np.stack([p for p, _ in side]), tuple(reason for _, reason in side)),
            loaded.predictor.card.calibration.threshold,
        )
        for side, loaded in zip(answers, two, strict=True)
    )
    ended = contest(ours, theirs, truth, Margins(), missing=len(items) - len(read))
    _tell_in_card(candidate, ended.results)
    with transaction.atomic():
        evaluation = Evaluation.objects.create(
            training_set=training_set,
            candidate=candidate,
            champion=champion,
            results=ended.results,
            is_better=ended.is_better,
            reasons=list(ended.reasons),
        )
        audit.record(
            "evaluate",
            actor=_name(actor),
            subject=evaluation,
            candidate=str(candidate),
            champion=str(champion),
            training_set=training_set.name,
            is_better=ended.is_better,
        )
    log.info("evaluated", evaluation=evaluation.pk, is_better=ended.is_better)
    return evaluation


Answer = tuple[Any, str]
"""Ten probabilities, NaN where refused, and why it was."""


def _read(
    items: Sequence[TrainingItem],
    networks: Sequence[network.Network],
    on_ecg: Callable[[int, int], None] | None,
) -> tuple[list[TrainingItem], list[list[Answer]]]:
    """Have each network read the ECGs; those whose bytes are gone are left out for both."""
    read: list[TrainingItem] = []
    answers: list[list[Answer]] = [[] for _ in networks]
    for number, item in enumerate(items, start=1):
        try:
            found = list(pages.pages(picture_file(item.instance)))
        except (ImageError, OSError) as error:
            log.warning("not evaluated on", instance=item.instance_id, error=str(error))
            found = []
        if found:
            read.append(item)
            for side, one in zip(answers, networks, strict=True):
                side.append(_answer(read_objects([found], one.predictor.classify)[0]))
        if on_ecg is not None:
            on_ecg(number, len(items))
    return read, answers


def _answer(reading: ObjectReading) -> Answer:
    by_key = {placed.finding.key: placed.finding.probability for placed in reading.findings}
    return np.array([by_key.get(key, np.nan) for key in KEYS]), reading.reason or ""


def _tell_in_card(candidate: ModelVersion, results: dict[str, Any]) -> None:
    """Let the card of a network that was made here say how it was judged, the first time."""
    from models.evaluation.site_card import write_site_card

    artifact = serving.verified(candidate)
    if not candidate.folder or "test" in artifact.card.metrics:
        return
    test = {key: found["candidate"] for key, found in results["findings"].items()}
    card = replace(
        artifact.card,
        metrics={**artifact.card.metrics, "test": test},
        validated={key: test[key]["positives"] >= ENOUGH_TO_VALIDATE for key in KEYS},
    )
    made: Artifact = judged(artifact, card, page=write_site_card(card))
    ModelVersion.objects.filter(pk=candidate.pk).update(card=made.card.as_dict())


def latest(candidate: ModelVersion, champion: ModelVersion | None = None) -> Evaluation | None:
    """Return the latest evaluation of a network beside another, by default what serves now."""
    champion = champion or serving.champion()
    return Evaluation.objects.filter(candidate=candidate, champion=champion).first()


def promote(version: ModelVersion, *, actor: str, reason: str) -> Promotion:
    """Promote a network on the strength of its latest evaluation beside the one that serves.

    Raises
    ------
    gateway.serving.NotPromoted, models.artifact.ArtifactError
        See :func:`gateway.serving.promote`.
    """
    with transaction.atomic():
        promotion = serving.promote(version, actor=actor, reason=reason, evaluation=latest(version))
        _record("promote", promotion)
    return promotion


def is_to_be_promoted(candidate: ModelVersion, champion: ModelVersion) -> bool:
    """Return whether a network was better than another in its latest evaluation on each set."""
    rows = Evaluation.objects.filter(candidate=candidate, champion=champion).order_by("pk")
    by_set = dict(rows.values_list("training_set", "is_better"))
    return bool(by_set) and all(by_set.values())


def roll_back(*, actor: str, reason: str, of: ModelVersion | None = None) -> Promotion:
    """Take the latest promotion back; with `of` only while that network serves.

    Raises
    ------
    gateway.serving.NotPromoted, models.artifact.ArtifactError
        See :func:`gateway.serving.roll_back`.
    """
    with transaction.atomic():
        promotion = serving.roll_back(actor=actor, reason=reason, of=of)
        _record("roll_back", promotion)
    return promotion


def _record(action: str, promotion: Promotion) -> None:
    audit.record(
        action,
        actor=_name(promotion.actor),
        subject=promotion,
        version=str(promotion.model_version),
        reason=promotion.reason,
    )


def _name(actor: str) -> str:
    """Return a person's name as the trail has it."""
    return actor.removeprefix("user:")
