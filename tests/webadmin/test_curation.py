"""Double reading: who may read what, and what follows from two readings and from a third."""

from __future__ import annotations

import datetime
import threading

import pytest
from desk_people import make_user
from desk_readings import ecg, override, read, reader, words
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone

from webadmin import audit, curation
from webadmin.models import Assignment, Label, Reading

pytestmark = pytest.mark.django_db
Kind = Assignment.Kind


@pytest.fixture
def anna() -> User:
    return reader("anna")


@pytest.fixture
def ben() -> User:
    return reader("ben")


@pytest.fixture
def carl() -> User:
    return reader("carl", "adjudicate")


def taken(user: User, **values: str) -> Assignment:
    found = curation.take(user, **values)
    assert found is not None
    return found


def test_two_readers_who_agree_make_a_label(anna: User, ben: User) -> None:
    row = ecg()
    assert curation.request([row]) == 1
    assert read(taken(anna), anna, "af") is None
    assert curation.label_of(row) is None, "one reader is no consensus"
    label = read(taken(ben), ben, "af")
    assert (label.source, label.findings["af"], label.findings["normal"]) == (
        "agreed",
        "present",
        "absent",
    )
    assert {reading.reader for reading in label.readings.all()} == {anna, ben}
    assert curation.label_of(row) == label
    assert curation.labels_of([row]) == {row.pk: label}
    assert not Assignment.objects.filter(done_at=None).exists()


def test_two_readers_who_differ_go_to_a_third_who_decides(
    anna: User, ben: User, carl: User
) -> None:
    row = ecg()
    curation.request([row])
    read(taken(anna), anna, "af")
    wanted = read(taken(ben), ben, "afl")
    assert wanted.kind == Kind.ADJUDICATION
    assert curation.label_of(row) is None
    with pytest.raises(PermissionDenied):
        curation.take(anna, kind=Kind.ADJUDICATION)
    mine = taken(carl, kind=Kind.ADJUDICATION)
    assert mine == wanted
    assert [reading.reader for reading in curation.pair_of(mine)] == [anna, ben]
    label = read(mine, carl, "afl")
    assert label.source == "adjudicated"
    assert label.findings == words("afl")
    assert label.readings.count() == 3


def test_undecided_is_not_the_same_as_absent(anna: User, ben: User) -> None:
    curation.request([ecg()])
    read(taken(anna), anna, "af")
    followed = read(taken(ben), ben, findings=words("af", undecided=("pac",)))
    assert isinstance(followed, Assignment)


def test_an_ecg_that_neither_can_read_is_labelled_with_nothing_decided(
    anna: User, ben: User
) -> None:
    curation.request([ecg()])
    unreadable = Reading.Decision.UNREADABLE
    read(taken(anna), anna, decision=unreadable)
    label = read(taken(ben), ben, decision=unreadable)
    assert set(label.findings.values()) == {"undecided"}
    assert label.comment == "Cannot be read"


def test_one_who_cannot_read_it_and_one_who_can_do_not_agree(anna: User, ben: User) -> None:
    curation.request([ecg()])
    read(taken(anna), anna, decision=Reading.Decision.UNREADABLE, findings=words())
    assert isinstance(read(taken(ben), ben), Assignment)


def test_nobody_reads_both_or_adjudicates_their_own_reading(anna: User, ben: User) -> None:
    judge = reader("dora", "adjudicate")
    row = ecg()
    curation.request([row])
    read(taken(judge), judge, "af")
    assert curation.take(judge) is None, "the second reading is another's"
    second = Assignment.objects.get(kind=Kind.SECOND)
    with pytest.raises(curation.NotYours):
        read(second, judge, "af")
    read(taken(ben), ben, "normal")
    assert curation.take(judge, kind=Kind.ADJUDICATION) is None
    wanted = Assignment.objects.get(kind=Kind.ADJUDICATION)
    with pytest.raises(curation.NotYours):
        read(wanted, judge, "af")
    assert not Label.objects.exists()


def test_who_has_seen_the_networks_findings_is_not_blinded(anna: User, ben: User) -> None:
    row = ecg()
    override(row, anna, "af")
    curation.request([row])
    assert curation.take(anna) is None
    assert curation.take(ben) is not None


def test_a_reading_is_kept_for_who_took_it_until_the_time_is_over(anna: User, ben: User) -> None:
    curation.request([ecg(), ecg()])
    mine = taken(anna)
    assert taken(anna) == mine, "who has begun one goes on with it"
    assert taken(ben) != mine
    third = reader("emil")
    assert mine.pk not in {taken(third).pk, taken(reader("fred")).pk}
    late = timezone.now() - datetime.timedelta(seconds=1)
    Assignment.objects.filter(pk=mine.pk).update(taken_until=late)
    assert taken(reader("gina")) == mine
    with pytest.raises(curation.NotYours):
        curation.check(Assignment.objects.get(pk=mine.pk), anna)


def test_one_person_never_holds_both_readings_of_an_ecg(anna: User) -> None:
    curation.request([ecg()])
    mine = taken(anna)
    late = timezone.now() - datetime.timedelta(seconds=1)
    Assignment.objects.filter(pk=mine.pk).update(taken_until=late)
    assert taken(anna) == mine


def test_who_has_looked_at_an_ecg_is_not_blinded_whatever_was_given_back(anna: User) -> None:
    row = ecg()
    curation.request([row])
    mine = taken(anna)
    audit.record(audit.Action.VIEWED, actor=anna.username, subject=row, assignment=mine.pk)
    assert curation.release(mine, anna)
    assert curation.free(anna).exists(), "what it shows to be read tells nothing"
    audit.record(audit.Action.VIEWED, actor=anna.username, subject=row)
    assert not curation.free(anna).exists()
    assert curation.take(anna) is None


def test_a_reading_is_given_back(anna: User, ben: User) -> None:
    curation.request([ecg()])
    mine = taken(anna)
    assert not curation.release(mine, ben)
    assert curation.release(mine, anna)
    mine.refresh_from_db()
    assert (mine.taken_by, mine.taken_until) == (None, None)


def test_who_may_not_read_takes_nothing(anna: User) -> None:
    curation.request([ecg()])
    with pytest.raises(PermissionDenied):
        curation.take(make_user("guest"))


def test_a_reading_in_routine_is_followed_by_nothing(anna: User) -> None:
    assert curation.after(override(ecg(), anna, "af")) is None


@pytest.mark.django_db(transaction=True)
def test_two_who_reach_for_the_same_reading_get_different_ones() -> None:
    people = [reader(f"reader{number}") for number in range(4)]
    curation.request([ecg(), ecg()])
    got: list[int] = []
    ready = threading.Barrier(len(people))

    def reach(user: User) -> None:
        try:
            ready.wait()
            got.append(taken(user).pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=reach, args=(user,)) for user in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == 4


@pytest.mark.django_db(transaction=True)
def test_two_who_end_at_the_same_moment_still_make_one_label() -> None:
    people = [reader("anna"), reader("ben")]
    for _ in range(5):
        row = ecg()
        curation.request([row])
        mine = [taken(user) for user in people]
        ready = threading.Barrier(2)

        def end(assignment: Assignment, user: User, ready: threading.Barrier = ready) -> None:
            try:
                ready.wait()
                read(assignment, user, "af")
            finally:
                connection.close()

        threads = [
            threading.Thread(target=end, args=pair) for pair in zip(mine, people, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [label.source for label in row.labels.all()] == ["agreed"]
