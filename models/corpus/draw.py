"""Twelve-lead signal to a page of ECG paper, as a cardiologist knows it.

25 mm/s and 10 mm/mV (or the style's), 1 mm and 5 mm lines, a 1 mV calibration pulse of 200 ms,
lead names, marks between the columns. Strokes by OpenCV and letters by Pillow: tens of pages a
second, the same bytes for the same arguments and fonts.
"""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.corpus import lettering
from models.corpus.layouts import LEADS, Layout, layout_of
from models.corpus.styles import Style, style_of

#: Length of a row: ten seconds at 25 mm/s.
SPAN_MM: Final = 250.0
_CALIBRATION_S: Final = 0.2
_CALIBRATION_ROOM_MM: Final = 9.0
_HEADER_MM: Final = 24.0
_LETTERHEAD_MM: Final = 9.0
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
        Microvolts, leads I II III aVR aVL aVF V1..V6. The first ten seconds are drawn (five at
        50 mm/s); a shorter signal ends where it ends.
    rate_hz : float
        Samples a second, any rate.
    layout : str or Layout
        A name of `models.corpus.layouts.LAYOUTS`, or a layout.
    style : str or Style
        A name of `models.corpus.styles.STYLES`, or a style.
    seed : int
        Decides the invented lettering, what the recorder adds, and small irregularities of
        placement.

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
    # A stream of its own: the same seed places the same page, whatever the recorder adds.
    signal = _recorded(signal, rate_hz, look, np.random.default_rng((seed, 1)))
    row_mm = _row_height_mm(len(plan.rows)) * float(rng.uniform(0.92, 1.1)) * look.row_share
    head_mm = (_HEADER_MM if look.header else 0.0) + (_LETTERHEAD_MM if look.letterhead else 0.0)
    top_mm = 6.0 + head_mm
    bottom_mm = 4.0 + (_FOOTER_MM if look.header else 0.0)
    room_mm = 0.0 if look.calibration == "none" else _CALIBRATION_ROOM_MM
    left_mm = look.margin_mm + (room_mm if look.calibration == "left" else 0.0)
    right_mm = look.margin_mm + (room_mm if look.calibration == "right" else 0.0)
    columns = round((left_mm + SPAN_MM + right_mm) * scale)
    rows = round((top_mm + row_mm * len(plan.rows) + bottom_mm) * scale)

    page = _paper(rows, columns, look, rng, grid_top_px=round((top_mm - 4.0) * scale))
    baselines = [(top_mm + row_mm * (index + 0.55)) * scale for index in range(len(plan.rows))]
    left_px = left_mm * scale
    sheet = _Sheet(page, rate_hz, look, left_px, plan.simultaneous)
    for strips, baseline in zip(plan.rows, baselines, strict=True):
        sheet.row(signal, strips, baseline)
        sheet.calibration(baseline)
    names = Image.fromarray(page)
    pen = ImageDraw.Draw(names)
    for strips, baseline in zip(plan.rows, baselines, strict=True):
        _letter_row(pen, strips, (left_px, baseline), row_mm * scale, look)
    if look.letterhead:
        _letter_head(pen, columns, look, rng)
    if look.header:
        _letter_header(pen, rows, look, rng)
    if look.scribbles:
        for _ in range(int(rng.integers(1, 4))):
            at = (float(rng.uniform(0, columns)), float(rng.uniform(0, rows)))
            lettering.scribble(pen, rng, at, size_px=6.0 * scale, ink=look.ink)
    return np.asarray(names, dtype=np.uint8).copy()


def _row_height_mm(rows: int) -> float:
    """Twelve rows share a sheet; three rows get the room that tall R waves want."""
    return float(np.interp(rows, [2, 3, 4, 6, 7, 12], [46.0, 40.0, 34.0, 26.0, 23.0, 15.0]))


def _recorded(
    signal: NDArray[np.float32], rate_hz: float, look: Style, rng: np.random.Generator
) -> NDArray[np.float32]:
    """What the recorder makes of the heart: its filter, tremor and breathing."""
    out = signal
    if look.low_pass_hz:
        # A Gaussian falls by 3 dB at 0.1325 / sigma_s.
        sigma = 0.1325 / look.low_pass_hz * rate_hz
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), sigmaX=max(sigma, 0.1), sigmaY=1e-3))
    if look.noise_uv:
        tremor = rng.standard_normal(out.shape, np.float32)
        out = out + np.float32(look.noise_uv) * np.asarray(cv2.blur(tremor, (3, 1))) * np.float32(
            1.7
        )
    if look.drift_uv:
        time = np.arange(out.shape[1], dtype=np.float32) / np.float32(rate_hz)
        turns = np.float32(2 * np.pi * rng.uniform(0.1, 0.45)) * time + np.float32(
            rng.uniform(0, 6)
        )
        share = rng.normal(0.0, look.drift_uv, (len(out), 1)).astype(np.float32)
        out = out + share * np.sin(turns)
    return out


def _paper(
    rows: int, columns: int, look: Style, rng: np.random.Generator, *, grid_top_px: int
) -> NDArray[np.uint8]:
    page = np.empty((rows, columns, 3), dtype=np.uint8)
    page[:] = look.paper
    scale = look.px_per_mm
    top = max(0, grid_top_px)
    if look.grid != "none":
        phase = rng.uniform(0.0, 5.0, 2) * scale
        fine_x = np.arange(phase[0] % scale, columns, scale).astype(int)
        fine_y = np.arange(top + phase[1] % scale, rows, scale).astype(int)
        coarse_x = np.arange(phase[0], columns, 5 * scale).astype(int)
        coarse_y = np.arange(top + phase[1], rows, 5 * scale).astype(int)
        if look.grid == "dots":
            page[np.ix_(fine_y, fine_x)] = look.fine
        else:
            page[top:, fine_x] = look.fine
            page[fine_y, :] = look.fine
        for offset in range(2 if scale > 7 else 1):
            page[top:, np.minimum(coarse_x + offset, columns - 1)] = look.coarse
            page[np.minimum(coarse_y + offset, rows - 1), :] = look.coarse
    if look.frame:
        edge = round(0.5 * scale)
        cv2.rectangle(page, (edge, top), (columns - 1 - edge, rows - 1 - edge), look.ink, 1)
    return page


