"""What the demo brings: ECGs whose patients fill every split, and a network with one gap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway import demonstration
from models.artifact import Artifact, default_artifact
from models.labels import KEYS


def test_the_labelled_ecgs_fill_every_split_with_both_kinds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demonstration, "LABELLED", {"test": 2, "training": 1})

    def split_of(patient: str) -> str:
        return "training" if int(patient[-3:]) % 3 else "test"

    made = list(demonstration.labelled(split_of))
    found = sorted((split_of(picture.ds.PatientID), key) for picture, key in made)
    assert found == [
        ("test", "clbbb"), ("test", "clbbb"), ("test", "normal"), ("test", "normal"),
        ("training", "clbbb"), ("training", "normal"),
    ]  # fmt: skip
    assert len({picture.ds.PatientID for picture, _ in made}) == len(made)


def test_the_network_of_the_demo_says_nothing_about_one_finding_alone(tmp_path: Path) -> None:
    shipped = Artifact.load(default_artifact()).card
    made = demonstration.network(tmp_path)
    assert made.card.name == f"{shipped.name}-demo"
    assert made.card.sha256 == shipped.sha256
    assert (
        "without its answer about complete left bundle branch block"
        in (made.folder / "MODEL_CARD.md").read_text()
    )
    assert not made.card.validated["clbbb"]
    assert "clbbb" not in made.card.metrics["test"]

    logits = np.random.default_rng(1).normal(0, 5, (50, len(KEYS))).astype(np.float32)
    ours = made.card.calibration.probabilities(logits)
    theirs = shipped.calibration.probabilities(logits)
    column = KEYS.index("clbbb")
    assert len(set(ours[:, column])) == 1
    assert ours[0, column] < made.card.calibration.undetermined_from["clbbb"]
    assert np.array_equal(np.delete(ours, column, 1), np.delete(theirs, column, 1))
    assert demonstration.network(tmp_path).folder == made.folder, "it is made once"
