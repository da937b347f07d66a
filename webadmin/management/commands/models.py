"""``manage.py models``: the networks known here, and which one serves."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError

from gateway import serving
from gateway.models import ModelVersion
from models.artifact import ArtifactError
from models.evaluation.tables import table
from webadmin import evaluating


class Command(BaseCommand):
    help = "List the networks known here: which serves, which read along, which may be promoted."

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            champion = serving.champion()
        except ArtifactError as error:
            raise CommandError(str(error)) from error
        rows = []
        for version in ModelVersion.objects.order_by("pk"):
            said = evaluating.latest(version, champion)
            role = "serves" if version.pk == champion.pk else ""
            role = role or ("in shadow" if version.shadow_since else "")
            better = "" if said is None else "better" if said.is_better else "not better"
            rows.append([str(version.pk), str(version), role, better, version.sha256[:12]])
        head = ["Number", "Network", "Now", "Beside the one that serves", "SHA-256"]
        self.stdout.write(table(head, rows))
