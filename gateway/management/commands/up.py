"""``manage.py up``: the whole gateway on one machine."""

from __future__ import annotations

import contextlib
import signal
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command

from gateway import supervisor


def prepare() -> None:
    """Make the data folder and bring the database to this version.

    Raises
    ------
    CommandError
        A port is taken; the message says which and how to choose another.
    """
    ports = {"ECG_DICOM_PORT": settings.ECG_DICOM_PORT, "ECG_WEB_PORT": settings.ECG_WEB_PORT}
    for variable, port in ports.items():
        if not supervisor.port_is_free(port):
            raise CommandError(
                f"port {port} is in use; stop the program that has it, "
                f"or choose another: {variable}={port + 1}"
            )
    settings.ECG_DATA_DIR.mkdir(parents=True, exist_ok=True)
    call_command("migrate", interactive=False, verbosity=0)
    with contextlib.suppress(OSError):  # a read-only installation collected them when it was made
        call_command("collectstatic", interactive=False, verbosity=0)


class Command(BaseCommand):
    help = (
        "Run the whole gateway on this machine: broker, Listener, Analyst, Courier, Herald, "
        "Steward, Trainer, Sweeper and Desk. A process that dies is started again. Ctrl-C ends "
        "them all. "
        "On several machines, or under systemd or compose, run the processes one by one: deploy/."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        prepare()
        with supervisor.Supervisor(supervisor.cast()) as running:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: running.interrupt())
            self.stdout.write(
                f"DICOM: {settings.ECG_AE_TITLE} on port {settings.ECG_DICOM_PORT}    "
                f"Desk: http://127.0.0.1:{settings.ECG_WEB_PORT}/\n"
                "First login: manage.py signin    First sender: manage.py peer add --help"
            )
            running.wait()
            self.stdout.write("stopping")
