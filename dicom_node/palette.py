"""How long a segmented palette is once expanded, known before it is (PS3.3 section C.7.9.2).

Six bytes may stand for 65,535 entries, and an indirect segment for as many other segments: a
quarter of a megabyte would fill any memory. What this counts, pydicom then expands.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from pydicom.dataset import Dataset

from dicom_node.contexts import EXPLICIT_BE
from dicom_node.errors import ImageError

MAX_LUT_BYTES: Final = 1 << 18
#: As many as 16 bits can count.
MAX_LUT_ENTRIES: Final = 1 << 16

_DISCRETE, _INDIRECT = 0, 2
#: An indirect segment costs a copy of the palette besides what it names.
_COST_OF_INDIRECT: Final = 256
_TOO_LONG: Final = "a palette is longer than any picture can use"


def check_palettes(header: Dataset) -> None:
    """Look at the lengths of all palettes of a picture.

    Raises
    ------
    ImageError
        When one has more than ``MAX_LUT_BYTES``, expands to more than ``MAX_LUT_ENTRIES``, or
        consists of segments that name each other.
    """
    is_narrow = int(header.RedPaletteColorLookupTableDescriptor[2]) // 8 == 1
    order = ">" if header.file_meta.TransferSyntaxUID == EXPLICIT_BE else "<"
    dtype = np.dtype("u1" if is_narrow else f"{order}u2")
    for colour in ("Red", "Green", "Blue", "Alpha"):
        plain = header.get(f"{colour}PaletteColorLookupTableData") or b""
        segments = header.get(f"Segmented{colour}PaletteColorLookupTableData") or b""
        if max(len(plain), len(segments)) > MAX_LUT_BYTES:
            raise ImageError(_TOO_LONG)
        if plain:
            continue
        whole = len(segments) // dtype.itemsize * dtype.itemsize
        values = np.frombuffer(segments[:whole], dtype).tolist()
        cost = 0
        for entries in _lengths(values, is_narrow=is_narrow, is_big_endian=order == ">"):
            # A segment of no entries costs time all the same.
            cost += max(entries, 1)
            if cost > MAX_LUT_ENTRIES:
                raise ImageError(_TOO_LONG)


def _lengths(values: list[int], *, is_narrow: bool, is_big_endian: bool) -> Iterator[int]:
    """Yield what each segment stands for, those an indirect one names included."""
    places = (2, 3, 0, 1) if is_big_endian else (3, 2, 1, 0)
    place = 0
    while place + 1 < len(values):
        kind, length = values[place : place + 2]
        if kind != _INDIRECT:
            yield length
            place = _after(values, place)
            continue
        if length == 0:
            raise ImageError("a palette is made of segments that name each other")
        yield _COST_OF_INDIRECT
        place += 2
        if is_narrow:
            offset = int.from_bytes(bytes(values[place + one] for one in places))
            place += 4
        else:
            offset = values[place + 1] << 16 | values[place]
            place += 2
        for _ in range(length):
            if offset + 1 >= len(values):
                break
            if values[offset] == _INDIRECT:
                raise ImageError("a palette is made of segments that name each other")
            yield values[offset + 1]
            offset = _after(values, offset)


def _after(values: list[int], place: int) -> int:
    """Return where the segment after a discrete or linear one begins."""
    return place + 2 + (values[place + 1] if values[place] == _DISCRETE else 1)
