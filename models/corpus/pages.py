"""Records drawn once into a memory-mapped cache of pages at the network's resolution.

Drawing takes tens of milliseconds, a training step asks for thirty pages: each record is drawn in
several layouts and styles, found by the same `find_page` that serves, scaled as `pack` scales,
and kept as uint8 (224, 672): the three slices side by side. `packed` turns a kept page into the
packet. Every page depends on the seed and its place alone.
"""

import hashlib
import json
import multiprocessing
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.corpus.draw import draw_page
from models.corpus.effects import VARIANTS, degrade
from models.corpus.layouts import Layout
from models.corpus.lettering import fonts_present
from models.corpus.records import RATE_HZ
from models.corpus.styles import Style, random_style, style_of
from models.packet import SIDE_PX, SLICES, pack, unpack
from models.page import NotReadable, find_page

COLUMNS_PX: Final = SLICES * SIDE_PX
#: So few pages are drawn sooner than other processes have started.
_FEW: Final = 64


@dataclass(frozen=True)
class Order:
    """One page to draw.

    Attributes
    ----------
    signal_uv : int16 (12, n)
        Microvolts at 250 Hz.
    layout, style : str, or a layout or style itself
        No style: one by lot, from the seed.
    seed : int
        Decides everything that is by lot.
    effect : str
        "mixed", or one of `models.corpus.effects.VARIANTS`.
    speed_mm_per_s : float
        25, or 50 for paper that ran fast.
    or_clean : bool
        Draw a page that is refused once more without the effect: a network is never asked about
        a refused page, so it should not learn from one.
    """

    signal_uv: NDArray[np.int16]
    layout: str | Layout
    seed: int
    style: str | Style = ""
    effect: str = "mixed"
    speed_mm_per_s: float = 25.0
    or_clean: bool = False

    def described(self) -> list[str | int | float]:
        """What decides the page."""
        name = self.layout if isinstance(self.layout, str) else self.layout.name
        signal = zlib.crc32(self.signal_uv.tobytes())
        look = (str(self.style), self.effect, self.speed_mm_per_s, self.or_clean)
        return [signal, name, self.seed, *look]


def packed(kept: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn a kept page (224, 672) into its packet (224, 224, 3); no pixel changes."""
    return pack(kept)


def draw(order: Order) -> NDArray[np.uint8]:
    """Draw, find and scale one page: uint8 (224, 672). A page that is refused is not cropped."""
    raster = picture(order)
    try:
        grey = find_page(raster).grey
    except NotReadable:
        if order.or_clean:
            return draw(replace(order, effect="clean", or_clean=False))
        grey = np.asarray(cv2.cvtColor(raster, cv2.COLOR_RGB2GRAY))
    return unpack(pack(grey))


def picture(order: Order) -> NDArray[np.uint8]:
    """The picture that would arrive: uint8 (rows, columns, 3)."""
    rng = np.random.default_rng(order.seed)
    look = style_of(order.style) if order.style else random_style(rng)
    look = replace(look, speed_mm_per_s=order.speed_mm_per_s)
    raster = draw_page(order.signal_uv, RATE_HZ, order.layout, look, order.seed)
    return (degrade if order.effect == "mixed" else VARIANTS[order.effect])(raster, rng)


def refused_share(orders: Sequence[Order]) -> float:
    """Return the share of pages, 0..1, that `find_page` refuses when they are drawn."""
    with _drawers() as pool:
        return float(np.mean(list(pool.map(_is_refused, orders, chunksize=8))))


def _is_refused(order: Order) -> bool:
    try:
        find_page(picture(order))
    except NotReadable:
        return True
    return False


def _drawers() -> ProcessPoolExecutor:
    """Make a pool of one process a core, started afresh.

    A forked copy of a process whose image or network library has threads waits for them for ever.
    """
    return ProcessPoolExecutor(
        os.cpu_count(),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=cv2.setNumThreads,
        initargs=(1,),
    )


def _each_drawn(orders: Sequence[Order]) -> Iterator[NDArray[np.uint8]]:
    """Draw pages in order, on all cores where there are enough to be worth the processes."""
    if len(orders) <= _FEW:
        yield from map(draw, orders)
        return
    with _drawers() as pool:
        yield from pool.map(draw, orders, chunksize=8)


def draw_all(orders: Sequence[Order], *, describe: str) -> NDArray[np.uint8]:
    """Draw pages in memory, on all cores: (n, 224, 672)."""
    drawn = _each_drawn(orders)
    return np.stack(list(tqdm(drawn, total=len(orders), desc=describe, unit="page")))


def make_cache(path: Path, orders: Sequence[Order], *, describe: str) -> NDArray[np.uint8]:
    """Return the pages of `orders` as a memory map (n, 224, 672), drawn when not there yet.

    A cache is taken up only when its description is the same: the orders' seeds and layouts, and
    the code that draws, finds and scales, so that what is judged is what is served.
    """
    shape = (len(orders), SIDE_PX, COLUMNS_PX)
    wanted = {
        "shape": shape,
        "orders": [order.described() for order in orders],
        "fonts": fonts_present(),
        "made_by": fingerprint(),
    }
    note = path.with_suffix(".json")
    if (
        path.is_file()
        and note.is_file()
        and json.loads(note.read_text()) == json.loads(json.dumps(wanted))
    ):
        return np.memmap(path, np.uint8, "r", shape=shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    pages = np.memmap(path, np.uint8, "w+", shape=shape)
    drawn = tqdm(_each_drawn(orders), total=len(orders), desc=describe, unit="page")
    for index, page in enumerate(drawn):
        pages[index] = page
    pages.flush()
    note.write_text(json.dumps(wanted))
    return np.memmap(path, np.uint8, "r", shape=shape)


def fingerprint() -> str:
    """Fingerprint of the code that decides how a page looks."""
    package = Path(__file__).parent.parent
    drawing = ("draw", "effects", "layouts", "lettering", "pages", "styles")
    files = [package / "corpus" / f"{name}.py" for name in drawing]
    files += [package / "packet.py", *sorted((package / "page").glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