@dataclass(frozen=True)
class _Sheet:
    """A page while traces are drawn on it."""

    page: NDArray[np.uint8]
    rate_hz: float
    look: Style
    left_px: float
    simultaneous: bool

    @property
    def _thickness(self) -> int:
        return max(1, round(self.look.trace_mm * self.look.px_per_mm))

    @property
    def _line(self) -> int:
        return cv2.LINE_AA if self.look.smooth else cv2.LINE_8

    def row(self, signal: NDArray[np.float32], strips: tuple[str, ...], baseline: float) -> None:
        """Draw the strips of one row at its baseline, in pixels from the top."""
        look = self.look
        seconds = SPAN_MM / look.speed_mm_per_s / len(strips)
        px_per_sample = look.speed_mm_per_s * look.px_per_mm / self.rate_hz
        px_per_uv = look.gain_mm_per_mv * look.px_per_mm / 1000.0
        width = seconds * self.rate_hz * px_per_sample
        for index, name in enumerate(strips):
            # A rhythm strip of a simultaneous page runs on; only short strips start anew.
            starts_anew = self.simultaneous and len(strips) > 1
            first = 0 if starts_anew else round(index * seconds * self.rate_hz)
            last = min(first + round(seconds * self.rate_hz) + 1, signal.shape[1])
            last -= (
                round(look.gap_mm * look.px_per_mm / px_per_sample)
                if index + 1 < len(strips)
                else 0
            )
            if last - first < 2:
                continue
            trace = _lead(signal, name)[first:last]
            trace = trace - np.median(trace)
            left = self.left_px + index * width
            x = left + np.arange(last - first) * px_per_sample
            y = baseline - trace * px_per_uv
            points = np.stack([x, np.clip(y, -1e4, 1e4)], axis=1) * (1 << _SHIFT)
            path = np.rint(points).astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(self.page, [path], False, look.ink, self._thickness, self._line, _SHIFT)
            if index > 0 and look.separators != "none":
                half = (5.0 if look.separators == "bars" else 2.0) * look.px_per_mm
                at, top, bottom = round(left), round(baseline - half), round(baseline + half)
                cv2.line(self.page, (at, top), (at, bottom), look.ink, self._thickness)

    def calibration(self, baseline: float) -> None:
        """Draw the pulse of 1 mV beside a row."""
        look = self.look
        if look.calibration == "none":
            return
        scale = look.px_per_mm
        start = self.left_px - 7.5 * scale
        if look.calibration == "right":
            start = self.left_px + (SPAN_MM + 1.0) * scale
        long = look.speed_mm_per_s * _CALIBRATION_S
        top = baseline - look.gain_mm_per_mv * scale
        steps = [(0.0, baseline), (1.0, baseline), (1.0, top), (1.0 + long, top)]
        steps += [(1.0 + long, baseline), (2.0 + long, baseline)]
        corners = [(start + x * scale, y) for x, y in steps]
        points = np.rint(np.array(corners)).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(self.page, [points], False, look.ink, self._thickness, self._line)


def _lead(signal: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    if name.startswith("-"):
        return np.asarray(-signal[LEADS.index(name[1:])])
    return np.asarray(signal[LEADS.index(name)])


def _letter_row(
    pen: ImageDraw.ImageDraw,
    strips: tuple[str, ...],
    origin: tuple[float, float],
    row_px: float,
    look: Style,
) -> None:
    left, baseline = origin
    step = SPAN_MM * look.px_per_mm / len(strips)
    font = lettering.font(round(look.label_mm * look.px_per_mm), look.font)
    rise = {"above": -0.36, "start": -0.16, "below": 0.3}[look.label_place] * row_px
    for index, name in enumerate(strips):
        at = (left + index * step + 1.5 * look.px_per_mm, baseline + rise)
        pen.text(at, name, fill=look.ink, font=font, anchor="lm")


def _letter_head(
    pen: ImageDraw.ImageDraw, columns: int, look: Style, rng: np.random.Generator
) -> None:
    font = lettering.font(round(4.6 * look.px_per_mm), look.font)
    at = (float(rng.uniform(0.1, 0.9)) * columns, 5.0 * look.px_per_mm)
    pen.text(at, lettering.letterhead(rng), fill=look.ink, font=font, anchor="mm")


def _letter_header(
    pen: ImageDraw.ImageDraw, rows: int, look: Style, rng: np.random.Generator
) -> None:
    """Print invented lines. They depend on the seed only, never on the ECG."""
    scale = look.px_per_mm
    font = lettering.font(round(2.9 * scale), look.font)
    above = _LETTERHEAD_MM if look.letterhead else 0.0
    for column, lines in enumerate(lettering.header_lines(rng, chinese=look.chinese)):
        x = (look.margin_mm + column * 62.0) * scale
        for line, text in enumerate(lines):
            pen.text((x, (4.0 + above + 3.9 * line) * scale), text, fill=look.ink, font=font)
    band = f"0.05-{look.low_pass_hz or 150:g} Hz"
    foot = f"{look.speed_mm_per_s:g} mm/s   {look.gain_mm_per_mv:g} mm/mV   {band}"
    pen.text((look.margin_mm * scale, rows - 6.0 * scale), foot, fill=look.ink, font=font)
