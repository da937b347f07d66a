"""Pages are found, other pictures are refused with a reason, nothing else ever happens."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.corpus import LAYOUTS, STYLES, draw_page, simulate
from models.corpus.effects import VARIANTS
from models.corpus.layouts import TRAINING_LAYOUTS
from models.corpus.styles import random_style
from models.page import NotReadable, find_page

RNG = np.random.default_rng(3)


def ct_slice() -> np.ndarray:
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    body = (y**2 + (1.3 * x) ** 2 < 0.8) * 0.5 + (y**2 + (x - 0.3) ** 2 < 0.05) * 0.4
    noise = np.random.default_rng(1).normal(0, 0.02, body.shape)
    return np.asarray((255 * np.clip(body + noise, 0, 1)).astype(np.uint8))


def letter() -> np.ndarray:
    page = np.full((1600, 1200), 255, np.uint8)
    for line in range(40):
        text = "The patient was seen in the clinic and feels well. 12345"
        cv2.putText(page, text, (60, 60 + line * 38), cv2.FONT_HERSHEY_SIMPLEX, 1, 0, 2)
    return page


def dense_lettering(seed: int) -> np.ndarray:
    """Return a page whose lines of print nearly touch, with words of all lengths."""
    rng = np.random.default_rng(seed)
    page = np.full((1400, 1000), 255, np.uint8)
    for y in range(60, 1350, int(rng.integers(18, 40))):
        lengths = rng.integers(2, 9, 12)
        words = ("".join(chr(97 + c) for c in rng.integers(0, 26, n)) for n in lengths)
        text = " ".join(words)
        cv2.putText(page, text, (50, y), cv2.FONT_HERSHEY_SIMPLEX, float(rng.uniform(0.4, 0.8)), 0)
    return page


def flat_traces(style: str) -> np.ndarray:
    return draw_page(np.zeros((12, 2500)), 250.0, "3x4+1", style, 1)


def table() -> np.ndarray:
    page = np.full((1000, 1400), 255, np.uint8)
    page[::50], page[:, ::140] = 0, 0
    return page


def photograph(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (1600, 1200), interpolation=cv2.INTER_CUBIC))


def single_lead() -> np.ndarray:
    page = draw_page(simulate("normal", 1), 250.0, "12x1", "plain", 1)
    strip = np.full_like(page, 255)
    height = page.shape[0] // 12
    strip[400 : 400 + height] = page[5 * height : 6 * height]
    return strip


REFUSED = {
    "blank": np.full((1000, 1400, 3), 250, np.uint8),
    "black": np.zeros((1000, 1400), np.uint8),
    "noise": RNG.integers(0, 255, (1000, 1400, 3), dtype=np.uint8),
    "gradient": np.tile(np.linspace(0, 255, 1400).astype(np.uint8), (1000, 1)),
    "CT slice": ct_slice(),
    "letter": letter(),
    "dense lettering": dense_lettering(1),
    "more dense lettering": dense_lettering(2),
    "light lettering on dark": 255 - dense_lettering(3),
    "flat traces": flat_traces("pink"),
    "flat traces on a dark screen": flat_traces("dark"),
    "table": table(),
    "photograph": photograph(1),
    "another photograph": photograph(2),
    "blocks": np.kron(RNG.integers(0, 255, (12, 16), dtype=np.uint8), np.ones((80, 80), np.uint8)),
    "single lead": single_lead(),
    "small": np.full((50, 90), 255, np.uint8),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_page_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(NotReadable) as refusal:
        find_page(REFUSED[name])
    assert len(refusal.value.reason) > 10


def test_reasons_tell_apart() -> None:
    def reason(name: str) -> str:
        with pytest.raises(NotReadable) as refusal:
            find_page(REFUSED[name])
        return refusal.value.reason

    assert "blank" in reason("blank")
    assert "too small: 90 x 50" in reason("small")
    assert "12-lead" in reason("single lead")
    assert "no heartbeat" in reason("flat traces")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("layout", ["3x4+1", "6x2", "12x1", "4x3"])
def test_drawn_pages_of_every_style_are_found(layout: str, style: str) -> None:
    page = find_page(draw_page(simulate("normal", 4), 250.0, layout, style, 4))
    assert page.quality["rows"] >= 3
    assert np.median(page.grey) > 128, "dark trace on light paper"


def test_of_sixty_random_pages_nearly_all_are_found() -> None:
    rng = np.random.default_rng(9)
    refused = []
    for number in range(60):
        key = ("normal", "af", "at", "clbbb", "pvc")[number % 5]
        layout = list(LAYOUTS)[number % len(LAYOUTS)]
        try:
            find_page(draw_page(simulate(key, number), 250.0, layout, random_style(rng), number))
        except NotReadable as refusal:
            refused.append((layout, refusal.reason))
    assert len(refused) <= 2, refused


@pytest.mark.parametrize("effect", [name for name in VARIANTS if name != "clean"])
def test_scans_photographs_and_screens_are_found(effect: str) -> None:
    rng = np.random.default_rng(5)
    refused = []
    for number in range(10):
        layout = TRAINING_LAYOUTS[number % len(TRAINING_LAYOUTS)]
        style = random_style(rng)
        raster = draw_page(simulate("pvc", number), 250.0, layout, style, number)
        try:
            find_page(VARIANTS[effect](raster, rng))
        except NotReadable as refusal:
            refused.append((layout, refusal.reason))
    assert len(refused) <= 1, refused


def test_a_negative_is_the_same_page() -> None:
    raster = draw_page(simulate("normal", 2), 250.0, "3x4+1", "grey", 2)
    grey = cv2.cvtColor(raster, cv2.COLOR_RGB2GRAY)
    upright, turned_over = find_page(grey), find_page(255 - grey)
    assert upright.region == turned_over.region
    assert np.array_equal(upright.grey, turned_over.grey)
    assert turned_over.quality["inverted"] == 1.0


@pytest.mark.parametrize("light", [0.7, 0.45, 0.3])
def test_a_page_in_a_dim_room_is_not_taken_for_a_dark_screen(light: float) -> None:
    raster = draw_page(simulate("normal", 4), 250.0, "3x4+1", "pink", 4)
    page = find_page((raster * light).astype(np.uint8))
    assert page.quality["inverted"] == 0.0


def test_the_header_is_not_part_of_the_page() -> None:
    raster = draw_page(simulate("normal", 3), 250.0, "3x4+1", "pink", 3)
    top = find_page(raster).region[0][1]
    assert top > 60, "the first lines of print lie above"


def test_the_region_is_where_the_page_was_cut() -> None:
    raster = draw_page(simulate("af", 3), 250.0, "6x2", "plain", 3)
    page = find_page(raster)
    (left, top), _, (right, bottom), _ = page.region
    cut = raster[int(top) : int(bottom), int(left) : int(right)]
    assert page.grey.shape == cut.shape[:2]
    assert np.array_equal(page.grey, cv2.cvtColor(np.ascontiguousarray(cut), cv2.COLOR_RGB2GRAY))


@given(
    arrays.arrays(
        np.uint8,
        st.one_of(
            st.tuples(st.integers(0, 260), st.integers(0, 260)),
            st.tuples(st.integers(200, 260), st.integers(200, 260), st.just(3)),
            st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 5)),
        ),
        elements=st.integers(0, 255),
    )
)
def test_any_picture_is_a_page_or_refused(raster: np.ndarray) -> None:
    try:
        page = find_page(raster)
    except NotReadable as refusal:
        assert refusal.reason  # noqa: PT017
    else:
        assert page.grey.dtype == np.uint8
        assert page.grey.size > 0
        rows, columns = raster.shape[:2]
        assert all(0 <= x <= columns and 0 <= y <= rows for x, y in page.region)


@pytest.mark.corpus
def test_real_pictures_of_every_kind_are_found(corpus_dir: Path) -> None:
    paths = sorted((corpus_dir / "images").iterdir())
    assert len(paths) >= 20
    refused = []
    for path in paths:
        raster = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        try:
            find_page(raster)
        except NotReadable as refusal:
            refused.append((path.name, refusal.reason))
    assert len(refused) <= 0.05 * len(paths), refused
