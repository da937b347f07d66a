"""``manage.py explain``: draw where a network saw what it reports of one ECG."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import heatmaps
from gateway.models import Instance
from models.labels import KEYS


class Command(BaseCommand):
    """Draws layers that the Desk lays over the picture."""

    help = (
        "Draw where on the page the network saw some findings of one ECG, as the Desk shows it: a "
        "picture that is transparent where nothing speaks for the finding. It shows what the "
        "network leaned on, and is no finding."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ecg", type=int, help="number of the ECG, as the Desk names it")
        parser.add_argument("finding", nargs="+", choices=KEYS)

    def handle(self, *_args: Any, **options: Any) -> None:
        instance = Instance.objects.filter(pk=options["ecg"]).select_related("model_version")
        row = instance.first()
        if row is None:
            raise CommandError(f"expected the number of an ECG, received {options['ecg']}")
        try:
            for path in heatmaps.draw(row, options["finding"]):
                self.stdout.write(str(path))
        except heatmaps.NotDrawn as error:
            raise CommandError(str(error)) from error
