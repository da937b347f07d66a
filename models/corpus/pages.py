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
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.corpus.draw import draw_page
from models.corpus.layouts import TRAINING_LAYOUTS
from models.corpus.records import RATE_HZ
from models.corpus.styles import Style, random_style
from models.packet import SIDE_PX, SLICES, pack, unpack
from models.page import NotReadable, find_page

COLUMNS_PX: Final = SLICES * SIDE_PX


@dataclass(frozen=True)
class Order:
    """One page to draw."""

    signal_uv: NDArray[np.int16]
    layout: str
    seed: int
    style: str | Style = ""
    degrade: bool = True


def packed(kept: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn a kept page (224, 672) into its packet (224, 224, 3); no pixel changes."""
    return pack(kept)


def draw(order: Order) -> NDArray[np.uint8]:
    """Draw, find and scale one page: uint8 (224, 672). A page that is refused is not cropped."""
    raster = _print(order)
    try:
        grey = find_page(raster).grey
    except NotReadable:
        grey = np.asarray(cv2.cvtColor(raster, cv2.COLOR_RGB2GRAY))
    return unpack(pack(grey))


def _print(order: Order) -> NDArray[np.uint8]:
    rng = np.random.default_rng(order.seed)
    style = order.style or random_style(rng)
    raster = draw_page(order.signal_uv, RATE_HZ, order.layout, style, order.seed)
    return degrade(raster, rng) if order.degrade else raster


def degrade(raster: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Pass a page through what happens between the printer and us: scanning, saving, shadow."""
    if rng.random() < 0.5:
        factor = float(rng.uniform(0.4, 1.0))
        size = (round(raster.shape[1] * factor), round(raster.shape[0] * factor))
        raster = np.asarray(cv2.resize(raster, size, interpolation=cv2.INTER_AREA))
    if rng.random() < 0.3:
        grey = cv2.cvtColor(raster, cv2.COLOR_RGB2GRAY)
        raster = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))
    if rng.random() < 0.3:
        rows, columns = raster.shape[:2]
        corners = rng.uniform(0.55, 1.0, (2, 2)).astype(np.float32)
        light = cv2.resize(corners, (columns, rows), interpolation=cv2.INTER_LINEAR)
        raster = np.clip(raster * light[..., None], 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(35, 95))
        _, code = cv2.imencode(".jpg", raster, [cv2.IMWRITE_JPEG_QUALITY, quality])
        raster = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return raster


def refused_share(orders: Sequence[Order]) -> float:
    """Return the share of pages, 0..1, that `find_page` refuses when they are drawn."""
    with _drawers() as pool:
        return float(np.mean(list(pool.map(_is_refused, orders, chunksize=8))))


def _is_refused(order: Order) -> bool:
    try:
        find_page(_print(order))
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


def draw_all(orders: Sequence[Order], *, describe: str) -> NDArray[np.uint8]:
    """Draw pages in memory, on all cores: (n, 224, 672)."""
    with _drawers() as pool:
        drawn = pool.map(draw, orders, chunksize=8)
        return np.stack(list(tqdm(drawn, total=len(orders), desc=describe, unit="page")))


def make_cache(path: Path, orders: Sequence[Order], *, describe: str) -> NDArray[np.uint8]:
    """Return the pages of `orders` as a memory map (n, 224, 672), drawn when not there yet.

    A cache is taken up only when its description is the same: the orders' seeds and layouts, and
    the code that draws, finds and scales, so that what is judged is what is served.
    """
    shape = (len(orders), SIDE_PX, COLUMNS_PX)
    wanted = {
        "shape": shape,
        "orders": [[o.layout, o.seed, str(o.style)] for o in orders],
        "made_by": _code(),
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
    with _drawers() as pool:
        drawn = pool.map(draw, orders, chunksize=8)
        for index, page in enumerate(tqdm(drawn, total=len(orders), desc=describe, unit="page")):
            pages[index] = page
    pages.flush()
    note.write_text(json.dumps(wanted))
    return np.memmap(path, np.uint8, "r", shape=shape)


def _code() -> str:
    """Fingerprint of the code that decides how a page looks."""
    package = Path(__file__).parent.parent
    drawing = ("corpus/draw.py", "corpus/layouts.py", "corpus/pages.py", "corpus/styles.py")
    names = (*drawing, "page.py", "traces.py", "packet.py")
    return hashlib.sha256(b"".join((package / name).read_bytes() for name in names)).hexdigest()


def layouts_for(index: int, count: int) -> list[str]:
    """Return `count` training layouts for the record at `index`, all of them in turn."""
    return [TRAINING_LAYOUTS[(index + step) % len(TRAINING_LAYOUTS)] for step in range(count)]
