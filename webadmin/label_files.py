"""Labels as CSV: read with a preview of every fault before anything is written, and written out.

A line names an ECG by ``sop_instance_uid`` or, where it is the only one of that order, by
``accession_number``; ``findings`` and ``unknown`` are as :mod:`models.corpus.pictures` has them:
keys joined with ``|``, or ``none``; a key in neither column is absent. ``comment`` may be left out.
Faults name lines, never what stands in them.
"""

from __future__ import annotations

import csv
import io
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.crypto import salted_hmac

from gateway.models import Instance
from models.labels import KEYS
from webadmin import audit, labelling
from webadmin.models import Label

MAX_BYTES: Final = 500_000
MAX_LINES: Final = 2000

UID, ACCESSION = "sop_instance_uid", "accession_number"
_BY: Final = (UID, ACCESSION)
_BATCH: Final = 500


@dataclass(frozen=True)
class Line:
    """One label that would be written."""

    number: int
    instance: Instance
    words: dict[str, str]
    comment: str
    before: Label | None

    @property
    def is_new(self) -> bool:
        """Whether it says anything that the label that holds does not."""
        return self.before is None or self.before.findings != self.words

    @property
    def replaces_consensus(self) -> bool:
        """Whether people agreed on something else, or a third decided it."""
        return self.is_new and self.before is not None and self.before.source in Label.CONSENSUS


@dataclass
class Preview:
    """What a file says: the labels, and what is wrong with it, line by line."""

    lines: list[Line] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)

    @property
    def new(self) -> list[Line]:
        """The lines that change something."""
        return [line for line in self.lines if line.is_new]


class NotImported(ValueError):
    """Nothing was written; the text says why."""


def read(content: bytes) -> Preview:
    """Read a file; write nothing."""
    preview = Preview()
    if len(content) > MAX_BYTES:
        preview.faults.append((0, f"expected at most {MAX_BYTES:,} bytes; received more"))
        return preview
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        preview.faults.append((0, "expected a text in UTF-8"))
        return preview
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        columns = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        rows = list(enumerate(reader, start=2))
    except csv.Error as error:
        preview.faults.append((reader.line_num, f"no CSV: {error}"))
        return preview
    if "findings" not in columns or not any(name in columns for name in _BY):
        preview.faults.append((1, f"expected the columns findings and {' or '.join(_BY)}"))
    elif not rows:
        preview.faults.append((1, "expected at least one label; found none"))
    elif len(rows) > MAX_LINES:
        preview.faults.append((MAX_LINES + 2, f"expected at most {MAX_LINES} labels"))
    else:
        _read_rows(rows, preview)
    return preview


@transaction.atomic
def write(preview: Preview, user: User) -> int:
    """Write every label of a file that has no fault; return how many said something new.

    Raises
    ------
    NotImported
        The file has faults: then nothing is written.
    """
    if preview.faults or not preview.lines:
        raise NotImported("expected a file without faults; nothing was written")
    for line in preview.new:
        labelling.write(
            line.instance,
            line.words,
            source=Label.Source.IMPORTED,
            decided_by=user,
            comment=line.comment,
        )
    audit.record(
        audit.Action.IMPORTED, actor=user.get_username(), subject="labels", count=len(preview.new)
    )
    return len(preview.new)


