"""An archive that is full, hangs, aborts, refuses or is away: it is met by few, and harms no other.

The archives here are scripted and the results small, so that there may be many of them.
"""

from __future__ import annotations

import datetime
import io
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone
from programs import eventually
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID
from pynetdicom import evt
from pytest_django import Settings
from rows import EXPLICIT_LITTLE_ENDIAN, make_instance
from scripted import ScriptedArchive, abort, listener, refuse

from gateway import circuits, leases, pipeline, spool
from gateway.delivery import deliver
from gateway.models import Circuit, Delivery, Dispatch, Instance, Line, Peer, Report, Study
from gateway.outputs import SOP_CLASSES, Output
from gateway.states import State

pytestmark = pytest.mark.django_db(transaction=True)

BASIC = SOP_CLASSES[Output.BASIC_TEXT]
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _quick(settings: Settings, tmp_path: Path) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_BACKOFF_S = 30.0
    settings.ECG_DICOM_TIMEOUT_S = 5.0


def destination(entity: tuple[str, str, int], **values: Any) -> Peer:
    """Make an archive known that wants the Basic Text SR alone."""
    title, host, port = entity
    outputs = [Output.BASIC_TEXT.value]
    return Peer.objects.create(
        title=title, host=host, port=port, is_destination=True, outputs=outputs, **values
    )


def result(*peers: Peer, patient: str = "") -> Dispatch:
    """Return one small report that waits for `peers`; the first one's Dispatch."""
    ds = Dataset()
    ds.SOPClassUID = UID(BASIC)
    sop_instance_uid = f"2.25.7{next(_numbers)}"
    ds.SOPInstanceUID = UID(sop_instance_uid)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE_ENDIAN)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    kept = spool.write(buffer.getvalue(), kind="reports")
    study, _ = Study.objects.get_or_create(study_instance_uid="2.25.1", patient_id=patient)
    report = Report.objects.create(
        instance=make_instance(state=State.REPORTED, study=study),
        kind=Output.BASIC_TEXT,
        sop_instance_uid=sop_instance_uid,
        sop_class_uid=BASIC,
        sha256=kept.sha256,
        size_bytes=kept.size_bytes,
        spool_name=kept.name,
    )
    rows = [Dispatch.objects.create(report=report, peer=peer) for peer in peers]
    return rows[0]


def take_all() -> list[Instance]:
    """Claim everything whose time has come."""
    return leases.claim(State.REPORTED, limit=10_000)


def instance_of(row: Dispatch) -> Instance:
    return Instance.objects.get(reports__dispatches=row)


def uid(row: Dispatch) -> str:
    return row.report.sop_instance_uid


def pass_time() -> None:
    """Let what waits, and the circuits, come due now."""
    now = timezone.now()
    Instance.objects.update(not_before=now)
    Circuit.objects.filter(opened_at__isnull=False).update(retry_at=now)


# --- what each fault does -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0xA700, 0x0213])
def test_an_archive_that_is_full_is_asked_with_one_object_at_a_time_and_nothing_is_given_up(
    status: int, settings: Settings
) -> None:
    settings.ECG_ATTEMPTS = 3
    with ScriptedArchive(status) as archive:
        peer = destination(archive.entity_args)
        rows = [result(peer) for _ in range(4)]
        deliver(leases.claim(State.REPORTED, limit=1))
        assert len(archive.stored) == 1
        deliver(take_all())
        assert len(archive.stored) == 1, "its circuit is open"
        for _ in range(8):
            pass_time()
            deliver(take_all())
        assert len(archive.stored) <= 9, "one object a trial"
        assert {instance_of(row).state for row in rows} == {State.REPORTED}
        archive.status = 0x0000
        pass_time()
        deliver(take_all())
    assert {instance_of(row).state for row in rows} == {State.DELIVERED}
    assert not Circuit.objects.filter(opened_at__isnull=False).exists()


def test_trouble_with_one_object_holds_back_no_other_and_ends_after_its_attempts(
    settings: Settings,
) -> None:
    settings.ECG_ATTEMPTS = 3
    with ScriptedArchive(0x0000) as archive:
        peer = destination(archive.entity_args)
        bad, good = result(peer), result(peer)

        def answer(event: evt.Event) -> int:
            return 0x0110 if str(event.request.AffectedSOPInstanceUID) == uid(bad) else 0x0000

        archive.status = answer
        for _ in range(3):
            deliver(take_all())
            pass_time()
    assert instance_of(good).state == State.DELIVERED
    assert instance_of(bad).state == State.FAILED
    assert "0x0110" in instance_of(bad).reason
    assert "after 3 attempts" in instance_of(bad).reason
    assert not Circuit.objects.exists()


