"""Pages like those of the training count as familiar; what is unlike them is told by distance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import artifact as artifacts
from models.architecture import Architecture
from models.artifact import Artifact, ArtifactError, ModelCard, default_artifact
from models.familiarity import LIMIT_SHARE, Familiarity, features_of, fit
from models.labels import KEYS, PAGE_KINDS
from models.packet import pack
from models.page import Page
from models.predict import KIND_REASONS, UNFAMILIAR, Predictor

CHANNELS = 16


def cloud(seed: int, pages: int = 2000) -> np.ndarray:
    """Features of pages of one kind: a few patterns mixed, none of them negative."""
    patterns = np.abs(np.random.default_rng(1).normal(0.5, 0.5, (4, CHANNELS)))
    rng = np.random.default_rng(seed)
    mixed = rng.dirichlet(np.full(4, 5.0), pages) @ patterns
    return (mixed * rng.uniform(0.5, 2.0, (pages, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> Familiarity:
    return fit(cloud(2), limit_features=cloud(3))


def test_the_stated_share_of_validation_pages_lies_beyond_the_limit(fitted: Familiarity) -> None:
    beyond = np.mean(fitted.distance(cloud(3)) > fitted.limit)
    assert beyond == pytest.approx(LIMIT_SHARE, abs=0.001)
    assert np.mean(fitted.distance(cloud(4)) > fitted.limit) < 0.03


def test_other_patterns_lie_beyond_the_limit_and_weaker_ones_of_the_same_do_not(
    fitted: Familiarity,
) -> None:
    other = np.abs(np.random.default_rng(9).normal(0.5, 0.5, (200, CHANNELS)))
    assert np.mean(fitted.distance(other.astype(np.float32)) > fitted.limit) > 0.9
    faint = (cloud(3) * 0.1).astype(np.float32)
    assert np.mean(fitted.distance(faint) > fitted.limit) == pytest.approx(LIMIT_SHARE, abs=0.001)
    assert fitted.distance(np.zeros((1, CHANNELS), np.float32))[0] > fitted.limit


@given(st.floats(0.01, 100.0), st.integers(0, 50))
def test_a_distance_is_never_negative_and_does_not_depend_on_the_strength(
    strength: float, seed: int
) -> None:
    familiarity = fit(cloud(2, 50), limit_features=cloud(3, 50))
    one = cloud(seed, 1)
    distance = familiarity.distance(one)[0]
    assert distance >= 0.0
    scaled = (one * np.float32(strength)).astype(np.float32)
    assert familiarity.distance(scaled)[0] == pytest.approx(distance, rel=1e-3, abs=1e-3)


def test_a_feature_that_never_fired_counts_but_not_without_bounds() -> None:
    silent = cloud(2)
    silent[:, 0] = 0.0
    familiarity = fit(silent, limit_features=silent)
    fires = silent[:1].copy()
    fires[0, 0] = fires.sum()
    distance = familiarity.distance(fires)[0]
    assert familiarity.limit < distance < 1000.0


def test_what_is_saved_is_read_again_to_the_same_distances_and_bytes(
    fitted: Familiarity, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    fitted.save(first)
    read = Familiarity.load(first)
    read.save(second)
    assert first.read_bytes() == second.read_bytes()
    assert read.limit == fitted.limit
    assert np.array_equal(read.distance(cloud(5)), fitted.distance(cloud(5)))


def test_what_cannot_be_a_familiarity_is_refused(fitted: Familiarity, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two or more"):
        fit(cloud(2, 1), limit_features=cloud(3))
    with pytest.raises(ValueError, match="differ"):
        fit(np.ones((5, 4), np.float32), limit_features=np.ones((5, 4), np.float32))
    with pytest.raises(ValueError, match="limit above 0"):
        replace(fitted, limit=0.0)
    with pytest.raises(ValueError, match=r"\(n, n\)"):
        replace(fitted, whitening=fitted.whitening[:, :3])
    np.savez(tmp_path / "other.npz", mean=fitted.mean)
    with pytest.raises(ValueError, match="is no familiarity"):
        Familiarity.load(tmp_path / "other.npz")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A small untrained network that tells page kinds, saved with the pages it is used to."""
    from models.resnet import build

    architecture = Architecture(depth=10, width=4, extra=len(PAGE_KINDS))
    network = build(architecture)
    card = replace(
        Artifact.load(default_artifact()).card, architecture=architecture, page_kind_thresholds={}
    )
    rng = np.random.default_rng(0)
    pages = [lines(rng) for _ in range(40)]
    features = features_of(network, np.stack([page.grey for page in pages]))
    familiarity = fit(features, limit_features=features)
    folder = tmp_path_factory.mktemp("store") / "small-1"
    artifacts.save(folder, network, card, page="small", familiarity=familiarity)
    return SimpleNamespace(
        network=network, card=card, pages=pages, familiarity=familiarity, folder=folder
    )


