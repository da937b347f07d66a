"""Readings, labels and training sets for the tests of curation."""

from __future__ import annotations

from typing import Any

from desk_people import make_user
from desk_rows import analyse, make_ecg
from django.contrib.auth.models import User
from django.db import transaction

from gateway.models import Instance
from webadmin import curation, labelling
from webadmin.models import Assignment, Label, Reading

READER = ("view_instance", "add_reading", "view_reading", "view_assignment", "view_label")


def words(*present: str, undecided: tuple[str, ...] = ()) -> dict[str, str]:
    """Return ten words: these present, those undecided, the others absent."""
    return labelling.of_keys(present, undecided)


def reader(name: str, *more: str) -> User:
    """Return somebody who may read."""
    return make_user(name, *READER, *more)


@transaction.atomic
def read(assignment: Assignment, by: User, *present: str, **values: Any) -> Any:
    """Have somebody give a reading that was wanted; return what followed from it."""
    return curation.after(
        Reading.objects.create(
            **{
                "instance": assignment.instance,
                "reader": by,
                "role": "reader",
                "decision": Reading.Decision.BLINDED,
                "findings": words(*present),
                "assignment": assignment,
                **values,
            }
        )
    )


def override(instance: Instance, by: User, *present: str) -> Reading:
    """Have somebody contradict the network in routine."""
    return Reading.objects.create(
        instance=instance,
        reader=by,
        decision=Reading.Decision.OVERRIDDEN,
        findings=words(*present),
        shown=instance.model_version,
    )


def label(instance: Instance, by: User, *present: str, **values: Any) -> Label:
    """Label an ECG as two readers would who agree."""
    return labelling.write(
        instance,
        values.pop("findings", words(*present)),
        **{"source": Label.Source.AGREED, "decided_by": by, **values},
    )


def ecg(probabilities: dict[str, float] | None = None, **values: Any) -> Instance:
    """Return an analysed ECG without a picture."""
    return analyse(make_ecg(data=b"", **values), probabilities or {"normal": 0.9})
