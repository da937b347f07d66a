"""Fonts for the documents that are drawn, and which texts they can show.

Two families are looked for, in this order: DejaVu Sans for the scripts of Europe, Noto Sans CJK for
these and Chinese, Japanese and Korean. Nothing is ever drawn as an empty box: a text that no family
shows whole is not drawn, and whoever draws says so instead. So it is with scripts that run from
right to left or whose letters change by their neighbours, since we place letters one by one.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from fontTools.ttLib import TTCollection, TTFont  # type: ignore[import-untyped]
from PIL import ImageFont

from dicom_node.report.result import FontMissing

FOLDERS: Final = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
#: Kinds of characters whose place depends on the ones around them.
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
_JOINED: Final = frozenset({"Mn", "Mc", "Me"})


@dataclass(frozen=True)
class Family:
    """A family of fonts: files for regular and bold, and the face to take of a collection."""

    name: str
    regular: Path
    bold: Path
    face: int

    def file(self, *, bold: bool) -> Path:
        """Return the file of a weight."""
        return self.bold if bold else self.regular

    def shows(self, text: str) -> bool:
        """Tell whether every character of a text has a glyph."""
        return _characters(self.regular, self.face).issuperset(map(ord, text))

    def width_px(self, text: str, size_px: float, *, bold: bool) -> float:
        """Return how wide a text is."""
        return float(self.at(size_px, bold=bold).getlength(text))

    def at(self, size_px: float, *, bold: bool) -> Any:
        """Return the font of a size, for Pillow."""
        return _font(self.file(bold=bold), self.face, size_px)


#: Name, file of the regular and of the bold font, face of the collection (Simplified Chinese).
_KNOWN: Final = (
    ("DejaVu Sans", "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", 0),
    ("Noto Sans CJK SC", "NotoSansCJK-Regular.ttc", "NotoSansCJK-Bold.ttc", 2),
)


@dataclass(frozen=True)
class Fonts:
    """The families that were found, the preferred one first."""

    families: tuple[Family, ...]

    @classmethod
    def find(cls, folders: Sequence[Path] | None = None) -> "Fonts":
        """Look for the known families below folders, `FOLDERS` by default.

        Each family needs both of its files.

        Raises
        ------
        FontMissing
            None is there.
        """
        return _find(tuple(FOLDERS if folders is None else folders))

    def preferring(self, text: str) -> "Fonts":
        """Return the same with the family that shows a text first: a page is best of one."""
        first = self.family_for(text)
        return Fonts(tuple(sorted(self.families, key=lambda family: family != first)))

    def family_for(self, text: str) -> Family | None:
        """Return the first family that shows a text as it is read, or None."""
        if any(
            unicodedata.bidirectional(character) in _RIGHT_TO_LEFT
            or unicodedata.category(character) in _JOINED
            for character in text
        ):
            return None
        return next((family for family in self.families if family.shows(text)), None)


@lru_cache
def _find(folders: tuple[Path, ...]) -> Fonts:
    wanted = {name for _, *files, _ in _KNOWN for name in files}
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.tt[fc]")):
            if path.name in wanted:
                found.setdefault(path.name, path)
    families = tuple(
        Family(name, found[regular], found[bold], face)
        for name, regular, bold, face in _KNOWN
        if regular in found and bold in found
    )
    if not families:
        raise FontMissing(
            "no font to draw pages with; expected DejaVu Sans (fonts-dejavu-core) or Noto Sans CJK "
            "(fonts-noto-cjk)"
        )
    return Fonts(families)


@lru_cache
def _characters(path: Path, face: int) -> frozenset[int]:
    if path.suffix == ".ttc":
        with TTCollection(path, lazy=True) as collection:
            return frozenset(collection.fonts[face].getBestCmap())
    with TTFont(path, lazy=True) as font:
        return frozenset(font.getBestCmap())


@lru_cache(maxsize=64)
def _font(path: Path, face: int, size_px: float) -> ImageFont.FreeTypeFont:
    # The plain layout, which is the same on every machine.
    return ImageFont.truetype(str(path), size_px, index=face, layout_engine=ImageFont.Layout.BASIC)
