"""The map of what speaks for a finding: it hangs on the weights, on the beat, and on no header."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from models.architecture import Architecture
from models.artifact import Artifact, default_artifact
from models.corpus import draw_page
from models.corpus.simulate import simulate_annotated
from models.explain import Explainer
from models.labels import index_of
from models.overlay import overlay
from models.page import Page, find_page
from models.predict import Predictor
from models.resnet import build

MARKED_SHARE = 0.06
"""Share of the page that is erased: about one beat in all rows."""


@dataclass(frozen=True)
class Case:
    """A drawn page with one ventricular beat."""

    raster: np.ndarray
    page: Page
    beat_s: float
    heat: np.ndarray


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(default_artifact())


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(Artifact.load(default_artifact()).verify())


@pytest.fixture(scope="module")
def cases(explainer: Explainer) -> list[Case]:
    """Four pages on each of which one ventricular beat stands well inside."""
    made: list[Case] = []
    for seed in range(100):
        simulation = simulate_annotated("pvc", seed)
        beats = [one.at_s for one in simulation.beats if one.kind == "ventricular"]
        inside = [at_s for at_s in beats if -0.5 < at_s < 10.5]
        if len(inside) != 1 or not 1.5 < inside[0] < 8.5:
            continue
        layout = ("3x4+1", "6x2")[len(made) % 2]
        raster = draw_page(simulation.signal_uv, 250.0, layout, "pink", seed)
        page = find_page(raster)
        heat = explainer.explain(page, ["pvc"])["pvc"]
        made.append(Case(raster, page, inside[0], heat))
        if len(made) == 4:
            return made
    raise AssertionError(f"expected four pages with one ventricular beat, found {len(made)}")


def chance(predictor: Predictor, page: Page, key: str = "pvc") -> float:
    (reading,) = predictor.classify([page])
    return reading.findings[index_of(key)].probability


def erased(page: Page, mask: np.ndarray) -> Page:
    """The page with bare paper where the mask is."""
    grey = page.grey.copy()
    grey[mask] = np.percentile(grey, 80)
    return replace(page, grey=grey)


def marked(heat: np.ndarray) -> np.ndarray:
    """The most activated part of the page."""
    return np.asarray(heat >= np.quantile(heat, 1.0 - MARKED_SHARE))


def unmarked(heat: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """A part of the same shape and at least as much ink that is activated least."""
    mask, ink = marked(heat), 255 - grey.astype(np.int64)
    rows, columns = heat.shape
    moved = [
        np.roll(mask, (down * rows // 6, right * columns // 16), axis=(0, 1))
        for down in range(6)
        for right in range(16)
    ]
    full = [one for one in moved if ink[one].sum() >= 0.8 * ink[mask].sum()]
    return min(full, key=lambda one: float(heat[one].mean()))


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    def ranks(heat: np.ndarray) -> np.ndarray:
        small = cv2.resize(heat, (84, 28), interpolation=cv2.INTER_AREA)
        return np.asarray(small.ravel().argsort().argsort(), np.float64)

    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def test_a_map_has_the_shape_of_its_page_and_ends_at_one(cases: list[Case]) -> None:
    for case in cases:
        assert case.heat.shape == case.page.grey.shape
        assert case.heat.dtype == np.float32
        assert case.heat.min() >= 0.0
        assert case.heat.max() == 1.0


def test_the_strongest_place_is_the_ventricular_beat(cases: list[Case]) -> None:
    """In the ten seconds the beat is one of about twelve; a miss in four is allowed."""
    hits = 0
    for case in cases:
        columns = case.heat.shape[1]
        strongest = np.unravel_index(int(case.heat.argmax()), case.heat.shape)[1] / columns
        hits += abs(float(strongest) - (0.03 + 0.94 * case.beat_s / 10.0)) < 0.06
    assert hits >= 3


def test_erasing_the_marked_beat_lowers_the_probability_and_another_place_does_not(
    predictor: Predictor, cases: list[Case]
) -> None:
    falls, others = [], []
    for case in cases:
        before = chance(predictor, case.page)
        assert before > 0.5
        without = chance(predictor, erased(case.page, marked(case.heat)))
        elsewhere = erased(case.page, unmarked(case.heat, case.page.grey))
        falls.append(before - without)
        others.append(before - chance(predictor, elsewhere))
    assert min(falls) > 0.05, falls
    assert np.mean(falls) > 0.3, falls
    assert max(others) < 0.1, others
    assert np.mean(falls) > 5 * np.mean(others), (falls, others)


def test_randomised_weights_destroy_the_map(cases: list[Case]) -> None:
    import keras

    artifact = Artifact.load(default_artifact())
    keras.utils.set_random_seed(7)
    untrained = Explainer(artifact, network=build(artifact.card.architecture))
    # Only the last layer: what was learned of shapes stays, what they stand for goes.
    headless = artifact.network()
    weights, bias = headless.get_layer("logits").get_weights()
    order = np.random.default_rng(3).permutation(weights.ravel()).reshape(weights.shape)
    headless.get_layer("logits").set_weights([order, bias])
    shuffled = Explainer(artifact, network=headless)
    for other, most in ((untrained, 0.25), (shuffled, 0.4)):
        likeness = [
            rank_correlation(case.heat, other.explain(case.page, ["pvc"])["pvc"]) for case in cases
        ]
        assert np.mean(likeness) < most, likeness


def test_two_findings_of_one_page_have_maps_of_their_own(
    explainer: Explainer, cases: list[Case]
) -> None:
    maps = explainer.explain(cases[0].page, ["pvc", "normal"])
    assert np.array_equal(maps["pvc"], cases[0].heat)
    assert rank_correlation(maps["pvc"], maps["normal"]) < 0.5


def test_erasing_the_header_changes_no_probability(predictor: Predictor, cases: list[Case]) -> None:
    for case in cases:
        top = int(min(row for _, row in case.page.region))
        assert (case.raster[:top] < 128).any(), "expected a header with print in it"
        bare = case.raster.copy()
        bare[:top] = np.median(case.raster, axis=(0, 1)).astype(np.uint8)
        with_header, without = predictor.read([case.raster, bare])
        for one, other in zip(with_header.findings, without.findings, strict=True):
            assert abs(one.probability - other.probability) < 0.02, one.key


@pytest.mark.parametrize("kind", ["packet", "unpacked", "squashed"])
def test_every_input_marks_the_window_that_holds_ink(kind: str) -> None:
    """Also where three windows lie one above the other and only the ink tells them apart."""
    import keras

    keras.utils.set_random_seed(2)
    architecture = Architecture(depth=10, width=8, input_kind=kind)  # type: ignore[arg-type]
    artifact = Artifact.load(default_artifact())
    artifact = replace(artifact, card=replace(artifact.card, architecture=architecture))
    grey = np.full((300, 900), 255, np.uint8)
    cv2.line(grey, (320, 40), (580, 260), 0, 3)
    page = Page(grey, ((0.0, 0.0), (900.0, 0.0), (900.0, 300.0), (0.0, 300.0)))
    explainer = Explainer(artifact, network=build(architecture))
    # Untrained, a logit may have nothing that speaks for it; one of four has.
    maps = explainer.explain(page, ["normal", "pvc", "clbbb", "af"]).values()
    drawn = [heat for heat in maps if heat.max() > 0.0]
    assert drawn
    for heat in drawn:
        assert heat[:, 300:600].sum() > 0.95 * heat.sum()


def test_an_overlay_marks_the_right_place_of_a_page_in_perspective() -> None:
    raster = np.full((400, 600), 255, np.uint8)
    raster[::20] = 0
    region = ((100.0, 50.0), (500.0, 90.0), (480.0, 350.0), (120.0, 330.0))
    heat = np.zeros((130, 200), np.float32)
    heat[:40, :40] = 1.0
    picture = overlay(raster, region, heat, title="Premature ventricular complexes: 98 %")
    band = picture.shape[0] - raster.shape[0]
    assert picture.shape[1:] == (600, 3)
    assert (picture[:band] < 128).any(), "expected a title"
    below = picture[band:].astype(np.int64)
    coloured = below.max(axis=2) - below.min(axis=2) > 40
    rows, columns = np.nonzero(coloured)
    assert (rows.min(), columns.min()) == pytest.approx((50, 100), abs=4)
    assert rows.max() < 150
    assert columns.max() < 210
    assert below[60, 130].max() < 40, "the trace under the mark stays dark"
    assert np.array_equal(below[200:], np.repeat(raster[200:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    ("paper", "line"), [((20, 20, 20), (230, 230, 230)), ((225, 235, 255), (30, 30, 60))]
)
def test_the_trace_stays_visible_on_dark_screens_and_blue_paper(
    paper: tuple[int, int, int], line: tuple[int, int, int]
) -> None:
    raster = np.full((300, 400, 3), paper, np.uint8)
    cv2.line(raster, (0, 150), (399, 150), line, 3)
    region = ((0.0, 0.0), (400.0, 0.0), (400.0, 300.0), (0.0, 300.0))
    picture = overlay(raster, region, np.ones((300, 400), np.float32), title="x")
    below = picture[-300:].astype(np.int64)
    assert np.abs(below[150, 200] - below[80, 200]).sum() > 150, "trace against mark"
    assert np.abs(below[80, 200] - np.array(paper)).sum() > 80, "mark against paper"
