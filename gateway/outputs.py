"""What a result can be sent as, in which language, and what comes next when a Peer refuses it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from models.labels import LABELS

UID_LENGTH: Final = 64

#: The ten findings as choices of a form.
FINDINGS: Final = [(label.key, _(label.meaning)) for label in LABELS]


class Output(models.TextChoices):
    """A kind of object we make of a result."""

    BASIC_TEXT = "basic_text", "Basic Text SR"
    COMPREHENSIVE = "comprehensive", "Comprehensive SR"
    COMPREHENSIVE_3D = "comprehensive_3d", "Comprehensive 3D SR"
    ENHANCED = "enhanced", "Enhanced SR"
    RESULT_PAGE = "result_page", _("Result page (Secondary Capture)")
    PDF = "pdf", _("PDF report")


class Language(models.TextChoices):
    """A language our sentences exist in; the value is Django's name of it."""

    ENGLISH = "en", "English"
    CHINESE = "zh-hans", "中文（简体）"


SOP_CLASSES: Final[dict[str, str]] = {
    Output.BASIC_TEXT: "1.2.840.10008.5.1.4.1.1.88.11",
    Output.ENHANCED: "1.2.840.10008.5.1.4.1.1.88.22",
    Output.COMPREHENSIVE: "1.2.840.10008.5.1.4.1.1.88.33",
    Output.COMPREHENSIVE_3D: "1.2.840.10008.5.1.4.1.1.88.34",
    Output.RESULT_PAGE: "1.2.840.10008.5.1.4.1.1.7",
    Output.PDF: "1.2.840.10008.5.1.4.1.1.104.1",
}

#: What a Peer gets instead of what it refuses. The chain ends with a picture, which all take.
FALLBACK: Final[dict[str, str]] = {
    Output.COMPREHENSIVE_3D: Output.COMPREHENSIVE,
    Output.COMPREHENSIVE: Output.ENHANCED,
    Output.ENHANCED: Output.BASIC_TEXT,
    Output.PDF: Output.BASIC_TEXT,
    Output.BASIC_TEXT: Output.RESULT_PAGE,
}


def usual_outputs() -> list[str]:
    """One report for people and one for machines."""
    return [Output.BASIC_TEXT.value, Output.COMPREHENSIVE.value]


def accepted(wanted: str, refused: Collection[str]) -> str | None:
    """Return `wanted`, or the first of its chain that is not refused; None when all of them are."""
    found: str | None = wanted
    while found is not None and found in refused:
        found = FALLBACK.get(found)
    return found


def chain(wanted: str) -> tuple[Output, ...]:
    """Return `wanted` and what a Peer gets instead of it, in order."""
    found = [Output(wanted)]
    while (following := FALLBACK.get(found[-1])) is not None:
        found.append(Output(following))
    return tuple(found)


def validate_outputs(value: Any) -> None:
    """Accept a list of different outputs.

    Raises
    ------
    ValidationError
        It is no list, or names what is no output, or one twice.
    """
    if not isinstance(value, list) or not all(item in Output.values for item in value):
        raise ValidationError(f"Expected a list of {', '.join(Output.values)}.")
    if len(set(value)) != len(value):
        raise ValidationError("Each output once.")
