"""Is what comes in still what it was? Sender by sender, and the network beside people's labels.

Of each sender the latest ECGs are held against the first ones that the network which serves read of
it: another network gives other scores, and another ward other patients. What differs is the
distribution of a score, or how many ECGs are refused. It says that something changed (a new cart,
other paper, another kind of patient), not that the network is wrong: people have to look.

Every query is bounded; the comparison of all senders is kept for ten minutes.

Sources: the population stability index by Siddiqi 2006, *Credit Risk Scorecards*, with 0.25 as a
large change; its distribution where nothing changed, a chi-square over the sizes of the samples, by
Yurdakul 2018, *Statistical Properties of Population Stability Index*; the chi-square's quantile by
Wilson and Hilferty 1931; the interval of a difference of two shares by Newcombe 1998, *Interval
estimation for the difference between independent proportions*, method 10.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from django.core.cache import cache
from django.db.models import Q, QuerySet
from django.utils import timezone
from numpy.typing import NDArray

from gateway.models import Finding, Instance, ModelVersion
from gateway.states import State
from models.labels import KEYS
from webadmin import words
from webadmin.agreement import WORDS
from webadmin.kappa import Kappa, grouped, kappa, table_of, wilson
from webadmin.models import Label

LATEST: Final = 200
"""ECGs of a sender that are compared, and as many of its first ones."""

ENOUGH: Final = 100
"""On each side; with fewer only a very large change could be told from chance."""

LOOKED_THROUGH: Final = 2000
"""Of the latest ECGs of all, to see who sends."""

SENDERS: Final = 8
KEPT_S: Final = 600

BINS: Final = 10
LARGE: Final = 0.25
_Z: Final = 3.090232
"""Of 1 in 1000: a false alarm in 1 of 100 senders, for ten scores of each are looked at."""

LOW_KAPPA: Final = 0.6
"""Below it agreement is no more than moderate (Landis and Koch 1977)."""

_VERDICTS: Final = {
    Finding.Verdict.PRESENT: "present",
    Finding.Verdict.ABSENT: "absent",
    Finding.Verdict.UNDETERMINED: "undecided",
}


@dataclass(frozen=True)
class Shift:
    """How far the distribution of one score has moved.

    Attributes
    ----------
    psi
        Population stability index, 0 or more; no unit.
    threshold
        What is large, and more than chance would do with samples of these sizes.
    """

    key: str
    psi: float
    threshold: float

    @property
    def meaning(self) -> str:
        """The finding in words."""
        return str(words.MEANINGS[self.key])

    @property
    def is_large(self) -> bool:
        """Whether people should look."""
        return self.psi > self.threshold


@dataclass(frozen=True)
class Refused:
    """Shares of ECGs that were refused, 0..1, first and latest."""

    before: float
    now: float
    is_more: bool


@dataclass(frozen=True)
class Sender:
    """One sender: what changed, or how many ECGs there are of those a comparison needs.

    Attributes
    ----------
    latest, reference
        ECGs compared.
    shift
        Of the score that moved furthest beyond its threshold; None: too few ECGs.
    refused
        None: too few ECGs.
    """

    title: str
    latest: int
    reference: int
    shift: Shift | None = None
    refused: Refused | None = None

    @property
    def seen(self) -> int:
        """ECGs there are so far."""
        return self.latest + self.reference


@dataclass(frozen=True)
class Table:
    """Every sender compared, and when."""

    at: datetime.datetime
    senders: tuple[Sender, ...]


@dataclass(frozen=True)
class Agreement:
    """How far the network and people's labels agree, over the latest labelled ECGs."""

    ecgs: int
    kappa: Kappa

    @property
    def is_low(self) -> bool:
        """Whether even the upper end of the interval is no more than moderate."""
        return self.kappa.high is not None and self.kappa.high < LOW_KAPPA


def table(version: ModelVersion, since: datetime.datetime) -> Table:
    """Compare every sender of late; looked at anew after ten minutes.

    Parameters
    ----------
    version
        The network that serves.
    since
        When it began to.
    """
    key = f"webadmin.drift.{version.pk}.{since.timestamp()}"
    kept: Table | None = cache.get(key)
    if kept is None:
        kept = Table(timezone.now(), tuple(_senders(version, since)))
        cache.set(key, kept, KEPT_S)
    return kept


