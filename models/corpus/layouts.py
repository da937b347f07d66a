"""How the twelve leads are arranged on paper.

A layout is rows of strips; a strip is one lead over one part of the ten seconds. Time always
runs from left to right over the whole page, so the second column shows what happened after the
first one, as ECG machines print it.
"""

from dataclasses import dataclass
from typing import Final

LEADS: Final = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

#: Limb leads in their anatomical order; aVR is printed upside down under the name "-aVR".
CABRERA: Final = ("aVL", "I", "-aVR", "II", "aVF", "III", "V1", "V2", "V3", "V4", "V5", "V6")


@dataclass(frozen=True)
class Layout:
    """An arrangement of strips.

    Attributes
    ----------
    name : str
        Rows x columns, then ``+n`` for n rhythm strips of the full ten seconds.
    grid : tuple of rows, each a tuple of lead names
        The rows of short strips; each row divides the ten seconds evenly.
    rhythm : tuple of lead names
        Full-length strips below.
    """

    name: str
    grid: tuple[tuple[str, ...], ...]
    rhythm: tuple[str, ...] = ()

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
        Layout("3x4+3", _columns(LEADS, 3), ("V1", "II", "V5")),
        Layout("6x2", _columns(LEADS, 6)),
        Layout("6x2+1", _columns(LEADS, 6), ("II",)),
        Layout("12x1", _columns(LEADS, 12)),
        Layout("4x3", _columns(LEADS, 4)),
        Layout("3x4+1 Cabrera", _columns(CABRERA, 3), ("II",)),
    )
}

#: What the network may be trained on.
TRAINING_LAYOUTS: Final = ("3x4", "3x4+1", "3x4+3", "6x2", "6x2+1", "12x1")

#: Held out of training, to measure what an unknown layout costs.
UNSEEN_LAYOUTS: Final = ("4x3", "3x4+1 Cabrera")


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
