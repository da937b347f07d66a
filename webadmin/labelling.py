"""What counts as true of an ECG: one word for each of the ten findings, and the latest label holds.

Labels are appended. :func:`label_of` and :func:`labels_of` say which one holds now; the others are
its history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max, QuerySet

from gateway.models import Instance
from models.labels import KEYS
from webadmin import audit
from webadmin.models import Label, Reading

Words = Mapping[str, str]
Word = Reading.Word

UNDECIDED: Final[dict[str, str]] = dict.fromkeys(KEYS, Word.UNDECIDED.value)
"""Of an ECG that nobody can read."""

UNREADABLE_COMMENT: Final = "Cannot be read"

NORMAL: Final = "normal"


class NotALabel(ValueError):
    """The words are no label; the text says why, without naming an ECG or a person."""


def faults(words: Words) -> list[str]:
    """Return what is wrong with words as those of a label; nothing where they are one."""
    found = []
    if missing := [key for key in KEYS if key not in words]:
        found.append(f"expected a word for each of the ten findings; {', '.join(missing)} missing")
    if unknown := sorted(set(words) - set(KEYS)):
        found.append(f"expected findings of {', '.join(KEYS)}; received {', '.join(unknown)}")
    if strange := sorted(set(words.values()) - set(Word.values)):
        found.append(f"expected the words {', '.join(Word.values)}; received {', '.join(strange)}")
    others = [key for key in KEYS if key != NORMAL and words.get(key) == Word.PRESENT]
    if words.get(NORMAL) == Word.PRESENT and others:
        found.append(f"normal cannot be present beside {', '.join(others)}")
    return found


def decided(words: Words) -> list[str]:
    """Return the keys that somebody decided on."""
    return [key for key in KEYS if words.get(key) in (Word.PRESENT, Word.ABSENT)]


def present(words: Words) -> list[str]:
    """Return the keys of what is present."""
    return [key for key in KEYS if words.get(key) == Word.PRESENT]


def label_of(instance: Instance) -> Label | None:
    """Return the label that holds for an ECG; None: nobody has labelled it."""
    return Label.objects.filter(instance=instance).order_by("-pk").first()


def labels_of(instances: Iterable[Instance] | QuerySet[Instance] | None = None) -> dict[int, Label]:
    """Return the label that holds for each ECG that has one, by the ECG's id.

    Parameters
    ----------
    instances
        Of these; by default of all.
    """
    return {label.instance_id: label for label in latest(instances)}


def latest(instances: Iterable[Instance] | None = None) -> QuerySet[Label]:
    """Return the labels that hold, one an ECG."""
    rows = Label.objects.all()
    if instances is not None:
        rows = rows.filter(instance__in=instances)
    newest = rows.order_by().values("instance").annotate(newest=Max("pk")).values("newest")
    return Label.objects.filter(pk__in=newest)


@transaction.atomic
def write(
    instance: Instance,
    words: Words,
    *,
    source: str,
    decided_by: User,
    readings: Iterable[Reading] = (),
    comment: str = "",
) -> Label:
    """Append what counts as true of an ECG from now on.

    Raises
    ------
    NotALabel
        The words are none.
    """
    if wrong := faults(words):
        raise NotALabel("; ".join(wrong))
    label = Label.objects.create(
        instance=instance,
        findings={key: str(words[key]) for key in KEYS},
        source=source,
        decided_by=decided_by,
        comment=comment[:1000],
    )
    label.readings.set(readings)
    audit.record(
        audit.Action.LABELLED, actor=decided_by.get_username(), subject=instance,
        label=label.pk, source=str(source),
    )  # fmt: skip
    return label


def of_keys(keys: Iterable[str], unknown: Iterable[str] = ()) -> dict[str, str]:
    """Return ten words from the keys that are present and those that nobody decided on."""
    shown, open_ = set(keys), set(unknown)
    return {
        key: (
            Word.UNDECIDED if key in open_ else Word.PRESENT if key in shown else Word.ABSENT
        ).value
        for key in KEYS
    }


def as_columns(words: Words) -> dict[str, Any]:
    """Return words as the columns ``findings`` and ``unknown`` of :mod:`models.corpus.pictures`."""
    unknown = [key for key in KEYS if key not in decided(words)]
    return {"findings": "|".join(present(words)) or "none", "unknown": "|".join(unknown)}
