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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

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

Item = TypeVar("Item")

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


@contextmanager
def drawing_pool() -> Iterator[Executor]:
    """One drawing process a core, started afresh.

    A forked copy of a process whose image or network library has threads waits for them for ever.
    """
    with ProcessPoolExecutor(
        os.cpu_count(),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=cv2.setNumThreads,
        initargs=(1,),
    ) as pool:
        yield pool


def keep_pages(
    path: Path,
    items: Sequence[Item],
    draw_one: Callable[[Item], tuple[NDArray[np.uint8], str]],
    wanted: Mapping[str, Any],
    *,
    describe: str,
    pool: Executor | None = None,
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Draw a page of each item into a memory map, or take up the one that is there.

    Parameters
    ----------
    path : Path
        The file of pages; what describes them stands beside it, as JSON.
    draw_one : function of an item
        Gives its page, uint8 (224, 672), and a remark; other processes have to be able to load it.
    wanted : JSON values
        What decides the pages. Those on disk are taken up only when theirs is the same, and the
        fonts and the code that draws, finds and scales: what is judged is what is served.
    pool : Executor or None
        That draws; without, one is started where there are enough pages to be worth it.

    Returns
    -------
    pages : uint8 (n, 224, 672)
    remarks : n of str
    """
    shape = (len(items), SIDE_PX, COLUMNS_PX)
    wanted = json.loads(
        json.dumps({**wanted, "shape": shape, "fonts": fonts_present(), "made_by": fingerprint()})
    )
    note = path.with_suffix(".json")
    kept = json.loads(note.read_text()) if note.is_file() and path.is_file() else {}
    remarks = kept.pop("remarks", [])
    if kept == wanted:
        return np.memmap(path, np.uint8, "r", shape=shape), tuple(remarks)
    path.parent.mkdir(parents=True, exist_ok=True)
    # First the note: half-drawn pages under an old one would be taken for whole.
    note.unlink(missing_ok=True)
    pages = np.memmap(path, np.uint8, "w+", shape=shape)
    remarks = []
    drawn = tqdm(
        _each_drawn(items, draw_one, pool),
        total=len(items),
        desc=f"drawing {describe}",
        unit="page",
        leave=pool is None,
    )
    for row, (page, remark) in enumerate(drawn):
        pages[row] = page
        remarks.append(remark)
    pages.flush()
    note.write_text(json.dumps({**wanted, "remarks": remarks}))
    return np.memmap(path, np.uint8, "r", shape=shape), tuple(remarks)


def _each_drawn(
    items: Sequence[Item],
    draw_one: Callable[[Item], tuple[NDArray[np.uint8], str]],
    pool: Executor | None,
) -> Iterator[tuple[NDArray[np.uint8], str]]:
    if len(items) <= _FEW:
        yield from map(draw_one, items)
    elif pool is not None:
        yield from pool.map(draw_one, items, chunksize=8)
    else:
        with drawing_pool() as own:
            yield from own.map(draw_one, items, chunksize=8)


def make_cache(path: Path, orders: Sequence[Order], *, describe: str) -> NDArray[np.uint8]:
    """Keep the pages of `orders` as `keep_pages` does: (n, 224, 672)."""
    wanted = {"orders": [order.described() for order in orders]}
    pages, _ = keep_pages(path, orders, _without_remark, wanted, describe=describe)
    return pages


def _without_remark(order: Order) -> tuple[NDArray[np.uint8], str]:
    return draw(order), ""


def fingerprint() -> str:
    """Fingerprint of the code that decides how a page looks."""
    package = Path(__file__).parent.parent
    drawing = ("draw", "effects", "layouts", "lettering", "pages", "styles")
    files = [package / "corpus" / f"{name}.py" for name in drawing]
    files += [package / "packet.py", *sorted((package / "page").glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
