"""What a printed page looks like: paper, grid, ink, lettering, density.

The named styles are fixed and fit for a demonstration; `random_style` draws a new one for every
training page, around what hospitals print.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

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

#: Names an invented header draws from. None of them says anything about the heart.
HEADER_WORDS: Final = (
    "ID", "Name", "Sex", "Age", "Room", "Ward", "Date", "Time", "Device", "Technician", "Order",
    "Ref.", "Location", "Cart", "Page 1 of 1", "Unit", "Station", "Site",
)  # fmt: skip


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
    return replace(
        base,
        paper=_shift(base.paper, rng, 6),
        fine=_shift(base.fine, rng, 10),
        coarse=_shift(base.coarse, rng, 18),
        ink=_shift(base.ink, rng, 24),
        px_per_mm=float(rng.uniform(3.6, 5.6)),
        trace_mm=float(rng.uniform(0.2, 0.55)),
        gain_mm_per_mv=float(rng.choice([10.0, 5.0, 20.0], p=[0.9, 0.08, 0.02])),
        calibration=str(rng.choice(["left", "right", "none"], p=[0.55, 0.1, 0.35])),
        separators=str(rng.choice(["bars", "ticks", "none"], p=[0.4, 0.2, 0.4])),
        header=bool(rng.random() < 0.5) and base.header,
        label_mm=float(rng.uniform(2.2, 4.2)),
        margin_mm=float(rng.uniform(2.0, 16.0)),
    )


def _shift(colour: Colour, rng: np.random.Generator, spread: int) -> Colour:
    moved = np.clip(np.array(colour) + rng.integers(-spread, spread + 1, 3), 0, 255)
    return (int(moved[0]), int(moved[1]), int(moved[2]))
