"""``manage.py classify``: read ECG pictures from files, without database, broker or network."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from django.core.management import BaseCommand
from django.core.management.base import CommandError, CommandParser
from PIL import Image

from dicom_node.errors import ImageError
from gateway import network as networks
from gateway import pages
from models.explain import Explainer
from models.labels import LABELS
from models.overlay import overlay
from models.page import Page
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
        parser.add_argument(
            "--explain",
            metavar="DIR",
            type=Path,
            help="write a picture for each page and finding present, marked where the network "
            "found it, into this folder; the line names them under 'explained'. It shows what "
            "the network leaned on and measures nothing",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        # A folder that cannot be written is told before the network is loaded.
        marks = _Marks(options["explain"]) if options["explain"] else None
        network = networks.predictor()
        failed = False
        for path in options["paths"]:
            for line in _lines(path, network, marks):
                failed = failed or not line["readable"]
                self.stdout.write(json.dumps(line, ensure_ascii=False))
        if failed:
            sys.exit(1)


class _Marks:
    """Pictures of what speaks for the findings, written into a folder."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"--explain {folder}: {error.strerror}") from None
        self._folder = folder
        self._explainer: Explainer | None = None
        self._sources: dict[str, Path] = {}

    def write(
        self, path: Path, number: int, page: Page, reading: PageReading, network: Predictor
    ) -> list[str]:
        """Write a picture for each finding present; return their paths."""
        present = [one for one in reading.findings if one.verdict == "present"]
        if not present:
            return []
        raster = _raster(path, number)
        self._explainer = self._explainer or Explainer(network.artifact)
        maps = self._explainer.explain(page, [finding.key for finding in present])
        meanings = {label.key: label.meaning for label in LABELS}
        written = []
        for finding in present:
            title = f"{meanings[finding.key]}: {100 * finding.probability:.0f} %"
            marked = overlay(raster, page.region, maps[finding.key], title=title)
            target = self._folder / f"{self._name(path)}-{number}-{finding.key}.png"
            Image.fromarray(marked).save(target)
            written.append(str(target))
        return written

    def _name(self, path: Path) -> str:
        """The file's name; of a second file of that name, with a number."""
        name, tries = path.name, 1
        while self._sources.setdefault(name, path) != path:
            tries += 1
            name = f"{path.name}-{tries}"
        return name


def _raster(path: Path, number: int) -> npt.NDArray[np.uint8]:
    """Decode one page of a file again: keeping the pictures of all would take too much memory."""
    raster = next(islice(pages.rasters(path), number - 1, None))
    if isinstance(raster, ImageError):
        raise raster
    return raster


def _lines(path: Path, network: Predictor, marks: _Marks | None) -> Iterator[dict[str, Any]]:
    try:
        for found in pages.pages(path):
            if found.page is None:
                yield _line(path, found.number, network, reason=found.reason)
                continue
            (reading,) = network.classify([found.page])
            line = _line(path, found.number, network, reading=reading, reason=reading.reason)
            if marks is not None:
                line["explained"] = marks.write(path, found.number, found.page, reading, network)
            yield line
    except ImageError as error:
        yield _line(path, 1, network, reason=str(error))
    except OSError as error:
        yield _line(path, 1, network, reason=f"cannot be opened: {error.strerror}")
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
        "readable": reading is not None and reading.readable,
        "reason": reason,
        "probabilities": {f.key: round(f.probability, 4) for f in findings},
        "present": [f.key for f in findings if f.verdict == "present"],
        "model": f"{network.name}@{network.version}",
        "quality": dict(reading.quality) if reading else {},
    }
