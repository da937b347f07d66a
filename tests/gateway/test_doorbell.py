"""Messages are doorbells: an integer in JSON, and losing every one of them loses nothing."""

from __future__ import annotations

import base64
import datetime
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone
from programs import Program
from rows import make_instance

from gateway import doorbell, leases, supervisor, tasks
from gateway.celery import app
from gateway.models import Instance
from gateway.states import State


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Run the embedded broker where the settings say, and return a client of it."""
    path = settings.ECG_VALKEY_SOCKET
    folder = tmp_path_factory.mktemp("valkey")
    program = Program(supervisor.valkey_command(), folder=folder, name="valkey")
    with program, redis.Redis(unix_socket_path=str(path)) as client:
        program.start(ready=path.exists)
        yield client
        client.connection_pool.disconnect()


@pytest.fixture
def broker(embedded: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client of a broker without messages, which nobody has found away."""
    monkeypatch.setattr(doorbell, "_silent_until", 0.0)
    embedded.flushall()
    return embedded


def test_a_ring_is_one_integer_in_json_on_the_queue_of_its_step(broker: Any) -> None:
    assert doorbell.ring(41, State.RECEIVED)
    assert doorbell.ring(42, State.REPORTED)
    for queue, number, task in (("analysis", 41, "analyse"), ("delivery", 42, "deliver")):
        (raw,) = broker.lrange(queue, 0, -1)
        message = json.loads(raw)
        assert message["content-type"] == "application/json"
        assert message["headers"]["task"] == f"gateway.tasks.{task}"
        arguments, keywords, _ = json.loads(base64.b64decode(message["body"]))
        assert (arguments, keywords) == ([number], {})


def test_nobody_is_rung_for_a_row_that_rests(broker: Any) -> None:
    assert not doorbell.ring(1, State.DELIVERED)
    assert broker.llen("analysis") == broker.llen("delivery") == 0


def test_every_task_that_is_rung_exists() -> None:
    assert set(doorbell.TASKS.values()) <= set(app.tasks)


@pytest.mark.django_db(transaction=True)
def test_the_sweeper_rings_for_what_nobody_holds_and_only_a_few_times(broker: Any) -> None:
    rows = [make_instance() for _ in range(30)]
    held = make_instance()
    leases.claim(State.RECEIVED, ids=[held.pk])
    assert tasks.sweep((State.RECEIVED,)) == tasks.RINGS_A_SWEEP
    assert broker.llen("analysis") == tasks.RINGS_A_SWEEP
    Instance.objects.filter(pk__in=[row.pk for row in rows]).update(state=State.DELIVERED)
    assert tasks.sweep((State.RECEIVED,)) == 0


@pytest.mark.django_db(transaction=True)
def test_a_broker_out_of_memory_loses_rings_and_no_row(
    broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = broker.config_get("maxmemory")["maxmemory"]
    waiting = make_instance()
    broker.config_set("maxmemory", 1)
    try:
        assert not doorbell.ring(waiting.pk, State.RECEIVED)
        assert tasks.sweep((State.RECEIVED,)) == 0
    finally:
        broker.config_set("maxmemory", limit)
    monkeypatch.setattr(doorbell, "_silent_until", 0.0)
    assert tasks.sweep((State.RECEIVED,)) == 1
    assert broker.llen("analysis") == 1


def test_a_broker_that_swallows_connections_costs_a_burst_one_timeout() -> None:
    code = (
        "import django; django.setup()\n"
        "from gateway import doorbell\n"
        "from gateway.states import State\n"
        "print(sum(doorbell.ring(n, State.RECEIVED) for n in range(50)))\n"
    )
    with socket.create_server(("127.0.0.1", 0), backlog=128) as deaf:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=settings.BASE_DIR,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "gateway.settings",
                "BROKER_URL": f"redis://127.0.0.1:{deaf.getsockname()[1]}/0",
            },
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.strip() == "0"
        deaf.settimeout(0.2)
        connections = 0
        try:
            while True:
                deaf.accept()[0].close()
                connections += 1
        except TimeoutError:
            pass
    assert 1 <= connections <= 4, "the rings after the first do not connect"


@pytest.mark.django_db
def test_what_people_left_behind_is_tidied() -> None:
    for name, minutes in (("gone", -1), ("here", 1)):
        Session.objects.create(
            session_key=name,
            session_data="",
            expire_date=timezone.now() + datetime.timedelta(minutes=minutes),
        )
    tasks.tidy()
    assert [session.session_key for session in Session.objects.all()] == ["here"]
    assert settings.CELERY_BEAT_SCHEDULE["tidy"]["task"] == tasks.tidy.name
