"""``manage.py promote``: have a better network serve."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError
from django.core.management.base import CommandParser

from models.artifact import ArtifactError
from webadmin import evaluating, versions


class Command(BaseCommand):
    help = (
        "Have a network serve from now on. It must have been evaluated beside the one that serves "
        "now and be better by the rule; Analysts take it with their next batch."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("version", help="name@version, or the number, as `models` lists it")
        parser.add_argument("--reason", required=True, help="why, in a sentence")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            version = versions.named(options["version"])
            promotion = evaluating.promote(
                version, actor=versions.command_actor(), reason=options["reason"]
            )
        except (ValueError, ArtifactError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{version} serves in place of {promotion.previous}")
