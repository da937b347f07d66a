"""TIFF files that no writer of pictures makes."""

from __future__ import annotations

import struct
from pathlib import Path


def endless_pages(path: Path) -> None:
    """Write a TIFF of a hundred thousand pages, which nobody may count one by one."""
    # Width, length, bits, compression (none), photometric, strip offset, samples, rows, bytes.
    tags = {256: 40, 257: 30, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 30, 279: 1200}
    entries = (struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    one = struct.pack("<H", len(tags)) + b"".join(entries)
    size = len(one) + 4
    chain = (one + struct.pack("<I", 8 + (n + 1) * size) for n in range(100_000))
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + b"".join(chain) + one + bytes(4))
