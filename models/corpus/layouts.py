"""How the twelve leads are arranged on paper.

A layout is rows of strips; a strip is one lead over one part of the ten seconds. Time always
runs from left to right over the whole page, so the second column shows what happened after the
first one, as ECG machines print it; a simultaneous layout shows the same first seconds in every
column.
"""

from dataclasses import dataclass
from typing import Final

LEADS: Final = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

#: Limb leads in their anatomical order; aVR is printed upside down under the name "-aVR".
CABRERA: Final = ("aVL", "I", "-aVR", "II", "aVF", "III", "V1", "V2", "V3", "V4", "V5", "V6")


#: Limb leads alone, and chest leads alone: half an ECG, as some devices print on two pages.
LIMBS: Final = LEADS[:6]
CHEST: Final = LEADS[6:]


@dataclass(frozen=True)
class Layout:
    """An arrangement of strips.

    Attributes
    ----------
    name : str
        Rows x columns, then ``+n`` for n rhythm strips of the full length.
    grid : tuple of rows, each a tuple of lead names
        The rows of short strips; each row divides the page's time evenly.
    rhythm : tuple of lead names
        Full-length strips below.
    simultaneous : bool
        Every column shows the first seconds, instead of what followed the column before.
    """

    name: str
    grid: tuple[tuple[str, ...], ...]
    rhythm: tuple[str, ...] = ()
    simultaneous: bool = False

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """All rows from top to bottom, rhythm strips last."""
        return self.grid + tuple((lead,) for lead in self.rhythm)


def _columns(order: tuple[str, ...], rows: int) -> tuple[tuple[str, ...], ...]:
    """Fill column by column, as machines do: 3 rows give I II III | aVR aVL aVF | V1 ..."""
    return tuple(tuple(order[row::rows]) for row in range(rows))


LAYOUTS: Final[dict[str, Layout]] = {
    layout.name: layout
    for layout in (
        Layout("3x4", _columns(LEADS, 3)),
        Layout("3x4+1", _columns(LEADS, 3), ("II",)),
        Layout("3x4+2", _columns(LEADS, 3), ("II", "V1")),
        Layout("3x4+3", _columns(LEADS, 3), ("V1", "II", "V5")),
        Layout("3x4+1 simultaneous", _columns(LEADS, 3), ("II",), simultaneous=True),
        Layout("6x2", _columns(LEADS, 6)),
        Layout("6x2+1", _columns(LEADS, 6), ("II",)),
        Layout("6x2 simultaneous", _columns(LEADS, 6), simultaneous=True),
        Layout("12x1", _columns(LEADS, 12)),
        Layout("2x6", _columns(LEADS, 2)),
        Layout("4x3", _columns(LEADS, 4)),
        Layout("3x4+1 Cabrera", _columns(CABRERA, 3), ("II",)),
        Layout("6x2 Cabrera", _columns(CABRERA, 6)),
    )
}

#: What the network may be trained on.
TRAINING_LAYOUTS: Final = (
    "3x4", "3x4+1", "3x4+2", "3x4+3", "3x4+1 simultaneous", "6x2", "6x2+1", "6x2 simultaneous",
    "12x1",
)  # fmt: skip

#: Held out of training, to measure what an unknown layout costs: another number of columns, and
#: another order of the leads.
UNSEEN_LAYOUTS: Final = ("4x3", "3x4+1 Cabrera")

#: Half an ECG: what the network learns to name instead of reading.
SIX_LEAD_LAYOUTS: Final = (
    Layout("6x1 limb", _columns(LIMBS, 6)),
    Layout("6x1 chest", _columns(CHEST, 6)),
    Layout("3x2 limb", _columns(LIMBS, 3)),
    Layout("3x2+1 chest", _columns(CHEST, 3), ("V1",)),
)


def layout_of(layout: str | Layout) -> Layout:
    """The layout of that name, or the layout itself.

    Raises
    ------
    KeyError
        If the name is unknown; the message lists the known ones.
    """
    if isinstance(layout, Layout):
        return layout
    if layout not in LAYOUTS:
        raise KeyError(f"expected one of {', '.join(LAYOUTS)}; received {layout!r}")
    return LAYOUTS[layout]
