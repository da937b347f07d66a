"""Pixel data of any accepted object -> raster, in bounded memory, with every failure named.

What an object declares is compared with what it holds before anything is allocated or decoded:
a picture of 65535 x 65535 pixels that is not there costs nothing. Only the header and the frame
asked for are read from disk.

>>> with StoredImage(path) as image:            # doctest: +SKIP
...     raster = image.read(0)
"""

import io
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, cast

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from dicom_node.codestream import FrameHeader, read_frame_header
from dicom_node.contexts import (
    EXPLICIT_BE,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    RLE,
    TRANSFER_SYNTAXES,
)
from dicom_node.errors import ImageError
from dicom_node.icc import to_srgb
from dicom_node.overlays import burn
from dicom_node.part10 import (
    MAX_HEADER_BYTES,
    MAX_INFLATED_BYTES,
    NATIVE,
    UNDEFINED_LENGTH,
    BoundedReader,
    Bulk,
    StoredObject,
    faults_named,
    read_header,
)
from dicom_node.pixels import COLOUR, GREY, JPEG_2000_COLOUR, PALETTE, Raster, aspect_of, to_raster

__all__ = [
    "MAX_FRAME_PIXELS",
    "MAX_HEADER_BYTES",
    "MAX_INFLATED_BYTES",
    "StoredImage",
    "frame_count",
    "pages",
    "read_header",
    "read_raster",
]

# A letter page at 600 dpi has 34 million pixels, a phone photo 12.
MAX_FRAME_PIXELS: Final = 40_000_000
MAX_ENCODED_FRAME_BYTES: Final = 128 << 20


