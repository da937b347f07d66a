"""Drawn pages have the scales of ECG paper and depend on their arguments alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.corpus import (
    LAYOUTS,
    STYLES,
    UNSEEN_STYLE,
    Style,
    draw_page,
    random_style,
    simulate,
)
from models.corpus.__main__ import main

PLAIN = replace(
    STYLES["plain"],
    header=False,
    calibration="none",
    separators="none",
    margin_mm=8.0,
    trace_mm=0.2,
    px_per_mm=6.0,
    label_mm=0.5,
)


def steps(rate_hz: float) -> np.ndarray:
    """Return 1 mV for 40 ms, once a second, on all leads."""
    time = np.arange(round(10 * rate_hz)) / rate_hz
    one = np.where((time % 1.0 >= 0.5) & (time % 1.0 < 0.54), 1000.0, 0.0)
    return np.tile(one, (12, 1))


def upper_edge(page: np.ndarray, lead_row: int, rows: int) -> np.ndarray:
    """Return the topmost ink of each column in one row of traces, in pixels; 0 without ink."""
    height = page.shape[0] // rows
    band = page[lead_row * height : (lead_row + 1) * height].min(axis=2) < 128
    edge = np.where(band.any(axis=0), band.shape[0] - np.argmax(band, axis=0), 0)
    edge[: (8 + 6) * 6] = 0  # the lead's name stands here
    return edge


@pytest.mark.parametrize("rate_hz", [250.0, 500.0, 1000.0, 240.0])
def test_a_second_is_25_mm_and_a_millivolt_10_mm_at_any_rate(rate_hz: float) -> None:
    page = draw_page(steps(rate_hz), rate_hz, "3x4+1", PLAIN, 1)
    edge = upper_edge(page, 3, 4)
    inside = edge[edge > 0]
    baseline = np.median(inside)
    up = inside > baseline + 30
    starts = np.flatnonzero(up[1:] & ~up[:-1])
    assert np.abs(np.diff(starts) - 25 * 6).max() <= 2
    assert len(starts) == 10
    assert abs((inside.max() - baseline) - 10 * 6) <= 2


def test_the_gain_is_obeyed() -> None:
    half = draw_page(steps(250.0), 250.0, "3x4+1", replace(PLAIN, gain_mm_per_mv=5.0), 1)
    edge = upper_edge(half, 3, 4)
    assert abs((edge.max() - np.median(edge[edge > 0])) - 5 * 6) <= 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_arguments_give_the_same_bytes(layout: str) -> None:
    signal = simulate("af", 2)
    first = draw_page(signal, 250.0, layout, "pink", 7)
    assert np.array_equal(first, draw_page(signal, 250.0, layout, "pink", 7))
    assert first.dtype == np.uint8
    assert first.ndim == 3


def test_the_header_says_nothing_about_the_ecg() -> None:
    rows = round(24 * STYLES["pink"].px_per_mm)
    one, other = (
        draw_page(simulate(key, 1), 250.0, "12x1", "pink", 5)[:rows] for key in ("af", "normal")
    )
    assert np.array_equal(one, other)
    assert (one.min(axis=2) < 100).any(), "there is a header"


def test_a_cabrera_page_turns_avr_upside_down() -> None:
    signal = np.zeros((12, 2500))
    signal[3] = steps(250.0)[0]
    page = draw_page(signal, 250.0, "3x4+1 Cabrera", PLAIN, 1)
    ink = (page[:, : page.shape[1] // 5].min(axis=2) < 128).any(axis=1)
    upright = draw_page(-signal, 250.0, "3x4+1 Cabrera", PLAIN, 1)
    other = (upright[:, : page.shape[1] // 5].min(axis=2) < 128).any(axis=1)
    assert ink.argmax() >= other.argmax()
    assert not np.array_equal(ink, other)


def test_a_short_signal_is_drawn_as_far_as_it_goes() -> None:
    page = draw_page(simulate("normal", 1)[:, :1250], 250.0, "12x1", PLAIN, 1)
    right = page[:, (8 + 130) * 6 :].min(axis=2)
    assert (right > 128).all()


@pytest.mark.parametrize("shape", [(11, 2500), (12, 1), (12,), (2500, 12)])
def test_a_signal_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected a signal of shape"):
        draw_page(np.zeros(shape), 250.0)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    signal = np.zeros((12, 2500))
    with pytest.raises(KeyError, match="3x4"):
        draw_page(signal, 250.0, "5x5")
    with pytest.raises(KeyError, match="pink"):
        draw_page(signal, 250.0, "3x4", "plaid")
    with pytest.raises(ValueError, match="positive rate"):
        draw_page(signal, 0.0)


def test_the_style_held_out_is_never_drawn_for_training() -> None:
    rng = np.random.default_rng(1)
    blue = STYLES[UNSEEN_STYLE].coarse
    for _ in range(300):
        style = random_style(rng)
        assert np.abs(np.array(style.coarse) - blue).max() > 18


def test_at_50_mm_a_second_the_page_holds_half_the_time() -> None:
    fast = draw_page(steps(250.0), 250.0, "3x4+1", replace(PLAIN, speed_mm_per_s=50.0), 1)
    edge = upper_edge(fast, 3, 4)
    up = edge > np.median(edge[edge > 0]) + 30
    starts = np.flatnonzero(up[1:] & ~up[:-1])
    assert len(starts) == 5
    assert np.abs(np.diff(starts) - 50 * 6).max() <= 2


def test_simultaneous_columns_show_the_same_seconds() -> None:
    signal = np.tile(simulate("pvc", 3)[1], (12, 1))
    page = draw_page(signal, 250.0, "6x2 simultaneous", PLAIN, 1)
    half = 125 * 6
    left, right = (
        page[:, start + 90 : start + half - 10].min(axis=2) < 128 for start in (48, 48 + half)
    )
    assert (left != right).mean() < 0.01
    after = draw_page(signal, 250.0, "6x2", PLAIN, 1)[:, 48 + half + 90 : 48 + 2 * half - 10]
    assert ((after.min(axis=2) < 128) != right).mean() > 0.02


def test_a_filter_rounds_the_qrs_and_tremor_roughens_the_baseline() -> None:
    def height(style: Style) -> int:
        return int(upper_edge(draw_page(steps(250.0), 250.0, "3x4+1", style, 1), 3, 4).max())

    assert height(replace(PLAIN, low_pass_hz=10.0)) < height(PLAIN) - 3
    rough = draw_page(steps(250.0), 250.0, "3x4", replace(PLAIN, noise_uv=25.0), 1)
    smooth = draw_page(steps(250.0), 250.0, "3x4", PLAIN, 1)
    assert (rough != smooth).any()


def test_pages_range_from_a_small_screenshot_to_a_fine_scan() -> None:
    rng = np.random.default_rng(1)
    widths = [250 * random_style(rng).px_per_mm for _ in range(400)]
    assert min(widths) < 700
    assert max(widths) > 2500


def test_the_contact_sheet_shows_findings_and_effects(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    main(["preview", str(out)])
    with Image.open(out) as sheet:
        assert sheet.size == (4 * 640, 4 * 440)
