"""What changed by sender: found where it is, and seldom where it is not."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import numpy as np
import pytest
from desk_people import make_user
from desk_rows import analyse, make_ecg, make_model_version, reject
from django.core.cache import cache
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from gateway.models import Finding, Instance, ModelVersion
from gateway.states import State
from models.labels import KEYS
from webadmin import drift
from webadmin.models import Label

LONG_AGO = timezone.now() - datetime.timedelta(days=365)


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def test_what_has_not_changed_seldom_raises_an_alarm_and_what_has_does() -> None:
    rng = np.random.default_rng(1)
    same = [drift.stability(rng.beta(1, 8, 200), rng.beta(1, 8, 200)) for _ in range(2000)]
    assert sum(psi > threshold for psi, threshold in same) <= 6, "2 are expected of 2000"
    smallest = [drift.stability(rng.beta(1, 8, 100), rng.beta(1, 8, 100)) for _ in range(2000)]
    assert sum(psi > threshold for psi, threshold in smallest) <= 6
    psi, threshold = drift.stability(rng.beta(1, 8, 200), rng.beta(2, 6, 200))
    assert psi > 1.5 * threshold


def test_the_index_is_that_of_the_literature() -> None:
    # Ten equal bins of the reference; all of the second sample in the first one.
    before = np.arange(1000) / 1000
    psi, threshold = drift.stability(before, np.zeros(1000))
    low, high = (100 + 0.5) / 1005, (1000 + 0.5) / 1005
    none = 0.5 / 1005
    expected = (high - low) * np.log(high / low) + 9 * (none - low) * np.log(none / low)
    assert psi == pytest.approx(expected)
    assert threshold == drift.LARGE, "with so many chance does less than a large change"
    # 27.877 is the upper 0.1 % point of a chi-square with nine degrees of freedom.
    assert drift.stability(before[::5], before[::5])[1] == pytest.approx(27.877 / 100, abs=2e-3)


def test_a_score_that_is_always_the_same_is_no_change() -> None:
    psi, threshold = drift.stability(np.full(200, 0.02), np.full(200, 0.02))
    assert psi == 0.0 < threshold


@pytest.mark.parametrize(
    ("before", "now", "is_more"),
    [((6, 200), (6, 200), False), ((6, 200), (12, 200), False), ((6, 200), (20, 200), True),
     ((0, 100), (8, 100), True), ((20, 200), (0, 200), False)],
)  # fmt: skip
def test_more_refused_is_told_from_chance(
    before: tuple[int, int], now: tuple[int, int], is_more: bool
) -> None:
    found = drift.refusals(before, now)
    assert (found.before, found.now) == (before[0] / before[1], now[0] / now[1])
    assert found.is_more is is_more


def fill(title: str, count: int, *, shift: float = 0.0, refused: int = 0) -> None:
    """Have a sender's ECGs read: `count` with scores, and so many refused."""
    version = make_model_version()
    first = Instance.objects.count()
    shared = {"calling_title": title, "sop_class_uid": "1", "transfer_syntax_uid": "1",
              "size_bytes": 1}  # fmt: skip
    rows = [
        Instance(
            sop_instance_uid=f"2.25.{first + number}",
            sha256=f"{first + number:064x}",
            spool_name=f"{title}-{first + number}",
            state=State.REJECTED if number < refused else State.DELIVERED,
            model_version=None if number < refused else version,
            **shared,
        )
        for number in range(count)
    ]
    rng = np.random.default_rng(first)
    Finding.objects.bulk_create(
        Finding(instance=row, model_version=version, key=key, threshold=0.5, verdict="absent",
                probability=float(np.clip(rng.beta(1, 8) + shift * (key == "af"), 0, 1)))
        for row in Instance.objects.bulk_create(rows)
        if row.model_version_id
        for key in KEYS
    )  # fmt: skip


@pytest.mark.django_db
def test_each_sender_is_held_against_itself_in_bounded_queries(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    fill("STEADY", 400)
    fill("MOVED", 200)
    fill("MOVED", 200, shift=0.2, refused=40)
    fill("NEW", 150)
    version = make_model_version()
    with django_assert_num_queries(1 + 4 + 4 + 2):
        found = {one.title: one for one in drift.table(version, LONG_AGO).senders}
    with django_assert_num_queries(0):
        drift.table(version, LONG_AGO)
    steady, moved, new = (found[title] for title in ("STEADY", "MOVED", "NEW"))
    assert steady.shift
    assert steady.refused
    assert (steady.latest, steady.reference) == (200, 200)
    assert not steady.shift.is_large
    assert not steady.refused.is_more
    assert moved.shift
    assert moved.refused
    assert (moved.shift.key, moved.shift.is_large) == ("af", True)
    assert (moved.refused.before, moved.refused.now, moved.refused.is_more) == (0.0, 0.2, True)
    assert (new.shift, new.refused, new.seen) == (None, None, 150)


@pytest.mark.django_db
def test_what_was_read_before_the_network_served_does_not_count() -> None:
    fill("CART", 250)
    assert drift.table(make_model_version(), LONG_AGO).senders[0].seen == 250
    later = timezone.now() + datetime.timedelta(seconds=1)
    assert drift.table(make_model_version(), later).senders[0].seen == 0


def label(ecg: Instance, *present: str) -> None:
    """Have somebody label an ECG."""
    said = {key: "present" if key in present else "absent" for key in KEYS}
    user = make_user(f"reader{ecg.pk}-{Label.objects.count()}")
    Label.objects.create(instance=ecg, findings=said, source="single", decided_by=user)


@pytest.mark.django_db
def test_the_network_is_held_against_the_label_that_holds(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    version: ModelVersion = make_model_version()
    assert drift.agreement(version).ecgs == 0
    for _ in range(3):
        ecg = analyse(make_ecg(data=b""), {"af": 0.9})
        label(ecg, "pvc")  # what was said first holds no longer
        label(ecg, "af")
    with django_assert_num_queries(2):
        right = drift.agreement(version)
    assert (right.ecgs, right.kappa.agreement, right.kappa.value) == (3, 1.0, 1.0)
    for _ in range(3):
        label(analyse(make_ecg(data=b""), {"af": 0.9}), "pvc")
    half = drift.agreement(version)
    assert half.ecgs == 6
    assert half.kappa.agreement == pytest.approx(54 / 60)
    assert half.kappa.value is not None
    assert 0.3 < half.kappa.value < 0.6
    label(reject(make_ecg(data=b""), "blank picture"))
    assert drift.agreement(version).ecgs == 6, "it did not read that one"
