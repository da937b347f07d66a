"""No interleaving of callers shuts a Peer for good, has two try it, or opens a line too many."""

from __future__ import annotations

import datetime

import pytest
from django.utils import timezone
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pytest_django import Settings

from gateway import circuits
from gateway.circuits import Call, NotNow
from gateway.models import Circuit, Line, Peer


class Callers(RuleBasedStateMachine):
    """Couriers that call one Peer at the same time; each may fail, hang up, or die."""

    @initialize(lines=st.integers(1, 3))
    def begin(self, lines: int) -> None:
        self.peer = Peer.objects.create(
            title=f"P{Peer.objects.count()}", host="127.0.0.1", max_lines=lines
        )
        self.calls: list[Call] = []
        self.dead = 0
        """Callers that died with a line whose time has not passed."""
        self.trial_is_lost = False
        self.is_open = False

    @rule()
    def ring(self) -> None:
        held = len(self.calls) + self.dead
        is_tried = self.trial_is_lost or any(call.is_trial for call in self.calls)
        try:
            call = circuits.dial(self.peer)
        except NotNow as refusal:
            rest = refusal
        else:
            assert call.is_trial == self.is_open
            self.calls.append(call)
            return
        assert rest.wait_s > 0
        assert self.is_open or held == self.peer.max_lines
        assert not rest.is_busy or held == self.peer.max_lines or is_tried

    @precondition(lambda self: self.calls)
    @rule(number=st.integers(0, 2), outcome=st.sampled_from(["answered", "failed", "unused"]))
    def end(self, number: int, outcome: str) -> None:
        call = self.calls.pop(number % len(self.calls))
        if outcome == "answered":
            call.answered()
            self.is_open = self.is_open and not call.is_trial
        elif outcome == "failed":
            call.failed("no answer")
            self.is_open = True
        call.end()

    @precondition(lambda self: self.calls)
    @rule(number=st.integers(0, 2))
    def die(self, number: int) -> None:
        call = self.calls.pop(number % len(self.calls))
        self.dead += 1
        self.trial_is_lost = self.trial_is_lost or call.is_trial

    @rule()
    def rest_passes(self) -> None:
        Circuit.objects.filter(retry_at__isnull=False).update(retry_at=timezone.now())

    @rule()
    def the_dead_are_noticed(self) -> None:
        now = timezone.now()
        Line.objects.exclude(token__in=[call.token for call in self.calls]).update(
            expires_at=now - datetime.timedelta(seconds=1)
        )
        if not any(call.is_trial for call in self.calls):
            Circuit.objects.filter(trial_until__isnull=False).update(trial_until=now)
            self.trial_is_lost = False
        self.dead = 0

    @invariant()
    def no_more_lines_than_allowed(self) -> None:
        if hasattr(self, "peer"):
            held = Line.objects.filter(peer=self.peer, expires_at__gt=timezone.now())
            assert held.count() == len(self.calls) + self.dead <= self.peer.max_lines

    @invariant()
    def one_tries_at_most(self) -> None:
        if hasattr(self, "peer"):
            assert sum(call.is_trial for call in self.calls) <= 1
            assert circuits.is_open(self.peer) == self.is_open

    def teardown(self) -> None:
        Circuit.objects.all().delete()
        Line.objects.all().delete()


@pytest.mark.django_db(transaction=True)
def test_no_interleaving_of_callers_breaks_a_circuit_or_a_line(settings: Settings) -> None:
    settings.ECG_BACKOFF_S = 30.0
    run_state_machine_as_test(
        Callers,
        settings=hypothesis_settings(
            max_examples=20,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