def written(*, with_identifiers: bool) -> Iterator[str]:
    """Yield the labels that hold as lines of CSV.

    Parameters
    ----------
    with_identifiers
        Name ECGs and patients as they are named here. Without, they have pseudonyms that are made
        anew each time.
    """
    key = secrets.token_hex(32)
    whose = [UID, ACCESSION, "patient_id"] if with_identifiers else ["ecg", "patient"]
    columns = [*whose, "findings", "unknown", "source", "readers", *KEYS]
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, fieldnames=columns)
    writer.writeheader()
    rows = labelling.latest().select_related("instance__study").prefetch_related("readings")
    for label in rows.order_by("pk").iterator(chunk_size=_BATCH):
        instance, study = label.instance, label.instance.study
        patient = study.patient_id.strip() if study else ""
        if with_identifiers:
            accession = study.accession_number if study else ""
            named = {UID: instance.sop_instance_uid, ACCESSION: accession, "patient_id": patient}
        else:
            named = {
                "ecg": _pseudonym(key, instance.sop_instance_uid),
                "patient": _pseudonym(key, patient or f"ecg {instance.sop_instance_uid}"),
            }
        writer.writerow(
            {
                **{name: _harmless(value) for name, value in named.items()},
                **labelling.as_columns(label.findings),
                "source": label.source,
                "readers": len({one.reader_id for one in label.readings.all()}),
                **{key: label.findings[key] for key in KEYS},
            }
        )
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _read_rows(rows: list[tuple[int, dict[str, str]]], preview: Preview) -> None:
    found = _found(rows)
    seen: Counter[int] = Counter()
    chosen: list[tuple[int, Instance, dict[str, str], str]] = []
    for number, row in rows:
        instance, fault = _ecg(row, found)
        words, wrong = _words(row)
        if instance is not None:
            seen[instance.pk] += 1
            if seen[instance.pk] > 1:
                fault = "a second label of the same ECG"
        faults = [one for one in (fault, *wrong) if one]
        if len(comment := (row.get("comment") or "").strip()) > 1000:
            faults.append("expected a comment of at most 1000 characters")
        preview.faults += [(number, one) for one in faults]
        if instance is not None and not faults:
            chosen.append((number, instance, words, comment))
    before = labelling.labels_of([instance for _, instance, _, _ in chosen])
    preview.lines = [
        Line(number, instance, words, comment, before.get(instance.pk))
        for number, instance, words, comment in chosen
    ]


def _found(rows: list[tuple[int, dict[str, str]]]) -> dict[tuple[str, str], list[Instance]]:
    """Return the ECGs that the lines name, by how they name them."""
    found: dict[tuple[str, str], list[Instance]] = defaultdict(list)
    ours = Instance.objects.filter(conflict_of=None).select_related("study")
    for column, lookup in ((UID, "sop_instance_uid"), (ACCESSION, "study__accession_number")):
        wanted = sorted({(row.get(column) or "").strip() for _, row in rows} - {""})
        for start in range(0, len(wanted), _BATCH):
            for one in ours.filter(**{f"{lookup}__in": wanted[start : start + _BATCH]}):
                name = one.sop_instance_uid if column == UID else one.study.accession_number  # type: ignore[union-attr]
                found[column, name].append(one)
    return found


def _ecg(
    row: dict[str, str], found: dict[tuple[str, str], list[Instance]]
) -> tuple[Instance | None, str]:
    """Return the ECG that a line names, or why there is none."""
    uid, accession = ((row.get(column) or "").strip() for column in _BY)
    if not uid and not accession:
        return None, "expected a SOP Instance UID or an accession number"
    column, name = (UID, uid) if uid else (ACCESSION, accession)
    ecgs = found.get((column, name), [])
    if not ecgs:
        return None, f"no ECG of this {'SOP Instance UID' if uid else 'accession number'} is here"
    if len(ecgs) > 1:
        return None, f"{len(ecgs)} ECGs have this accession number: give the SOP Instance UID"
    return ecgs[0], ""


def _words(row: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the ten words of a line, and what is wrong with them."""
    said = (row.get("findings") or "").strip()
    if not said:
        return {}, ["expected findings, or none"]
    keys = [word.strip() for word in said.split("|") if word.strip() != "none"]
    unknown = [word.strip() for word in (row.get("unknown") or "").split("|") if word.strip()]
    if strange := {*keys, *unknown} - set(KEYS):
        return {}, [f"expected findings of {', '.join(KEYS)}; {len(strange)} are none of them"]
    if both := set(keys) & set(unknown):
        return {}, [f"{', '.join(sorted(both))}: both present and unknown"]
    words = labelling.of_keys(keys, unknown)
    return words, labelling.faults(words)


def _pseudonym(key: str, name: str) -> str:
    digest = salted_hmac("webadmin.label_files", name, secret=key, algorithm="sha256")
    return digest.hexdigest()[:16]


def _harmless(value: str) -> str:
    """Return a text that no spreadsheet takes for a formula; it comes from outside."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
