"""``manage.py retention``: what the retention policy removes, and what it leaves and why."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand

from gateway import leases, retention


class Command(BaseCommand):
    help = (
        "Say what is old enough to be removed by ECG_KEEP_PICTURES_DAYS, ECG_KEEP_REPORTS_DAYS and "
        "ECG_KEEP_RECORDS_DAYS, and what stays whatever its age. Nothing is removed without "
        "--apply; the Sweeper has it done once a day."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--apply", action="store_true", help="remove it now")
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["apply"]:
            found, _ = retention.apply(actor=leases.actor("retention"))
        else:
            found = retention.preview()
        if options["json"]:
            kinds = [dataclasses.asdict(one) for one in found]
            self.stdout.write(json.dumps({"applied": options["apply"], "kinds": kinds}, indent=2))
            return
        if not found:
            self.stdout.write("No policy is set: everything is kept for ever (ECG_KEEP_..._DAYS).")
            return
        verb = "removed" if options["apply"] else "would go"
        for one in found:
            size = f", {one.size_bytes / 1e6:,.1f} MB" if one.size_bytes else ""
            self.stdout.write(
                f"{one.kind} after {one.days} days ({one.policy}): {one.count} {verb}{size}"
            )
            for reason, count in one.held.items():
                self.stdout.write(f"    {count} stay: {reason}")
        if not options["apply"]:
            self.stdout.write("Nothing was removed: --apply does it.")
