"""``manage.py verify``: is everything there that the rows speak of, and nothing else?"""

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.core.management.base import CommandParser
from tqdm import tqdm

from gateway import inspection

EPILOG = """
what it looks for:
  every ECG and report has its file, and the file is the one that was kept (SHA-256)
  the trail of every ECG leads, line by line, to the state it is in
  whatever is said to be stored was answered so by its archive
  every file has a row; a process that was killed may leave one that has none

examples:
  manage.py verify                    look, and end with status 1 if anything is wrong
  manage.py verify --repair           and set files without a row aside, into spool/orphans
  manage.py verify --json             for a machine to read

A row without its file, or with another one, cannot be mended here: its sender may send it again
(the file is restored), or it is in the last backup. It may run while the gateway works.
"""


class Command(BaseCommand):
    help = "Compare every file in the spool with its row, and every row with its trail."
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's own declaration)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name,
            subcommand,
            **{**kwargs, "epilog": EPILOG, "formatter_class": RawDescriptionHelpFormatter},
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print what was found as JSON")
        parser.add_argument(
            "--repair", action="store_true", help="set files without a row aside (spool/orphans)"
        )
        parser.add_argument(
            "--grace-s",
            type=float,
            default=inspection.GRACE_S,
            metavar="SECONDS",
            help="younger files may still get their row (3600)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        quiet = options["json"] or not self.stderr.isatty()
        with tqdm(
            total=inspection.count(), desc="looking", unit="thing", file=self.stderr, disable=quiet
        ) as bar:

            def tell(_name: str) -> None:
                bar.update()

            found = list(inspection.inspect(grace_s=options["grace_s"], progress=tell))
        aside = [one for one in found if options["repair"] and inspection.set_aside(one)]
        left = [one for one in found if one not in aside]
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {
                        "faults": inspection.summary(left),
                        "set_aside": len(aside),
                        "found": [
                            {"fault": one.fault.value, "what": one.what, "id": one.number}
                            for one in left
                        ],
                    }
                )
            )
        else:
            self._tell(left, aside)
        if left:
            raise CommandError(f"{len(left)} things are wrong", returncode=1)

    def _tell(self, left: list[inspection.Found], aside: list[inspection.Found]) -> None:
        for one in left[:100]:
            number = "" if one.number is None else f" (row {one.number})"
            self.stdout.write(f"{one.fault.value}: {one.what}{number}")
        if len(left) > 100:
            self.stdout.write(f"... and {len(left) - 100} more: --json lists all")
        for name, many in inspection.summary(left).items():
            style = self.style.ERROR if many else self.style.SUCCESS
            self.stdout.write(style(f"{many:>6}  {name}"))
        if aside:
            self.stdout.write(f"{len(aside)} files without a row were set aside in spool/orphans")
