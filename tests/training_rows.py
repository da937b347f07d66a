"""A frozen training set of simulated ECGs, and a champion that is easily beaten."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from desk_rows import drawn, make_ecg
from django.contrib.auth.models import User

from gateway import serving
from gateway.models import ModelVersion
from gateway.states import State
from models.artifact import CARD, SUMS, Artifact, default_artifact, file_sha256
from models.labels import KEYS
from webadmin.models import Evaluation, Label, TrainingItem, TrainingSet

DRAWINGS = 3
"""So many pages of each finding; several patients show the same one."""


@functools.cache
def page(key: str, seed: int) -> Any:
    """Return a simulated page as a small picture."""
    return drawn(key, style="grey", seed=seed)[::2, ::2]


def frozen_set(
    user: User, splits: Mapping[str, Mapping[str, int]], *, name: str = "spring"
) -> TrainingSet:
    """Return a training set: split -> finding -> how many ECGs of as many patients show it."""
    made = TrainingSet.objects.create(name=name, sha256="ab" * 32, frozen_by=user)
    for split, counts in splits.items():
        for key, count in counts.items():
            for number in range(count):
                ecg = make_ecg(page(key, 1 + number % DRAWINGS), state=State.DELIVERED)
                said = {one: "present" if one == key else "absent" for one in KEYS}
                label = Label.objects.create(
                    instance=ecg, findings=said, source=Label.Source.IMPORTED, decided_by=user
                )
                TrainingItem.objects.create(
                    training_set=made,
                    instance=ecg,
                    label=label,
                    findings=said,
                    patient_sha256=f"{ecg.pk:064x}",
                    split=split,
                )
    return made


FIGURES = {
    name: value
    for figure in ("auroc", "auprc", "f1", "sensitivity", "specificity", "sensitivity_at_95")
    for name, value in ((figure, 0.9), (f"{figure}_interval", [0.8, 0.95]))
} | {"positives": 12, "negatives": 30, "calibration_error": 0.02}
"""What an evaluation says of a network and a finding; invented."""


def evaluated(candidate: ModelVersion, training_set: TrainingSet, **values: Any) -> Evaluation:
    """Return an evaluation beside the network that serves."""
    one = {
        "positives": 12,
        "negatives": 30,
        "is_judged": True,
        "verdict": "better",
        "difference": 0.04,
        "difference_interval": [0.01, 0.07],
        "candidate": FIGURES,
        "champion": FIGURES,
    }
    both = {"candidate": 0.01, "champion": 0.02}
    results = {
        "ecgs": 42,
        "patients": 40,
        "answered": 41,
        "refused": both,
        "calibration": both,
        "margins": {"auroc": 0.01},
        "findings": dict.fromkeys(KEYS, one),
    }
    return Evaluation.objects.create(
        training_set=training_set,
        candidate=candidate,
        champion=serving.champion(),
        results=results,
        **{"is_better": True, "reasons": ["Atrial fibrillation is better."], **values},
    )


def kept(models: Path, version: str) -> ModelVersion:
    """Return the row of a network like the one that ships, which is kept in this folder."""
    row = serving.row_of(like_the_one_that_ships(models / version, version=version))
    row.folder = version
    row.save()
    return row


def like_the_one_that_ships(
    folder: Path, *, version: str, turned: tuple[str, ...] = ()
) -> Artifact:
    """Write the network that ships under another version, with some opinions turned over."""
    shutil.copytree(default_artifact(), folder)
    card = json.loads((folder / CARD).read_text())
    card |= {"name": "ecg-test", "version": version}
    for key in turned:
        for name in ("scale", "shift"):
            card["calibration"][name][key] *= -1.0
    (folder / CARD).write_text(json.dumps(card))
    names = [line.split()[1] for line in (folder / SUMS).read_text().splitlines()]
    sums = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in names)
    (folder / SUMS).write_text(sums)
    return Artifact.load(folder).verify()
