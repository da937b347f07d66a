"""What a printed page looks like: paper, grid, ink, lettering, density.

The named styles are fixed and fit for a demonstration; `random_style` draws a new one for every
training page, around what hospitals print.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from models.corpus.lettering import CHINESE_FONT

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """The look of a page.

    Attributes
    ----------
    paper, fine, coarse, ink : (red, green, blue)
        Colours of the paper, of the 1 mm and the 5 mm lines, and of trace and lettering.
    grid : "lines", "dots" or "none"
        How the millimetre grid is printed.
    px_per_mm : float
        Density of the raster; 8 px/mm is about 203 dpi.
    trace_mm : float
        Width of the trace.
    gain_mm_per_mv : float
        10 is the standard; 5 and 20 exist.
    calibration : "left", "right" or "none"
        Where the 1 mV, 200 ms pulse of each row stands.
    separators : "bars", "ticks" or "none"
        What stands between two columns.
    header : bool
        Whether an invented header is printed above the tracing. It carries no finding.
    label_mm : float
        Height of the lead names.
    margin_mm : float
        Paper left and right of the tracing.
    speed_mm_per_s : float
        25 is the standard; at 50 the page holds half the time.
    font : int
        Place in `models.corpus.lettering.FONT_FILES`.
    smooth : bool
        Whether strokes have soft edges; a printer's own raster has none.
    label_place : "above", "start" or "below"
        Where a lead's name stands at its strip.
    row_share : float
        Height of a row against the usual one: below 1 rows crowd and waves overlap.
    gap_mm : float
        Paper between two columns, taken from the left column's end.
    chinese, letterhead, scribbles, frame : bool
        Chinese lettering in the header; a letterhead above; marks by hand; a frame around the grid.
    noise_uv, drift_uv : float
        Muscle tremor and breathing that the recorder added.
    low_pass_hz : float
        The recorder's filter; 0 for none.
    """

    paper: Colour = (255, 250, 248)
    fine: Colour = (250, 220, 218)
    coarse: Colour = (240, 170, 168)
    ink: Colour = (20, 20, 28)
    grid: str = "lines"
    px_per_mm: float = 6.0
    trace_mm: float = 0.35
    gain_mm_per_mv: float = 10.0
    calibration: str = "left"
    separators: str = "bars"
    header: bool = True
    label_mm: float = 3.2
    margin_mm: float = 8.0
    speed_mm_per_s: float = 25.0
    font: int = 0
    smooth: bool = True
    label_place: str = "above"
    row_share: float = 1.0
    gap_mm: float = 0.0
    chinese: bool = False
    letterhead: bool = False
    scribbles: bool = False
    frame: bool = False
    noise_uv: float = 0.0
    drift_uv: float = 0.0
    low_pass_hz: float = 0.0


STYLES: Final[dict[str, Style]] = {
    "pink": Style(),
    "orange": Style(paper=(255, 252, 244), fine=(252, 228, 200), coarse=(240, 186, 132)),
    "brown": Style(paper=(250, 246, 238), fine=(232, 216, 196), coarse=(200, 172, 140)),
    "green": Style(paper=(250, 255, 250), fine=(212, 238, 214), coarse=(150, 208, 158)),
    "grey": Style(paper=(255, 255, 255), fine=(230, 230, 230), coarse=(196, 196, 196)),
    "dots": Style(paper=(255, 255, 255), fine=(170, 170, 170), coarse=(200, 200, 200), grid="dots"),
    "plain": Style(paper=(255, 255, 255), grid="none"),
    "dark": Style(
        paper=(8, 10, 14), fine=(22, 32, 30), coarse=(34, 60, 54), ink=(150, 250, 170), header=False
    ),
    "blue": Style(paper=(248, 251, 255), fine=(214, 228, 250), coarse=(150, 184, 236)),
}

#: The renderer style kept out of training; `random_style` never comes near it.
UNSEEN_STYLE: Final = "blue"

_TRAINING: Final = tuple(name for name in STYLES if name != UNSEEN_STYLE)


def style_of(style: str | Style) -> Style:
    """The style of that name, or the style itself.

    Raises
    ------
    KeyError
        If the name is unknown; the message lists the known ones.
    """
    if isinstance(style, Style):
        return style
    if style not in STYLES:
        raise KeyError(f"expected one of {', '.join(STYLES)}; received {style!r}")
    return STYLES[style]


def random_style(rng: np.random.Generator) -> Style:
    """A new look for a training page; never that of `UNSEEN_STYLE`."""
    base = STYLES[_TRAINING[int(rng.integers(len(_TRAINING)))]]
    if base.grid == "lines" and min(base.paper) > 128 and rng.random() < 0.15:
        base = _any_grid(base, rng)
    chinese = bool(rng.random() < 0.2)
    return replace(
        base,
        paper=_shift(base.paper, rng, 8),
        fine=_shift(base.fine, rng, 12),
        coarse=_shift(base.coarse, rng, 22),
        ink=_ink(base.ink, rng),
        px_per_mm=_density(rng),
        trace_mm=float(rng.uniform(0.15, 0.6)),
        gain_mm_per_mv=float(rng.choice([10.0, 5.0, 20.0], p=[0.9, 0.08, 0.02])),
        calibration=str(rng.choice(["left", "right", "none"], p=[0.5, 0.1, 0.4])),
        separators=str(rng.choice(["bars", "ticks", "none"], p=[0.35, 0.2, 0.45])),
        header=bool(rng.random() < 0.6),
        label_mm=float(rng.uniform(2.0, 4.4)),
        margin_mm=float(rng.uniform(1.0, 18.0)),
        font=CHINESE_FONT if chinese else int(rng.integers(CHINESE_FONT)),
        smooth=bool(rng.random() < 0.7),
        label_place=str(rng.choice(["above", "start", "below"], p=[0.7, 0.2, 0.1])),
        row_share=float(rng.uniform(0.72, 1.15)),
        gap_mm=float(rng.choice([0.0, rng.uniform(0.5, 5.0)], p=[0.6, 0.4])),
        chinese=chinese,
        letterhead=bool(rng.random() < 0.25),
        scribbles=bool(rng.random() < 0.08),
        frame=bool(rng.random() < 0.15),
        noise_uv=float(rng.choice([0.0, rng.uniform(3.0, 25.0)], p=[0.65, 0.35])),
        drift_uv=float(rng.choice([0.0, rng.uniform(20.0, 160.0)], p=[0.6, 0.4])),
        low_pass_hz=float(rng.choice([0.0, 40.0, 25.0], p=[0.55, 0.37, 0.08])),
    )


def _density(rng: np.random.Generator) -> float:
    """From a screenshot 600 pixels wide to a sheet scanned at 300 dpi; mostly in between."""
    low, high = ((2.4, 3.4), (3.4, 5.6), (5.6, 11.0))[int(rng.choice(3, p=[0.2, 0.7, 0.1]))]
    return float(rng.uniform(low, high))


def _any_grid(base: Style, rng: np.random.Generator) -> Style:
    """A grid of a colour that no named style has; blue stays out, see `UNSEEN_STYLE`."""
    red, green = rng.integers(150, 245, 2)
    coarse = (int(red), int(green), int(rng.integers(90, max(91, min(red, green)))))
    light = rng.uniform(0.35, 0.7)
    fine = tuple(round(c + (255 - c) * light) for c in coarse)
    return replace(base, paper=(253, 253, 250), coarse=coarse, fine=(fine[0], fine[1], fine[2]))


def _ink(base: Colour, rng: np.random.Generator) -> Colour:
    """Mostly near black (or the dark screen's own), now and then blue, grey or another light."""
    if rng.random() < 0.8:
        return _shift(base, rng, 28)
    if max(base) < 100:
        return ((20, 30, 120), (90, 90, 95), (60, 20, 25))[int(rng.integers(3))]
    return ((240, 230, 90), (235, 240, 245), (110, 225, 250))[int(rng.integers(3))]


def _shift(colour: Colour, rng: np.random.Generator, spread: int) -> Colour:
    moved = np.clip(np.array(colour) + rng.integers(-spread, spread + 1, 3), 0, 255)
    return (int(moved[0]), int(moved[1]), int(moved[2]))
