"""The network that ships: whole, and the same answer whichever way a page comes in."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import artifact as artifacts
from models.artifact import STORE, Artifact, ArtifactError, default_artifact
from models.corpus import draw_page, simulate
from models.labels import KEYS
from models.packet import pack
from models.page import find_page
from models.predict import Predictor


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(default_artifact())


def drawn(key: str, seed: int = 1) -> np.ndarray:
    return draw_page(simulate(key, seed), 250.0, "3x4+1", "pink", seed)


def test_the_shipped_network_is_small_whole_and_has_a_card_for_people() -> None:
    artifact = Artifact.load(default_artifact()).verify()
    assert artifact.folder.parent == STORE
    assert artifact.weights.stat().st_size < 15e6
    page = (artifact.folder / "MODEL_CARD.md").read_text()
    assert "Not validated:" in page
    assert "CC BY 4.0" in page
    assert set(artifact.card.validated) == set(KEYS)
    assert not artifact.card.validated["atrial_escape"], "one real ECG cannot validate"
    assert not artifact.card.validated["at"]


def test_a_class_is_called_validated_only_with_positives_enough() -> None:
    card = Artifact.load(default_artifact()).card
    for key, figures in card.metrics["test"].items():
        assert card.validated[key] == (figures["positives"] >= 20)


@pytest.mark.parametrize("name", ["weights.weights.h5", "card.json", "MODEL_CARD.md"])
def test_a_changed_file_is_noticed_by_name(name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(default_artifact(), tmp_path / "changed-1")
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ArtifactError, match=rf"{name}: expected SHA-256 \w+, found \w+"):
        Predictor(folder)


def test_what_is_no_artifact_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"found no card\.json"):
        Artifact.load(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(ArtifactError, match="not a model card"):
        Artifact.load(tmp_path)


def test_ten_probabilities_with_verdicts_that_follow_the_thresholds(predictor: Predictor) -> None:
    (reading,) = predictor.read([drawn("af")])
    assert reading.readable
    assert tuple(finding.key for finding in reading.findings) == KEYS
    for finding in reading.findings:
        assert 0.0 < finding.probability < 1.0
        assert (finding.verdict == "present") == (finding.probability >= finding.threshold)


def test_the_network_tells_rhythms_it_was_shown_apart(predictor: Predictor) -> None:
    def mean(key: str, shown: str) -> float:
        readings = predictor.read([drawn(shown, seed) for seed in range(500, 504)])
        return float(np.mean([r.findings[KEYS.index(key)].probability for r in readings]))

    assert mean("af", "af") > 2 * mean("af", "normal")
    assert mean("clbbb", "clbbb") > 2 * mean("clbbb", "normal")


def test_a_page_reads_the_same_alone_in_a_batch_and_through_a_file(predictor: Predictor) -> None:
    rasters = [drawn(key) for key in ("normal", "af", "pvc", "clbbb", "at", "afl")]
    together = predictor.read(rasters)
    for raster, reading in zip(rasters, together, strict=True):
        file = io.BytesIO()
        Image.fromarray(raster).save(file, "PNG")
        (alone,) = predictor.read([np.asarray(Image.open(file))])
        for one, other in zip(alone.findings, reading.findings, strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-5)


def test_serving_and_training_see_the_same_packet(predictor: Predictor) -> None:
    from models.corpus.pages import Order, draw, packed

    signal = simulate("af", 3)
    kept = draw(Order(signal, "6x2", 3, "plain", effect="clean"))
    served = pack(find_page(draw_page(signal, 250.0, "6x2", "plain", 3)).grey)
    assert np.array_equal(packed(kept), served)


def test_an_unreadable_page_between_readable_ones_disturbs_none(predictor: Predictor) -> None:
    blank = np.full((900, 1200, 3), 255, np.uint8)
    first, second, third = predictor.read([drawn("af"), blank, drawn("normal")])
    assert first.readable
    assert third.readable
    assert (second.readable, second.findings) == (False, ())
    assert second.reason is not None


def test_nothing_in_is_nothing_out(predictor: Predictor) -> None:
    assert predictor.read([]) == []
    assert predictor.classify([]) == []


def test_a_batch_of_any_size_is_answered_in_full(predictor: Predictor) -> None:
    packets = np.zeros((37, 224, 224, 3), np.uint8)
    assert predictor.logits(packets).shape == (37, len(KEYS))


def test_what_serves_gives_the_numbers_of_keras(predictor: Predictor) -> None:
    network = predictor.artifact.network()
    rasters = [drawn(key, 3) for key in ("normal", "af", "pvc", "clbbb", "at")]
    packets = np.stack([pack(find_page(raster).grey) for raster in rasters])
    noise = np.random.default_rng(1).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    packets = np.concatenate([packets, noise])
    expected = np.asarray(network(packets.astype(np.float32), training=False))[:, : len(KEYS)]
    assert np.abs(predictor.logits(packets) - expected).max() < 1e-3
    calibrate = predictor.card.calibration.probabilities
    assert np.abs(calibrate(predictor.logits(packets)) - calibrate(expected)).max() < 1e-3


def test_several_threads_may_ask_at_once(predictor: Predictor) -> None:
    packets = np.random.default_rng(2).integers(0, 256, (12, 224, 224, 3), dtype=np.uint8)
    expected = predictor.logits(packets)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda row: predictor.logits(packets[row : row + 1]), range(12)))
    assert np.abs(np.concatenate(answers) - expected).max() < 1e-4


def test_a_saved_network_serves_without_tensorflow(predictor: Predictor, tmp_path: Path) -> None:
    folder = tmp_path / "saved-1"
    network, card = predictor.artifact.network(), predictor.card
    artifacts.save(folder, network, card, page="The card.")
    packets = np.random.default_rng(3).integers(0, 256, (5, 224, 224, 3), dtype=np.uint8)
    np.save(tmp_path / "packets.npy", packets)
    code = (
        "import sys, numpy as np; from pathlib import Path; from models.predict import Predictor\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "logits = Predictor(folder / 'saved-1').logits(np.load(folder / 'packets.npy'))\n"
        "np.save(folder / 'logits.npy', logits)\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules), 'TensorFlow was loaded'\n"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=60)
    served = np.load(tmp_path / "logits.npy")
    assert np.abs(served - predictor.logits(packets)).max() < 1e-4
    with (folder / "serving.tflite").open("ab") as file:
        file.write(b" ")
    with pytest.raises(ArtifactError, match=r"serving\.tflite: expected SHA-256"):
        Predictor(folder)
