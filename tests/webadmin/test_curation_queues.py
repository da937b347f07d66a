"""Which ECGs come into which queue, in which order, and how many."""

from __future__ import annotations

import pytest
from desk_readings import ecg, label, override, reader
from desk_rows import make_ecg, reject
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from gateway.models import Instance
from webadmin import curation, queues
from webadmin.models import Assignment
from webadmin.tasks import sweep_curation

pytestmark = pytest.mark.django_db
Queue = Assignment.Queue


@pytest.fixture(autouse=True)
def same_key(settings: Settings) -> None:
    """Have the hashes that decide on who is drawn be those of the last run."""
    settings.SECRET_KEY = "the same in each run"


@pytest.fixture(autouse=True)
def nobody_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the other queues without a chance that takes an ECG away."""
    monkeypatch.setattr(queues, "RANDOM_SHARE", 0.0)


def queued(queue: str) -> list[int]:
    """Return the ECGs of a queue, the most wanted first."""
    rows = Assignment.objects.filter(queue=queue, kind=Assignment.Kind.FIRST)
    return list(rows.values_list("instance_id", flat=True))


def test_the_nearest_to_a_threshold_comes_first() -> None:
    far = ecg({"af": 0.22, "normal": 0.01})
    near = ecg({"af": 0.41, "normal": 0.01})
    ecg({"af": 0.9})
    assert curation.fill(queues=[Queue.UNDETERMINED]) == {"undetermined": 2}
    assert queued("undetermined") == [near.pk, far.pk]
    both = Assignment.objects.filter(instance=near).values_list("kind", flat=True)
    assert set(both) == {"first", "second"}


def test_what_a_reader_contradicts_comes_the_surest_first() -> None:
    anna = reader("anna")
    sure, unsure = ecg({"af": 0.95, "normal": 0.01}), ecg({"af": 0.45, "normal": 0.01})
    agreed = ecg({"af": 0.95, "normal": 0.01})
    override(sure, anna, "afl")
    override(unsure, anna, "afl")
    override(agreed, anna, "afl")
    override(agreed, anna, "af")  # read again: the latest holds
    curation.fill(queues=[Queue.DISAGREEMENT])
    assert queued("disagreement") == [sure.pk, unsure.pk]


def test_a_finding_that_few_ecgs_show_is_rare_and_normal_never_is() -> None:
    for _ in range(4):
        ecg({"af": 0.9, "normal": 0.01})
    rare = ecg({"preexcitation": 0.9, "normal": 0.01})
    ecg({"normal": 0.9})
    curation.fill(queues=[Queue.RARE])
    assert queued("rare") == [rare.pk]


def test_of_two_rare_findings_the_one_with_fewer_labels_comes_first() -> None:
    anna = reader("anna")
    for _ in range(3):
        label(ecg(), anna, "preexcitation")
    known = ecg({"preexcitation": 0.9, "normal": 0.01})
    unknown = ecg({"atrial_escape": 0.9, "normal": 0.01})
    curation.fill(queues=[Queue.RARE])
    assert queued("rare") == [unknown.pk, known.pk]


def test_what_was_refused_as_unlike_the_training_is_read_by_people() -> None:
    ecg(quality={"unfamiliarity": 0.4})
    refused = reject(make_ecg(data=b""), "unlike the pages the network knows")
    Instance.objects.filter(pk=refused.pk).update(
        quality={"unfamiliarity": 1.7}, analysed_at=timezone.now()
    )
    reject(make_ecg(data=b""), "blank picture")
    curation.fill(queues=[Queue.UNFAMILIAR])
    assert queued("unfamiliar") == [refused.pk]


def test_the_draw_is_a_tenth_and_cannot_be_foretold_without_the_key(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "RANDOM_SHARE", 0.1)
    uids = [f"1.2.3.{number}" for number in range(4000)]
    drawn = {uid for uid in uids if queues.is_drawn(uid)}
    assert 0.08 < len(drawn) / len(uids) < 0.12
    assert {uid for uid in uids if queues.is_drawn(uid)} == drawn
    settings.SECRET_KEY = "another"
    assert {uid for uid in uids if queues.is_drawn(uid)} != drawn


def test_what_was_drawn_stands_in_no_other_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    doubtful = ecg({"af": 0.41})
    monkeypatch.setattr(queues, "RANDOM_SHARE", 1.0)
    curation.fill(waiting=0)
    assert not Assignment.objects.exists()
    curation.fill(queues=[Queue.UNDETERMINED])
    assert queued("undetermined") == [], "it will be drawn, and is no fair sample otherwise"
    curation.fill()
    assert queued("random") == [doubtful.pk]


def test_a_queue_takes_no_more_than_its_number_and_is_filled_up_again() -> None:
    anna, ben = reader("anna"), reader("ben")
    for _ in range(5):
        ecg({"af": 0.4, "normal": 0.01})
    assert curation.fill(queues=[Queue.UNDETERMINED], waiting=3) == {"undetermined": 3}
    assert curation.fill(queues=[Queue.UNDETERMINED], waiting=3) == {"undetermined": 0}
    for person in (anna, ben):
        mine = curation.take(person)
        assert mine is not None
        Assignment.objects.filter(pk=mine.pk).update(done_at=timezone.now())
    assert curation.fill(queues=[Queue.UNDETERMINED], waiting=3) == {"undetermined": 1}


def test_what_is_settled_aged_out_or_in_another_queue_is_not_asked_for() -> None:
    doubt = {"af": 0.4, "normal": 0.01}
    label(ecg(doubt), reader("anna"), "af")
    gone = ecg(doubt)
    Instance.objects.filter(pk=gone.pk).update(aged_out_at=timezone.now())
    curation.request([ecg(doubt)])
    left = ecg(doubt)
    curation.fill(queues=[Queue.UNDETERMINED])
    assert queued("undetermined") == [left.pk]


def test_nobody_but_a_person_requests() -> None:
    with pytest.raises(ValueError, match="requested"):
        curation.fill(queues=[Queue.REQUESTED])


def test_filling_asks_the_database_no_more_for_many_ecgs() -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as asked:
            curation.fill(waiting=1000)
        return len(asked)

    ecg({"af": 0.4})
    few = cost()
    for number in range(25):
        ecg({"af": 0.3 + 0.004 * number, "normal": 0.01})
    assert cost() <= few + 8


def test_the_sweep_fills_the_queues() -> None:
    assert "webadmin.tasks.sweep_curation" in {
        entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()
    }
    doubtful = ecg({"af": 0.4, "normal": 0.01})
    sweep_curation()
    assert queued("undetermined") == [doubtful.pk]
