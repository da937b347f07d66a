"""An artifact made, judged, judged again, in small from end to end; the split of the corpus."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_corpora import small_corpus

from models import evaluate
from models.architecture import Architecture
from models.artifact import Artifact, save
from models.corpus.beatfinder import find_r_peaks
from models.corpus.layouts import UNSEEN_LAYOUTS
from models.corpus.lessons import EXTRAS
from models.corpus.pages import drawing_pool
from models.corpus.records import Record, load, part_of
from models.corpus.simulate import simulate
from models.evaluation import baselines
from models.evaluation.controls import shuffled_training
from models.evaluation.rate_rule import measure, scores
from models.evaluation.sheets import (
    MIXED,
    STATED,
    conditions,
    draw_sheet,
    page_picture,
    validation_drawings,
)
from models.labels import KEYS, index_of


def numbers_of(part: str, count: int) -> Iterator[int]:
    return itertools.islice((n for n in itertools.count() if part_of(f"TEST/P{n}") == part), count)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with all findings on all sides."""
    keys = ("normal", "af", "clbbb", "pvc")
    ecgs = {
        number: keys[place % len(keys)]
        for part, count in (("train", 12), ("validation", 4), ("test", 4))
        for place, number in enumerate(numbers_of(part, count))
    }
    return small_corpus(tmp_path_factory.mktemp("corpus"), ecgs)


@pytest.fixture(scope="module")
def judging(corpus: Path) -> list[Record]:
    return load(corpus, parts=("test",))


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with drawing_pool() as drawers:
        yield drawers


def fresh_run(folder: Path, seed: int) -> Path:
    """The folder of a training that has not learned yet."""
    import keras

    from models.resnet import build

    folder.mkdir()
    keras.utils.set_random_seed(seed)
    architecture = Architecture(depth=10, width=4, extra=len(EXTRAS))
    build(architecture).save_weights(str(folder / "best.weights.h5"))
    recipe = {"architecture": architecture.__dict__, "seed": seed}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "progress.json").write_text(json.dumps({"epoch": 0}))
    return folder


