"""Training in small, the split, the calibration and the figures."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_corpora import small_corpus

from models import train
from models.architecture import Architecture
from models.artifact import Artifact, default_artifact
from models.augment import augment
from models.calibrate import Calibration, calibrate
from models.corpus import draw_page, lessons
from models.corpus.pages import Order, keep_pages, make_cache
from models.corpus.records import CorpusError, Record, load, part_of
from models.corpus.simulate import simulate
from models.labels import KEYS, PAGE_KINDS, index_of
from models.metrics import auroc, average_precision, calibration_error, figures
from models.resnet import build

ECGS = {number: ("normal", "af", "clbbb")[number % 3] for number in range(36)}
SMALL = Architecture(depth=10, width=4, extra=len(lessons.EXTRAS))


def recipe(epochs: int, **other: Any) -> train.Recipe:
    """A schedule of seconds."""
    return train.Recipe(SMALL, epochs=epochs, steps=8, batch=8, warmup_epochs=1, **other)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few edited, simulated and unreadable pages."""
    monkeypatch.setattr(lessons, "EDITED", {"sinus": 3, "pvc": 3})
    monkeypatch.setattr(lessons, "SIMULATED", {"at": 2})
    monkeypatch.setattr(lessons, "OF_A_KIND", dict.fromkeys(PAGE_KINDS, 2))
    monkeypatch.setattr(lessons, "VARIANTS", 1)
    monkeypatch.setattr(lessons, "RARE_VARIANTS", 1)
    monkeypatch.setattr(train, "VALIDATION_PAGES", 1)


