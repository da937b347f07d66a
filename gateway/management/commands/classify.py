"""``manage.py classify``: read ECG pictures from files, without database, broker or network."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand
from django.core.management.base import CommandParser

from dicom_node.errors import ImageError
from gateway import network as networks
from gateway import pages
from models.predict import PageReading, Predictor


class Command(BaseCommand):
    help = (
        "Classify ECG pictures: DICOM objects, PNG, JPEG, BMP or TIFF files. Prints one JSON line "
        "a page. A file or page that cannot be read gets a line with its reason, the others go "
        "on, and the exit code is 1 at the end. Needs no database, broker or network."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's own declaration)
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="files to read")

    def handle(self, *_args: Any, **options: Any) -> None:
        network = networks.predictor()
        failed = False
        for path in options["paths"]:
            for line in _lines(path, network):
                failed = failed or not line["readable"]
                self.stdout.write(json.dumps(line, ensure_ascii=False))
        if failed:
            sys.exit(1)


def _lines(path: Path, network: Predictor) -> Iterator[dict[str, Any]]:
    try:
        for found in pages.pages(path):
            if found.page is None:
                yield _line(path, found.number, network, reason=found.reason)
            else:
                (reading,) = network.classify([found.page])
                yield _line(path, found.number, network, reading=reading)
    except ImageError as error:
        yield _line(path, 1, network, reason=str(error))
    except Exception as error:  # noqa: BLE001 (a bad file gets its line, the others go on)
        reason = f"cannot be read ({type(error).__name__})"
        yield _line(path, 1, network, reason=reason)


def _line(
    path: Path,
    number: int,
    network: Predictor,
    *,
    reading: PageReading | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    findings = reading.findings if reading else ()
    return {
        "path": str(path),
        "page": number,
        "readable": reading is not None,
        "reason": reason,
        "probabilities": {f.key: round(f.probability, 4) for f in findings},
        "present": [f.key for f in findings if f.verdict == "present"],
        "model": f"{network.name}@{network.version}",
        "quality": dict(reading.quality) if reading else {},
    }
