"""``manage.py evaluate``: hold a network against the one that serves, on a locked test split."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError
from django.core.management.base import CommandParser

from models.artifact import ArtifactError
from models.evaluation.tables import between, table, three
from models.labels import LABELS
from webadmin import evaluating, versions
from webadmin.models import TrainingSet


class Command(BaseCommand):
    help = (
        "Evaluate a network beside the one that serves, on the locked test split of a training "
        "set, and say whether it may be promoted. The opening of the split is written down."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("version", help="name@version, or the number, as `models` lists it")
        parser.add_argument("set", help="name of the training set")

    def handle(self, *_args: Any, **options: Any) -> None:
        training_set = TrainingSet.objects.filter(name=options["set"]).first()
        if training_set is None:
            raise CommandError(f"no training set named {options['set']!r}")
        try:
            candidate = versions.named(options["version"])
            made = evaluating.evaluate(candidate, training_set, actor=versions.command_actor())
        except (ValueError, ArtifactError) as error:
            raise CommandError(str(error)) from error
        rows = []
        for label in LABELS:
            found = made.results["findings"][label.key]
            rows.append(
                [
                    label.meaning,
                    f"{found['positives']} / {found['negatives']}",
                    between(found["champion"], "auroc"),
                    between(found["candidate"], "auroc"),
                    three(found["difference"]),
                ]
            )
        head = ["Finding", "With / without", str(made.champion), str(made.candidate), "Difference"]
        self.stdout.write(table(head, rows))
        self.stdout.write("\n".join(made.reasons))
        self.stdout.write("better: may be promoted" if made.is_better else "not to be promoted")
