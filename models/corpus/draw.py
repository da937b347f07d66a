"""Twelve-lead signal to a page of ECG paper, as a cardiologist knows it.

25 mm/s, 10 mm/mV (or the style's gain), 1 mm and 5 mm lines, a 1 mV calibration pulse of 200 ms,
lead names, marks between the columns. Strokes by OpenCV and letters by Pillow's own font: tens
of pages a second, the same bytes for the same arguments, no font of the machine needed.
"""

from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.corpus.layouts import LEADS, Layout, layout_of
from models.corpus.styles import HEADER_WORDS, Style, style_of

PAPER_SPEED_MM_PER_S: Final = 25.0
DURATION_S: Final = 10.0
_CALIBRATION_MM: Final = 5.0
_CALIBRATION_ROOM_MM: Final = 9.0
_HEADER_MM: Final = 24.0
_FOOTER_MM: Final = 9.0
#: Sub-pixel bits of the stroke coordinates.
_SHIFT: Final = 4


def draw_page(
    signal_uv: NDArray[Any],
    rate_hz: float,
    layout: str | Layout = "3x4+1",
    style: str | Style = "pink",
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Draw a twelve-lead ECG on paper.

    Parameters
    ----------
    signal_uv : (12, n) any number type
        Microvolts, leads I II III aVR aVL aVF V1..V6. The first ten seconds are drawn; a shorter
        signal ends where it ends.
    rate_hz : float
        Samples a second, any rate.
    layout : str or Layout
        A name of `models.corpus.layouts.LAYOUTS`, or a layout.
    style : str or Style
        A name of `models.corpus.styles.STYLES`, or a style.
    seed : int
        Decides the invented header and the small irregularities of placement.

    Returns
    -------
    uint8 (rows, columns, 3)
        The page, RGB. The same arguments give the same bytes.

    Raises
    ------
    ValueError
        If the signal is not (12, n >= 2) or the rate is not positive.
    KeyError
        If layout or style are unknown names.
    """
    signal = np.asarray(signal_uv, dtype=np.float32)
    if signal.ndim != 2 or signal.shape[0] != len(LEADS) or signal.shape[1] < 2:
        raise ValueError(f"expected a signal of shape (12, n >= 2); received {signal.shape}")
    if not rate_hz > 0:
        raise ValueError(f"expected a positive rate; received {rate_hz}")
    plan, look = layout_of(layout), style_of(style)
    rng = np.random.default_rng(seed)
    scale = look.px_per_mm
    row_mm = _row_height_mm(len(plan.rows)) * float(rng.uniform(0.92, 1.1))
    top_mm = 6.0 + (_HEADER_MM if look.header else 0.0)
    bottom_mm = 4.0 + (_FOOTER_MM if look.header else 0.0)
    room_mm = 0.0 if look.calibration == "none" else _CALIBRATION_ROOM_MM
    left_mm = look.margin_mm + (room_mm if look.calibration == "left" else 0.0)
    right_mm = look.margin_mm + (room_mm if look.calibration == "right" else 0.0)
    span_mm = DURATION_S * PAPER_SPEED_MM_PER_S
    columns = round((left_mm + span_mm + right_mm) * scale)
    rows = round((top_mm + row_mm * len(plan.rows) + bottom_mm) * scale)

    page = _paper(rows, columns, look, rng, grid_top_px=round((top_mm - 4.0) * scale))
    baselines = [(top_mm + row_mm * (index + 0.55)) * scale for index in range(len(plan.rows))]
    left_px = left_mm * scale
    for strips, baseline in zip(plan.rows, baselines, strict=True):
        _draw_row(page, signal, rate_hz, strips, (left_px, baseline), look)
        _draw_calibration(page, (left_px, baseline), look)
    names = Image.fromarray(page)
    pen = ImageDraw.Draw(names)
    for strips, baseline in zip(plan.rows, baselines, strict=True):
        _letter_row(pen, strips, (left_px, baseline - row_mm * scale * 0.36), look)
    if look.header:
        _letter_header(pen, rows, look, rng)
    return np.asarray(names, dtype=np.uint8).copy()


def _row_height_mm(rows: int) -> float:
    """Twelve rows share a sheet; three rows get the room that tall R waves want."""
    return float(np.interp(rows, [3, 4, 6, 7, 12], [40.0, 34.0, 26.0, 23.0, 15.0]))


def _paper(
    rows: int, columns: int, look: Style, rng: np.random.Generator, *, grid_top_px: int
) -> NDArray[np.uint8]:
    page = np.empty((rows, columns, 3), dtype=np.uint8)
    page[:] = look.paper
    if look.grid == "none":
        return page
    scale = look.px_per_mm
    phase = rng.uniform(0.0, 5.0, 2) * scale
    top = max(0, grid_top_px)
    fine_x = np.arange(phase[0] % scale, columns, scale).astype(int)
    fine_y = np.arange(top + phase[1] % scale, rows, scale).astype(int)
    coarse_x = np.arange(phase[0], columns, 5 * scale).astype(int)
    coarse_y = np.arange(top + phase[1], rows, 5 * scale).astype(int)
    if look.grid == "dots":
        page[np.ix_(fine_y, fine_x)] = look.fine
    else:
        page[top:, fine_x] = look.fine
        page[fine_y, :] = look.fine
    thickness = 2 if scale > 7 else 1
    for offset in range(thickness):
        page[top:, np.minimum(coarse_x + offset, columns - 1)] = look.coarse
        page[np.minimum(coarse_y + offset, rows - 1), :] = look.coarse
    return page


def _draw_row(
    page: NDArray[np.uint8],
    signal: NDArray[np.float32],
    rate_hz: float,
    strips: tuple[str, ...],
    origin: tuple[float, float],
    look: Style,
) -> None:
    """Draw the strips of one row; `origin` is (left end, baseline) in pixels."""
    left, baseline = origin
    seconds = DURATION_S / len(strips)
    px_per_sample = PAPER_SPEED_MM_PER_S * look.px_per_mm / rate_hz
    px_per_uv = look.gain_mm_per_mv * look.px_per_mm / 1000.0
    for index, name in enumerate(strips):
        first = round(index * seconds * rate_hz)
        last = min(round((index + 1) * seconds * rate_hz) + 1, signal.shape[1])
        if last - first < 2:
            continue
        trace = _lead(signal, name)[first:last]
        trace = trace - np.median(trace)
        x = left + np.arange(first, last) * px_per_sample
        y = baseline - trace * px_per_uv
        points = np.stack([x, np.clip(y, -1e4, 1e4)], axis=1) * (1 << _SHIFT)
        thickness = max(1, round(look.trace_mm * look.px_per_mm))
        cv2.polylines(
            page,
            [np.rint(points).astype(np.int32).reshape(-1, 1, 2)],
            False,
            look.ink,
            thickness,
            cv2.LINE_AA,
            _SHIFT,
        )
        if index > 0 and look.separators != "none":
            half = (5.0 if look.separators == "bars" else 2.0) * look.px_per_mm
            at = round(left + first * px_per_sample)
            top, bottom = round(baseline - half), round(baseline + half)
            cv2.line(page, (at, top), (at, bottom), look.ink, thickness)


def _lead(signal: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    if name.startswith("-"):
        return np.asarray(-signal[LEADS.index(name[1:])])
    return np.asarray(signal[LEADS.index(name)])


def _draw_calibration(page: NDArray[np.uint8], origin: tuple[float, float], look: Style) -> None:
    if look.calibration == "none":
        return
    left, baseline = origin
    scale = look.px_per_mm
    start = left - 7.5 * scale
    if look.calibration == "right":
        start = left + DURATION_S * PAPER_SPEED_MM_PER_S * scale + 1.0 * scale
    top = baseline - look.gain_mm_per_mv * scale
    corners = [
        (start, baseline),
        (start + scale, baseline),
        (start + scale, top),
        (start + (1.0 + _CALIBRATION_MM) * scale, top),
        (start + (1.0 + _CALIBRATION_MM) * scale, baseline),
        (start + (2.0 + _CALIBRATION_MM) * scale, baseline),
    ]
    points = np.rint(np.array(corners)).astype(np.int32).reshape(-1, 1, 2)
    thickness = max(1, round(look.trace_mm * scale))
    cv2.polylines(page, [points], False, look.ink, thickness, cv2.LINE_AA)


@lru_cache(maxsize=64)
def _font(size_px: int) -> Any:
    return ImageFont.load_default(size=size_px)


def _letter_row(
    pen: ImageDraw.ImageDraw, strips: tuple[str, ...], origin: tuple[float, float], look: Style
) -> None:
    left, top = origin
    step = DURATION_S / len(strips) * PAPER_SPEED_MM_PER_S * look.px_per_mm
    font = _font(max(8, round(look.label_mm * look.px_per_mm)))
    for index, name in enumerate(strips):
        at = (left + index * step + 1.5 * look.px_per_mm, top)
        pen.text(at, name, fill=look.ink, font=font, anchor="lm")


def _letter_header(
    pen: ImageDraw.ImageDraw, rows: int, look: Style, rng: np.random.Generator
) -> None:
    """Print invented administrative lines. They depend on the seed only, never on the ECG."""
    scale = look.px_per_mm
    font = _font(max(8, round(2.9 * scale)))
    for column in range(3):
        x = (look.margin_mm + column * 90.0) * scale
        for line in range(int(rng.integers(2, 5))):
            word = HEADER_WORDS[int(rng.integers(len(HEADER_WORDS)))]
            value = "".join(str(digit) for digit in rng.integers(0, 10, rng.integers(3, 10)))
            at = (x, (5.0 + 4.6 * line) * scale)
            pen.text(at, f"{word}: {value}", fill=look.ink, font=font)
    foot = f"25 mm/s   {look.gain_mm_per_mv:g} mm/mV   0.05-150 Hz"
    pen.text((look.margin_mm * scale, rows - 6.0 * scale), foot, fill=look.ink, font=font)