@pytest.mark.usefixtures("few")
def test_a_training_learns_goes_on_where_it_stopped_and_stops_by_itself(tmp_path: Path) -> None:
    corpus, work = small_corpus(tmp_path / "corpus", ECGS), tmp_path / "work"
    train.train(recipe(2), work, corpus=corpus)
    train.train(recipe(4), work, corpus=corpus)
    rows = (work / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3", "4"]
    losses = [float(row.split(",")[1]) for row in rows[1:]]
    assert losses[-1] < losses[0]
    assert json.loads((work / "progress.json").read_text())["epoch"] == 4
    assert (work / "best.weights.h5").is_file()


@pytest.mark.usefixtures("few")
def test_what_is_synthetic_is_marked_through_to_the_manifest(tmp_path: Path) -> None:
    records = load(small_corpus(tmp_path / "corpus", ECGS), parts=("train",))
    made = lessons.training_lessons(records, tmp_path)
    with (tmp_path / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(made)
    synthetic = [row for row in rows if row["synthetic"] == "1"]
    assert {row["shows"].split()[0] for row in synthetic} == {"edited", "simulated"}
    assert len(synthetic) == 3 + 3 + 2
    own = {record.record_id for record in records}
    assert {row["shows"].split()[-1] for row in rows if row["shows"].startswith("edited")} <= own
    judged = lessons.judging_pages(load(tmp_path / "corpus", parts=("test",)), tmp_path, name="t")
    assert not any(name.startswith(("edited", "simulated")) for name in judged.names)


@pytest.mark.usefixtures("few")
def test_a_page_that_is_not_to_be_read_is_asked_for_its_kind_alone(tmp_path: Path) -> None:
    records = load(small_corpus(tmp_path / "corpus", ECGS), parts=("train",))
    made = lessons.training_lessons(records, tmp_path)
    kinds = made.targets[:, len(KEYS) : len(KEYS) + len(PAGE_KINDS)] > 0
    of_a_kind = np.asarray(kinds.any(axis=1))
    # Of two pages of six leads, the first is at 50 mm/s as well.
    assert np.asarray(kinds.sum(axis=0)).tolist() == [2, 3]
    assert not made.known[of_a_kind, : len(KEYS)].any()
    assert made.known[~of_a_kind, len(KEYS) : len(KEYS) + len(PAGE_KINDS)].all()
    taken = train.balanced(made, np.random.default_rng(1))
    assert {bool(of_a_kind[next(taken)]) for _ in range(200)} == {True, False}


def labelled_pictures(where: Path, count: int = 40) -> Path:
    """Write a folder as a hospital would: drawn pages, a list, and one picture that is no page."""
    where.mkdir()
    lines = ["file,findings,patient"]
    for number in range(count):
        key = ("normal", "af", "clbbb")[number % 3]
        page = draw_page(simulate(key, number), 250.0, "3x4+1", "grey", number)
        Image.fromarray(page[::2, ::2]).save(where / f"{number}.png")
        lines.append(f"{number}.png,{key},P{number}")
    Image.new("RGB", (600, 400), "white").save(where / "blank.png")
    trains = next(name for name in map(str, range(99)) if part_of(name) == "train")
    lines.append(f"blank.png,none,{trains}")
    (where / "labels.csv").write_text("\n".join(lines) + "\n")
    return where


def test_a_folder_of_labelled_pictures_trains_and_fine_tunes(tmp_path: Path) -> None:
    pictures, work = labelled_pictures(tmp_path / "pictures"), tmp_path / "work"
    train.train(recipe(3), work, pictures=pictures)
    losses = [row.split(",")[1] for row in (work / "log.csv").read_text().splitlines()[1:]]
    assert float(losses[-1]) < float(losses[0])
    [refused] = (work / "refused-train.csv").read_text().splitlines()[1:]
    assert refused.startswith("blank.png,blank picture")


def test_pages_left_half_drawn_are_never_taken_for_whole(tmp_path: Path) -> None:
    orders = [Order(simulate("af", n), "3x4", n, "plain", "clean") for n in range(3)]
    others = [replace(order, seed=order.seed + 50) for order in orders]
    first = np.array(make_cache(tmp_path / "p.u8", orders, describe="first"))

    class Interrupted(Exception):
        """As a stopped process leaves it, at the second page."""

    def stopped(order: Order) -> tuple[np.ndarray, str]:
        if order.seed > 50:
            raise Interrupted
        return np.zeros_like(first[0]), ""

    wanted = {"orders": [order.described() for order in others]}
    with pytest.raises(Interrupted):
        keep_pages(tmp_path / "p.u8", others, stopped, wanted, describe="second")
    assert np.array_equal(make_cache(tmp_path / "p.u8", orders, describe="again"), first)


def test_a_corpus_without_an_ecg_to_edit_teaches_all_the_same(tmp_path: Path, few: None) -> None:
    records = load(small_corpus(tmp_path / "corpus", dict.fromkeys(range(4), "af")))
    made = lessons.training_lessons(records, tmp_path)
    assert not any(name.startswith("edited") for name in made.names)
    assert len(made) == len(records) + 2 + 4


def test_a_training_begins_from_the_network_that_ships() -> None:
    given = train.parse(["--pictures", ".", "--work", ".", "--start", str(default_artifact())])
    asked = train.recipe_of(given)
    shipped = Artifact.load(default_artifact()).card
    assert asked.start == f"{shipped.name} {shipped.version}"
    assert asked.architecture.width == shipped.architecture.width
    network, theirs = build(asked.architecture), build(shipped.architecture)
    theirs.load_weights(str(Artifact.load(default_artifact()).weights))
    train.load_start(network, default_artifact())
    kernel, fresh = (net.get_layer("logits").get_weights()[0] for net in (theirs, network))
    assert np.array_equal(kernel[:, : len(KEYS)], fresh[:, : len(KEYS)])
    stem, own = (net.get_layer("stem_conv").get_weights()[0] for net in (theirs, network))
    assert np.array_equal(stem, own)


def test_nothing_to_train_with_is_said(tmp_path: Path) -> None:
    pictures = labelled_pictures(tmp_path / "pictures", count=1)
    with pytest.raises(train.TrainingError, match="expected ECGs of"):
        train.train(recipe(1), tmp_path / "work", pictures=pictures)


def test_the_help_of_the_commands_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    from models import evaluate

    for module in (train, evaluate):
        with pytest.raises(SystemExit) as ended:
            module.parse(["--help"])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert "--corpus" in text
        assert "--work" in text


@given(st.text(min_size=1))
def test_a_patient_is_on_one_side_for_ever(patient: str) -> None:
    assert part_of(patient) == part_of(patient) in ("train", "validation", "test")


def test_the_sides_have_their_sizes() -> None:
    parts = [part_of(f"patient-{number}") for number in range(5000)]
    assert parts.count("test") / 5000 == pytest.approx(0.20, abs=0.02)
    assert parts.count("validation") / 5000 == pytest.approx(0.16, abs=0.02)


def test_a_corpus_without_its_list_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"records\.csv"):
        load(tmp_path)


@pytest.fixture(scope="module")
def records(corpus_dir: Path) -> list[Record]:
    return load(corpus_dir)


@pytest.mark.corpus
def test_no_patient_and_no_record_is_on_two_sides(records: list[Record]) -> None:
    for what in ("patient", "record_id"):
        sides = {
            part: {getattr(r, what) for r in records if r.part == part}
            for part in ("train", "validation", "test")
        }
        assert sides["train"].isdisjoint(sides["validation"] | sides["test"])
        assert sides["validation"].isdisjoint(sides["test"])
        assert all(sides.values())


@pytest.mark.corpus
def test_labels_mean_what_the_rules_say(records: list[Record]) -> None:
    normal = index_of("normal")
    for record in records:
        assert not (record.targets[normal] and record.targets.sum() > 1)
        assert (record.targets <= record.known).all()
        if record.part != "train":
            assert record.judges
    assert sum(record.targets.sum() == 0 for record in records) > 500, "real ECGs of none"


@given(st.integers(0, 2**31))
def test_an_augmented_page_keeps_its_shape_and_depends_on_the_seed_alone(seed: int) -> None:
    page = np.full((60, 180), 240, np.uint8)
    page[30, :] = 0
    one = augment(page, np.random.default_rng(seed))
    assert one.shape == page.shape
    assert one.dtype == np.uint8
    assert np.array_equal(one, augment(page, np.random.default_rng(seed)))


def test_calibration_brings_rare_findings_back_to_their_frequency() -> None:
    rng = np.random.default_rng(1)
    targets = (rng.random((4000, 10)) < 0.05).astype(np.float32)
    logits = (3.0 * targets - 1.0 + rng.normal(0, 1, targets.shape)).astype(np.float32)
    made = calibrate(
        logits,
        targets,
        np.ones_like(targets),
        frequency=[0.05] * 10,
        trained_frequency=[0.1] * 10,
    )
    probability = made.probabilities(logits)
    assert np.allclose(probability.mean(axis=0), targets.mean(axis=0), atol=0.01)
    assert all(calibration_error(probability[:, c], targets[:, c]) < 0.02 for c in range(10))
    assert ((probability > 0) & (probability < 1)).all()


def test_a_finding_never_seen_in_validation_is_called_cautiously() -> None:
    logits = np.random.default_rng(2).normal(0, 1, (500, 10)).astype(np.float32)
    targets = np.zeros((500, 10), np.float32)
    made = calibrate(
        logits, targets, np.ones_like(targets), frequency=[0.01] * 10, trained_frequency=[0.1] * 10
    )
    said = made.probabilities(logits) >= np.array([made.threshold[key] for key in KEYS])
    assert said.mean() <= 0.02


def test_verdicts_follow_the_band() -> None:
    ones = dict.fromkeys(KEYS, 1.0)
    made = Calibration(ones, ones, dict.fromkeys(KEYS, 0.5), dict.fromkeys(KEYS, 0.25))
    assert [made.verdict("af", p) for p in (0.6, 0.5, 0.3, 0.2)] == [
        "present",
        "present",
        "undetermined",
        "absent",
    ]
    with pytest.raises(ValueError, match="undetermined_from <= threshold"):
        Calibration(ones, ones, dict.fromkeys(KEYS, 0.2), dict.fromkeys(KEYS, 0.25))


def test_figures_are_those_of_the_textbook() -> None:
    scores, truth = np.array([0.9, 0.8, 0.7, 0.4, 0.3]), np.array([1, 0, 1, 0, 0])
    assert auroc(scores, truth) == pytest.approx(5 / 6)
    assert average_precision(scores, truth) == pytest.approx((1 + 2 / 3) / 2)
    found = figures(scores, truth, threshold=0.75)
    assert (found.positives, found.sensitivity, found.f1) == (2, 0.5, 0.5)
    assert found.specificity == pytest.approx(2 / 3)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=60))
def test_auroc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[float, bool]]) -> None:
    scores, truth = np.array([p for p, _ in pairs]), np.array([t for _, t in pairs])
    positive, negative = scores[truth], scores[~truth]
    if len(positive) == 0 or len(negative) == 0:
        assert np.isnan(auroc(scores, truth))
        return
    right = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    assert auroc(scores, truth) == pytest.approx(right)


def test_without_positives_nothing_is_claimed() -> None:
    found = figures(np.array([0.1, 0.9]), np.array([0, 0]), threshold=0.5)
    assert np.isnan([found.auroc, found.f1, found.sensitivity, found.sensitivity_at_95]).all()
