"""How far readers agree with each other, and how right the network is on ECGs drawn at random.

Readers are compared on the blinded pairs of double reading. Figures of the network come from the
random queue alone: the other queues hold what is difficult or strange, and would make it look worse
than it is, or better.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Final

from django.contrib.auth.models import User

from gateway.models import Finding, ModelVersion
from models.labels import KEYS
from webadmin import labelling, words
from webadmin.kappa import Kappa, grouped, kappa, table_of, tables_of, wilson
from webadmin.models import Assignment, Label, Reading
from webadmin.queues import BLINDED, Kind, Queue

WORDS: Final = tuple(Reading.Word.values)
PAIRS_LOOKED_AT: Final = 5000
"""Of the latest double readings."""


@dataclass(frozen=True)
class Pair:
    """Two people who read the same ECGs: their ids in order, their names, how many ECGs."""

    ids: tuple[int, int]
    names: str
    ecgs: int

    @property
    def name(self) -> str:
        """What an address calls it."""
        return f"{self.ids[0]}-{self.ids[1]}"


@dataclass(frozen=True)
class Line:
    """Agreement on one finding, or on all ten together.

    Attributes
    ----------
    both, one
        ECGs in which both said present, and in which one did.
    """

    meaning: str
    kappa: Kappa
    both: int
    one: int


@dataclass(frozen=True)
class Agreement:
    """What readers of ECGs agree on: one line a finding, and one of all together."""

    ecgs: int
    lines: tuple[Line, ...]
    together: Line
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Share:
    """A share of cases with its 95 % interval; None without cases."""

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        return wilson(self.hits, self.of)


@dataclass(frozen=True)
class Figures:
    """How right the network is on one finding. Undetermined counts as not found."""

    meaning: str
    sensitivity: Share
    specificity: Share
    undetermined: int


def agreement(pair: str = "") -> Agreement:
    """Compare the two readings of each ECG, of everybody or of one pair of people."""
    double = _double_readings()
    counts: Counter[tuple[int, int]] = Counter(people for people, _, _ in double)
    names = _names({person for people in counts for person in people})
    pairs = tuple(
        Pair(ids, f"{names[ids[0]]}, {names[ids[1]]}", count) for ids, count in counts.most_common()
    )
    chosen = [one for one in double if not pair or f"{one[0][0]}-{one[0][1]}" == pair]
    lines = tuple(_line(key, chosen) for key in KEYS)
    groups = [[(one[key], other[key]) for key in KEYS] for _, one, other in chosen]
    together = Line(
        "All ten together",
        grouped(tables_of(groups, WORDS)) if groups else Kappa(0, None, None),
        sum(line.both for line in lines),
        sum(line.one for line in lines),
    )
    return Agreement(len(chosen), lines, together, pairs)


def figures(version: ModelVersion) -> list[Figures]:
    """Hold a network against the labels of the ECGs that were drawn at random."""
    drawn = Assignment.objects.filter(queue=Queue.RANDOM).values("instance")
    rows = labelling.latest().filter(
        instance__in=drawn, source__in=(Label.Source.AGREED, Label.Source.ADJUDICATED)
    )
    truth = dict(rows.values_list("instance_id", "findings"))
    found: dict[str, dict[int, str]] = defaultdict(dict)
    seen = Finding.objects.filter(model_version=version, instance__in=rows.values("instance"))
    for pk, key, verdict in seen.order_by().values_list("instance_id", "key", "verdict"):
        found[key][pk] = verdict
    return [_figures(key, truth, found[key]) for key in KEYS]


def versions() -> list[ModelVersion]:
    """Return the networks that have read ECGs drawn at random, the latest first."""
    drawn = Assignment.objects.filter(queue=Queue.RANDOM, kind=Kind.FIRST)
    return list(ModelVersion.objects.filter(instances__in=drawn.values("instance")).distinct())


Double = tuple[tuple[int, int], dict[str, str], dict[str, str]]


def _double_readings() -> list[Double]:
    """Return who read an ECG and what the two said, the first id's words first."""
    rows = (
        Reading.objects.filter(assignment__kind__in=BLINDED)
        .exclude(decision=Reading.Decision.UNREADABLE)
        .order_by("-pk")
        .values_list("assignment__instance_id", "assignment__queue", "reader_id", "findings")
    )
    halves: dict[tuple[int, str], list[tuple[int, dict[str, str]]]] = defaultdict(list)
    for instance, queue, person, said in rows[: 2 * PAIRS_LOOKED_AT]:
        halves[instance, queue].append((person, said))
    double = []
    for read in halves.values():
        if len(read) == len(BLINDED):
            (one, ours), (other, theirs) = sorted(read, key=lambda half: half[0])
            double.append(((one, other), ours, theirs))
    return double


def _line(key: str, double: list[Double]) -> Line:
    said = [(one[key], other[key]) for _, one, other in double]
    shown = Counter((one == "present") + (other == "present") for one, other in said)
    return Line(str(words.MEANINGS[key]), kappa(table_of(said, WORDS)), shown[2], shown[1])


def _figures(key: str, truth: dict[int, dict[str, str]], found: dict[int, str]) -> Figures:
    sick = [found[pk] for pk in truth if pk in found and truth[pk].get(key) == "present"]
    well = [found[pk] for pk in truth if pk in found and truth[pk].get(key) == "absent"]
    return Figures(
        str(words.MEANINGS[key]),
        Share(sick.count(Finding.Verdict.PRESENT), len(sick)),
        Share(len(well) - well.count(Finding.Verdict.PRESENT), len(well)),
        [*sick, *well].count(Finding.Verdict.UNDETERMINED),
    )


def _names(people: set[int]) -> dict[int, str]:
    return {user.pk: user.get_username() for user in User.objects.filter(pk__in=people)}
