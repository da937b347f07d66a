"""Look at what the network learns from: a contact sheet of drawn pages.

    python -m models.corpus preview OUT.png

One simulated ECG of each finding, every page in another layout and look, and then one page after
each effect: scanned, faded, photographed. No real ECG is needed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.corpus.effects import VARIANTS
from models.corpus.layouts import LAYOUTS
from models.corpus.pages import Order, picture
from models.corpus.simulate import simulate
from models.labels import LABELS

_TILE_PX = (640, 440)
_TITLE_PX = 26
_ACROSS = 4


def preview(seed: int = 1) -> NDArray[np.uint8]:
    """Draw the contact sheet: uint8 (rows, columns, 3), four pages a row."""
    tiles = []
    for index, label in enumerate(LABELS):
        layout = list(LAYOUTS)[index % len(LAYOUTS)]
        order = Order(simulate(label.key, seed), layout, seed + index, effect="clean")
        tiles.append(_tile(picture(order), f"{label.meaning}, {layout}"))
    for index, effect in enumerate(list(VARIANTS)[1:]):
        order = Order(simulate("af", seed + index), "3x4+1", seed + index, "pink", effect)
        tiles.append(_tile(picture(order), effect.replace("_", " ")))
    rows = [np.hstack(tiles[first : first + _ACROSS]) for first in range(0, len(tiles), _ACROSS)]
    return np.vstack(rows)


def _tile(page: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    width, height = _TILE_PX
    tile = np.full((height, width, 3), 255, np.uint8)
    scale = min((width - 6) / page.shape[1], (height - _TITLE_PX - 6) / page.shape[0])
    size = (round(page.shape[1] * scale), round(page.shape[0] * scale))
    small = cv2.resize(page, size, interpolation=cv2.INTER_AREA)
    tile[_TITLE_PX : _TITLE_PX + size[1], 3 : 3 + size[0]] = small
    cv2.putText(tile, title, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
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
    print(f"{given.out}: {len(LABELS) + len(VARIANTS) - 1} pages")


if __name__ == "__main__":
    main()
