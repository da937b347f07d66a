"""``manage.py submit``: hand in an ECG that is in no archive."""

from __future__ import annotations

import logging
import time
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.core.management.base import CommandParser
from django.db import DatabaseError

from dicom_node.order import Order
from gateway import handing_in, leases, worklist
from gateway.models import Door, Finding, Instance
from gateway.states import WAITING, State
from models.labels import LABELS

EXAMPLES = """
examples:
  manage.py submit ecg.png --patient-id 4711 --accession A-2026-17
      A screenshot. Name, birth date, sex and order come from the worklist, where a Peer has one.
  manage.py submit page1.jpg page2.jpg --patient-id 4711 --accession A-2026-17 --wait
      Two photographs of one order, each an ECG of its own; waits and prints the results.
  manage.py submit export.pdf --accession A-2026-17
      With a worklist the accession number is enough: it says who the patient is.
  manage.py submit ecg.png --patient-id 4711 --name 'Okafor^Ngozi' --birth-date 1957-08-09 \\
      --sex F --without-worklist
      Nobody is asked: the object says what was typed.
  manage.py submit export.dcm
      A DICOM file is taken as it is; --patient-id and --accession only have to agree with it.

The same file for the same patient and order is one ECG, however often it is submitted.
The gateway (manage.py up) analyses and reports it like an ECG that came by DICOM.
"""

POLL_S = 0.5
_SAID = {
    State.REJECTED: "rejected: no report was made",
    State.FAILED: "failed",
    State.SET_ASIDE: "set aside: another object of this UID came earlier",
    State.DELIVERED: "reports delivered",
    State.PROVEN: "reports delivered and proven",
    State.REPORTED: "reports written, on their way",
    State.ANALYSED: "analysed",
    State.RECEIVED: "received",
}