def lines(rng: np.random.Generator) -> Page:
    """A page of dark lines on white paper."""
    grey = np.full((224, 672), 255, np.uint8)
    for row in rng.integers(5, 215, 8):
        grey[row : row + 2] = 0
    return Page(grey, ((0.0, 0.0), (671.0, 0.0), (671.0, 223.0), (0.0, 223.0)), {"rows": 8.0})


def save_again(small: SimpleNamespace, folder: Path, card: ModelCard, **more: Any) -> Artifact:
    """Save the same network with another card; converting it anew would change nothing."""
    code = (small.folder / artifacts.SERVING).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "convert", lambda _network: code)
        return artifacts.save(folder, small.network, card, page="small", **more)


def test_a_page_unlike_the_others_is_not_read_and_says_how_far_it_is(
    small: SimpleNamespace,
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (224, 672), dtype=np.uint8)
    strange = Page(noise, small.pages[0].region, {"rows": 3.0})
    predictor = Predictor(small.folder)
    first, second, third = predictor.classify([small.pages[0], strange, small.pages[1]])
    assert (first.readable, third.readable) == (True, True)
    assert 0.0 < first.quality["unfamiliarity"] <= 1.0
    assert (second.readable, second.reason, second.findings) == (False, UNFAMILIAR, ())
    assert second.quality["unfamiliarity"] > 1.0
    assert second.quality["rows"] == 3.0
    assert second.region == strange.region


def test_without_its_file_every_page_is_familiar(small: SimpleNamespace, tmp_path: Path) -> None:
    bare = Predictor(save_again(small, tmp_path / "bare-1", small.card).folder)
    (reading,) = bare.classify([small.pages[0]])
    assert reading.readable
    assert "unfamiliarity" not in reading.quality


def test_a_changed_or_smuggled_file_is_noticed(small: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "s-1"
    save_again(small, folder, small.card, familiarity=small.familiarity)
    replace(small.familiarity, limit=99.0).save(folder / "familiarity.npz")
    with pytest.raises(ArtifactError, match=r"familiarity\.npz: expected SHA-256"):
        Predictor(folder)
    again = save_again(small, folder, small.card)
    assert again.familiarity() is None, "an earlier network's file must not stay"
    small.familiarity.save(folder / "familiarity.npz")
    with pytest.raises(ArtifactError, match=r"familiarity\.npz stands in no line"):
        Predictor(folder)


@pytest.mark.parametrize("kind", PAGE_KINDS)
def test_a_page_of_a_kind_that_is_not_read_says_what_it_is(
    kind: str, small: SimpleNamespace, tmp_path: Path
) -> None:
    forward = Artifact.load(small.folder).forward()
    logits, _ = forward(np.stack([pack(page.grey) for page in small.pages]))
    chance = 1.0 / (1.0 + np.exp(-logits[:, len(KEYS) + PAGE_KINDS.index(kind)]))
    least, most = int(np.argmin(chance)), int(np.argmax(chance))
    middle = float(chance[most] + chance[least]) / 2
    assert chance[most] > middle > chance[least]
    card = replace(small.card, page_kind_thresholds={kind: middle})
    predictor = Predictor(save_again(small, tmp_path / "k-1", card).folder)
    refused, read = predictor.classify([small.pages[most], small.pages[least]])
    assert (refused.readable, refused.reason) == (False, KIND_REASONS[kind])
    assert read.readable
    assert len(read.findings) == len(KEYS)
    assert set(KIND_REASONS) == set(PAGE_KINDS)


@pytest.mark.parametrize(
    ("thresholds", "extra", "words"),
    [
        ({"upside_down": 0.5}, 2, "page kinds among"),
        ({"six_leads": 0.5}, 0, "need 2 extra logits"),
        ({"six_leads": 1.5}, 2, "between 0 and 1"),
    ],
)
def test_a_card_with_impossible_page_kinds_is_refused(
    thresholds: dict[str, float], extra: int, words: str
) -> None:
    values = Artifact.load(default_artifact()).card.as_dict()
    values["page_kind_thresholds"] = thresholds
    values["architecture"]["extra"] = extra
    with pytest.raises(ArtifactError, match=words):
        ModelCard.of(values)
