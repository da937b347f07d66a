"""Have a sender told again what we keep, when a person says so.

Apart from :mod:`gateway.custody`, which does the telling: the Desk opens no DICOM socket.
"""

from __future__ import annotations

from django.db.models import QuerySet
from django.utils import timezone

from gateway import doorbell
from gateway.models import CustodyRequest

Outcome = CustodyRequest.Outcome


def failed(rows: QuerySet[CustodyRequest]) -> QuerySet[CustodyRequest]:
    """Return those of `rows` whose answer was not delivered and can be told again.

    A request that was refused when it came is not owed any: its sender knows, and asks anew.
    """
    return rows.filter(outcome=Outcome.FAILED, attempts__gt=0)


def answer_again(rows: QuerySet[CustodyRequest]) -> int:
    """Set the failed ones of `rows` going again; return how many they are."""
    chosen = list(failed(rows).values_list("pk", flat=True))
    changed = failed(CustodyRequest.objects.filter(pk__in=chosen)).update(
        outcome=Outcome.WAITING, attempts=0, not_before=timezone.now(), last_error=""
    )
    if changed:
        doorbell.ring_custody(chosen[0])
    return changed
