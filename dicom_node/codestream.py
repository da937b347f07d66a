"""What an encoded frame says of itself, read from its first bytes.

A decoder believes the frame's own header and allocates by it, whatever the data set declares. So
that header is read first: a frame of another size than declared is refused before a decoder sees
it. Its colour space is read as well, since senders often label YCbCr as RGB.
"""

import struct
from dataclasses import dataclass
from typing import Final

from dicom_node.contexts import (
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    JPEG_LS_NEAR,
    RLE,
)
from dicom_node.errors import ImageError

_JPEG_PROCESSES: Final[dict[str, frozenset[int]]] = {
    # Start-of-frame markers (ITU-T T.81 Table B.1, T.87 section C.1.1) each syntax may hold.
    JPEG_BASELINE: frozenset({0xC0}),
    JPEG_EXTENDED: frozenset({0xC0, 0xC1}),
    JPEG_LOSSLESS: frozenset({0xC3}),
    JPEG_LOSSLESS_SV1: frozenset({0xC3}),
    JPEG_LS_LOSSLESS: frozenset({0xF7}),
    JPEG_LS_NEAR: frozenset({0xF7}),
}
_START_OF_FRAME: Final = frozenset(
    {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC lie in the same range
)
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN: Final = 0xDA
# OpenJPEG allocates for every tile of the grid, there or not.
_MAX_SIDE: Final = 1 << 17
_MAX_TILES: Final = 4096


@dataclass(frozen=True)
class FrameHeader:
    """Size and colour of an encoded frame.

    Attributes
    ----------
    precision_bits : int or None
        Bits of a sample; ``None`` where the encoding does not say (RLE).
    is_ycbcr : bool or None
        Whether the decoded samples are YCbCr, ``None`` where the frame does not say.
    """

    rows: int | None
    columns: int | None
    components: int
    precision_bits: int | None
    is_ycbcr: bool | None = None


def read_frame_header(frame: bytes, transfer_syntax_uid: str) -> FrameHeader:
    """Read the header of one encoded frame.

    Raises
    ------
    ImageError
        When it is no frame of that transfer syntax.
    """
    try:
        if transfer_syntax_uid in _JPEG_PROCESSES:
            return _read_jpeg(frame, _JPEG_PROCESSES[transfer_syntax_uid])
        if transfer_syntax_uid in (JPEG_2000, JPEG_2000_LOSSLESS):
            return _read_jpeg_2000(frame)
        if transfer_syntax_uid == RLE:
            return _read_rle(frame)
    except (struct.error, IndexError) as fault:
        raise ImageError("the compressed picture is cut off in its header") from fault
    raise ImageError("the transfer syntax is not supported")


def _read_jpeg(frame: bytes, processes: frozenset[int]) -> FrameHeader:
    if frame[:2] != b"\xff\xd8":
        raise ImageError("the compressed picture is no JPEG stream")
    offset = 2
    is_ycbcr: bool | None = None
    while True:
        if frame[offset] != 0xFF:
            raise ImageError("the JPEG stream has no marker where one is due")
        marker = frame[offset + 1]
        offset += 1 if marker == 0xFF else 2
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", frame, offset)
        if marker in _START_OF_FRAME:
            if marker not in processes:
                raise ImageError("the JPEG process is another than the transfer syntax names")
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, offset + 2)
            identifiers = bytes(frame[offset + 8 + 3 * i] for i in range(components))
            if is_ycbcr is None and identifiers == b"RGB":
                is_ycbcr = False
            return FrameHeader(rows, columns, components, precision, is_ycbcr)
        if marker == _START_OF_SCAN or length < 2:
            raise ImageError("the JPEG stream has no frame header")
        segment = frame[offset + 2 : offset + length]
        if marker == 0xE0 and segment.startswith(b"JFIF\0"):
            is_ycbcr = True
        elif marker == 0xEE and segment.startswith(b"Adobe") and len(segment) >= 12:
            is_ycbcr = segment[11] == 1
        offset += length


def _read_jpeg_2000(frame: bytes) -> FrameHeader:
    # SOC then SIZ (ITU-T T.800 section A.4.1, A.5.1). Some senders wrap the stream in a JP2 file,
    # which PS3.5 A.4.4 forbids.
    if frame[:4] != b"\xff\x4f\xff\x51":
        raise ImageError("the compressed picture is no JPEG 2000 code stream")
    right, bottom, left, top = struct.unpack_from(">4L", frame, 8)
    tile_width, tile_height, tile_left, tile_top = struct.unpack_from(">4L", frame, 24)
    (components,) = struct.unpack_from(">H", frame, 40)
    if not (left < right <= _MAX_SIDE and top < bottom <= _MAX_SIDE and tile_width and tile_height):
        raise ImageError("the JPEG 2000 code stream has an impossible size")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if not 1 <= tiles <= _MAX_TILES:
        raise ImageError("the JPEG 2000 code stream has more tiles than any picture needs")
    if any(frame[43 + 3 * i : 45 + 3 * i] != b"\x01\x01" for i in range(components)):
        raise ImageError("subsampled JPEG 2000 components are not supported")
    precision = (frame[42] & 0x7F) + 1
    return FrameHeader(bottom - top, right - left, components, precision)


def _read_rle(frame: bytes) -> FrameHeader:
    # PS3.5 section G.5: the number of segments, then fifteen offsets; a segment is one byte plane.
    (segments, *offsets) = struct.unpack_from("<16L", frame, 0)
    if not 1 <= segments <= 15:
        raise ImageError("the RLE header counts no segments or too many")
    used = offsets[:segments]
    if used != sorted(used) or used[0] != 64 or used[-1] >= len(frame):
        raise ImageError("the RLE header names segments that are not there")
    return FrameHeader(None, None, segments, None)
