"""Which network serves, and how that changes: only for a better one, and back with one call.

The latest Promotion says it. Without one it is the network of ``ECG_MODEL_DIR``, or the one that
ships. Networks that were made here, and those that were ever replaced, are kept as artifacts under
``ECG_MODELS_DIR``: what served before can serve again, whatever a later installation ships.

How a candidate did beside the champion is judged by people's rules, in tables above this room; it
is read through the candidate's row alone.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Protocol

import structlog
from django.conf import settings
from django.db import transaction

from gateway.models import ModelVersion, Promotion
from models.artifact import Artifact, ArtifactError, default_artifact

log = structlog.get_logger(__name__)


class NotPromoted(ValueError):
    """A network is not to serve; the message says what speaks against it."""


class Evaluated(Protocol):
    """How a candidate did beside a champion, as this room has to know it."""

    pk: Any
    candidate_id: int
    training_set_id: int
    champion_id: int
    is_better: bool
    reasons: Any


def default_folder() -> Path:
    """Return the folder of the network that serves where none was promoted."""
    return Path(settings.ECG_MODEL_DIR) if settings.ECG_MODEL_DIR else default_artifact()


def row_of(artifact: Artifact) -> ModelVersion:
    """Return the row of a network, made when it is first used."""
    card = artifact.card
    row, _ = ModelVersion.objects.get_or_create(
        name=card.name,
        version=card.version,
        sha256=card.sha256,
        defaults={"card": card.as_dict()},
    )
    return row


def latest() -> Promotion | None:
    """Return the Promotion that says which network serves; None where none was promoted."""
    return Promotion.objects.select_related("model_version").first()


def champion() -> ModelVersion:
    """Return the network that serves.

    Raises
    ------
    models.artifact.ArtifactError
        None was promoted, and there is none to begin with.
    """
    promotion = latest()
    return promotion.model_version if promotion else row_of(Artifact.load(default_folder()))


def folder_of(version: ModelVersion) -> Path:
    """Return where the artifact of a network is.

    Raises
    ------
    models.artifact.ArtifactError
        It is not kept here.
    """
    if version.folder:
        return Path(settings.ECG_MODELS_DIR) / version.folder
    folder = default_folder()
    if not _is_of(Artifact.load(folder), version):
        raise ArtifactError(f"the artifact of {version} is not kept here")
    return folder


def verified(version: ModelVersion) -> Artifact:
    """Return the artifact of a network, every file held against its hash, and all against the row.

    Raises
    ------
    models.artifact.ArtifactError
        It is not kept here, or is not what it was.
    """
    artifact = Artifact.load(folder_of(version)).verify()
    if not _is_of(artifact, version):
        card = artifact.card
        raise ArtifactError(
            f"expected {version} with weights {version.sha256}; "
            f"found {card.name}@{card.version} with {card.sha256}"
        )
    return artifact


def _is_of(artifact: Artifact, version: ModelVersion) -> bool:
    card = artifact.card
    return (card.name, card.version, card.sha256) == (version.name, version.version, version.sha256)


def free_folder(name: str) -> Path:
    """Return a folder of this name under ``ECG_MODELS_DIR`` that nothing lies in yet."""
    root = Path(settings.ECG_MODELS_DIR)
    root.mkdir(parents=True, exist_ok=True)
    folder, number = root / name, 1
    while folder.exists():
        number += 1
        folder = root / f"{name}.{number}"
    return folder


def keep(version: ModelVersion) -> ModelVersion:
    """Keep a network's artifact here, if it is not: it can then serve again whatever ships."""
    if version.folder:
        return version
    artifact = verified(version)
    folder = free_folder(f"{version.name}-{version.version}")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".keeping-") as draft:
        copy = Path(draft) / folder.name
        shutil.copytree(artifact.folder, copy)
        Artifact.load(copy).verify()
        copy.rename(folder)
    version.folder = folder.name
    version.save(update_fields=["folder"])
    return version


