"""``manage.py demo``: the life of two ECGs, from a C-STORE to the archive, on this machine.

Then it serves, with ECGs to read, to label and to learn from.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command
from django.core.management.base import CommandParser
from django.utils.module_loading import import_string
from pydicom import dcmread

from dicom_node import report, scu
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import DicomError
from gateway import demonstration, peers, supervisor
from gateway.management.commands.up import prepare
from gateway.models import Instance, Peer, Report, Transition
from gateway.outputs import Output

READY_S = 120.0
LIFE_S = 240.0
FILL_S = 900.0
PERSON = "demo"


class Command(BaseCommand):
    help = (
        "Show the life of two ECG pictures: start the whole gateway and a stand-in archive, send "
        "the pictures over DICOM, print every step and both reports, and keep serving until "
        "Ctrl-C, with more ECGs to read, to label and to have a network learn from. Everything "
        "it keeps lies in its own folder (ECG_DATA_DIR, default var/demo)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--once",
            action="store_true",
            help="end when both reports of both pictures are in the archive; exit 0 only then",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        self._step("preparing the database and the folders")
        prepare()
        if not options["once"]:
            self._hospital()
        archive = demonstration.Archive(settings.ECG_DATA_DIR / "archive")
        self._peers(archive.entity)
        with archive, supervisor.Supervisor(supervisor.cast(), say=self._quietly()) as running:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: running.interrupt())
            self._step("starting the broker, the Listener, the workers and the Desk")
            self._wait(running, "the Listener to answer C-ECHO", READY_S, self._listener_answers)
            uids = self._send()
            arrived = self._follow(running, uids, archive)
            self._show(uids, archive)
            self._desk()
            if options["once"]:
                if not arrived:
                    raise CommandError(
                        "not all reports arrived; the steps above say how far it got"
                    )
                self.stdout.write(self.style.SUCCESS("both reports of both pictures arrived"))
                return
            self._fill(running)
            self._step("serving until Ctrl-C")
            self._watch(running, archive)

    # --- the steps -----------------------------------------------------------------------------

    def _hospital(self) -> None:
        """Name the house, and have a network serve that has something to learn."""
        if not settings.ECG_INSTITUTION:
            settings.ECG_INSTITUTION = os.environ["ECG_INSTITUTION"] = "Demonstration Hospital"
        if not settings.ECG_MODEL_DIR:
            made = demonstration.network(settings.ECG_DATA_DIR / "network")
            settings.ECG_MODEL_DIR = os.environ["ECG_MODEL_DIR"] = str(made.folder)
            self.stdout.write(f"    {made.card.training['note']} You can teach it.")

    def _peers(self, archive: ApplicationEntity) -> None:
        """Make the sender and the archive known; an archive of an earlier demo is forgotten."""
        ours = (demonstration.SENDER, demonstration.ARCHIVE)
        if Peer.objects.exclude(title__in=ours).exists():
            raise CommandError(
                f"{settings.ECG_DATA_DIR} belongs to a real gateway: it knows other Peers than the "
                "demo's. Give the demo a folder of its own: ECG_DATA_DIR=var/demo"
            )
        Peer.objects.filter(is_destination=True).update(is_destination=False)
        Peer.objects.update_or_create(
            title=demonstration.SENDER, host="127.0.0.1", port=104, defaults={"is_sender": True}
        )
        Peer.objects.update_or_create(
            title=archive.title,
            host=archive.host,
            port=archive.port,
            defaults={"is_destination": True},
        )

    def _send(self) -> dict[str, str]:
        uids: dict[str, str] = {}
        with tempfile.TemporaryDirectory() as folder:
            for picture in demonstration.pictures():
                path = Path(folder) / "picture.dcm"
                picture.ds.save_as(path, enforce_file_format=True)
                self._step(f"C-STORE: {picture.title}")
                (outcome,) = scu.store(
                    self._gateway(),
                    [path],
                    calling_title=demonstration.SENDER,
                    timeouts=peers.timeouts(),
                )
                self.stdout.write(f"    answered 0x{outcome.status or 0:04X}, {outcome.reason}")
                uids[picture.ds.SOPInstanceUID] = picture.title
        return uids

    def _follow(
        self,
        running: supervisor.Supervisor,
        uids: dict[str, str],
        archive: demonstration.Archive,
    ) -> bool:
        """Print the transitions as they happen; True when the archive has all four reports."""
        seen = 0
        began = time.monotonic()

        def done() -> bool:
            nonlocal seen
            lines = Transition.objects.filter(
                pk__gt=seen, instance__sop_instance_uid__in=uids
            ).select_related("instance")
            for line in lines:
                seen = line.pk
                title = uids[line.instance.sop_instance_uid].split(":")[0]
                after = time.monotonic() - began
                self.stdout.write(
                    f"    {after:5.1f} s  {title:<10} {line.get_to_state_display().upper():<10} "
                    f"{line.detail}"
                )
            rows = Instance.objects.filter(sop_instance_uid__in=uids)
            return all(row.state not in ("received", "analysed", "reported") for row in rows)

        self._step("the gateway at work")
        try:
            self._wait(running, "the reports", LIFE_S, done)
        except CommandError as error:
            self.stdout.write(self.style.ERROR(str(error)))
        wanted = set(
            Report.objects.filter(instance__sop_instance_uid__in=uids).values_list(
                "sop_instance_uid", flat=True
            )
        )
        return len(wanted) == 2 * len(uids) and wanted <= set(archive.stored())

    def _show(self, uids: dict[str, str], archive: demonstration.Archive) -> None:
        stored = archive.stored()
        for uid, title in uids.items():
            for row in Report.objects.filter(instance__sop_instance_uid=uid).order_by("kind"):
                path = stored.get(row.sop_instance_uid)
                self._step(f"{row.get_kind_display()} of {title}")
                if path is None:
                    self.stdout.write("    not in the archive")
                    continue
                if row.kind == Output.BASIC_TEXT:
                    self.stdout.write(report.render_tree(dcmread(path)))
                self.stdout.write(f"    file: {path}")

    def _desk(self) -> None:
        # The Desk stands above this room: it is named here, not imported.
        signin_link = import_string("webadmin.signin.signin_link")
        base = f"http://127.0.0.1:{settings.ECG_WEB_PORT}"
        self._step("the Desk")
        self.stdout.write(f"    {base}/\n    one-time login: {signin_link(PERSON, base)}")

    def _fill(self, running: supervisor.Supervisor) -> None:
        """Send ECGs to read, and some whose labels are known; make the roles and fill the queues.

        What stands above this room is named here, not imported.
        """
        call_command("roles", stdout=io.StringIO())
        person = import_string("django.contrib.auth.models.User").objects.get(username=PERSON)
        if not person.last_name:  # verified reports bear it
            person.first_name, person.last_name = "Robin", "Demo"
            person.save(update_fields=["first_name", "last_name"])
        labels = import_string("webadmin.models.Label").objects
        if labels.exists():
            self._step("the ECGs to read and to learn from are here since the last demo")
            return
        self._step("more ECGs: some with labels to learn from, the rest for you to read")
        split_of = import_string("webadmin.trainingsets.split_of")
        lines, sent = ["sop_instance_uid,findings"], []
        for picture, key in demonstration.labelled(split_of):
            sent.append(self._store(running, picture))
            lines.append(f"{sent[-1]},{key}")
        sent += [self._store(running, picture) for picture in demonstration.to_read()]
        read, write = (import_string(f"webadmin.label_files.{name}") for name in ("read", "write"))
        count = write(read("\n".join(lines).encode()), person)
        self.stdout.write(f"    {len(sent)} ECGs, {count} of them with labels")
        rows = Instance.objects.filter(sop_instance_uid__in=sent, state="received")
        self._wait(running, "the network to read them", FILL_S, lambda: not rows.exists())
        call_command("curate", stdout=io.StringIO())
        self.stdout.write("    read; the front page of the Desk says how to go on")

    def _watch(self, running: supervisor.Supervisor, archive: demonstration.Archive) -> None:
        """Serve, and show each report that a person verified when it comes to the archive."""
        verified = Report.objects.filter(review__isnull=False)
        told = set(verified.values_list("sop_instance_uid", flat=True))
        while not running.pause(1.0):
            new = verified.exclude(sop_instance_uid__in=told)
            stored = archive.stored() if new.exists() else {}
            for row in new:
                if path := stored.get(row.sop_instance_uid):
                    told.add(row.sop_instance_uid)
                    self._step(f"verified: {row.get_kind_display()}")
                    if row.kind == Output.BASIC_TEXT:
                        self.stdout.write(report.render_tree(dcmread(path)))
                    self.stdout.write(f"    file: {path}")

    def _store(self, running: supervisor.Supervisor, picture: demonstration.Picture) -> str:
        if running.pause(0):
            raise CommandError("interrupted")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture.dcm"
            picture.ds.save_as(path, enforce_file_format=True)
            (outcome,) = scu.store(
                self._gateway(),
                [path],
                calling_title=demonstration.SENDER,
                timeouts=peers.timeouts(),
            )
        if outcome.status != 0x0000:
            raise CommandError(f"an ECG was not taken: {outcome.reason}")
        return str(picture.ds.SOPInstanceUID)

    # --- how it speaks -------------------------------------------------------------------------

    def _step(self, text: str) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"\n== {text}"))
        self.stdout.flush()

    def _quietly(self) -> Callable[[str, str], None]:
        """Keep the processes' own lines in a log file; only trouble is shown."""
        path = settings.ECG_DATA_DIR / "demo.log"
        log = path.open("w", buffering=1)
        lock = threading.Lock()
        self.stdout.write(f"    what the processes say: {path}")

        def say(name: str, text: str) -> None:
            with lock:
                log.write(f"{name:<9}| {text}\n")
                if "restarting in" in text:
                    self.stdout.write(f"    {name}: {text}")

        return say

    def _wait(
        self,
        running: supervisor.Supervisor,
        what: str,
        timeout_s: float,
        done: Callable[[], bool],
    ) -> None:
        deadline = time.monotonic() + timeout_s
        shown = sys.stdout.isatty()
        while not done():
            if time.monotonic() > deadline:
                raise CommandError(
                    f"waited {timeout_s:.0f} s for {what}; "
                    f"look into {settings.ECG_DATA_DIR / 'demo.log'}"
                )
            if running.pause(0.2):
                raise CommandError("interrupted")
            if shown:
                left = deadline - time.monotonic()
                self.stdout.write(f"\r    waiting for {what} ({left:3.0f} s)\x1b[K\r", ending="")
                self.stdout.flush()

    def _gateway(self) -> ApplicationEntity:
        return ApplicationEntity(settings.ECG_AE_TITLE, "127.0.0.1", settings.ECG_DICOM_PORT)

    def _listener_answers(self) -> bool:
        try:
            scu.echo(self._gateway(), calling_title=demonstration.SENDER, timeouts=peers.timeouts())
        except DicomError:
            return False
        return True