@pytest.mark.parametrize("fault", ["abort", "hang"])
def test_an_object_that_got_no_answer_has_spent_an_attempt_and_those_behind_it_have_not(
    fault: str, settings: Settings
) -> None:
    settings.ECG_DICOM_TIMEOUT_S = 1.0
    going = threading.Event()

    def hang(_event: evt.Event) -> int:
        return int(not going.wait(10))

    with ScriptedArchive(abort if fault == "abort" else hang) as archive:
        peer = destination(archive.entity_args)
        first, second = result(peer), result(peer)
        deliver(take_all())
        going.set()
    assert (instance_of(first).attempts, instance_of(second).attempts) == (1, 0)
    assert Circuit.objects.get(peer=peer).failures == 1
    with ScriptedArchive(0x0000, port=peer.port) as archive:
        pass_time()
        deliver(take_all())
        assert archive.stored == [uid(first), uid(second)]


@pytest.mark.parametrize("speak", [refuse, socket.socket.close])
def test_an_archive_that_lets_nobody_in_costs_no_attempt(
    speak: Callable[[socket.socket], None],
) -> None:
    with listener(speak) as entity:
        peer = destination(entity)
        rows = [result(peer) for _ in range(3)]
        for _ in range(3):
            deliver(take_all())
            pass_time()
    assert Circuit.objects.get(peer=peer).failures == 3
    assert {(instance_of(row).state, instance_of(row).attempts) for row in rows} == {
        (State.REPORTED, 0)
    }


@pytest.mark.parametrize("status", [0x0111, 0xB000])
def test_what_is_there_already_or_was_changed_there_is_delivered(status: int) -> None:
    with ScriptedArchive(status) as archive:
        row = result(destination(archive.entity_args))
        deliver(take_all())
    assert instance_of(row).state == State.DELIVERED


# --- many wait ------------------------------------------------------------------------------------


def test_many_results_wait_for_an_archive_that_is_away_and_meet_it_one_by_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ECG_BACKOFF_S = 0.05
    monkeypatch.setattr(circuits, "LONGEST_S", 0.4)
    monkeypatch.setattr(circuits, "BUSY_S", 0.01)
    with ScriptedArchive(0x0000) as archive:
        entity = archive.entity_args
    peer = destination(entity)
    rows = [result(peer) for _ in range(100)]
    begun = time.monotonic()
    while time.monotonic() - begun < 3:
        circuits.try_again()
        pipeline.deliver_waiting()
    assert {row.attempts for row in Instance.objects.all()} == {0}
    # The first call was for a whole batch; each after it was for one result.
    calls = Circuit.objects.get(peer=peer).failures
    assert 3 < calls < 40
    assert Delivery.objects.count() <= pipeline.DELIVERY_BATCH + calls
    with ScriptedArchive(0x0000, port=entity[2]) as archive:

        def all_there() -> bool:
            circuits.try_again()
            couriers = [threading.Thread(target=_courier) for _ in range(3)]
            for thread in couriers:
                thread.start()
            for thread in couriers:
                thread.join()
            return not Instance.objects.exclude(state=State.DELIVERED).exists()

        eventually(all_there, timeout_s=60, what="all results")
        assert sorted(archive.stored) == sorted(uid(row) for row in rows), "each of them once"
        assert archive.most_at_once == 1, "it has one line"
    assert not Line.objects.exclude(token=None).exists()


def _courier() -> None:
    try:
        pipeline.deliver_waiting()
    finally:
        connections.close_all()


def test_an_archive_that_hangs_delays_no_other_after_the_first_call(settings: Settings) -> None:
    settings.ECG_DICOM_TIMEOUT_S = 1.0
    with listener(lambda _connected: None) as hole, ScriptedArchive(0x0000) as archive:
        dead, alive = destination(hole), destination(archive.entity_args)
        rows = [result(dead, alive) for _ in range(40)]
        deliver(leases.claim(State.REPORTED, limit=8))
        begun = time.monotonic()
        pipeline.deliver_waiting()
        took_s = time.monotonic() - begun
        assert len(archive.stored) == len(rows)
    assert Delivery.objects.filter(peer=dead).count() == 8, "it was called once"
    assert took_s < 20 * settings.ECG_DICOM_TIMEOUT_S
    assert {instance_of(row).state for row in rows} == {State.REPORTED}


