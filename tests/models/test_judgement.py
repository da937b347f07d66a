"""The whole table from answers: figures, gaps, controls, and what a card then says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.architecture import Architecture
from models.artifact import ModelCard
from models.calibrate import Calibration
from models.corpus.records import Record
from models.corpus.simulate import simulate
from models.evaluation.aims import aims
from models.evaluation.card import write_card
from models.evaluation.card_tables import tables
from models.evaluation.examination import judge
from models.evaluation.judgement import MARK_POSITIVES, Answers, Metrics, Truth
from models.evaluation.pictures import draw_pictures
from models.evaluation.sheets import MIXED, conditions
from models.labels import KEYS, index_of

PER_FINDING = 12


def records() -> list[Record]:
    made = []
    for number in range(4 * PER_FINDING):
        targets = np.zeros(10, np.float32)
        key = ("normal", "af", "clbbb", "")[number % 4]
        if key:
            targets[index_of(key)] = 1.0
        made.append(
            Record(
                record_id=f"R{number}",
                source="TEST",
                patient=f"TEST/P{number}",
                targets=targets,
                known=np.ones(10, np.float32),
                statements=np.zeros(21, np.float32),
                judges=True,
                only_trains=False,
                signal_uv=simulate("normal", 1),
            )
        )
    return made


RECORDS = records()
TRUTH = Truth.of(RECORDS)
CALIBRATION = Calibration(
    dict.fromkeys(KEYS, 1.0),
    dict.fromkeys(KEYS, 0.0),
    dict.fromkeys(KEYS, 0.5),
    dict.fromkeys(KEYS, 0.25),
)


def knowing(strength: float, seed: int = 1, refused: int = 0) -> Answers:
    """Answers of a network that knows so much, and refuses the first pages."""
    rng = np.random.default_rng(seed)
    logits = strength * (2 * TRUTH.targets - 1) + rng.normal(0, 1, TRUTH.targets.shape)
    reasons = ["not an ECG page"] * refused + [""] * (len(RECORDS) - refused)
    return Answers(1 / (1 + np.exp(-logits)), tuple(reasons))


def every_sheet() -> dict[str, Answers]:
    return {
        name: knowing(1.5, refused=0 if name.startswith(("kind", "control")) else 2)
        for name in conditions(RECORDS)
    }


@pytest.fixture(scope="module")
def answers() -> dict[str, Answers]:
    return every_sheet()


@pytest.fixture(scope="module")
def metrics(answers: dict[str, Answers]) -> Metrics:
    return judge(answers, TRUTH, CALIBRATION)


def test_only_findings_with_positives_enough_are_in_the_mean(metrics: Metrics) -> None:
    assert TRUTH.keys(MARK_POSITIVES) == ("normal", "clbbb", "af")
    areas = [metrics["test"][key]["auroc"] for key in ("normal", "clbbb", "af")]
    assert metrics["macro_auroc"] == pytest.approx(np.mean(areas), abs=1e-4)
    assert metrics["test"]["at"]["auroc"] is None
    assert metrics["layouts"]["3x4"]["auroc"].keys() == {"normal", "clbbb", "af"}


def test_a_refused_page_has_no_answer_and_is_counted(metrics: Metrics) -> None:
    assert metrics["refused"] == pytest.approx(2 / 48, abs=1e-4)
    assert metrics["refused_why"] == {"not an ECG page": 2}
    test = metrics["test"]["normal"]
    assert test["positives"] + test["negatives"] == 46


def test_refusing_lowers_f1_only_where_a_refused_page_counts_as_absent(
    answers: dict[str, Answers],
) -> None:
    half = knowing(1.5, refused=24)
    found = judge({**answers, "effect/photo": half}, TRUTH, CALIBRATION)["effects"]
    assert found["photo"]["refused"] == 0.5
    assert found["photo"]["kept_with_refused"] < 0.8
    assert found["photo"]["kept"] > 0.8
    assert found["clean"]["kept"] == 1.0


def test_the_gap_is_that_of_the_layouts_with_an_interval_around_it(
    answers: dict[str, Answers],
) -> None:
    worse = {
        name: knowing(0.1, seed=3) if name in ("layout/4x3", "layout/3x4+1 Cabrera") else one
        for name, one in answers.items()
    }
    same = judge(answers, TRUTH, CALIBRATION)["layout_gap"]
    assert same["gap"] == pytest.approx(0.0, abs=1e-4)
    gap = judge(worse, TRUTH, CALIBRATION)["layout_gap"]
    low, high = gap["gap_interval"]
    assert 0.0 < low < gap["gap"] < high
    assert gap["gap"] == pytest.approx(gap["seen"] - gap["unseen"], abs=2e-4)


def test_a_header_that_is_read_shows(answers: dict[str, Answers]) -> None:
    printed = answers["header/printed"]
    fooled = printed.probability.copy()
    fooled[:, index_of("af")] = 0.99
    read = {**answers, "header/stating a diagnosis": replace(printed, probability=fooled)}
    header = judge(read, TRUTH, CALIBRATION)["header"]
    assert header["stating a diagnosis"]["af_moved"] > 0.3
    assert header["stating a diagnosis"]["verdicts_changed"] > 0.03
    assert header["left away"] == {
        **header["printed"],
        "mean_change": 0.0,
        "af_moved": 0.0,
        "verdicts_changed": 0.0,
    }


def test_shuffled_labels_are_at_chance_whatever_the_network_knows(metrics: Metrics) -> None:
    assert metrics["controls"]["labels_shuffled"] == pytest.approx(0.5, abs=0.06)
    assert metrics["macro_auroc"] > 0.9


def test_none_of_the_ten_and_normal_stay_apart(metrics: Metrics) -> None:
    said = metrics["said"]
    assert said["none"]["ecgs"] == sum(not r.targets.any() for r in RECORDS[2:])
    probability = knowing(1.5).probability[2:]
    nothing = ~(probability >= 0.5).any(axis=1)
    others = ~TRUTH.targets[2:].any(axis=1)
    assert said["none"]["none"] == int((nothing & others).sum())
    assert said["normal"]["none"] == int((nothing & (TRUTH.targets[2:, 0] > 0)).sum())


def test_figures_are_plain_json_and_the_same_each_time(
    answers: dict[str, Answers], metrics: Metrics
) -> None:
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert judge(answers, TRUTH, CALIBRATION) == metrics


def card_of(metrics: Metrics) -> ModelCard:
    return ModelCard(
        name="ecg-test",
        version="1",
        sha256="0" * 64,
        architecture=Architecture(),
        calibration=CALIBRATION,
        validated={key: key == "af" for key in KEYS},
        metrics=metrics,
        training={
            "ecgs": {"train": 1, "validation": 2, "test": 48},
            "judged_on": "2026-01-01",
            "test_ecgs_of_unknown_patients": 3,
        },
    )


def test_a_card_for_people_says_each_figure_each_aim_and_what_is_not_validated(
    metrics: Metrics,
) -> None:
    page = write_card(card_of(metrics))
    assert "**Not validated: Normal ECG, Premature ventricular" in page
    for key in ("normal", "af", "clbbb"):
        assert f"{metrics['test'][key]['auroc']:.3f} (" in page
    for aim in aims(metrics):
        assert aim.name in page
    assert "**not met**" in page
    assert "not known" in page
    for line in tables(card_of(metrics)).splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_an_aim_is_met_on_its_own_side_and_unknown_without_figures(metrics: Metrics) -> None:
    verdicts = {aim.name: aim.met for aim in aims(metrics)}
    assert verdicts["good pages refused"] is False
    assert verdicts["gap to layouts never trained on"] is True
    assert verdicts["AUROC, Premature atrial complexes"] is None


def test_the_pictures_show_something_and_stay_small(
    answers: dict[str, Answers], metrics: Metrics, tmp_path: Path
) -> None:
    draw_pictures(tmp_path, answers[MIXED], TRUTH, metrics)
    drawn = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in drawn] == ["reliability.png", "roc.png", "said.png"]
    assert sum(path.stat().st_size for path in drawn) < 1_500_000
    for path in drawn:
        ink = np.asarray(Image.open(path).convert("L")) < 200
        assert 0.005 < ink.mean() < 0.5


def test_a_table_of_uneven_rows_is_an_error() -> None:
    from models.evaluation.tables import table

    with pytest.raises(ValueError, match="expected 2 cells; received 1"):
        table(["a", "b"], [["1"]])
    assert table(["a", "b"], [["1", "22222"]]).splitlines()[2] == "| 1   | 22222 |"