def stability(before: NDArray[np.float64], now: NDArray[np.float64]) -> tuple[float, float]:
    """Return the population stability index of two samples of a score, and its threshold.

    The bins are the deciles of `before`. Half a count is added to each, so that an empty one does
    not make the index infinite.
    """
    edges = np.unique(np.quantile(before, np.arange(1, BINS) / BINS))
    bins = len(edges) + 1
    shares = []
    for sample in (before, now):
        counts = np.bincount(np.searchsorted(edges, sample, side="left"), minlength=bins) + 0.5
        shares.append(counts / counts.sum())
    expected, found = shares
    index = float(((found - expected) * np.log(found / expected)).sum())
    by_chance = _chi_square(bins - 1) * (1 / len(before) + 1 / len(now))
    return index, max(LARGE, by_chance)


def refusals(before: tuple[int, int], now: tuple[int, int]) -> Refused:
    """Compare how many were refused of how many: more, if the interval of the rise is above 0."""
    (one, two) = (hits / of for hits, of in (before, now))
    first, second = wilson(*before), wilson(*now)
    if first is None or second is None:
        raise ValueError(f"expected ECGs on both sides; received {before[1]} and {now[1]}")
    lowest = two - one - math.hypot(two - second[0], first[1] - one)
    return Refused(one, two, lowest > 0.0)


def agreement(version: ModelVersion) -> Agreement:
    """Hold the network against the latest labels; undetermined is the network's "undecided"."""
    rows = Label.objects.order_by("-pk").values_list("instance_id", "findings")[:LATEST]
    truth: dict[int, dict[str, str]] = {}
    for instance, findings in rows:
        truth.setdefault(instance, findings)  # the latest of an ECG holds
    seen: dict[int, dict[str, str]] = defaultdict(dict)
    found = Finding.objects.filter(model_version=version, instance__in=list(truth)).order_by()
    for instance, key, verdict in found.values_list("instance_id", "key", "verdict"):
        seen[instance][key] = _VERDICTS[Finding.Verdict(verdict)]
    tables = [
        table_of([(truth[pk][key], said[key]) for key in KEYS if key in said], WORDS)
        for pk, said in seen.items()
    ]
    if not tables:
        return Agreement(0, Kappa(0, None, None))
    stacked = np.stack(tables)
    return Agreement(len(tables), grouped(stacked) if len(tables) > 1 else kappa(tables[0]))


def _senders(version: ModelVersion, since: datetime.datetime) -> list[Sender]:
    latest = Instance.objects.order_by("-pk").values_list("calling_title", flat=True)
    often = Counter(latest[:LOOKED_THROUGH]).most_common(SENDERS)
    read = Instance.objects.filter(
        Q(model_version=version) | Q(model_version=None, state=State.REJECTED),
        received_at__gte=since,
        conflict_of=None,
    )
    return [_sender(title, read.filter(calling_title=title), version) for title, _ in often]


def _sender(title: str, read: QuerySet[Instance], version: ModelVersion) -> Sender:
    values = read.values_list("pk", "model_version_id")
    before = dict(values.order_by("pk")[:LATEST])
    now = {pk: by for pk, by in values.order_by("-pk")[:LATEST] if pk not in before}
    if len(before) < ENOUGH or len(now) < ENOUGH:
        return Sender(title, len(now), len(before))
    two = _scores(before, version), _scores(now, version)
    moved = [
        Shift(key, *stability(two[0][key], two[1][key]))
        for key in KEYS
        if min(len(side[key]) for side in two) >= ENOUGH // 2
    ]
    furthest = max(moved, key=lambda one: one.psi - one.threshold, default=None)
    counts = [(sum(by is None for by in side.values()), len(side)) for side in (before, now)]
    return Sender(title, len(now), len(before), furthest, refusals(*counts))


def _scores(
    ecgs: Mapping[int, int | None], version: ModelVersion
) -> dict[str, NDArray[np.float64]]:
    scores: dict[str, list[float]] = {key: [] for key in KEYS}
    rows = Finding.objects.filter(
        instance__in=[pk for pk, by in ecgs.items() if by is not None], model_version=version
    )
    for key, probability in rows.order_by().values_list("key", "probability"):
        if key in scores:
            scores[key].append(probability)
    return {key: np.array(found) for key, found in scores.items()}


def _chi_square(degrees: int) -> float:
    """Return what a chi-square exceeds once in a thousand times."""
    if degrees < 1:
        return 0.0
    part = 2.0 / (9.0 * degrees)
    return float(degrees * (1.0 - part + _Z * math.sqrt(part)) ** 3)