def test_one_archive_is_tried_at_a_time_so_that_somebody_is_left_for_the_others() -> None:
    one, two = (destination((title, "127.0.0.1", 1)) for title in ("ONE", "TWO"))
    result(one), result(two)
    deliver(take_all())
    pass_time()
    with circuits.call(one) as call:
        assert call.is_trial
        with pytest.raises(circuits.NotNow) as refused, circuits.call(two):
            raise AssertionError("two are tried")
        assert refused.value.is_busy
        call.answered()
    with circuits.call(two) as call:
        assert call.is_trial


def test_a_peer_has_as_many_lines_as_it_is_given_and_a_dead_holder_s_comes_free() -> None:
    peer = destination(("ONE", "127.0.0.1", 1), max_lines=2)
    with circuits.call(peer), circuits.call(peer):
        with pytest.raises(circuits.NotNow, match="2 at once is its limit"), circuits.call(peer):
            raise AssertionError("there is a third")
        Line.objects.filter(number=1).update(expires_at=timezone.now())
        with circuits.call(peer):
            pass
    assert Line.objects.count() == 2


def test_a_courier_waits_for_a_line_of_a_peer_that_answers_and_not_of_one_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = destination(("ONE", "127.0.0.1", 1))
    looks: list[float] = []

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            busy.end()

    monkeypatch.setattr("gateway.circuits.time.sleep", pause)
    busy = circuits.dial(peer)
    with circuits.call(peer, patience_s=60.0) as call:
        assert len(looks) == 3
        with pytest.raises(circuits.NotNow, match="1 at once"), circuits.call(peer):
            raise AssertionError("who has no patience looks once")
        assert len(looks) == 3
        call.failed("no answer")
    with pytest.raises(circuits.NotNow), circuits.call(peer, patience_s=60.0):
        raise AssertionError("it is called while it rests")
    pass_time()
    with circuits.call(peer), pytest.raises(circuits.NotNow), circuits.call(peer, patience_s=60.0):
        raise AssertionError("somebody waits for a trial")
    assert len(looks) == 3


def test_calls_that_fail_together_are_one_failure() -> None:
    peer = destination(("ONE", "127.0.0.1", 1), max_lines=2)
    with circuits.call(peer) as first, circuits.call(peer) as second:
        first.failed("no answer")
        second.failed("no answer")
    assert Circuit.objects.get(peer=peer).failures == 1


def test_a_peer_at_another_address_is_another_archive() -> None:
    peer = destination(("ONE", "127.0.0.1", 1))
    with circuits.call(peer) as call:
        call.failed("no answer")
    assert circuits.is_open(peer)
    peer.port = 2
    assert not circuits.is_open(peer)
    with circuits.call(peer) as call:
        assert not call.is_trial


def test_saving_a_peer_lets_what_waits_for_it_go_on_at_once() -> None:
    with ScriptedArchive(0x0000) as archive:
        peer = destination(("WRONG", "127.0.0.1", 1))
        rows = [result(peer) for _ in range(3)]
        deliver(take_all())
        assert not take_all()
        peer.title, peer.host, peer.port = archive.entity_args
        peer.save()
        deliver(take_all())
    assert {instance_of(row).state for row in rows} == {State.DELIVERED}


# --- whose turn it is -----------------------------------------------------------------------------


def test_the_results_of_a_patient_go_in_their_order_though_the_first_is_refused_for_now() -> None:
    with ScriptedArchive(0x0000) as archive:
        peer = destination(archive.entity_args)
        first, second = result(peer, patient="ANNA"), result(peer, patient="ANNA")
        other, nobody = result(peer, patient="BERT"), result(peer)
        refused = iter([0x0110])

        def answer(event: evt.Event) -> int:
            is_first = str(event.request.AffectedSOPInstanceUID) == uid(first)
            return next(refused, 0) if is_first else 0

        archive.status = answer
        deliver(take_all())
        assert set(archive.stored) == {uid(first), uid(other), uid(nobody)}
        pass_time()
        deliver(take_all())
        assert archive.stored[3:] == [uid(first), uid(second)]


def test_who_comes_second_waits_for_a_courier_that_has_the_first() -> None:
    with ScriptedArchive(0x0000) as archive:
        peer = destination(archive.entity_args)
        first, second = result(peer, patient="ANNA"), result(peer, patient="ANNA")
        mine = leases.claim(State.REPORTED, limit=1)
        deliver(leases.claim(State.REPORTED, limit=1))
        assert not archive.stored
        assert instance_of(second).attempts == 0
        deliver(mine)
        pass_time()
        deliver(take_all())
        assert archive.stored == [uid(first), uid(second)]


