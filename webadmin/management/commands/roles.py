"""``manage.py roles``: make the roles, or renew them after an update."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from webadmin import roles


class Command(BaseCommand):
    help = (
        "Make a group of each role (auditor, reader, data manager, engineer, administrator) with "
        "exactly the permissions its work needs. Run it again after an update; who has which role "
        "stays."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--table", action="store_true", help="print who may do what; change nothing"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["table"]:
            for role in roles.ROLES:
                self.stdout.write(f"- **{role.name}**: {role.purpose}")
            self.stdout.write("\n" + roles.table())
            return
        try:
            for line in roles.renew():
                self.stdout.write(line)
        except LookupError as error:
            raise CommandError(f"{error}; run manage.py migrate first") from error
