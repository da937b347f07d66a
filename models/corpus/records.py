"""The real records: signals, labels and the patient split.

The folder that ``ECG_CORPUS_DIR`` names holds ``waveforms/records.csv`` and one ``.npz`` a source.
What a label means here:

* ``SR`` is a rhythm, not a diagnosis: *normal* needs ``normal_statement`` = 1 and none of the
  other nine classes.
* No class at all is none of the ten, a real "other" ECG; it is a negative for all ten.
* ``SVT`` is kin to atrial tachycardia but not the same: for *at* such a record is unknown, neither
  positive nor negative.
* ``bbb_completeness_unspecified`` = 1: whether the block is complete is unknown, so the record is
  unknown for both bundle branch blocks.
* ``restored`` records have estimated amplitudes: they train, and never judge. One without a known
  patient therefore trains whatever its hash says; one whose patient judges is left out.

What else the sources say (`STATEMENTS`: an infarct, a first-degree block, ...) is no finding of
ours; a network that must tell those apart as well learns better what normal is.
"""

import argparse
import csv
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.labels import KEYS, index_of

RATE_HZ: Final = 250.0
SOURCES: Final = ("ptbxl", "ptbxl_restored", "cinc2020_2021")
Part = Literal["train", "validation", "test"]

_CLASSES: Final = {
    "PVC": "pvc",
    "WPW": "preexcitation",
    "CLBBB": "clbbb",
    "CRBBB": "crbbb",
    "AFIB": "af",
    "AFL": "afl",
    "AE": "atrial_escape",
    "PAC": "pac",
    "AT": "at",
}


#: Other statements of the sources, each with its SCP-ECG and SNOMED CT codes, by frequency.
STATEMENTS: Final[dict[str, frozenset[str]]] = {
    name: frozenset(codes.split())
    for name, codes in (
        ("sinus rhythm", "SR 426783006"),
        ("sinus bradycardia", "SBRAD 426177001"),
        ("sinus tachycardia", "STACH 427084000"),
        ("sinus arrhythmia", "SARRH 427393009"),
        ("first-degree AV block", "1AVB LPR 270492004 164947007"),
        ("left anterior fascicular block", "LAFB 445118002"),
        ("left axis deviation", "39732003"),
        ("incomplete right bundle branch block", "IRBBB 713426002"),
        ("intraventricular conduction delay", "IVCD 698252002"),
        ("left ventricular hypertrophy", "LVH VCLVH 164873001"),
        ("inferior infarct", "IMI ILMI IPLMI IPMI"),
        ("anterior infarct", "ASMI AMI ALMI LMI"),
        ("infarct", "IMI ILMI IPLMI IPMI ASMI AMI ALMI LMI PMI 164865005"),
        ("ischaemia", "ISC_ ISCAL ISCAN ISCIN ISCAS ISCIL ISCLA 164861001"),
        ("ST depression", "STD_ 429622005"),
        ("T wave change", "NDT NT_ LOWT INVT TAB_ 164934002 59931005"),
        ("nonspecific ST change", "NST_ 428750005 55930002"),
        ("abnormal Q", "QWAVE 164917005"),
        ("abnormal QRS", "ABQRS 164951009"),
        ("left atrial enlargement", "LAO/LAE 67741000119109"),
        ("paced", "PACE 10370003"),
    )
}


class CorpusError(ValueError):
    """The corpus folder is not what it should be."""


@dataclass(frozen=True)
class Record:
    """One real ECG.

    Attributes
    ----------
    record_id, source : str
        Its name, and the dataset it comes from.
    patient : str
        Records of one patient share it; a record without a known patient is its own.
    targets : float32 (10,)
        1 present, 0 absent, in the order of `models.labels.KEYS`.
    known : float32 (10,)
        1 where the target is known, 0 where it must not count.
    statements : float32 (len(STATEMENTS),)
        1 where the source states it.
    judges : bool
        Whether it may be used for validation and test: neither restored nor with an artefact.
    only_trains : bool
        Restored, and of no known patient: on the training side whatever its hash says.
    signal_uv : int16 (12, 2500)
        Microvolts at 250 Hz.
    """

    record_id: str
    source: str
    patient: str
    targets: NDArray[np.float32]
    known: NDArray[np.float32]
    statements: NDArray[np.float32]
    judges: bool
    only_trains: bool
    signal_uv: NDArray[np.int16]

    @property
    def part(self) -> Part:
        """The side of the split this patient is on."""
        return "train" if self.only_trains else part_of(self.patient)


def add_corpus_argument(parser: argparse.ArgumentParser) -> None:
    """Let a command take the corpus folder: --corpus, else ECG_CORPUS_DIR, else None."""
    named = os.environ.get("ECG_CORPUS_DIR")
    parser.add_argument(
        "--corpus",
        type=Path,
        default=Path(named) if named else None,
        help="folder of real ECGs (default: ECG_CORPUS_DIR)",
    )


def part_of(patient: str) -> Part:
    """Which side a patient is on: 20 % test, then 20 % of the rest validation.

    A hash of the identifier decides, so that a patient never changes sides when records are added.
    """
    number = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:4], "big") % 100
    if number < 20:
        return "test"
    return "validation" if number < 36 else "train"


def load(
    folder: Path, *, parts: tuple[Part, ...] = ("train", "validation", "test")
) -> list[Record]:
    """Read the records of some parts; those that may not judge are left out of what judges.

    Raises
    ------
    CorpusError
        A file is missing, or a listed record has no signal.
    """
    return [
        record
        for record in _all(folder)
        if record.part in parts and (record.judges or record.part == "train")
    ]


def _all(folder: Path) -> Iterator[Record]:
    listing = folder / "waveforms" / "records.csv"
    if not listing.is_file():
        raise CorpusError(
            f"expected waveforms/records.csv in the corpus folder; found none in {folder}"
        )
    with listing.open(newline="") as file:
        rows = {row["record_id"]: row for row in csv.DictReader(file)}
    for source in SOURCES:
        with np.load(folder / "waveforms" / f"{source}.npz") as store:
            names, signals = store["record_id"], store["signal_uv"]
        for name, signal in zip(names, signals, strict=True):
            if str(name) not in rows:
                raise CorpusError(f"{source}: a signal without a row in records.csv")
            yield _record(rows[str(name)], signal)


def _record(row: dict[str, str], signal: NDArray[np.int16]) -> Record:
    classes = set(filter(None, row["classes"].split("|")))
    targets = np.zeros(len(KEYS), np.float32)
    known = np.ones(len(KEYS), np.float32)
    for name in classes & set(_CLASSES):
        targets[index_of(_CLASSES[name])] = 1.0
    if row["normal_statement"] == "1" and not targets.any() and "SVT" not in classes:
        targets[index_of("normal")] = 1.0
    if "SVT" in classes and "AT" not in classes:
        known[index_of("at")] = 0.0
    if row["bbb_completeness_unspecified"] == "1":
        for key in ("clbbb", "crbbb"):
            targets[index_of(key)] = 0.0
            known[index_of(key)] = 0.0
    restored, artefact = row["restored"] == "1", row["artefact"] == "1"
    codes = {code.partition(":")[0] for code in row["source_codes"].split(";")}
    return Record(
        record_id=row["record_id"],
        source=row["dataset"],
        patient=f"{row['dataset'].split(' (')[0]}/{row['patient_id'] or row['record_id']}",
        targets=targets,
        known=known,
        statements=np.array([bool(codes & own) for own in STATEMENTS.values()], np.float32),
        judges=not (restored or artefact),
        only_trains=restored and not row["patient_id"],
        signal_uv=signal,
    )
