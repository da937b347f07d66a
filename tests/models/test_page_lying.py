"""Pages that lie askew, in perspective, on a desk, on their side or head down are laid straight."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from models.corpus import LAYOUTS, STYLES, draw_page, simulate
from models.page import Page, find_page

STYLE = replace(STYLES["pink"], calibration="none", header=True)
#: Length of a row in millimetres; see `models.corpus.draw`.
SPAN_MM = 250.0


def drawn(layout: str = "3x4+1", seed: int = 4) -> np.ndarray:
    return draw_page(simulate("normal", seed), 250.0, layout, STYLE, seed)


def warped(
    page: np.ndarray, corners: list[tuple[float, float]], size: tuple[int, int], desk: int = 60
) -> tuple[np.ndarray, np.ndarray]:
    """Photograph a page so that its corners fall where told; give the warp as well."""
    rows, columns = page.shape[:2]
    own = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], np.float32)
    matrix = cv2.getPerspectiveTransform(own, np.array(corners, np.float32))
    noise = np.random.default_rng(1).integers(-6, 7, (size[1], size[0], 1))
    picture = np.clip(desk + noise + np.zeros(3, int), 0, 255).astype(np.uint8)
    cv2.warpPerspective(
        page, matrix, size, dst=picture, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_TRANSPARENT
    )
    return picture, matrix


def ends_mm(page: Page, matrix: np.ndarray) -> np.ndarray:
    """Where the region's corners lie on paper, in millimetres from the first sample."""
    corners = np.array(page.region, np.float64).reshape(-1, 1, 2)
    on_paper = cv2.perspectiveTransform(corners, np.linalg.inv(matrix)).reshape(-1, 2)
    on_paper[:, 0] -= STYLE.margin_mm * STYLE.px_per_mm
    return np.asarray(on_paper / STYLE.px_per_mm)


@pytest.mark.parametrize("degrees", [-14.0, -6.0, -1.5, 1.5, 6.0, 14.0])
def test_a_tilted_page_is_laid_straight(degrees: float) -> None:
    page = drawn()
    rows, columns = page.shape[:2]
    turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), -degrees, 0.8)
    picture = cv2.warpAffine(page, turn, (columns, rows), borderValue=(255, 250, 248))
    found = find_page(picture)
    assert found.quality["skew_deg"] == pytest.approx(degrees, abs=0.3)
    ends = ends_mm(found, np.vstack([turn, [0, 0, 1]]))
    assert ends[[0, 3], 0] == pytest.approx(-4, abs=4)
    assert ends[[1, 2], 0] == pytest.approx(SPAN_MM + 4, abs=4)


@pytest.mark.parametrize(
    "corners",
    [
        [(90, 60), (1500, 110), (1540, 860), (60, 800)],
        [(160, 90), (1430, 60), (1560, 850), (50, 870)],
        [(60, 150), (1500, 60), (1530, 840), (110, 900)],
    ],
)
@pytest.mark.parametrize("layout", ["3x4+1", "6x2"])
def test_the_region_is_right_in_a_photograph_in_perspective(
    layout: str, corners: list[tuple[float, float]]
) -> None:
    picture, matrix = warped(drawn(layout), corners, (1600, 950))
    found = find_page(picture)
    ends = ends_mm(found, matrix)
    assert ends[[0, 3], 0] == pytest.approx(-4, abs=5), "left ends of the rows"
    assert ends[[1, 2], 0] == pytest.approx(SPAN_MM + 4, abs=5), "right ends of the rows"
    assert abs(ends[0, 1] - ends[1, 1]) < 5, "the upper edge is level"
    assert abs(ends[3, 1] - ends[2, 1]) < 5, "the lower edge is level"
    assert found.quality["rows"] == len(LAYOUTS[layout].rows)


@pytest.mark.parametrize("desk", [20, 110, 255])
def test_a_page_on_a_desk_is_found_whatever_the_desk(desk: int) -> None:
    corners = [(200.0, 130.0), (1380.0, 130.0), (1380.0, 800.0), (200.0, 800.0)]
    picture, matrix = warped(drawn(), corners, (1600, 950), desk)
    ends = ends_mm(find_page(picture), matrix)
    assert ends[[0, 3], 0] == pytest.approx(-4, abs=5)
    assert ends[[1, 2], 0] == pytest.approx(SPAN_MM + 4, abs=5)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_page_with_a_header_is_turned_upright(quarters: int) -> None:
    page = drawn()
    upright = find_page(page)
    found = find_page(np.ascontiguousarray(np.rot90(page, -quarters)))
    assert found.quality["turned_deg"] == 90.0 * quarters
    assert found.grey.shape == pytest.approx(upright.grey.shape, abs=12)
    small = [cv2.resize(p.grey, (300, 120), interpolation=cv2.INTER_AREA) for p in (upright, found)]
    assert np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > 0.8
    # The region names the tracing's own top left first.
    rows, columns = page.shape[:2]
    x, y = upright.region[0]
    expected = {1: (rows - y, x), 2: (columns - x, rows - y), 3: (y, columns - x)}[quarters]
    assert found.region[0] == pytest.approx(expected, abs=0.02 * columns)


def test_upright_pages_are_never_turned() -> None:
    turned = [find_page(drawn(layout)).quality["turned_deg"] for layout in LAYOUTS]
    assert not any(turned)


def test_a_straight_page_is_cut_without_touching_a_pixel() -> None:
    page = cv2.cvtColor(drawn(), cv2.COLOR_RGB2GRAY)
    found = find_page(page)
    (left, top), _, (right, bottom), _ = found.region
    assert found.quality["skew_deg"] == 0.0
    assert np.array_equal(found.grey, page[int(top) : int(bottom), int(left) : int(right)])


def test_a_shadow_and_a_fold_change_nothing() -> None:
    page = drawn()
    rows, columns = page.shape[:2]
    light = np.ones((rows, columns), np.float32)
    light[:, : columns // 3] = 0.5
    light *= 1 - 0.2 * np.exp(-np.abs(np.arange(columns) - 0.6 * columns) / 12)[None]
    light = cv2.GaussianBlur(light, (0, 0), 6)
    shaded = np.clip(page * light[..., None], 0, 255).astype(np.uint8)
    moved = np.abs(np.array(find_page(shaded).region) - np.array(find_page(page).region))
    assert moved.max() < 6
