"""Look at what the network learns from: a contact sheet of drawn pages.

    python -m models.corpus preview OUT.png

One simulated ECG of each finding, every page in another layout and style. No real ECG is needed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.corpus.draw import draw_page
from models.corpus.layouts import LAYOUTS
from models.corpus.simulate import RATE_HZ, simulate
from models.corpus.styles import STYLES
from models.labels import KEYS, LABELS

_TILE_PX = (960, 640)


def preview(seed: int = 1) -> NDArray[np.uint8]:
    """Draw the contact sheet: uint8 (rows, columns, 3), two pages a row."""
    tiles = []
    for index, label in enumerate(LABELS):
        layout = list(LAYOUTS)[index % len(LAYOUTS)]
        style = list(STYLES)[index % len(STYLES)]
        page = draw_page(simulate(label.key, seed), RATE_HZ, layout, style, seed)
        tiles.append(_tile(page, f"{label.meaning} / {layout} / {style}"))
    pairs = [np.hstack(tiles[first : first + 2]) for first in range(0, len(KEYS), 2)]
    return np.vstack(pairs)


def _tile(page: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    width, height = _TILE_PX
    tile = np.full((height, width, 3), 255, np.uint8)
    scale = min(width / page.shape[1], (height - 30) / page.shape[0])
    size = (round(page.shape[1] * scale), round(page.shape[0] * scale))
    small = cv2.resize(page, size, interpolation=cv2.INTER_AREA)
    tile[30 : 30 + size[1], : size[0]] = small
    cv2.putText(tile, title, (8, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    return tile


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the contact sheet the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m models.corpus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("preview",), help="what to make")
    parser.add_argument("out", type=Path, help="the PNG to write")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other ECGs")
    given = parser.parse_args(arguments)
    Image.fromarray(preview(given.seed)).save(given.out)
    print(f"{given.out}: {len(KEYS)} pages")


if __name__ == "__main__":
    main()
