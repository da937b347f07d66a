"""A broker and a worker in this process: real messages, a real worker, the test's own database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celery.contrib.testing.worker import start_worker
from django.conf import settings
from programs import Program

from gateway import supervisor
from gateway.celery import app


@contextmanager
def broker(folder: Path) -> Iterator[None]:
    """Run the embedded broker where the settings say."""
    program = Program(supervisor.valkey_command(), folder=folder, name="valkey")
    with program:
        program.start(ready=settings.ECG_VALKEY_SOCKET.exists)
        yield


@contextmanager
def worker(queue: str) -> Iterator[None]:
    """Run a worker of one queue on a thread."""
    app.loader.import_default_modules()
    with start_worker(
        app, pool="solo", perform_ping_check=False, queues=[queue], loglevel="WARNING"
    ):
        yield
