"""What scanners, cameras and hands do to a page leaves a page, and depends on the seed alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.corpus import draw_page, simulate
from models.corpus.effects import VARIANTS, degrade
from models.corpus.lettering import header_lines

PAGE = draw_page(simulate("af", 2), 250.0, "3x4+1", "pink", 3)
DARK = draw_page(simulate("af", 2), 250.0, "6x2", "dark", 3)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("page", [PAGE, DARK], ids=["paper", "screen"])
def test_an_effect_gives_a_picture_and_the_same_one_for_the_same_seed(
    name: str, page: np.ndarray
) -> None:
    before = page.copy()
    first = VARIANTS[name](page, np.random.default_rng(7))
    assert np.array_equal(first, VARIANTS[name](page, np.random.default_rng(7)))
    assert np.array_equal(page, before), "the page given is left as it was"
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert min(first.shape[:2]) > 300


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "clean"])
def test_an_effect_changes_the_page_and_leaves_the_trace_on_it(name: str) -> None:
    made = VARIANTS[name](PAGE, np.random.default_rng(1))
    assert made.shape != PAGE.shape or not np.array_equal(made, PAGE)
    grey = cv2.cvtColor(made, cv2.COLOR_RGB2GRAY).astype(np.float32)
    local = np.abs(grey - cv2.blur(grey, (25, 25)))
    assert (local > 12).mean() > 0.003, "lines that stand out from what is around them"


def test_a_black_and_white_scan_has_two_greys() -> None:
    assert set(np.unique(VARIANTS["bw_scan"](PAGE, np.random.default_rng(4)))) == {0, 255}


def test_the_mixture_holds_untouched_and_harsh_pages() -> None:
    sizes = {degrade(PAGE, np.random.default_rng(seed)).shape for seed in range(40)}
    assert PAGE.shape in sizes
    assert len(sizes) > 5


def test_machine_statements_are_drawn_by_lot() -> None:
    said = {
        line
        for seed in range(200)
        for column in header_lines(np.random.default_rng(seed), chinese=False)
        for line in column
    }
    assert {"Atrial fibrillation", "Normal ECG", "Left bundle branch block"} <= said
