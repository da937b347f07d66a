"""A JPEG file as the frame of an object: the same coded picture, without what else the file holds.

Coding a photograph a second time loses detail, so its bytes are kept where DICOM has a transfer
syntax for them: one picture, baseline (ITU-T T.81), 8 bits, grey or three colours. What a camera or
a phone wrote beside it (place, thumbnail, comments, a film after the picture) does not come along.
"""

import struct
from dataclasses import dataclass
from typing import Final

_BASELINE: Final = 0xC0
_OTHER_PROCESSES: Final = frozenset({*range(0xC1, 0xD0)} - {0xC4, 0xC8, 0xCC})
_END: Final = 0xD9
_SCAN: Final = 0xDA
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD8)})
# Tables, restart interval, frame, scan, and the two segments that tell the colour space.
_KEPT: Final = frozenset({0xC4, 0xDB, 0xDD, _BASELINE, _SCAN})
_JFIF: Final = 0xE0
_ADOBE: Final = 0xEE
_JFIF_BYTES: Final = 16


@dataclass(frozen=True)
class JpegFrame:
    """A baseline JPEG picture as an encapsulated frame.

    Attributes
    ----------
    stream : bytes
        From SOI to EOI.
    photometric : str
        MONOCHROME2, RGB or YBR_FULL_422. The last names the colours of every YCbCr picture under
        this syntax (PS3.5 section 8.2.1); how they are sampled is said in the stream.
    """

    rows: int
    columns: int
    components: int
    photometric: str
    stream: bytes


def read_jpeg(content: bytes) -> JpegFrame | None:
    """Return the coded picture of a JPEG file.

    Returns
    -------
    JpegFrame or None
        ``None`` when DICOM's baseline syntax cannot hold it: another process, another depth, four
        colours, or a file that is damaged.
    """
    try:
        return _read(content)
    except (struct.error, IndexError, ValueError):
        return None


def _read(content: bytes) -> JpegFrame | None:
    if content[:2] != b"\xff\xd8":
        return None
    stream = bytearray(b"\xff\xd8")
    frame: tuple[int, ...] | None = None
    identifiers = b""
    adobe: int | None = None
    offset = 2
    while True:
        marker, offset = _next_marker(content, offset)
        if marker == _END:
            break
        if marker in _OTHER_PROCESSES:
            return None
        if marker in _WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", content, offset)
        segment = content[offset + 2 : offset + length]
        if marker == _BASELINE:
            frame = struct.unpack_from(">BHHB", segment)
            identifiers = bytes(segment[6 + 3 * i] for i in range(frame[3]))
        if marker == _ADOBE and segment.startswith(b"Adobe"):
            adobe = segment[11]
        is_colour_note = (marker == _JFIF and length == _JFIF_BYTES) or marker == _ADOBE
        if marker in _KEPT or is_colour_note:
            stream += content[offset - 2 : offset + length]
        offset += length
        if marker == _SCAN:
            end = _end_of_scan(content, offset)
            stream += content[offset:end]
            offset = end
    if frame is None or frame[0] != 8 or frame[3] not in (1, 3) or 0 in frame:
        return None
    _, rows, columns, components = frame
    photometric = "MONOCHROME2"
    if components == 3:
        photometric = "RGB" if adobe == 0 or identifiers == b"RGB" else "YBR_FULL_422"
    return JpegFrame(rows, columns, components, photometric, bytes(stream) + b"\xff\xd9")


def _next_marker(content: bytes, offset: int) -> tuple[int, int]:
    if content[offset] != 0xFF:
        raise ValueError("no marker where one is due")
    while content[offset] == 0xFF:
        offset += 1
    return content[offset], offset + 1


def _end_of_scan(content: bytes, offset: int) -> int:
    """Return where the coded data ends: at a marker that is neither stuffing nor a restart."""
    while True:
        offset = content.index(b"\xff", offset)
        following = content[offset + 1]
        if following != 0 and following not in _WITHOUT_LENGTH and following != 0xFF:
            return offset
        offset += 1 if following == 0xFF else 2