class StoredImage:
    """The pixel data of one object, frame by frame. A context manager: closes its file.

    Parameters
    ----------
    path : Path
        A DICOM file.

    Attributes
    ----------
    header : Dataset
        Everything before the pixel data, with File Meta Information.
    frame_count : int
        Frames declared, at least 1. Whether a frame is there shows when it is read.
    aspect : float
        Height of a stored pixel over its width; rasters are as stored, not drawn out by it.

    Raises
    ------
    ImageError
        When the file is no DICOM object with pixel data of a kind we read.
    """

    def __init__(self, path: Path) -> None:
        stored = StoredObject(path)
        try:
            self._open(stored)
        except BaseException:
            stored.close()
            raise

    @classmethod
    def within(cls, stored: StoredObject) -> Self:
        """Make one of an object that is open already, and is closed with it."""
        image = cls.__new__(cls)
        image._open(stored)
        return image

    @classmethod
    def of(cls, ds: Dataset) -> Self:
        """Make one of a data set in memory, which has its File Meta Information."""
        image = cls.__new__(cls)
        with faults_named():
            value = ds.get("PixelData")
            if not isinstance(value, bytes):
                raise ImageError("the object has no pixel data")
            image._owner = stream = io.BytesIO(value)
            is_encapsulated = str(ds.file_meta.TransferSyntaxUID) not in NATIVE
            length = UNDEFINED_LENGTH if is_encapsulated else len(value)
            image._attach(ds, stream, Bulk(0, length, ds["PixelData"].VR == "OW"))
        return image

    def _open(self, stored: StoredObject) -> None:
        self._owner: StoredObject | BinaryIO = stored
        with faults_named():
            if stored.pixels is None:
                raise ImageError("the object has no pixel data of whole numbers")
            self._attach(stored.header, stored.stream, stored.pixels)

    def _attach(self, header: Dataset, stream: BinaryIO, pixels: Bulk) -> None:
        self.header = header
        self._stream = stream
        self._start, self._length, self._is_words = pixels.start, pixels.length, pixels.is_words
        self._syntax = str(header.file_meta.TransferSyntaxUID)
        if self._syntax not in TRANSFER_SYNTAXES:
            raise ImageError("the transfer syntax is not supported")
        if (self._length == UNDEFINED_LENGTH) != (self._syntax not in NATIVE):
            raise ImageError("the pixel data is not encoded as the transfer syntax says")
        self._shape = _Shape(header)
        self.frame_count = _frame_count(header)
        self.aspect = aspect_of(header)

    def read(self, frame: int = 0) -> Raster:
        """Decode one frame, counted from 0.

        Returns
        -------
        uint8 array (rows, columns) or (rows, columns, 3)
            sRGB for colour; 0 is black. Graphic overlays are part of it.

        Raises
        ------
        ImageError
            When the frame is not there or cannot be decoded.
        """
        with faults_named():
            if not 0 <= frame < self.frame_count:
                raise ImageError(f"frame {frame + 1} of {self.frame_count} does not exist")
            if self._syntax in NATIVE:
                values, photometric = self._read_native(frame), self._shape.photometric
            else:
                values, photometric = self._read_encoded(frame)
            raster = to_srgb(to_raster(values, self.header, photometric), self.header)
            swaps = self._syntax == EXPLICIT_BE
            return burn(raster, self.header, frame=frame, swaps=swaps)

    def close(self) -> None:
        """Close the file."""
        self._owner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read_native(self, frame: int) -> npt.NDArray[Any]:
        shape = self._shape
        first_bit = frame * shape.frame_bits
        first, last = first_bit // 8, -(-(first_bit + shape.frame_bits) // 8)
        swaps = self._syntax == EXPLICIT_BE and self._is_words and shape.bits_allocated != 16
        # Big endian words hold pairs of bytes in the other order (PS3.5 section 8.1.1).
        low, high = (first - first % 2, last + last % 2) if swaps else (first, last)
        if last > self._length:
            raise ImageError(
                f"Rows x Columns declare {last} bytes of pixel data up to frame {frame + 1}, "
                f"there are {self._length}"
            )
        self._stream.seek(self._start + low)
        data = self._stream.read(high - low)
        if len(data) < last - low:
            raise ImageError("the pixel data is cut off")
        stored = np.frombuffer(data, np.uint8)
        if swaps:
            padded = np.pad(stored, (0, len(stored) % 2))
            stored = padded.reshape(-1, 2)[:, ::-1].reshape(-1)
        stored = stored[first - low : last - low]
        if shape.bits_allocated == 1:
            bits = np.unpackbits(stored, bitorder="little")[first_bit - first * 8 :]
            return bits[: shape.rows * shape.columns].reshape(shape.rows, shape.columns)
        values: npt.NDArray[Any] = stored
        if shape.bits_allocated == 16:
            values = stored.view(">u2" if self._syntax == EXPLICIT_BE else "<u2")
        return shape.stored_bits(shape.arrange(values))

    def _read_encoded(self, frame: int) -> tuple[npt.NDArray[Any], str]:
        shape = self._shape
        self._stream.seek(self._start)
        reader = BoundedReader(self._stream, MAX_ENCODED_FRAME_BYTES)
        offsets = self.header.get("ExtendedOffsetTable")
        lengths = self.header.get("ExtendedOffsetTableLengths")
        encoded = get_frame(
            cast(BinaryIO, reader),
            frame,
            number_of_frames=self.frame_count,
            extended_offsets=(offsets, lengths) if offsets and lengths else None,
        )
        if not encoded:
            raise ImageError("the compressed picture is empty")
        found = read_frame_header(encoded, self._syntax)
        shape.compare(found, self._syntax)
        decoded, properties = get_decoder(UID(self._syntax)).as_array(
            encapsulate([encoded], has_bot=False),
            index=0,
            raw=True,
            decoding_plugin="pylibjpeg",
            **shape.decoder_options(),
        )
        photometric = str(properties["photometric_interpretation"])
        if photometric in COLOUR and self._syntax != RLE and found.is_ycbcr is not None:
            photometric = "YBR_FULL" if found.is_ycbcr else "RGB"
        if photometric in JPEG_2000_COLOUR and self._syntax in (JPEG_2000, JPEG_2000_LOSSLESS):
            photometric = "RGB"
        return shape.stored_bits(decoded), photometric


