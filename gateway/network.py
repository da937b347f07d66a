"""The networks of this process: loaded once, at the first picture, their hashes verified."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from gateway import serving
from gateway.models import ModelVersion, Promotion
from models.predict import Predictor


@dataclass(frozen=True)
class Network:
    """A loaded network and its row."""

    predictor: Predictor
    version: ModelVersion


def artifact() -> Path:
    """Return the folder of the network that serves where none was promoted."""
    return serving.default_folder()


@functools.lru_cache(maxsize=1)
def predictor() -> Predictor:
    """Return that network; loading takes a moment, so it happens in the child that needs it."""
    return Predictor(artifact())


@functools.lru_cache(maxsize=1)
def model_version() -> ModelVersion:
    """Return the row of that network, made when it is first used."""
    return serving.row_of(predictor().artifact)


_promoted: tuple[object, Network] | None = None


def in_service() -> Network:
    """Return the network that serves now; ask once a batch, and read all of the batch with it.

    One query tells whether it is still the one this process has.

    Raises
    ------
    models.artifact.ArtifactError
        What was promoted is not what it was. Another network never stands in for it.
    """
    global _promoted
    key = Promotion.objects.values_list("pk", "at", "model_version").first()
    if key is None:
        return Network(predictor(), model_version())
    if _promoted is None or _promoted[0] != key:
        _promoted = key, load(ModelVersion.objects.get(pk=key[2]))
    return _promoted[1]


def load(version: ModelVersion) -> Network:
    """Load a network that is kept here.

    Raises
    ------
    models.artifact.ArtifactError
        It is not kept here, or is not what it was.
    """
    return Network(Predictor(serving.verified(version).folder), version)
