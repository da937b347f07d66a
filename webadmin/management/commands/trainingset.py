"""``manage.py trainingset``: freeze what is labelled, list and show sets, export one."""

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management import BaseCommand, CommandError
from django.core.management.base import CommandParser
from tqdm import tqdm

from webadmin import export, trainingsets
from webadmin.models import TrainingItem, TrainingSet

EXAMPLES = """
examples:
  manage.py trainingset freeze spring-2026 --by chief    every labelled ECG whose picture is here
  manage.py trainingset freeze any --by chief --dry-run  say what it would hold, and what is missing
  manage.py trainingset list
  manage.py trainingset show spring-2026
  manage.py trainingset export spring-2026 /srv/out --by chief
  manage.py trainingset export spring-2026 /srv/out --by chief --test-split "external evaluation"

An export holds no name, ID, date or UID: the tracings alone, under a new pseudonym a patient, with
labels.csv as "python -m models.train --pictures" reads it. The test split stays here unless it is
said what for; that it left is written down.
"""


class Command(BaseCommand):
    help = "Freeze, list, show and export training sets."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name,
            subcommand,
            **{**kwargs, "epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter},
        )

    def add_arguments(self, parser: CommandParser) -> None:
        tasks = parser.add_subparsers(dest="task", required=True)
        freeze = tasks.add_parser("freeze", help="freeze every labelled ECG")
        freeze.add_argument("name")
        freeze.add_argument("--by", required=True, metavar="USER", help="who freezes it")
        freeze.add_argument("--note", default="")
        freeze.add_argument("--dry-run", action="store_true", help="only say what it would hold")
        tasks.add_parser("list", help="list the sets, the latest first")
        show = tasks.add_parser("show", help="say what a set holds")
        show.add_argument("name")
        show.add_argument("--json", action="store_true", help="for machines")
        out = tasks.add_parser("export", help="write a set into a folder, without whose it is")
        out.add_argument("name")
        out.add_argument("folder", type=Path, help="must not exist")
        out.add_argument("--by", required=True, metavar="USER", help="who exports it")
        out.add_argument("--test-split", default="", metavar="PURPOSE",
                         help="with the locked test split, for this purpose")  # fmt: skip

    def handle(self, *_args: Any, **options: Any) -> None:
        match options["task"]:
            case "freeze":
                self._freeze(options)
            case "list":
                self._list()
            case "show":
                self._show(_set(options["name"]), is_json=options["json"])
            case "export":
                self._export(_set(options["name"]), options)

    def _freeze(self, options: dict[str, Any]) -> None:
        user = _user(options["by"])
        if options["dry_run"]:
            plan = trainingsets.plan()
            self._say(plan.counts)
            for reason, count in plan.left_out.items():
                self.stdout.write(f"left out: {count}, {reason}")
            self._lacks(plan.missing)
            return
        try:
            frozen = trainingsets.freeze(options["name"], user, note=options["note"])
        except trainingsets.NotFrozen as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{frozen.name}: {_count(frozen)}, SHA-256 {frozen.sha256}")
        self._lacks(trainingsets.missing(frozen))

    def _list(self) -> None:
        for row in TrainingSet.objects.select_related("frozen_by"):
            when = row.frozen_at.date().isoformat()
            self.stdout.write(
                f"{row.name:<30} {when} {_count(row):>12} {row.sha256[:12]} "
                f"{row.frozen_by.get_username()}"
            )

    def _show(self, row: TrainingSet, *, is_json: bool) -> None:
        openings = [
            {"at": one.opened_at.isoformat(), "actor": one.actor, "purpose": one.purpose}
            for one in row.openings.all()
        ]
        if is_json:
            told = {
                "name": row.name, "sha256": row.sha256, "frozen_at": row.frozen_at.isoformat(),
                "frozen_by": row.frozen_by.get_username(), "note": row.note,
                "counts": row.counts, "missing": trainingsets.missing(row), "openings": openings,
            }  # fmt: skip
            self.stdout.write(json.dumps(told, indent=2))
            return
        self.stdout.write(f"{row.name}: {_count(row)}, SHA-256 {row.sha256}")
        self._say(row.counts)
        self._lacks(trainingsets.missing(row))
        for one in openings:
            self.stdout.write(f"test split opened {one['at']} by {one['actor']}: {one['purpose']}")

    def _export(self, row: TrainingSet, options: dict[str, Any]) -> None:
        user = _user(options["by"])
        purpose = options["test_split"]
        total = export.count(row, with_test=bool(purpose))
        quiet = not self.stderr.isatty()
        with tqdm(total=total, unit="ECG", file=self.stderr, disable=quiet) as bar:
            try:
                done = export.to_folder(
                    row,
                    options["folder"],
                    actor=user.get_username(),
                    test_purpose=purpose,
                    on_ecg=bar.update,
                )
            except export.NotExported as error:
                raise CommandError(str(error)) from None
        self.stdout.write(f"{done.count} ECGs written to {options['folder']}.")
        for reason, count in done.left_out.items():
            self.stdout.write(f"left out: {count}, {reason}")
        self.stdout.write(
            "Look at the pictures before they leave: no rule sees a name that somebody wrote "
            "across the waves."
        )

    def _say(self, counts: dict[str, dict[str, int]]) -> None:
        names = [split.value for split in TrainingItem.Split]
        self.stdout.write(f"{'':<16}" + "".join(f"{name:>12}" for name in names))
        for key in counts[names[0]]:
            figures = "".join(f"{counts[name].get(key, 0):>12}" for name in names)
            self.stdout.write(f"{key:<16}{figures}")

    def _lacks(self, sentences: list[str]) -> None:
        for sentence in sentences:
            self.stdout.write(f"missing: {sentence}")


def _set(name: str) -> TrainingSet:
    try:
        return TrainingSet.objects.get(name=name)
    except TrainingSet.DoesNotExist:
        raise CommandError(f"expected a training set of the name {name!r}; found none") from None


def _user(name: str) -> User:
    try:
        return User.objects.get(username=name)
    except User.DoesNotExist:
        raise CommandError(f"expected a user of the name {name!r}; found none") from None


def _count(row: TrainingSet) -> str:
    count = sum(split["ecgs"] for split in row.counts.values())
    return f"{count} ECG{'' if count == 1 else 's'}"