def promote(
    version: ModelVersion, *, actor: str, reason: str, evaluation: Evaluated | None
) -> Promotion:
    """Have a network serve from now on; Analysts take it with their next batch.

    Parameters
    ----------
    actor
        Who says so.
    reason
        Why, in a sentence.
    evaluation
        What that rests on: the latest one of this network beside the one that serves now.

    Raises
    ------
    NotPromoted
        There is no reason, it serves already, it was not evaluated beside the network that serves
        now, or it is not better.
    models.artifact.ArtifactError
        Its artifact, or that of the network it replaces, is not what it should be.
    """
    reason = _reason(reason)
    with transaction.atomic():
        before = _held_champion()
        if version.pk == before.pk:
            raise NotPromoted(f"{version} serves already")
        _is_to_be_better(version, before, evaluation)
        verified(version)
        keep(before)
        promotion = Promotion.objects.create(
            model_version=version,
            previous=before,
            kind=Promotion.Kind.PROMOTED,
            actor=actor[:64],
            reason=reason,
        )
        ModelVersion.objects.filter(pk=version.pk).update(shadow_since=None)
    log.info("promoted", version=str(version), before=str(before), actor=actor)
    return promotion


def roll_back(*, actor: str, reason: str, of: ModelVersion | None = None) -> Promotion:
    """Have the network serve again that served before the latest promotion that still holds.

    Parameters
    ----------
    of
        The network that is meant to serve no longer; by default whichever does.

    Raises
    ------
    NotPromoted
        There is no reason, none served before, or `of` serves no longer.
    models.artifact.ArtifactError
        Its artifact is not what it was.
    """
    reason = _reason(reason)
    with transaction.atomic():
        now = _held_champion()
        if of is not None and of.pk != now.pk:
            raise NotPromoted(f"{of} does not serve any more; {now} does")
        before = previous()
        if before is None:
            raise NotPromoted("expected a promotion to take back; found none that holds")
        verified(before)
        promotion = Promotion.objects.create(
            model_version=before,
            previous=now,
            kind=Promotion.Kind.ROLLED_BACK,
            actor=actor[:64],
            reason=reason,
        )
    log.info("rolled back", version=str(before), before=str(now), actor=actor)
    return promotion


def previous() -> ModelVersion | None:
    """Return what a roll-back would have serve: what the latest promotion that holds replaced.

    A roll-back takes a promotion back; a second one takes back the promotion before it, and never
    brings again what was rolled back.
    """
    standing: list[Promotion] = []
    for row in Promotion.objects.select_related("previous").order_by("pk"):
        if row.kind == Promotion.Kind.PROMOTED:
            standing.append(row)
        elif standing:
            standing.pop()
    return standing[-1].previous if standing else None


def _held_champion() -> ModelVersion:
    """Return the champion while nobody else changes it; within a transaction."""
    row = champion()
    ModelVersion.objects.select_for_update().get(pk=row.pk)
    again = champion()
    if again.pk != row.pk:
        raise NotPromoted(f"{again} began to serve meanwhile; look again")
    return again


def _is_to_be_better(
    version: ModelVersion, before: ModelVersion, evaluation: Evaluated | None
) -> None:
    found = version.evaluations.filter(champion=before.pk).order_by("-pk")
    held = found.first()
    if held is None or evaluation is None:
        raise NotPromoted(f"{version} was not evaluated beside {before}, which serves now")
    if held.pk != evaluation.pk:
        raise NotPromoted(
            f"expected the latest evaluation of {version} beside {before}, number {held.pk}; "
            f"received number {evaluation.pk}"
        )
    # Of each set the latest one counts: nobody chooses the set on which it looks well.
    by_set: dict[int, Any] = {}
    for one in found:
        by_set.setdefault(one.training_set_id, one)
    for one in by_set.values():
        if not one.is_better:
            why = " ".join(str(reason) for reason in one.reasons)
            raise NotPromoted(
                f"{version} is not better than {before}, which serves now, "
                f"by evaluation {one.pk}. {why}"
            )


def _reason(text: str) -> str:
    if not text.strip():
        raise NotPromoted("expected a reason; received none")
    return text.strip()[:1000]
