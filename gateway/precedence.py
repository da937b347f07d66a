"""Whose report goes first: a Peer gets the results of one patient in the order the ECGs came.

A result that waits for a Peer holds back the later ones of its patient there, and nobody else's.
One that the Peer itself has turned down again and again holds nobody back for longer than a few
minutes: a late result would be worse than one out of turn. While a Peer is away nothing is tried,
so nothing is overtaken however long that lasts. Without a Patient ID nobody knows whose it is.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from django.db.models import Min
from django.utils import timezone

from gateway.models import Dispatch, Instance, Peer
from gateway.states import State

PATIENCE_S: Final = 300.0

BEHIND_S: Final = 60.0
"""So long who is behind another is not looked at; :func:`wake_next` lets it go on before."""

NEXT: Final = 8
"""So many of a patient go on when the one before them has gone."""


def patients_of(instances: Iterable[Instance]) -> dict[int, str]:
    """Return the Patient ID of each instance that has one, by primary key."""
    return {
        instance.pk: instance.study.patient_id
        for instance in instances
        if instance.study is not None and instance.study.patient_id
    }


def in_turn(peer: Peer, rows: Sequence[Dispatch], patients: Mapping[int, str]) -> list[Dispatch]:
    """Return those of `rows` that no other ECG of their patient, due at `peer` before, holds back.

    Those of one patient hold each other back only as they are sent, in the order of `rows`.

    Parameters
    ----------
    rows
        What waits for `peer`, with its reports.
    patients
        The Patient ID of their instances, by primary key.
    """
    named = {patients[n] for row in rows if (n := row.report.instance_id) in patients}
    if not named:
        return list(rows)
    impatient = timezone.now() - datetime.timedelta(seconds=PATIENCE_S)
    others = Dispatch.objects.filter(
        peer=peer,
        outcome=Dispatch.Outcome.WAITING,
        report__instance__state=State.REPORTED,
        report__instance__study__patient_id__in=named,
    ).exclude(pk__in=[row.pk for row in rows])
    others = others.exclude(
        report__instance__attempts__gt=1, report__instance__state_since__lt=impatient
    )
    by_patient = others.order_by().values_list("report__instance__study__patient_id")
    first = dict(by_patient.annotate(Min("report__instance")))

    def is_first(row: Dispatch) -> bool:
        number = row.report.instance_id
        return bool(number <= first.get(patients.get(number, ""), number))

    return [row for row in rows if is_first(row)]


def wake_next(patients: Collection[str]) -> int:
    """Let those go on that are next, now that ECGs of `patients` have gone; return how many.

    Outside the transaction in which they went: who is held back meanwhile looks again itself.
    """
    now, woken = timezone.now(), 0
    for patient in patients:
        behind = Instance.objects.filter(
            state=State.REPORTED, is_held=True, not_before__gt=now, study__patient_id=patient
        )
        numbers = list(behind.order_by("pk").values_list("pk", flat=True)[:NEXT])
        if numbers:
            still = Instance.objects.filter(pk__in=numbers, state=State.REPORTED, is_held=True)
            woken += still.update(not_before=now)
    return woken
