"""``manage.py rollback``: have the network serve again that served before."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError
from django.core.management.base import CommandParser

from models.artifact import ArtifactError
from webadmin import evaluating, versions


class Command(BaseCommand):
    help = "Take the latest promotion back: the network it replaced serves again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", required=True, help="why, in a sentence")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            promotion = evaluating.roll_back(
                actor=versions.command_actor(), reason=options["reason"]
            )
        except (ValueError, ArtifactError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{promotion.model_version} serves again")