class Command(BaseCommand):
    help = (
        "Hand in ECGs that are in no archive: pictures (PNG, JPEG, TIFF, BMP, WebP), PDF or DICOM\n"
        "files. A picture or PDF is wrapped as a DICOM object of the patient; where a Peer has a\n"
        "worklist, patient and order are looked up in it and have to agree with what is typed.\n"
        "Exit code 1 when a file was not taken."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's own declaration)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name,
            subcommand,
            **{**kwargs, "epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter},
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE", type=Path, help="what to hand in")
        parser.add_argument(
            "--patient-id", default="", help="the patient's ID, as the archive has it"
        )
        parser.add_argument("--accession", default="", help="the accession number of the order")
        parser.add_argument(
            "--study", default="", help="the Study Instance UID of the order, where several fit"
        )
        parser.add_argument(
            "--procedure", default="", help="the requested procedure's ID, where several fit"
        )
        parser.add_argument("--name", default="", help="the patient's name: 'Family^Given'")
        parser.add_argument("--birth-date", default="", help="YYYY-MM-DD")
        parser.add_argument("--sex", default="", type=str.upper, help="M, F or O")
        parser.add_argument(
            "--worklist", default="", metavar="TITLE", help="ask this worklist Peer, not all"
        )
        parser.add_argument(
            "--without-worklist", action="store_true", help="go on with what was typed, ask nobody"
        )
        parser.add_argument(
            "--wait",
            nargs="?",
            type=float,
            const=120.0,
            metavar="SECONDS",
            help="wait for the results and print them; 120 s where no time is given",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["verbosity"] < 2:
            # Each file has its line; that of the log says the same to machines.
            logging.getLogger("gateway.keeping").setLevel(logging.WARNING)
        files: list[Path] = options["files"]
        order = self._order(options)
        kept: list[tuple[Path, Instance]] = []
        refused = 0
        for number, path in enumerate(files, start=1):
            place = f"[{number}/{len(files)}] " if len(files) > 1 else ""
            try:
                taken = handing_in.hand_in(
                    path, order=order, door=Door.SUBMIT, actor=leases.actor("submit")
                )
            except handing_in.NotTaken as error:
                refused += 1
                self.stderr.write(self.style.ERROR(f"{place}{path}: {error}"))
                continue
            except (DatabaseError, OSError) as error:
                raise CommandError(f"{place}{path}: could not be kept: {error}") from error
            row = taken.instance
            said = "taken" if taken.is_new else f"here already, {_SAID[State(row.state)]}"
            self.stdout.write(f"{place}{path}: ECG {row.pk}, {said}")
            kept.append((path, row))
        if options["wait"] is not None:
            self._wait(kept, options["wait"])
        if refused:
            raise CommandError(f"{refused} of {len(files)} not taken")

    # --- whose ------------------------------------------------------------------------------------

    def _order(self, options: dict[str, Any]) -> Order | None:
        """Return what was typed, completed by the worklist; None when nothing was typed."""
        typed = Order(
            patient_id=options["patient_id"].strip(),
            patient_name=options["name"].strip(),
            patient_birth_date=options["birth_date"].replace("-", "").strip(),
            patient_sex=options["sex"].strip(),
            accession_number=options["accession"].strip(),
            study_instance_uid=options["study"].strip(),
            requested_procedure_id=options["procedure"].strip(),
        )
        if typed == Order(patient_id=""):
            if all(_is_dicom(path) for path in options["files"]):
                return None
            raise CommandError(
                "expected --patient-id (or --accession, where a Peer has the worklist) "
                "for a picture or PDF, received neither; see --help"
            )
        asks = not options["without_worklist"] and (
            bool(options["worklist"]) or worklist.worklists().exists()
        )
        faults = typed.faults()
        if asks:
            faults.pop("patient_id", None)
        elif not typed.patient_id:
            raise CommandError(
                "expected --patient-id, received none, and no worklist is asked for it"
            )
        if faults:
            raise CommandError("; ".join(f"{name}: {why}" for name, why in faults.items()))
        return self._looked_up(typed, options["worklist"]) if asks else typed

    def _looked_up(self, typed: Order, title: str) -> Order:
        try:
            found = worklist.look_up(typed, title=title)
        except worklist.LookUpFailed as error:
            for order in getattr(error, "orders", ()):
                self.stderr.write(f"  {_line(order)}")
            raise CommandError(
                f"{error}\nTo go on with just what was typed: --without-worklist"
            ) from error
        self.stdout.write(f"worklist: {_line(found)}")
        return found

    # --- what came of it --------------------------------------------------------------------------

    def _wait(self, kept: Sequence[tuple[Path, Instance]], seconds: float) -> None:
        until = time.monotonic() + seconds
        for path, row in kept:
            while row.state in WAITING and time.monotonic() < until:
                time.sleep(POLL_S)
                row.refresh_from_db()
            self._print(path, row)
        late = sum(row.state in WAITING for _, row in kept)
        if late:
            self.stderr.write(
                f"{late} not at their end after {seconds:.0f} s; they are safe and go on where "
                "the gateway runs (manage.py up)"
            )

    def _print(self, path: Path, row: Instance) -> None:
        self.stdout.write(f"{path}: ECG {row.pk}, {_SAID[State(row.state)]}")
        why = row.reason or (row.last_error if row.state in WAITING else "")
        if why:
            self.stdout.write(f"    {why}")
        findings = list(row.findings.filter(model_version=row.model_version))
        if not findings:
            return
        meanings = {label.key: label.meaning for label in LABELS}
        self.stdout.write(f"    AI result, unverified ({row.model_version}):")
        for finding in findings:
            if finding.verdict != Finding.Verdict.ABSENT:
                self.stdout.write(
                    f"    {finding.get_verdict_display():<13}{100 * finding.probability:5.1f} %  "
                    f"{meanings.get(finding.key, finding.key)}"
                )
        absent = sum(finding.verdict == Finding.Verdict.ABSENT for finding in findings)
        self.stdout.write(f"    {absent} of {len(findings)} findings absent")


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return True  # told file by file


def _line(order: Order) -> str:
    """Show an order to the person at the keyboard; it is not logged."""
    parts = (
        order.patient_id,
        order.patient_name,
        order.patient_birth_date,
        order.patient_sex,
        order.accession_number,
        order.modality,
        order.requested_procedure_description,
        order.scheduled_at,
        order.requested_procedure_id,
        order.study_instance_uid,
    )
    return ", ".join(part for part in parts if part)
