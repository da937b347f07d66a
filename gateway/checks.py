"""``manage.py check``: what must hold before a gateway may run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from dicom_node.codes import FINDING_CODES
from dicom_node.entity import ApplicationEntity
from dicom_node.report import FontMissing
from dicom_node.report.fonts import Fonts
from models.artifact import Artifact, ArtifactError
from models.labels import KEYS


@register()
def check_gateway(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    """AE title legal, spool writable, network whole, labels coded and known, fonts to draw with."""
    if app_configs is not None:
        return []
    return [*_title(), *_spool(), *_network(), *_codes(), *_urgent(), *_fonts()]


def _title() -> Iterator[CheckMessage]:
    try:
        ApplicationEntity(settings.ECG_AE_TITLE, "localhost", settings.ECG_DICOM_PORT)
    except ValueError as error:
        yield Error(str(error), hint="Set ECG_AE_TITLE and ECG_DICOM_PORT.", id="gateway.E001")


def _spool() -> Iterator[CheckMessage]:
    folder = settings.ECG_DATA_DIR
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Error(
            f"{folder} is not writable for this user",
            hint="Set ECG_DATA_DIR to a folder this user may write to.",
            id="gateway.E002",
        )


def _network() -> Iterator[CheckMessage]:
    from gateway import network

    try:
        Artifact.load(network.artifact()).verify()
    except (ArtifactError, OSError) as error:
        yield Error(
            str(error), hint="Restore models/store or set ECG_MODEL_DIR.", id="gateway.E003"
        )


def _codes() -> Iterator[CheckMessage]:
    if missing := sorted(set(KEYS) - set(FINDING_CODES)):
        yield Error(f"no code for label(s) {', '.join(missing)}", id="gateway.E004")


def _urgent() -> Iterator[CheckMessage]:
    if unknown := sorted(set(settings.ECG_URGENT_FINDINGS) - set(KEYS)):
        yield Error(
            f"ECG_URGENT_FINDINGS: expected keys of {', '.join(KEYS)}; "
            f"received {', '.join(unknown)}",
            id="gateway.E005",
        )


def _fonts() -> Iterator[CheckMessage]:
    try:
        Fonts.find()
    except FontMissing as missing:
        yield Warning(
            str(missing),
            hint="Without one no result page and no PDF report can be made.",
            id="gateway.W001",
        )
