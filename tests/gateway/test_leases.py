"""No interleaving of claim, crash, expiry and advance loses a row or does a step twice."""

from __future__ import annotations

import datetime
import os
import threading
from collections import Counter
from collections.abc import Callable

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.utils import timezone
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from pytest_django import Settings
from rows import make_instance

from gateway import leases, reviewing
from gateway.models import Instance, Peer, Report, Review, Rule, Transition
from gateway.states import (
    RESUME,
    TRANSITIONS,
    WAITING,
    Event,
    IllegalTransition,
    State,
    diagram,
    follow,
)
from models.labels import KEYS

FORWARD = {State.RECEIVED: Event.ANALYSE, State.ANALYSED: Event.COMPOSE}
FORWARD[State.REPORTED] = Event.DELIVER
REVIEWED = (State.ANALYSED, State.REPORTED, State.DELIVERED)


def expire(instance: Instance) -> None:
    """Let the lease of a row run out, as if its time had passed."""
    past = timezone.now() - datetime.timedelta(seconds=1)
    Instance.objects.filter(pk=instance.pk, lease_token__isnull=False).update(lease_expires_at=past)


class Life(RuleBasedStateMachine):
    """Several workers, each of which may be late, dead or wrong about what it holds."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.row = make_instance()

    @rule(target=held, state=st.sampled_from(WAITING))
    def claim(self, state: State) -> Instance | None:
        return self.claim_now(state)

    def claim_now(self, state: State) -> Instance | None:
        claimed = leases.claim(state, ids=[self.row.pk])
        if claimed and state == State.REPORTED:
            self.report_reviews()
        return claimed[0] if claimed else None

    def report_reviews(self) -> None:
        """Compose the reports of the reviews that are there, as a Courier does first."""
        Review.objects.filter(instance=self.row).update(composed_at=timezone.now())

    @precondition(lambda self: self.fresh().state in REVIEWED and self.row.reviews.count() < 3)
    @rule()
    def review(self) -> None:
        reviewing.order(
            self.row,
            findings=dict.fromkeys(KEYS, "absent"),
            verifier_name="Test^Reader",
            organization="Hospital",
        )

    @rule()
    def come_to_delivery(self) -> None:
        """A worker that is neither late nor dead brings it as far as its delivery."""
        for state in (State.RECEIVED, State.ANALYSED):
            self.finish(self.claim_now(state))

    @rule()
    def expire(self) -> None:
        expire(self.row)

    @rule()
    def back_off_passes(self) -> None:
        Instance.objects.filter(pk=self.row.pk).update(not_before=timezone.now())

    @rule(worker=held)
    def finish(self, worker: Instance | None) -> None:
        if worker is None or worker.state not in FORWARD:
            return
        try:
            with transaction.atomic():
                if worker.state == State.ANALYSED:
                    # A report is written with the state that claims it: a second one would break
                    # the constraint, a lost lease must take it back.
                    Report.objects.create(
                        instance=self.row,
                        kind="basic_text",
                        sop_instance_uid=f"2.25.{self.row.pk}",
                        sop_class_uid="1.2",
                        sha256="0" * 64,
                        size_bytes=1,
                        spool_name=f"reports/{self.row.pk}",
                    )
                leases.advance(worker, FORWARD[State(worker.state)], actor="test")
                reviewing.go_on([worker.pk])
        except (leases.LeaseLost, IntegrityError):
            # As gateway.composition: whoever had the row since has written the same.
            return

    @rule(worker=held)
    def postpone(self, worker: Instance | None) -> None:
        if worker is None or worker.state not in WAITING:
            return
        try:
            leases.postpone(worker, "archive away", actor="test")
        except leases.LeaseLost:
            return

    @rule(worker=held)
    def give_up(self, worker: Instance | None) -> None:
        if worker is None or worker.state not in WAITING:
            return
        try:
            leases.give_up(worker, "no use", actor="test")
        except leases.LeaseLost:
            return

    @precondition(lambda self: self.fresh().state == State.FAILED)
    @rule()
    def resume(self) -> None:
        assert leases.resume(self.fresh(), actor="person")

    def fresh(self) -> Instance:
        return Instance.objects.get(pk=self.row.pk)

    @invariant()
    def the_trail_is_one_unbroken_chain(self) -> None:
        state: str = State.RECEIVED
        for line in Transition.objects.filter(instance=self.row):
            assert line.from_state == state
            assert follow(State(state), Event(line.event)) == line.to_state
            state = line.to_state
        assert self.fresh().state == state

    @invariant()
    def what_is_delivered_waits_for_no_review(self) -> None:
        if self.fresh().state == State.DELIVERED:
            assert not Review.objects.filter(instance=self.row, composed_at=None).exists()

    @invariant()
    def each_step_forward_is_done_once(self) -> None:
        events = Counter(
            Transition.objects.filter(
                instance=self.row, event__in=[e.value for e in FORWARD.values()]
            ).values_list("event", flat=True)
        )
        reviews = Review.objects.filter(instance=self.row).count()
        assert events.pop(Event.DELIVER, 0) <= 1 + reviews
        assert all(count == 1 for count in events.values())
        reported = self.fresh().state in (State.REPORTED, State.DELIVERED)
        if reported:
            assert Report.objects.filter(instance=self.row).count() == 1

    def teardown(self) -> None:
        """Whatever happened, one living worker brings the row to its end."""
        for _ in range(10):
            row = self.fresh()
            if row.state == State.DELIVERED:
                return
            if row.state == State.FAILED:
                assert leases.resume(row, actor="person")
            expire(row)
            self.back_off_passes()
            for state in WAITING:
                self.finish(self.claim_now(state))
        raise AssertionError(f"the row is stuck in {self.fresh().state}")


@pytest.mark.django_db(transaction=True)
def test_no_interleaving_loses_a_row_or_does_a_step_twice() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Life,
        settings=hypothesis_settings(
            max_examples=min(40, hypothesis_settings().max_examples),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_at_once_each_row_is_claimed_by_one() -> None:
    rows = [make_instance() for _ in range(40)]
    claimed: list[int] = []
    barrier = threading.Barrier(6)

    def work() -> None:
        barrier.wait()
        try:
            while batch := leases.claim(State.RECEIVED, limit=3):
                claimed.extend(row.pk for row in batch)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(claimed) == sorted(row.pk for row in rows)


@pytest.mark.django_db
def test_a_worker_whose_lease_ran_out_changes_nothing() -> None:
    row = make_instance()
    (late,) = leases.claim(State.RECEIVED)
    expire(row)
    with pytest.raises(leases.LeaseLost):
        leases.advance(late, Event.ANALYSE, actor="late")
    (second,) = leases.claim(State.RECEIVED)
    with pytest.raises(leases.LeaseLost):
        leases.postpone(late, "too late", actor="late")
    leases.advance(second, Event.ANALYSE, actor="second")
    assert [t.actor for t in row.transitions.all()] == ["second"]


@pytest.mark.django_db
def test_attempts_are_counted_when_they_begin_and_spent_ones_fail_the_row(
    settings: Settings,
) -> None:
    settings.ECG_ATTEMPTS = 2
    settings.ECG_BACKOFF_S = 0.0
    row = make_instance()
    (first,) = leases.claim(State.RECEIVED, tried_before=False)
    assert leases.postpone(first, "network away", actor="test")
    assert not leases.claim(State.RECEIVED, tried_before=False)
    (second,) = leases.claim(State.RECEIVED, tried_before=True)
    assert not leases.postpone(second, "network away", actor="test")
    row.refresh_from_db()
    assert (row.state, row.failed_in) == (State.FAILED, State.RECEIVED)
    assert row.reason == "network away (after 2 attempts)"
    assert leases.resume(row, actor="person")
    assert (row.state, row.attempts, row.reason) == (State.RECEIVED, 0, "")


@pytest.mark.django_db
def test_waiting_for_configuration_spends_no_attempt() -> None:
    make_instance(state=State.REPORTED)
    (row,) = leases.claim(State.REPORTED)
    leases.wait_for_configuration(row, "no destination")
    row.refresh_from_db()
    assert (row.attempts, row.lease_token, row.last_error) == (0, None, "no destination")


@pytest.mark.django_db
def test_what_waits_for_configuration_keeps_out_of_the_way_until_a_person_changes_some() -> None:
    make_instance(state=State.REPORTED)
    peer = Peer.objects.create(title="PACS", host="pacs")
    rule_of_all = Rule(name="all")
    changes: tuple[Callable[[], None], ...] = (
        peer.save,
        rule_of_all.save,
        lambda: rule_of_all.destinations.add(peer),
    )
    for change in changes:
        (row,) = leases.claim(State.REPORTED)
        leases.wait_for_configuration(row, "no destination")
        row.refresh_from_db()
        assert row.not_before > timezone.now() + datetime.timedelta(seconds=60)
        assert not leases.claim(State.REPORTED)
        change()


@pytest.mark.django_db
def test_the_sweeper_sees_what_nobody_holds_and_whose_time_has_come() -> None:
    free, held, later = make_instance(), make_instance(), make_instance()
    Instance.objects.filter(pk=later.pk).update(
        not_before=timezone.now() + datetime.timedelta(hours=1)
    )
    leases.claim(State.RECEIVED, ids=[held.pk])
    done = make_instance(state=State.DELIVERED)
    assert leases.overdue() == [free.pk]
    assert done.pk not in leases.overdue()


def test_an_event_the_table_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(IllegalTransition, match="'deliver' is not possible in state 'received'"):
        follow(State.RECEIVED, Event.DELIVER)


def test_every_waiting_state_can_move_on_fail_and_be_resumed() -> None:
    for state in WAITING:
        assert follow(state, FORWARD[state]) is not State.FAILED
        assert follow(state, Event.GIVE_UP) is State.FAILED
        assert follow(State.FAILED, RESUME[state]) is state


def test_the_diagram_shows_every_transition() -> None:
    text = diagram()
    assert all(f"{s.name} --> {t.name}: {e.value}" in text for (s, e), t in TRANSITIONS.items())


@pytest.mark.django_db
def test_a_transition_is_never_changed_or_deleted() -> None:
    row = make_instance()
    (held,) = leases.claim(State.RECEIVED)
    leases.advance(held, Event.ANALYSE, actor="test")
    line = row.transitions.get()
    with pytest.raises(TypeError, match="never changed"):
        line.save()
    with pytest.raises(TypeError, match="never deleted"):
        line.delete()


@pytest.mark.django_db
def test_what_waits_is_found_by_an_index_however_much_is_done() -> None:
    waiting = leases.claimable(State.RECEIVED, timezone.now()).order_by("not_before", "pk")
    sql, params = waiting.values("pk").query.sql_with_params()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # A small table is scanned whatever the index; ask for the plan of a large one.
            cursor.execute("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        cursor.execute(f"{explain} {sql}", params)
        plan = " ".join(str(row) for row in cursor.fetchall())
    assert "instance_waiting" in plan


def test_the_database_is_the_one_asked_for() -> None:
    wanted = "postgresql" if os.environ.get("TEST_DATABASE_URL") else "sqlite"
    assert connection.vendor == wanted
