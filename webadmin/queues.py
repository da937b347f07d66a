"""Which ECGs are worth another pair of eyes: five queues, filled from what came in lately.

Active learning asks for what a network would learn most from (Settles 2009, *Active Learning
Literature Survey*): what it is undecided about, what a reader contradicts, what is rare, what looks
unlike its training. Such a choice is no fair sample, so figures come from another queue: a tenth of
all ECGs, drawn by a keyed hash of their UID. Who sends or reads an ECG cannot steer that, and an
ECG that was drawn stands in no other queue, so that nothing is known of it beforehand.

Each queue holds a bounded number of ECGs that wait, and each filling looks at a bounded number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from django.db.models import Count, F, Q
from django.utils.crypto import salted_hmac

from gateway.models import Finding, Instance
from gateway.states import State
from models.labels import KEYS
from webadmin import labelling
from webadmin.models import Assignment, Label, Reading

Queue = Assignment.Queue
Kind = Assignment.Kind
BLINDED: Final = (Kind.FIRST, Kind.SECOND)

WINDOW: Final = 5000
"""How many of the latest ECGs a filling looks at."""

WAITING_A_QUEUE: Final = 100
"""So many ECGs wait in a queue at most; more come when some of them are read."""

RANDOM_SHARE: Final = 0.1
RARE_SHARE: Final = 0.02
"""A finding is rare that fewer of the latest ECGs show."""

UNFAMILIAR_FROM: Final = 0.9
"""Of the distance at which a page is refused as unlike the training, models.familiarity."""

ORDER: Final = (
    Queue.RANDOM,
    Queue.DISAGREEMENT,
    Queue.UNDETERMINED,
    Queue.RARE,
    Queue.UNFAMILIAR,
)
_WORDS: Final = {Finding.Verdict.PRESENT: "present", Finding.Verdict.ABSENT: "absent"}

Scores = Iterator[tuple[int, float]]


def fill(
    *,
    queues: Iterable[str] = ORDER,
    waiting: int = WAITING_A_QUEUE,
    window: int = WINDOW,
) -> dict[str, int]:
    """Fill queues up; return how many ECGs came into each.

    Parameters
    ----------
    queues
        Which of them; nobody but a person fills the one of requests.
    waiting
        How many ECGs may wait in each.
    window
        How many of the latest ECGs are looked at.
    """
    wanted = [Queue(queue) for queue in queues]
    if Queue.REQUESTED in wanted:
        raise ValueError("expected a queue that a rule fills; received requested")
    room = {queue: waiting - count for queue, count in _waiting().items()}
    seen = _Window(window)
    filled = {}
    for queue in ORDER:
        if queue in wanted:
            count = max(0, room.get(queue, waiting))
            filled[queue.value] = seen.choose(queue, count) if count else 0
    return filled


def add(instances: Mapping[int, float], queue: Queue) -> int:
    """Want two blinded readings of each ECG of these ids, with their priorities; return how many.

    An ECG that is or was in the queue already stays as it is.
    """
    had = set(
        Assignment.objects.filter(queue=queue, instance__in=list(instances)).values_list(
            "instance_id", flat=True
        )
    )
    new = {pk: priority for pk, priority in instances.items() if pk not in had}
    Assignment.objects.bulk_create(
        (
            Assignment(instance_id=pk, queue=queue, kind=kind, priority=priority)
            for pk, priority in new.items()
            for kind in BLINDED
        ),
        ignore_conflicts=True,  # another sweep may be at it
    )
    return len(new)


def is_drawn(sop_instance_uid: str) -> bool:
    """Return whether an ECG belongs to the random tenth, now and whenever it is asked."""
    digest = salted_hmac("webadmin.queues.random", sop_instance_uid, algorithm="sha256").digest()
    return int.from_bytes(digest[:8], "big") < RANDOM_SHARE * 2**64


def _waiting() -> dict[Queue, int]:
    """Return how many ECGs wait in each queue."""
    rows = Assignment.objects.filter(done_at=None, kind__in=BLINDED).order_by()
    counts = rows.values_list("queue").annotate(count=Count("instance", distinct=True))
    return {Queue(queue): count for queue, count in counts}


class _Window:
    """The latest ECGs, and what makes one of them worth reading."""

    def __init__(self, size: int) -> None:
        looked_at = Q(model_version__isnull=False) | Q(
            state=State.REJECTED, analysed_at__isnull=False
        )
        rows = Instance.objects.filter(looked_at, conflict_of=None, aged_out_at=None)
        values = rows.order_by("-pk").values_list(
            "pk", "sop_instance_uid", "model_version_id", "quality"
        )
        self._rows = list(values[:size])
        self._oldest = self._rows[-1][0] if self._rows else 0
        self._drawn = {pk for pk, uid, version, _ in self._rows if version and is_drawn(uid)}
        within = Assignment.objects.filter(instance__gte=self._oldest)
        self._taken = set(within.values_list("instance_id", flat=True))
        settled = labelling.latest().filter(instance__gte=self._oldest, source__in=Label.SETTLED)
        self._settled = set(settled.values_list("instance_id", flat=True))
        self._known = {pk for pk, _, _, _ in self._rows}

    def choose(self, queue: Queue, count: int) -> int:
        """Put up to `count` ECGs into a queue, the most worthwhile first; return how many."""
        if queue == Queue.RANDOM:
            queued = Assignment.objects.filter(queue=queue, instance__gte=self._oldest)
            had = set(queued.values_list("instance_id", flat=True))
            chosen = {pk: 0.0 for pk, _, _, _ in self._rows if pk in self._drawn and pk not in had}
        else:
            barred = self._drawn | self._taken | self._settled
            chosen = {}
            for pk, score in _SCORES[queue](self):
                if pk in self._known and pk not in barred:
                    chosen[pk] = max(score, chosen.get(pk, 0.0))
        best = sorted(chosen, key=lambda pk: (-chosen[pk], -pk))[:count]
        self._taken.update(best)
        return add({pk: chosen[pk] for pk in best}, queue)

    def _findings(self) -> Any:
        own = Finding.objects.filter(instance__gte=self._oldest).order_by()
        return own.filter(model_version=F("instance__model_version"))

    def undetermined(self) -> Scores:
        """Yield what the network was undecided about, the nearer to a threshold the higher."""
        rows = self._findings().filter(verdict=Finding.Verdict.UNDETERMINED)
        for pk, probability, threshold in rows.values_list(
            "instance_id", "probability", "threshold"
        ):
            yield pk, 1.0 - abs(probability - threshold)

    def disagreement(self) -> Scores:
        """Yield what a reader contradicts, the surer the network was the higher."""
        readings = Reading.objects.filter(
            instance__gte=self._oldest, assignment=None, decision=Reading.Decision.OVERRIDDEN
        ).order_by("pk")
        said = dict(readings.values_list("instance_id", "findings"))  # the latest of each
        for pk, key, verdict, probability, threshold in (
            self._findings()
            .filter(instance__in=said)
            .values_list("instance_id", "key", "verdict", "probability", "threshold")
        ):
            word, found = said[pk].get(key), _WORDS.get(verdict)
            if found and word in _WORDS.values() and word != found:
                yield pk, abs(probability - threshold)

    def rare(self) -> Scores:
        """Yield what shows a rare finding, or may; the fewer labels show it the higher."""
        found = self._findings()
        counts = found.filter(verdict=Finding.Verdict.PRESENT).values_list("key")
        shown = Counter(dict(counts.annotate(count=Count("pk"))))
        enough = RARE_SHARE * len(self._rows)
        rare = [key for key in KEYS if key != labelling.NORMAL and shown[key] < max(enough, 2)]
        if not rare:
            return
        labelled = Counter(
            key
            for words in labelling.latest().values_list("findings", flat=True)
            for key in labelling.present(words)
        )
        rows = found.filter(key__in=rare).exclude(verdict=Finding.Verdict.ABSENT)
        for pk, key, probability in rows.values_list("instance_id", "key", "probability"):
            yield pk, 0.5 * probability + 0.5 / (1 + labelled[key])

    def unfamiliar(self) -> Scores:
        """Yield what lies at the edge of what the network knows, or was refused beyond it."""
        for pk, _, _, quality in self._rows:
            distance = float(quality.get("unfamiliarity", 0.0))
            if distance >= UNFAMILIAR_FROM:
                yield pk, 1.0 - 1.0 / (1.0 + distance)


_SCORES: Final = {
    Queue.UNDETERMINED: _Window.undetermined,
    Queue.DISAGREEMENT: _Window.disagreement,
    Queue.RARE: _Window.rare,
    Queue.UNFAMILIAR: _Window.unfamiliar,
}