class _Shape:
    """The Image Pixel module's numbers, checked (PS3.3 section C.7.6.3)."""

    def __init__(self, header: Dataset) -> None:
        self.rows = _whole(header, "Rows")
        self.columns = _whole(header, "Columns")
        self.samples = _whole(header, "SamplesPerPixel")
        self.bits_allocated = _whole(header, "BitsAllocated")
        self.bits_stored = _whole(header, "BitsStored")
        self.high_bit = _whole(header, "HighBit", self.bits_stored - 1)
        self.is_signed = _whole(header, "PixelRepresentation", 0) == 1
        self.planar = _whole(header, "PlanarConfiguration", 0)
        self.photometric = str(header.get("PhotometricInterpretation", "")).strip()
        if self.rows < 1 or self.columns < 1:
            raise ImageError("Rows or Columns is zero")
        if self.rows * self.columns > MAX_FRAME_PIXELS:
            raise ImageError(
                f"{self.rows} x {self.columns} pixels are declared, "
                f"more than the {MAX_FRAME_PIXELS} we decode"
            )
        if self.photometric not in GREY | COLOUR | {PALETTE}:
            raise ImageError("the photometric interpretation is not supported")
        if self.samples != (3 if self.photometric in COLOUR else 1):
            raise ImageError("Samples per Pixel does not fit the photometric interpretation")
        if self.bits_allocated not in (1, 8, 16) or (self.bits_allocated == 1 and self.samples > 1):
            raise ImageError("Bits Allocated is not 1, 8 or 16")
        if not 1 <= self.bits_stored <= self.high_bit + 1 <= self.bits_allocated:
            raise ImageError("Bits Stored and High Bit do not fit Bits Allocated")
        if self.planar not in (0, 1):
            raise ImageError("Planar Configuration is neither 0 nor 1")
        self._is_subsampled = self.photometric == "YBR_FULL_422"

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame. YBR_FULL_422 has two samples a pixel instead of three."""
        samples = 2 if self._is_subsampled else self.samples
        return self.rows * self.columns * samples * self.bits_allocated

    def arrange(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Put a native frame's values into (rows, columns[, 3])."""
        rows, columns = self.rows, self.columns
        if self.samples == 1:
            return values.reshape(rows, columns)
        if self._is_subsampled:
            if columns % 2:
                raise ImageError("YBR_FULL_422 needs an even number of columns")
            # Y Y Cb Cr for each pair of pixels (PS3.3 C.7.6.3.1.2).
            pairs = values.reshape(rows, columns // 2, 4)
            full = np.empty((rows, columns, 3), values.dtype)
            full[..., 0] = pairs[..., :2].reshape(rows, columns)
            full[..., 1:] = np.repeat(pairs[..., 2:], 2, axis=1)
            return full
        if self.planar == 1:
            return values.reshape(3, rows, columns).transpose(1, 2, 0)
        return values.reshape(rows, columns, 3)

    def stored_bits(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Keep the stored bits of each value, and its sign where it has one."""
        if self.bits_allocated == 1:
            return values
        size = values.dtype.itemsize * 8
        native = values.astype(f"u{size // 8}", copy=False)
        above = size - 1 - self.high_bit
        if above <= 0 and self.bits_stored >= size and not self.is_signed:
            return native
        left = (native << max(above, 0)).astype(native.dtype)
        if self.is_signed:
            left = left.view(f"i{size // 8}")
        return left >> max(size - self.bits_stored, 0)

    def compare(self, found: FrameHeader, transfer_syntax_uid: str) -> None:
        """Refuse an encoded frame that is another than declared."""
        if found.rows is not None and (found.rows, found.columns) != (self.rows, self.columns):
            raise ImageError(
                f"{self.rows} x {self.columns} pixels are declared, "
                f"the compressed picture has {found.rows} x {found.columns}"
            )
        components = self.samples
        if transfer_syntax_uid == RLE:
            components *= -(-self.bits_allocated // 8)
        if found.components != components:
            raise ImageError(
                f"{components} components are declared, "
                f"the compressed picture has {found.components}"
            )
        if found.precision_bits is not None and found.precision_bits > self.bits_allocated:
            raise ImageError("the compressed picture has more bits than Bits Allocated")

    def decoder_options(self) -> dict[str, Any]:
        """Say to the decoder what one frame is."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "number_of_frames": 1,
            "samples_per_pixel": self.samples,
            "bits_allocated": self.bits_allocated,
            "bits_stored": self.bits_stored,
            "pixel_representation": int(self.is_signed),
            "photometric_interpretation": self.photometric,
            "planar_configuration": self.planar,
            "pixel_keyword": "PixelData",
        }


def frame_count(path: Path) -> int:
    """Return how many frames an object declares, 1 where it declares none.

    Raises
    ------
    ImageError
        When the file is no DICOM object.
    """
    return _frame_count(read_header(path))


def pages(path: Path) -> Iterator[Raster]:
    """Yield the frames of an object as rasters, in order.

    Raises
    ------
    ImageError
        At the first frame that cannot be read. Use :class:`StoredImage` to go on past one.
    """
    with StoredImage(path) as image:
        for frame in range(image.frame_count):
            yield image.read(frame)


def read_raster(ds: Dataset, frame: int = 0) -> Raster:
    """Decode one frame of a data set in memory; see :meth:`StoredImage.read`."""
    return StoredImage.of(ds).read(frame)


def _frame_count(header: Dataset) -> int:
    return max(1, _whole(header, "NumberOfFrames", 1))


def _whole(header: Dataset, keyword: str, default: int | None = None) -> int:
    value = header.get(keyword)
    if value is None or value == "":
        if default is None:
            raise ImageError(f"{keyword} is absent")
        return default
    try:
        return int(value)
    except (TypeError, ValueError) as fault:
        raise ImageError(f"{keyword} is no number") from fault