def test_an_artifact_is_made_comes_out_again_and_a_wrong_card_is_found_out(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = fresh_run(tmp_path / "run", 1), fresh_run(tmp_path / "other", 2)
    out, work = tmp_path / "ecg-small-0.1.0", tmp_path / "work"
    made = evaluate.make(run, out, corpus=corpus, work=work, beside=[other])
    assert made.card.name == "ecg-small"
    assert not any(made.card.validated.values()), "four ECGs validate nothing"
    assert set(made.card.metrics["baselines"]) == {
        "rate and QRS rule",
        "unpacked, depth 10, width 4 (other)",
    }
    assert {path.name for path in (out / "pictures").iterdir()} == {
        "roc.png",
        "reliability.png",
        "said.png",
    }
    assert not list(out.rglob("*.jpg")), "no page of an ECG goes into an artifact"

    assert evaluate.check(out, corpus=corpus, work=work, quick=False, control=False) == 0
    assert "reproduces the card" in capsys.readouterr().out

    network = made.network()
    metrics = json.loads(json.dumps(made.card.metrics))
    metrics["test"]["af"]["specificity"] = 0.123
    wrong = Artifact.load(out).card.__class__(**{**made.card.__dict__, "metrics": metrics})
    save(out, network, wrong, page="x", familiarity=made.familiarity())
    assert evaluate.check(out, corpus=corpus, work=work, quick=False, control=False) == 1
    said = capsys.readouterr().out
    assert "test / af / specificity: the card says 0.123, found " in said
    assert "1 figures differ" in said


@given(st.floats(0, 1), st.floats(-0.02, 0.02))
def test_figures_differ_from_five_thousandths_on(figure: float, by: float) -> None:
    card = {"a": {"b": [figure, None]}, "more": 1}
    found = {"a": {"b": [figure + by, None]}}
    assert bool(list(evaluate.differences(card, found))) == (
        abs((figure + by) - figure) > evaluate.TOLERANCE
    )


def test_figures_that_came_vanished_or_changed_kind_are_named() -> None:
    named = list(
        evaluate.differences({"a": None, "c": [1.0]}, {"a": 0.5, "b": 1.0, "c": [1.0, 2.0]})
    )
    assert named == [
        "a: the card says None, found 0.5",
        "b: not in the card",
        "c: the card says [1.0], found [1.0, 2.0]",
    ]


def test_the_help_teaches_and_a_baseline_without_an_artifact_to_make_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        evaluate.parse(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for word in ("--make", "--beside", "--signal", "--quick", "--controls", "--corpus", "--work"):
        assert word in said
    with pytest.raises(SystemExit):
        evaluate.parse(["x", "--corpus", "y", "--beside", "z"])
    assert "go with --make" in capsys.readouterr().err


def test_every_condition_changes_one_thing_and_judges_every_ecg(
    judging: list[Record],
) -> None:
    sheets = conditions(judging)
    for layout in UNSEEN_LAYOUTS:
        assert all(drawing.order.layout == layout for drawing in sheets[f"layout/{layout}"])
    assert not {d.order.layout for d in sheets[MIXED]} & set(UNSEEN_LAYOUTS)
    for name, drawings in sheets.items():
        if name.startswith(("layout", "effect", "header", "style")) or name == MIXED:
            assert len(drawings) == len(judging)
            for drawing, record in zip(drawings, judging, strict=True):
                assert drawing.order.signal_uv is record.signal_uv
    assert not any(d.order.signal_uv.any() for d in sheets["control/trace erased"])
    printed, bare = sheets["header/printed"][0].order, sheets["header/left away"][0].order
    assert printed.seed == bare.seed
    assert printed.effect == bare.effect == "clean"
    assert {d.stated for d in sheets["header/stating a diagnosis"]} == {STATED}


def test_a_stated_diagnosis_stands_in_the_header_and_touches_no_trace(
    judging: list[Record],
) -> None:
    sheets = conditions(judging)
    printed = page_picture(sheets["header/printed"][0])
    stating = page_picture(sheets["header/stating a diagnosis"][0])
    changed = (printed != stating).any(axis=2)
    assert changed.mean() > 0.001
    lowest = int(np.flatnonzero(changed.any(axis=1)).max())
    # The trace begins below the 24 mm of the header, at 6 pixels a millimetre.
    assert lowest < 24 * 6


def test_validation_pages_show_every_ecg_four_times_and_every_effect(
    corpus: Path,
) -> None:
    records = 2 * load(corpus, parts=("validation",))
    drawings, ecgs = validation_drawings(records)
    assert np.bincount(ecgs).tolist() == [4] * len(records)
    for drawing, ecg in zip(drawings, ecgs, strict=True):
        assert drawing.order.signal_uv is records[ecg].signal_uv
    named = {drawing.order.effect for drawing in drawings} - {"mixed"}
    assert named == {"clean", "scan", "bw_scan", "low_contrast", "photo", "photo_stained", "screen"}


def test_a_kept_sheet_is_taken_up_and_another_one_is_drawn_anew(
    judging: list[Record], tmp_path: Path, pool: Executor
) -> None:
    drawings = conditions(judging)[MIXED][:3]
    first = draw_sheet("mixed", drawings, tmp_path, pool=pool)
    file = tmp_path / "sheets" / "mixed.u8"
    before = file.stat().st_mtime_ns
    again = draw_sheet("mixed", drawings, tmp_path, pool=pool)
    assert file.stat().st_mtime_ns == before
    assert np.array_equal(first.pages, again.pages)
    assert first.reasons == again.reasons
    kept = np.array(again.pages)
    other = draw_sheet("mixed", drawings[::-1], tmp_path, pool=pool)
    assert np.array_equal(other.pages[0], kept[2])


def test_training_in_small_on_shuffled_labels_runs_beside_the_right_ones(
    corpus: Path, judging: list[Record], tmp_path: Path, pool: Executor
) -> None:
    sheet = draw_sheet("mixed", conditions(judging)[MIXED], tmp_path, pool=pool)
    train = load(corpus, parts=("train",))
    found = shuffled_training(train, judging, sheet, tmp_path, pool=pool, steps=2, ecgs=6)
    assert set(found) == {"right_labels", "shuffled_labels"}


def test_the_rule_finds_each_beat_and_tells_even_from_uneven() -> None:
    for seed in range(4):
        beats = find_r_peaks(simulate("normal", seed))
        rr = np.diff(beats)
        assert len(beats) >= 7
        assert rr.std() < 0.15 * rr.mean()
    af, escape = index_of("af"), index_of("clbbb")
    assert min(scores(simulate("af", s))[af] for s in range(4)) > max(
        scores(simulate("normal", s))[af] for s in range(4)
    )
    wide, narrow = (
        np.mean([np.median(measure(simulate(key, s)).width_ms) for s in range(4)])
        for key in ("clbbb", "normal")
    )
    assert wide > narrow + 10
    assert scores(simulate("clbbb", 1))[escape] > scores(simulate("normal", 1))[escape]


def test_the_rule_says_nothing_of_a_flat_line() -> None:
    assert np.array_equal(scores(np.zeros((12, 2500), np.int16)), np.zeros(len(KEYS)))


def test_a_network_on_signals_learns_and_answers_in_the_order_of_the_labels(
    corpus: Path, tmp_path: Path, judging: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = baselines.SignalRecipe(width=4, epochs=1, batch=8)
    work = baselines.train_on_signals(recipe, corpus, tmp_path / "signal")
    logits = baselines.signal_logits(work, judging)
    assert logits.shape == (len(judging), len(KEYS))
    assert np.isfinite(logits).all()
    assert capsys.readouterr().out.count("validation loss") == 1


def test_prepared_signals_have_lost_their_baseline_and_kept_their_beats(
    judging: list[Record],
) -> None:
    record = judging[0]
    drift = (800 * np.sin(np.linspace(0, 3, 2500))).astype(np.int16)
    drifting = Record(**{**record.__dict__, "signal_uv": record.signal_uv + drift})
    (still,), (moved,) = (baselines.prepared([one]) for one in (record, drifting))
    inner = slice(200, -200)
    assert np.abs(still[inner] - moved[inner]).max() < 0.1
    assert np.corrcoef(still[:, 1], record.signal_uv[1, ::2])[0, 1] > 0.7


@pytest.mark.corpus
def test_no_signal_and_no_patient_of_the_corpus_is_on_two_sides(corpus_dir: Path) -> None:
    sides: dict[str, dict[str, set[str]]] = {}
    count = 0
    for record in load(corpus_dir):
        count += 1
        side = sides.setdefault(record.part, {"patient": set(), "record": set(), "signal": set()})
        side["patient"].add(record.patient)
        side["record"].add(record.record_id)
        side["signal"].add(hashlib.sha256(record.signal_uv.tobytes()).hexdigest())
    assert count > 3500
    assert set(sides) == {"train", "validation", "test"}
    for one, other in itertools.combinations(sides.values(), 2):
        for what in ("patient", "record", "signal"):
            assert one[what].isdisjoint(other[what])


@pytest.mark.corpus
def test_no_ecg_that_judges_was_trained_on_under_another_name(corpus_dir: Path) -> None:
    """The same ten seconds restored, resampled or rescaled still correlate; strangers do not."""

    def shape(record: Record) -> np.ndarray:
        slow = cv2.blur(record.signal_uv.astype(np.float32), (125, 1))
        quick = (record.signal_uv - slow)[[0, 1, 6, 7, 10]].reshape(5, 500, 5).mean(axis=2)
        quick = quick / (quick.std(axis=1, keepdims=True) + 1e-3)
        return np.asarray(quick / np.linalg.norm(quick)).ravel()

    judged = load(corpus_dir, parts=("validation", "test"))
    trained = load(corpus_dir, parts=("train",))
    alike = np.stack([shape(r) for r in judged]) @ np.stack([shape(r) for r in trained]).T
    assert alike.max() < 0.95
    same = shape(trained[0])
    assert float(same @ same) == pytest.approx(1.0, abs=1e-4), "a copy would be noticed"
