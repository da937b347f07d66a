"""A page as a list of what stands where, to be painted as pixels or printed as PDF alike.

Coordinates are in pixels of the painted page, from its top left corner, rightwards and downwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dicom_node.report.fonts import Family, Fonts
from dicom_node.report.result import Corners

#: A4 across, 165 dots to the inch.
WIDTH_PX: Final = 1920
HEIGHT_PX: Final = 1358

Colour = tuple[int, int, int]
BLACK: Final = (17, 17, 17)
GREY: Final = (85, 85, 85)
WHITE: Final = (255, 255, 255)


@dataclass(frozen=True)
class Style:
    """How a text is written."""

    size_px: float
    colour: Colour = BLACK
    bold: bool = False

    @property
    def leading_px(self) -> float:
        """From one line to the next."""
        return 1.35 * self.size_px


@dataclass(frozen=True)
class Text:
    """A line of text; `x` and `y` are the start of its baseline."""

    x: float
    y: float
    text: str
    style: Style
    family: Family


@dataclass(frozen=True)
class Box:
    """A filled rectangle."""

    left: float
    top: float
    width: float
    height: float
    colour: Colour


@dataclass(frozen=True)
class Picture:
    """Where the picture goes, and what is outlined on it, in coordinates of the page."""

    left: float
    top: float
    width: float
    height: float
    outlines: tuple[Corners, ...]
    colour: Colour
    line_px: float = 3.0


Mark = Text | Box | Picture


@dataclass(frozen=True)
class Line:
    """A text as it will be written, in a font that shows it."""

    text: str
    style: Style
    family: Family

    @property
    def width_px(self) -> float:
        """How wide it is."""
        return self.family.width_px(self.text, self.style.size_px, bold=self.style.bold)


@dataclass
class Sheet:
    """A page that is being filled.

    Attributes
    ----------
    fonts : Fonts
        What it is written in.
    marks : list
        What stands on it; what comes later covers what came before.
    """

    fonts: Fonts
    marks: list[Mark] = field(default_factory=list)

    def line(self, text: str, style: Style) -> Line:
        """Return a text as a line.

        Raises
        ------
        ValueError
            No font shows it.
        """
        family = self.fonts.family_for(text)
        if family is None:
            raise ValueError("expected a text that a font shows")
        return Line(text, style, family)

    def write(self, x: float, y: float, line: Line) -> float:
        """Write a line from `x` on, its baseline at `y`, and return where it ends."""
        self.marks.append(Text(x, y, line.text, line.style, line.family))
        return x + line.width_px

    def write_down(self, x: float, y: float, lines: Sequence[Line]) -> None:
        """Write lines below each other; `y` is the top of the first."""
        for line in lines:
            self.write(x, y + 1.05 * line.style.size_px, line)
            y += line.style.leading_px

    def fit(self, text: str, style: Style, width_px: float, *, smallest_px: float) -> Line:
        """Return a text as a line, smaller where it would not fit, as far as it can be read."""
        line = self.line(text, style)
        found = float(int(width_px / max(line.width_px, 1.0) * style.size_px))
        size_px = min(style.size_px, max(smallest_px, found))
        return replace(line, style=replace(style, size_px=size_px))

    def wrap(self, line: Line, width_px: float) -> list[Line]:
        """Break a line into lines no wider than `width_px`, all in its font.

        At spaces; within a word where it is wider than a line, or has none, as Chinese.
        """
        lines = [replace(line, text="")]
        for piece in _pieces(line.text):
            if _joined(lines[-1], piece.rstrip()).width_px <= width_px:
                lines[-1] = _joined(lines[-1], piece)
                continue
            if lines[-1].text.strip():
                lines.append(replace(line, text=""))
            for character in piece:
                if lines[-1].text and _joined(lines[-1], character).width_px > width_px:
                    lines.append(replace(line, text=""))
                lines[-1] = _joined(lines[-1], character)
        return [replace(found, text=found.text.rstrip()) for found in lines]


def height_px(lines: Sequence[Line]) -> float:
    """Return how high lines are below each other."""
    return sum(line.style.leading_px for line in lines)


def _joined(line: Line, more: str) -> Line:
    return replace(line, text=line.text + more)


#: Punctuation that no line begins with.
_NEVER_FIRST: Final = frozenset("，。、；：？！）》」』”’％")
_WIDE_FROM: Final = 0x2E80


def _pieces(text: str) -> list[str]:
    """Split a text where a line may end: behind spaces, and around each wide character."""
    pieces = [""]
    for character in text:
        if character in _NEVER_FIRST and len(pieces) > 1 and not pieces[-1]:
            pieces.pop()
        elif ord(character) >= _WIDE_FROM and pieces[-1]:
            pieces.append("")
        pieces[-1] += character
        if ord(character) >= _WIDE_FROM or character == " ":
            pieces.append("")
    return [piece for piece in pieces if piece]
