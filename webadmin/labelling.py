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
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from gateway.models import Instance
from models.labels import KEYS
from webadmin import audit
from webadmin.models import Label, Reading
from webadmin.words import MEANINGS, SHORT, Badge

Words = Mapping[str, str]
Word = Reading.Word

UNDECIDED: Final[dict[str, str]] = dict.fromkeys(KEYS, Word.UNDECIDED.value)
"""Of an ECG that nobody can read."""

UNREADABLE_COMMENT: Final = gettext_noop("Cannot be read")

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
    if contradicts_itself(words):
        others = ", ".join(key for key in present(words) if key != NORMAL)
        found.append(f"normal cannot be present beside {others}")
    return found


def contradicts_itself(words: Words) -> bool:
    """Return whether an ECG would be normal and show something else."""
    shown = present(words)
    return NORMAL in shown and len(shown) > 1


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


def badge(key: str, word: str) -> Badge:
    """Return a word as a coloured one with its shape; a normal ECG is good news."""
    match word:
        case Word.PRESENT:
            tone = "good" if key == NORMAL else "bad"
            return Badge(str(Word.PRESENT.label), tone, "radio_button_checked")
        case Word.ABSENT:
            return Badge(str(Word.ABSENT.label), "quiet", "radio_button_unchecked")
        case Word.UNDECIDED:
            return Badge(str(Word.UNDECIDED.label), "warn", "help")
    return Badge(_(UNREADABLE_COMMENT), "warn", "visibility_off")


def badges(words: Words) -> list[Badge]:
    """Return what is present and what is undecided, each as one coloured word for a list."""
    shown = []
    for key in KEYS:
        if (word := words.get(key, "")) != Word.ABSENT:
            one = badge(key, word)
            text = str(SHORT[key]) if word == Word.PRESENT else f"{SHORT[key]}?"
            shown.append(Badge(text, one.tone, one.icon, f"{MEANINGS[key]}: {one.text.lower()}"))
    return shown


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