def test_a_hundred_ecgs_of_one_patient_go_in_their_order_and_each_is_looked_at_a_few_times() -> (
    None
):
    with ScriptedArchive(0x0000) as archive:
        peer = destination(archive.entity_args)
        rows = [result(peer, patient="UNKNOWN") for _ in range(100)]
        # Two Couriers have them, and the one with the later ones is first.
        early, late = (leases.claim(State.REPORTED, limit=8) for _ in range(2))
        deliver(late)
        deliver(early)
        claims = 0
        while claimed := leases.claim(State.REPORTED, limit=8):
            claims += 1
            deliver(claimed)
        assert archive.stored == [uid(row) for row in rows]
        assert archive.associations <= 15
        assert claims <= 30


def test_a_row_whose_courier_died_has_its_turn_as_soon_as_the_one_before_it_has_gone() -> None:
    with ScriptedArchive(0x0000) as archive:
        peer = destination(archive.entity_args)
        first, second = result(peer, patient="ANNA"), result(peer, patient="ANNA")
        mine = leases.claim(State.REPORTED, limit=1)
        leases.claim(State.REPORTED, limit=1)
        # Its Courier died: the lease runs out, the attempt stays.
        now = timezone.now()
        Instance.objects.filter(pk=instance_of(second).pk).update(lease_expires_at=now)
        deliver(leases.claim(State.REPORTED, limit=1))
        assert instance_of(second).attempts == 1
        deliver(mine)
        deliver(take_all())
        assert archive.stored == [uid(first), uid(second)]


def test_what_was_turned_down_keeps_its_back_off_though_others_of_the_patient_go() -> None:
    with ScriptedArchive(0x0110) as archive:
        peer = destination(archive.entity_args)
        first, second = result(peer, patient="ANNA"), result(peer, patient="ANNA")
        for _ in range(2):
            deliver(leases.claim(State.REPORTED, ids=[instance_of(first).pk]))
            Instance.objects.filter(pk=instance_of(first).pk).update(not_before=timezone.now())
        deliver(leases.claim(State.REPORTED, ids=[instance_of(first).pk]))
        early = timezone.now() - datetime.timedelta(minutes=6)
        Instance.objects.update(state_since=early)
        due = instance_of(first).not_before
        archive.status = 0x0000
        deliver(take_all())
        assert archive.stored[-1] == uid(second)
    assert instance_of(first).not_before == due > timezone.now()
    assert instance_of(first).attempts == 3


def test_a_result_that_is_turned_down_for_minutes_holds_the_next_no_longer() -> None:
    with ScriptedArchive(0x0110) as archive:
        peer = destination(archive.entity_args)
        first, second = result(peer, patient="ANNA"), result(peer, patient="ANNA")
        for _ in range(2):
            deliver(take_all())
            pass_time()
        assert archive.stored == [uid(first)] * 2
        early = timezone.now() - datetime.timedelta(minutes=6)
        Instance.objects.update(state_since=early)
        archive.status = lambda event: (
            0x0110 if str(event.request.AffectedSOPInstanceUID) == uid(first) else 0
        )
        for _ in range(2):
            deliver(take_all())
    assert instance_of(second).state == State.DELIVERED
    assert instance_of(first).state == State.REPORTED


def test_a_result_for_another_archive_holds_nothing_back() -> None:
    with ScriptedArchive(0x0000) as archive:
        away = destination(("AWAY", "127.0.0.1", 1))
        there = destination(archive.entity_args)
        result(away, patient="ANNA")
        second = result(there, patient="ANNA")
        deliver(take_all())
        assert archive.stored == [uid(second)]


def test_how_many_statements_a_result_costs_does_not_grow_with_what_waits() -> None:
    with ScriptedArchive(0x0000) as archive:
        peer = destination(archive.entity_args)
        counts = []
        for waiting in (2, 60):
            for _ in range(waiting):
                result(peer, patient="ANNA")
            claimed = leases.claim(State.REPORTED, limit=1)
            with _counted() as count:
                deliver(claimed)
            counts.append(count())
            deliver(leases.claim(State.REPORTED, limit=1))  # the lines are made by the first call
    assert counts[1] <= counts[0]


@contextmanager
def _counted() -> Iterator[Callable[[], int]]:
    count = itertools.count()

    def wrapper(execute: Any, sql: str, *rest: Any) -> Any:
        next(count)
        return execute(sql, *rest)

    with connection.execute_wrapper(wrapper):
        yield lambda: next(count)
