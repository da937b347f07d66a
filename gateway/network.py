"""The network of this process: loaded once, at the first picture, its hash verified."""

from __future__ import annotations

import functools
from pathlib import Path

from django.conf import settings

from gateway.models import ModelVersion
from models.artifact import default_artifact
from models.predict import Predictor


def artifact() -> Path:
    """Return the folder of the network in use: ECG_MODEL_DIR, or the one that ships."""
    return Path(settings.ECG_MODEL_DIR) if settings.ECG_MODEL_DIR else default_artifact()


@functools.lru_cache(maxsize=1)
def predictor() -> Predictor:
    """Return the network; loading takes seconds, so it happens in the child that needs it."""
    return Predictor(artifact())


@functools.lru_cache(maxsize=1)
def model_version() -> ModelVersion:
    """Return the row of the network in use, made when it is first used."""
    network = predictor()
    row, _ = ModelVersion.objects.get_or_create(
        name=network.name,
        version=network.version,
        sha256=network.sha256,
        defaults={"card": network.card.as_dict()},
    )
    return row
