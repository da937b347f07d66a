"""The pages a network is judged with: every ECG drawn on purpose, found as a served page is.

A *sheet* is one page of each ECG, drawn under one condition: a layout, an effect, a header. Drawn
sheets are kept in a cache outside the repository, with what `find_page` said of each page, so that
judging again is fast; `models.corpus.pages` knows when the code that draws has changed.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.corpus import lettering
from models.corpus.effects import VARIANTS
from models.corpus.layouts import SIX_LEAD_LAYOUTS, TRAINING_LAYOUTS, UNSEEN_LAYOUTS
from models.corpus.lessons import judging_orders
from models.corpus.pages import Order, keep_pages, picture
from models.corpus.records import Record
from models.corpus.styles import UNSEEN_STYLE, style_of
from models.labels import PAGE_KINDS
from models.packet import pack, unpack
from models.page import NotReadable, find_page

MIXED: Final = "mixed"
STATED: Final = "Atrial fibrillation"
"""The false statement that a header makes of every ECG alike."""
_COMMON_LAYOUT: Final = "3x4+1"
_COMMON_STYLE: Final = "pink"


@dataclass(frozen=True)
class Drawing:
    """One page to draw: an order, and a diagnosis its header states."""

    order: Order
    stated: str = ""


@dataclass(frozen=True)
class Sheet:
    """One page of each ECG.

    Attributes
    ----------
    name : str
        The condition.
    pages : uint8 (n, 224, 672)
        As `models.corpus.pages` keeps them; of a refused page, the whole picture.
    reasons : n of str
        Why `find_page` refuses the page; empty for a page it finds.
    """

    name: str
    pages: NDArray[np.uint8]
    reasons: tuple[str, ...]

    @property
    def found(self) -> NDArray[np.bool_]:
        """Which pages were found (n,)."""
        return np.array([not reason for reason in self.reasons], bool)


def conditions(records: Sequence[Record]) -> dict[str, list[Drawing]]:
    """Every condition of the evaluation, by name, in the order they are reported.

    ``mixed`` is the headline: one page of each ECG, layouts in turn, what befalls pages by lot.
    ``layout/...`` and ``effect/...`` change one thing; page by page all else is by the same lot.
    """
    sheets = {MIXED: [Drawing(order) for order in judging_orders(records)]}
    for layout in (*TRAINING_LAYOUTS, *UNSEEN_LAYOUTS):
        sheets[f"layout/{layout}"] = [
            Drawing(Order(record.signal_uv, layout, 880_000_000 + index))
            for index, record in enumerate(records)
        ]
    for effect in VARIANTS:
        sheets[f"effect/{effect}"] = [
            Drawing(replace(drawing.order, seed=870_000_000 + index, effect=effect))
            for index, drawing in enumerate(sheets[MIXED])
        ]
    printed, bare = (replace(style_of(_COMMON_STYLE), header=header) for header in (True, False))
    blue = replace(style_of(UNSEEN_STYLE), header=False)
    for name, style, stated in (
        ("header/printed", printed, ""),
        ("header/left away", bare, ""),
        ("header/stating a diagnosis", printed, STATED),
        ("style/unseen", blue, ""),
    ):
        sheets[name] = [
            Drawing(
                Order(record.signal_uv, _COMMON_LAYOUT, 860_000_000 + index, style, "clean"), stated
            )
            for index, record in enumerate(records)
        ]
    for kind in PAGE_KINDS:
        sheets[f"kind/{kind}"] = kind_drawings(kind, records[::4], seed=840_000_000)
    sheets["control/trace erased"] = [
        Drawing(Order(np.zeros_like(record.signal_uv), _COMMON_LAYOUT, 850_000_000 + index))
        for index, record in enumerate(records)
    ]
    return sheets


def validation_drawings(records: Sequence[Record]) -> tuple[list[Drawing], NDArray[np.int64]]:
    """Four pages of each validation ECG, and which ECG each shows.

    Three as pages arrive, by lot; one of a named effect, all of them in turn, so that a
    probability is calibrated on clean and on bad pages alike.
    """
    drawings = [Drawing(order) for order in judging_orders(records, pages=4)]
    last = 3 * len(records)
    names = list(VARIANTS)
    for index in range(len(records)):
        order = drawings[last + index].order
        drawings[last + index] = Drawing(replace(order, effect=names[index % len(names)]))
    return drawings, np.tile(np.arange(len(records)), 4)


def kind_drawings(kind: str, records: Sequence[Record], *, seed: int) -> list[Drawing]:
    """A page of a kind that is not read, of each ECG: six leads only, or paper at 50 mm/s."""
    orders = judging_orders(records)
    drawings = []
    for index, order in enumerate(orders):
        if kind == "six_leads":
            few = SIX_LEAD_LAYOUTS[index % len(SIX_LEAD_LAYOUTS)]
            drawings.append(Drawing(replace(order, layout=few, seed=seed + index)))
        elif kind == "fast_paper":
            drawings.append(Drawing(replace(order, speed_mm_per_s=50.0, seed=seed + index)))
        else:
            raise KeyError(f"expected one of {', '.join(PAGE_KINDS)}; received {kind!r}")
    return drawings


def draw_sheet(name: str, drawings: Sequence[Drawing], work: Path, *, pool: Executor) -> Sheet:
    """Draw a sheet, or take it from the cache below `work`."""
    path = work / "sheets" / f"{name.replace('/', '-').replace(' ', '-')}.u8"
    wanted = {"drawings": [[*drawing.order.described(), drawing.stated] for drawing in drawings]}
    pages, reasons = keep_pages(path, drawings, _drawn, wanted, describe=name, pool=pool)
    return Sheet(name, pages, reasons)


def page_picture(drawing: Drawing) -> NDArray[np.uint8]:
    """The picture that would arrive: uint8 (rows, columns, 3)."""
    raster = picture(drawing.order)
    return _stating(raster, drawing) if drawing.stated else raster


def _drawn(drawing: Drawing) -> tuple[NDArray[np.uint8], str]:
    raster = page_picture(drawing)
    try:
        return unpack(pack(find_page(raster).grey)), ""
    except NotReadable as refusal:
        grey = np.asarray(cv2.cvtColor(raster, cv2.COLOR_RGB2GRAY))
        return unpack(pack(grey)), refusal.reason


def _stating(raster: NDArray[np.uint8], drawing: Drawing) -> NDArray[np.uint8]:
    """Print a diagnosis over the page's header, large, as a machine that is sure of itself does."""
    look = style_of(drawing.order.style)
    scale = look.px_per_mm
    sheet = Image.fromarray(raster)
    pen = ImageDraw.Draw(sheet)
    left, top = 0.5 * raster.shape[1], 3.0 * scale
    pen.rectangle((left, top, raster.shape[1], top + 15.0 * scale), fill=look.paper)
    for line, text in enumerate((f"*** {drawing.stated} ***", "Abnormal ECG")):
        pen.text(
            (left + 2.0 * scale, top + (1.0 + 7.0 * line) * scale),
            text,
            fill=look.ink,
            font=lettering.font(round(5.0 * scale)),
        )
    return np.asarray(sheet, dtype=np.uint8).copy()
