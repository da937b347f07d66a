"""A folder of labelled pictures: a hospital's own ECGs, to train on or to judge by.

The folder holds the pictures and ``labels.csv``, one row a picture:

===========  ==========================================================================
``file``     path of the picture inside the folder
``findings`` keys of `models.labels.KEYS` joined with ``|``, or ``none`` for none of the ten
``patient``  who it is of, any text; may be left out, then each picture is its own patient
``unknown``  keys that must not count for this picture, joined with ``|``; may be left out
===========  ==========================================================================

Pictures of one patient stand on one side of the split, as records do.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from models.corpus.records import Part, part_of
from models.labels import KEYS, index_of
from models.packet import pack, unpack
from models.page import NotReadable, find_page
from models.picture import raster_of

LABELS_FILE: Final = "labels.csv"
_COLUMNS: Final = ("file", "findings")
#: A picture beyond this is no ECG page but a mistake or a bomb.
_MOST_PIXELS: Final = 60_000_000


class PicturesError(ValueError):
    """The folder or its list is not what it should be; the message says where."""


@dataclass(frozen=True)
class Picture:
    """One labelled picture: its file, its patient, its targets and what of them is known, (10,)."""

    path: Path
    patient: str
    targets: NDArray[np.float32]
    known: NDArray[np.float32]

    @property
    def part(self) -> Part:
        """The side of the split this patient is on."""
        return part_of(self.patient)


def load_pictures(folder: Path) -> list[Picture]:
    """Read the list of a folder; the pictures themselves are not opened.

    Raises
    ------
    PicturesError
        No list, a column missing, a row with an unknown finding, or a picture that is not there.
    """
    listing = folder / LABELS_FILE
    if not listing.is_file():
        raise PicturesError(f"expected {LABELS_FILE} in the folder of pictures; found none")
    with listing.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if missing := [name for name in _COLUMNS if name not in columns]:
            raise PicturesError(
                f"{LABELS_FILE}: expected the columns {', '.join(_COLUMNS)}; "
                f"{', '.join(missing)} missing"
            )
        pictures = [
            _picture(folder, row, f"{LABELS_FILE}, line {line}")
            for line, row in enumerate(reader, start=2)
        ]
    if not pictures:
        raise PicturesError(f"{LABELS_FILE}: expected at least one picture; found none")
    return pictures


def _picture(folder: Path, row: dict[str, str], where: str) -> Picture:
    path = (folder / row["file"]).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise PicturesError(f"{where}: expected a file inside the folder")
    if not path.is_file():
        raise PicturesError(f"{where}: no such picture")
    said = _keys(row["findings"], where)
    if not said and row["findings"].strip() != "none":
        raise PicturesError(f"{where}: expected findings or none; received nothing")
    if "normal" in said and len(said) > 1:
        raise PicturesError(f"{where}: normal stands beside another finding")
    targets = np.zeros(len(KEYS), np.float32)
    targets[[index_of(key) for key in said]] = 1.0
    known = np.ones(len(KEYS), np.float32)
    known[[index_of(key) for key in _keys(row.get("unknown") or "", where)]] = 0.0
    return Picture(path, (row.get("patient") or "").strip() or row["file"], targets, known)


def _keys(text: str, where: str) -> list[str]:
    keys = [word.strip() for word in text.split("|") if word.strip() not in ("", "none")]
    if unknown := [key for key in keys if key not in KEYS]:
        raise PicturesError(
            f"{where}: expected findings of {', '.join(KEYS)}; received {', '.join(unknown)}"
        )
    return keys


def decode(path: Path) -> NDArray[np.uint8]:
    """Decode the first frame of a picture file: uint8 (rows, columns) or (rows, columns, 3).

    Raises
    ------
    NotReadable
        It is no picture, or one beyond all size.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise NotReadable(f"picture too large: {image.width} x {image.height} pixels")
            return raster_of(image)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as fault:
        raise NotReadable("no picture that can be decoded") from fault


@dataclass(frozen=True)
class Kept:
    """The pictures that are readable pages, (n, 224, 672), and why the others are not."""

    pictures: tuple[Picture, ...]
    pages: NDArray[np.uint8]
    refused: tuple[tuple[Picture, str], ...]


def keep(pictures: Sequence[Picture]) -> Kept:
    """Decode, find and scale the pictures, as serving does."""
    readable, pages, refused = [], [], []
    for picture in tqdm(pictures, desc="reading pictures", unit="picture"):
        try:
            pages.append(unpack(pack(find_page(decode(picture.path)).grey)))
            readable.append(picture)
        except NotReadable as refusal:
            refused.append((picture, refusal.reason))
    shape = (0, *unpack(np.zeros((224, 224, 3), np.uint8)).shape)
    return Kept(
        tuple(readable), np.stack(pages) if pages else np.zeros(shape, np.uint8), tuple(refused)
    )
