"""Which ECGs are read next, and in which order: bounded queries, however many ECGs there are.

A page of the list begins after a row, not at a number: the database looks at as many rows as it
shows, and a row that was read meanwhile moves none of the others. What is urgent comes first while
it is unread; then the newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet
from django.http import QueryDict

from gateway.models import Alert, Finding, Instance
from models.labels import KEYS
from webadmin import curation
from webadmin.models import Assignment, Reading

PAGE_ROWS: Final = 24

UNREAD, READ, ALL = "unread", "read", "all"
DISAGREEMENT, UNDETERMINED = "disagreement", "undetermined"
_DEFAULTS: Final = {"show": UNREAD, "doubt": "", "sender": "", "finding": "", "order": "urgent"}
_CHOICES: Final = {
    "show": {UNREAD, READ, ALL},
    "doubt": {"", DISAGREEMENT, UNDETERMINED},
    "finding": {"", *KEYS},
    "order": {"urgent", "newest"},
}


@dataclass(frozen=True)
class Wanted:
    """What narrows the list; a choice nobody offered narrows nothing.

    Attributes
    ----------
    show
        ``unread``, ``read`` or ``all``. Readings of an assignment do not count: they were blinded,
        or judged other readings.
    doubt
        ``disagreement``: a reader overrode the network. ``undetermined``: the network was
        undecided about a finding.
    sender, finding
        An AE title; the key of a finding that the network calls present.
    order
        ``urgent``: what is urgent and unread before the rest; ``newest``.
    """

    show: str = UNREAD
    doubt: str = ""
    sender: str = ""
    finding: str = ""
    order: str = "urgent"

    @classmethod
    def of(cls, query: QueryDict) -> Wanted:
        """Return what an address asks for."""
        values = {name: query.get(name, default) for name, default in _DEFAULTS.items()}
        for name, choices in _CHOICES.items():
            if values[name] not in choices:
                values[name] = _DEFAULTS[name]
        return cls(**values)

    def query(self, **more: object) -> str:
        """Return this as the query of an address, with more parameters after it."""
        told = {n: getattr(self, n) for n, d in _DEFAULTS.items() if getattr(self, n) != d}
        return urlencode({**told, **more})

    @property
    def is_narrowed(self) -> bool:
        """Whether more is asked for than what is unread."""
        return bool(self.doubt or self.sender or self.finding or self.show != UNREAD)


def listed(
    user: User, wanted: Wanted, *, after: Instance | None = None, count: int = PAGE_ROWS
) -> list[Instance]:
    """Return the rows of the list that follow `after`, or its first."""
    found: list[Instance] = []
    sections = _sections(user, wanted)
    start = _section_of(after, sections)
    for index, rows in enumerate(sections[start:], start=start):
        if after is not None and index == start:
            rows = rows.filter(
                Q(received_at__lt=after.received_at) | Q(pk__lt=after.pk),
                received_at__lte=after.received_at,
            )
        found += rows.order_by("-received_at", "-pk")[: count - len(found)]
        if len(found) >= count:
            break
    return found


def before(user: User, wanted: Wanted, row: Instance) -> Instance | None:
    """Return the row of the list that stands before `row`; None: it is the first."""
    sections = _sections(user, wanted)
    start = _section_of(row, sections)
    newer = Q(received_at__gt=row.received_at) | Q(pk__gt=row.pk)
    nearest = sections[start].filter(newer, received_at__gte=row.received_at)
    found = nearest.order_by("received_at", "pk").first()
    if found is None and start:
        found = sections[start - 1].order_by("received_at", "pk").first()
    return found


def next_for(
    user: User, wanted: Wanted | None = None, *, after: Instance | None = None
) -> Instance | None:
    """Return the ECG that a person reads next; None: nothing is left."""
    return next(iter(listed(user, wanted or Wanted(), after=after, count=1)), None)


def with_details(rows: Sequence[Instance]) -> QuerySet[Instance]:
    """Return rows of a page with what their cards show: a few queries, whatever their number."""
    seen = Finding.objects.exclude(verdict=Finding.Verdict.ABSENT)
    readings = Reading.objects.filter(assignment=None).select_related("reader")
    return (
        Instance.objects.filter(pk__in=[row.pk for row in rows])
        .select_related("study")
        .annotate(is_urgent=Q(_urgent()))
        .prefetch_related(
            Prefetch("findings", queryset=seen, to_attr="seen_findings"),
            Prefetch("readings", queryset=readings, to_attr="routine_readings"),
        )
    )


def taken_by(user: User, instance_id: int) -> Assignment | None:
    """Return the reading of an ECG that this person has taken and not given yet."""
    return curation.held_by(user).filter(instance_id=instance_id).order_by("pk").first()


def is_urgent(instance: Instance) -> bool:
    """Return whether an alert was raised for an ECG, or a finding is present that is urgent."""
    return Instance.objects.filter(_urgent(), pk=instance.pk).exists()


def _sections(user: User, wanted: Wanted) -> list[QuerySet[Instance]]:
    """Return the parts of the list, each newest first: what is urgent, then the rest."""
    rows = _rows(user, wanted)
    if wanted.order == "urgent" and wanted.show == UNREAD:
        return [rows.filter(_urgent()), rows.exclude(_urgent())]
    return [rows]


def _section_of(row: Instance | None, sections: list[QuerySet[Instance]]) -> int:
    """Which part a row belongs to, whether it still stands in it or was read meanwhile."""
    return int(row is not None and len(sections) > 1 and not is_urgent(row))


def _rows(user: User, wanted: Wanted) -> QuerySet[Instance]:
    rows = Instance.objects.filter(model_version__isnull=False).exclude(
        pk__in=curation.held_by(user).values("instance")
    )
    routine = Reading.objects.filter(instance=OuterRef("pk"), assignment=None)
    if wanted.show != ALL:
        rows = rows.filter(~Exists(routine) if wanted.show == UNREAD else Exists(routine))
    if wanted.doubt == DISAGREEMENT:
        overridden = Reading.objects.filter(decision=Reading.Decision.OVERRIDDEN, assignment=None)
        rows = rows.filter(pk__in=overridden.values("instance"))
    if wanted.doubt == UNDETERMINED:
        rows = rows.filter(pk__in=_found(KEYS, Finding.Verdict.UNDETERMINED))
    if wanted.finding:
        rows = rows.filter(pk__in=_found([wanted.finding], Finding.Verdict.PRESENT))
    if wanted.sender:
        rows = rows.filter(calling_title=wanted.sender)
    return rows


def _found(keys: Sequence[str], verdict: str) -> QuerySet[Finding, int]:
    """Return which ECGs have such a finding, of the network that their reports are by."""
    found = Finding.objects.filter(
        key__in=keys, verdict=verdict, model_version=F("instance__model_version")
    )
    return found.values_list("instance", flat=True)


def _urgent() -> Q:
    urgent = Q(pk__in=Alert.objects.values("instance"))
    if settings.ECG_URGENT_FINDINGS:
        urgent |= Q(pk__in=_found(settings.ECG_URGENT_FINDINGS, Finding.Verdict.PRESENT))
    return urgent
