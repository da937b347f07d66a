"""A training set leaves the house: tracings without whose they are, their labels, and hashes.

    labels.csv    file, findings, patient, unknown: what :mod:`models.corpus.pictures` reads
    manifest.csv  file, SHA-256 of the PNG, patient, split, and a word for each of the ten findings
    pictures/     one PNG an ECG, named by number: the tracing alone (:mod:`webadmin.masking`)
    SHA256SUMS    of all other files, in the format of sha256sum(1)

Nothing in it says whose an ECG is, when it was recorded or where: no name, ID, UID or date, and the
order of the pictures is a new one. A patient has a pseudonym that is drawn anew for each export, so
that two exports cannot be joined. Pseudonyms are drawn until they fall on the patient's side of the
split of :mod:`models.corpus.pictures`, which hashes them: who trains on the folder holds out the
same patients as we do.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from dicom_node.errors import ImageError
from gateway import pages, spool
from gateway.models import Instance
from gateway.retention import picture_file
from models.corpus.records import Part, part_of
from models.labels import KEYS
from models.page import NotReadable, Page
from webadmin import audit, labelling, masking, trainingsets
from webadmin.masking import Masked
from webadmin.models import TrainingItem, TrainingSet

log = structlog.get_logger(__name__)

LABELS: Final = "labels.csv"
MANIFEST: Final = "manifest.csv"
SUMS: Final = "SHA256SUMS"
PICTURES: Final = "pictures"

_PARTS: Final[dict[str, Part]] = {
    TrainingItem.Split.TRAINING: "train",
    TrainingItem.Split.VALIDATION: "validation",
    TrainingItem.Split.TEST: "test",
}

Put = Callable[[str, bytes], None]


class NotExported(ValueError):
    """Nothing was exported; the text says why."""


@dataclass
class Exported:
    """What left, and what stayed.

    Attributes
    ----------
    count
        ECGs that left.
    left_out
        How many stayed, by the reason why.
    """

    count: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def count(training_set: TrainingSet, *, with_test: bool = False) -> int:
    """Return how many ECGs an export looks at."""
    rows = training_set.items.all() if with_test else trainingsets.open_items(training_set)
    return rows.count()


def to_folder(
    training_set: TrainingSet,
    folder: Path,
    *,
    actor: str,
    test_purpose: str = "",
    on_ecg: Callable[[], object] = lambda: None,
) -> Exported:
    """Write an export into a new folder; it appears when it is whole.

    Parameters
    ----------
    actor
        Who exports: the trail says so.
    test_purpose
        What the locked test split is needed for; without, it stays here.
    on_ecg
        Called after each ECG.

    Raises
    ------
    NotExported
        The folder exists, or no ECG of the set can be exported.
    """
    if folder.exists():
        raise NotExported("expected a folder that does not exist yet")
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    draft.mkdir(parents=True, mode=0o700)
    (draft / PICTURES).mkdir()
    try:
        done = write(
            training_set,
            lambda name, content: _write_file(draft / name, content),
            actor=actor,
            test_purpose=test_purpose,
            on_ecg=on_ecg,
        )
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return done


def write(
    training_set: TrainingSet,
    put: Put,
    *,
    actor: str,
    test_purpose: str = "",
    on_ecg: Callable[[], object] = lambda: None,
) -> Exported:
    """Hand every file of an export to `put`, under its name in the folder.

    Raises
    ------
    NotExported
        No ECG of the set can be exported.
    """
    items = list(trainingsets.open_items(training_set).select_related("instance"))
    if test_purpose:
        items += trainingsets.open_test_split(training_set, actor, test_purpose)
    audit.record(
        audit.Action.EXPORTED, actor=actor, subject=training_set,
        ecgs=len(items), with_test=bool(test_purpose),
    )  # fmt: skip
    secrets.SystemRandom().shuffle(items)
    done, sums, names = Exported(), {}, _Pseudonyms()
    labels, manifest = [], []
    width = len(str(len(items)))
    for item in items:
        try:
            png = masking.to_png(tracing(item.instance).grey)
        except NotReadable as refusal:
            done.left_out[refusal.reason] += 1
        except (ImageError, spool.SpoolError) as error:
            log.warning("not exported", instance=item.instance_id, error=type(error).__name__)
            done.left_out["its picture cannot be opened any more"] += 1
        else:
            done.count += 1
            name = f"{PICTURES}/{done.count:0{width}}.png"
            put(name, png)
            sums[name] = hashlib.sha256(png).hexdigest()
            patient = names.of(item)
            said = labelling.as_columns(item.findings)
            labels.append({"file": name, "patient": patient, **said})
            manifest.append(
                {
                    "file": name,
                    "sha256": sums[name],
                    "patient": patient,
                    "split": item.split,
                    **{key: item.findings[key] for key in KEYS},
                }
            )
        on_ecg()
    if not done.count:
        why = "; ".join(f"{many} times: {reason}" for reason, many in done.left_out.items())
        raise NotExported(
            f"expected ECGs that can be exported; found none ({why or 'none frozen'})"
        )
    for name, rows in ((LABELS, labels), (MANIFEST, manifest)):
        content = _csv(rows)
        put(name, content)
        sums[name] = hashlib.sha256(content).hexdigest()
    put(SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode())
    return done


def tracing(instance: Instance) -> Masked:
    """Return what would leave of an ECG.

    Raises
    ------
    NotReadable
        No page is found on it, or it is half of an ECG.
    ImageError, SpoolError
        Its object cannot be opened.
    """
    return masking.mask(page_of(instance))


def page_of(instance: Instance) -> Page:
    """Return the page that an ECG was read on; raises as :func:`tracing`."""
    if any(page.get("joined_with") for page in instance.pages):
        raise NotReadable("its leads are on two pages")
    number = instance.frame_number or 1
    for found in pages.pages(picture_file(instance)):
        if found.number == number:
            if found.page is None:
                raise NotReadable(found.reason or "no page")
            return found.page
    raise NotReadable("no page")


class _Pseudonyms:
    """A new name for each patient, on the patient's side of the split."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def of(self, item: TrainingItem) -> str:
        if item.patient_sha256 not in self._given:
            self._given[item.patient_sha256] = next(self._drawn(_PARTS[item.split]))
        return self._given[item.patient_sha256]

    def _drawn(self, part: Part) -> Iterator[str]:
        taken = set(self._given.values())
        while True:
            name = secrets.token_hex(8)
            if part_of(name) == part and name not in taken:
                yield name


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
