"""Whose report goes first: a Peer gets the results of one patient in the order the ECGs came.

A result that waits for a Peer holds back the later ones of its patient there, and nobody else's.
One that the Peer itself has turned down again and again holds nobody back for longer than a few
minutes: a late result would be worse than one out of turn. While a Peer is away nothing is tried,
so nothing is overtaken however long that lasts. Without a Patient ID nobody knows whose it is.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Final

from django.db.models import Min
from django.utils import timezone

from gateway.models import Dispatch, Instance, Peer
from gateway.states import State

PATIENCE_S: Final = 300.0


def in_turn(
    peer: Peer, rows: Sequence[Dispatch], instances: Mapping[int, Instance]
) -> list[Dispatch]:
    """Return those of `rows`, all waiting for `peer`, that no earlier ECG of their patient is due
    before.

    Parameters
    ----------
    rows
        With their reports.
    instances
        The instances of the reports, with their studies, by primary key.
    """
    patients = {
        number: instance.study.patient_id
        for number, instance in instances.items()
        if instance.study is not None and instance.study.patient_id
    }
    if not patients or not rows:
        return list(rows)
    impatient = timezone.now() - datetime.timedelta(seconds=PATIENCE_S)
    waiting = Dispatch.objects.filter(
        peer=peer,
        outcome=Dispatch.Outcome.WAITING,
        report__instance__state=State.REPORTED,
        report__instance__study__patient_id__in=set(patients.values()),
    ).exclude(report__instance__attempts__gt=1, report__instance__state_since__lt=impatient)
    by_patient = waiting.order_by().values_list("report__instance__study__patient_id")
    first = dict(by_patient.annotate(Min("report__instance")))
    return [
        row
        for row in rows
        if row.report.instance_id
        <= first.get(patients.get(row.report.instance_id, ""), row.report.instance_id)
    ]
