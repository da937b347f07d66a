"""Many threads write in one transaction, and each is told the truth about its own rows."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from programs import eventually

from gateway import connection_pool, shared_commit
from gateway.models import Association


def insert(uid: str) -> Callable[[], object]:
    """Return work that makes a row of this UID, which must be new."""
    return lambda: Association.objects.create(uid=uid, outcome="released")


def together(*works: Callable[[], object]) -> list[BaseException | None]:
    """Run all works at once, so that those after the first wait for it; return how each ended."""
    begun, go_on = threading.Event(), threading.Event()
    ends: list[BaseException | None] = [None] * len(works)

    def hold() -> None:
        begun.set()
        assert go_on.wait(20)
        works[0]()

    def run(number: int, work: Callable[[], object]) -> None:
        try:
            shared_commit.run(work)
        except BaseException as fault:  # noqa: BLE001 (the test looks at it)
            ends[number] = fault
        finally:
            connections.close_all()

    first = threading.Thread(target=run, args=(0, hold))
    first.start()
    assert begun.wait(20)
    others = [threading.Thread(target=run, args=(n, work)) for n, work in enumerate(works) if n > 0]
    for thread in others:
        thread.start()
    eventually(lambda: len(shared_commit._waiting) == len(others), what="the others to wait")
    go_on.set()
    for thread in (first, *others):
        thread.join(20)
    return ends


@pytest.mark.django_db(transaction=True)
def test_those_who_wait_are_taken_along_by_one() -> None:
    writers: list[int] = []

    def work(uid: str) -> Callable[[], object]:
        def write() -> None:
            writers.append(threading.get_ident())
            insert(uid)()

        return write

    assert together(*(work(f"{n}") for n in range(6))) == [None] * 6
    assert Association.objects.count() == 6
    assert len(set(writers[1:])) == 1, "five rows, one transaction"


@pytest.mark.django_db(transaction=True)
def test_one_that_fails_fails_alone() -> None:
    ends = together(*(insert(uid) for uid in ("a", "b", "b", "c")))
    assert [end is None for end in ends].count(True) == 3
    assert [type(end) for end in ends if end is not None] == [IntegrityError]
    assert set(Association.objects.values_list("uid", flat=True)) == {"a", "b", "c"}


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_is_asked_once_for_all_and_all_are_told() -> None:
    tries: list[None] = []

    def fail() -> None:
        tries.append(None)
        raise OperationalError("away")

    ends = together(insert("first"), fail, fail, fail)
    assert [type(end) for end in ends] == [type(None), *[OperationalError] * 3]
    # A server can be asked whether it is there, and this one is: each fails by itself then.
    assert len(tries) == (1 if connection.vendor == "sqlite" else 1 + 3)


@pytest.mark.django_db(transaction=True)
def test_what_failed_before_its_commit_is_told_from_what_may_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away() -> None:
        raise OperationalError("the database is away")

    ends = together(insert("0"), insert("1"), away)
    assert type(ends[2]) is OperationalError
    assert not any(isinstance(end, shared_commit.CommitUnknown) for end in ends)
    monkeypatch.setattr(connections["default"].__class__, "_commit", lambda _: away())
    with pytest.raises(shared_commit.CommitUnknown, match="is away"):
        shared_commit.run(insert("2"))


@pytest.mark.django_db(transaction=True)
def test_what_was_taken_along_is_committed_when_its_owner_hears_of_it() -> None:
    seen: list[bool] = []

    def store(uid: str) -> None:
        try:
            shared_commit.run(insert(uid))
            seen.append(Association.objects.filter(uid=uid).exists())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=store, args=(f"{n}",)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == [True] * 12


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_of_the_caller_nothing_is_shared() -> None:
    with transaction.atomic():
        shared_commit.run(insert("a"))
        transaction.set_rollback(True)
    assert not Association.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_connection_outlives_its_thread_and_serves_the_next() -> None:
    used: list[object] = []

    def serve() -> None:
        connection_pool.borrow()
        assert Association.objects.count() == 0
        used.append(connection.connection)
        connection_pool.give_back()

    try:
        for _ in range(3):
            thread = threading.Thread(target=serve)
            thread.start()
            thread.join(20)
        assert len(used) == 3
        assert used[0] is used[1] is used[2]
    finally:
        for left in connection_pool._idle:
            left.close()
        connection_pool._idle.clear()
