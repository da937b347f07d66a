"""``manage.py retrain``: have a network trained on a frozen training set."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from django.contrib.auth.models import User
from django.core.management import BaseCommand, CommandError
from django.core.management.base import CommandParser

from models.artifact import ArtifactError
from webadmin import retraining
from webadmin.models import TrainingRun, TrainingSet


class Command(BaseCommand):
    help = (
        "Have a network go on learning from a frozen training set, beginning from the one that "
        "serves, and evaluate it beside that. The Trainer does it; --now does it here and waits. "
        "Nothing serves because of it: see evaluate and promote."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("set", help="name of the training set")
        parser.add_argument("--user", required=True, help="in whose name")
        parser.add_argument("--epochs", type=int, help="how often it goes through its batches")
        parser.add_argument("--steps", type=int, help="batches an epoch")
        parser.add_argument("--batch", type=int, help="ECGs a batch")
        parser.add_argument("--learning-rate", type=float, help="at its highest")
        parser.add_argument(
            "--all-layers",
            action="store_true",
            default=None,
            help="let all layers learn, not the last alone: for sets of a thousand ECGs and more",
        )
        parser.add_argument("--now", action="store_true", help="train here and wait for the end")

    def handle(self, *_args: Any, **options: Any) -> None:
        training_set = TrainingSet.objects.filter(name=options["set"]).first()
        if training_set is None:
            raise CommandError(f"no training set named {options['set']!r}")
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"no user named {options['user']!r}")
        recipe = retraining.suggested(training_set)
        given = {field.name: options.get(field.name) for field in fields(recipe)}
        try:
            recipe = replace(recipe, **{k: v for k, v in given.items() if v is not None})
            run = retraining.start(training_set, user, recipe, rings=not options["now"])
        except (retraining.NotStarted, ArtifactError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"training run {run.pk} on {training_set}, from {run.start}")
        if options["now"]:
            self._train(run)

    def _train(self, run: TrainingRun) -> None:
        from webadmin import trainer

        claimed = retraining.claim(run.pk)
        if claimed is None:
            raise CommandError(f"training run {run.pk}: a Trainer has it already")
        trainer.take(claimed)
        run.refresh_from_db()
        for one in run.curve:
            self.stdout.write(
                f"epoch {one['epoch']}: training loss {one['training_loss']:.4f}, "
                f"validation loss {one['loss']:.4f}, mean AUROC {one['auroc']:.4f}"
            )
        if run.state != retraining.State.EVALUATED:
            raise CommandError(f"{run.get_state_display()}: {run.reason}")
        self.stdout.write(f"made and evaluated: {run.candidate}")
