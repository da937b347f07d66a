"""A DICOM file opened within bounds: its header, and where its bulk values lie.

Whatever a file declares, no more than a few megabytes of it are read and kept: the values that may
be large (pixel data, an encapsulated document) stay on disk until somebody asks for them. Every
fault of the file's content is an ImageError; a fault of the machine that holds it stays an OSError.
"""

import errno
import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, cast

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble

from dicom_node.contexts import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    TRANSFER_SYNTAXES,
)
from dicom_node.errors import ImageError

MAX_HEADER_BYTES: Final = 16 << 20
MAX_ELEMENTS: Final = 50_000
MAX_INFLATED_BYTES: Final = 256 << 20
UNDEFINED_LENGTH: Final = 0xFFFFFFFF
#: Whose pixel data is not in fragments.
NATIVE: Final = frozenset({IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE})

_PIXEL_DATA: Final = 0x7FE00010
_PIXEL_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, _PIXEL_DATA})
_DOCUMENT: Final = 0x00420011


@dataclass(frozen=True)
class Bulk:
    """Where a value lies in the stream of its object.

    Attributes
    ----------
    start, length : int
        Bytes from the beginning of the stream; the length may be ``UNDEFINED_LENGTH``.
    is_words : bool
        Whether the value is of VR OW.
    """

    start: int
    length: int
    is_words: bool


class StoredObject:
    """A DICOM file, read up to its pixel data. A context manager: closes its file.

    Attributes
    ----------
    header : Dataset
        All elements before the pixel data but the encapsulated document, with File Meta
        Information.
    syntax : str
        The transfer syntax.
    stream : BinaryIO
        The bytes the bulk values lie in: the file, or what it inflates to.
    pixels, document : Bulk or None
        The pixel data and the encapsulated document, where there are any.

    Raises
    ------
    ImageError
        When the file is no DICOM object in a transfer syntax we take.
    OSError
        When this machine cannot read it, now; see :func:`is_of_the_machine`.
    """

    def __init__(self, path: Path) -> None:
        with faults_named():
            self._file: BinaryIO = path.open("rb")
        try:
            with faults_named():
                self._open()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> None:
        read_preamble(self._file, False)
        meta = read_dataset(
            cast(BinaryIO, BoundedReader(self._file, MAX_HEADER_BYTES)),
            is_implicit_VR=False,
            is_little_endian=True,
            stop_when=lambda tag, _vr, _length: tag.group != 2,
        )
        self.syntax = str(meta.get("TransferSyntaxUID", ""))
        if self.syntax not in TRANSFER_SYNTAXES:
            raise ImageError("the transfer syntax is not supported")
        self.stream = _inflate(self._file) if self.syntax == DEFLATED_LE else self._file
        self.pixels: Bulk | None = None
        self.document: Bulk | None = None
        self.header = self._read_elements()
        self.header.file_meta = FileMetaDataset(meta)

    def _read_elements(self) -> Dataset:
        reader = cast(BinaryIO, BoundedReader(self.stream, MAX_HEADER_BYTES))
        is_little_endian = self.syntax != EXPLICIT_BE
        order = "<" if is_little_endian else ">"
        header: Dataset | None = None
        while True:
            part = read_dataset(
                reader,
                is_implicit_VR=self.syntax == IMPLICIT_LE,
                is_little_endian=is_little_endian,
                stop_when=_stops_at_bulk(),
            )
            if header is None:
                header = part
            else:
                header.update(part)
            start = self.stream.read(8)
            if len(start) < 8:
                return header
            group, element = struct.unpack(f"{order}HH", start[:4])
            if header.original_encoding[0]:
                is_words, (length,) = True, struct.unpack(f"{order}L", start[4:])
            else:
                is_words = start[4:6] == b"OW"
                (length,) = struct.unpack(f"{order}L", self.stream.read(4))
            bulk = Bulk(self.stream.tell(), length, is_words)
            if group << 16 | element != _DOCUMENT:
                self.pixels = bulk if group << 16 | element == _PIXEL_DATA else None
                return header
            if length == UNDEFINED_LENGTH:
                raise ImageError("the encapsulated document has no length")
            self.document = bulk
            self.stream.seek(bulk.start + length)


class BoundedReader:
    """A stream that gives no more than so many bytes in all."""

    def __init__(self, stream: BinaryIO, budget_bytes: int) -> None:
        self._stream = stream
        self._budget_bytes = budget_bytes

    def read(self, size: int = -1) -> bytes:
        """Read, at the expense of the budget."""
        data = self._stream.read(self._budget_bytes + 1 if size < 0 else size)
        self._budget_bytes -= len(data)
        if self._budget_bytes < 0:
            raise ImageError("the header, waveform or compressed frame is longer than any we read")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, at no expense."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()


def read_header(path: Path) -> Dataset:
    """Read what any object says of itself: all but its pixels, samples and documents.

    Raises
    ------
    ImageError
        When the file is no DICOM object in a transfer syntax we take.
    """
    with StoredObject(path) as stored:
        stored.header.pop("WaveformSequence", None)
        return stored.header


def is_of_the_machine(fault: OSError) -> bool:
    """Tell whether a fault is of this machine and this moment, and says nothing about the content.

    A right that is missing, a full disk, a share that is away: the same file may be read tomorrow.
    Whatever bytes a file holds, the system calls only one of the requests they lead to invalid;
    decoders say the rest without a number.
    """
    return fault.errno not in (None, errno.EINVAL)


@contextmanager
def faults_named() -> Iterator[None]:
    """Turn whatever a parser or decoder raises into an ImageError, and silence its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except ImageError:
            raise
        except InvalidDicomError as fault:
            raise ImageError("the file is no DICOM object") from fault
        except OSError as fault:
            if is_of_the_machine(fault):
                raise
            raise ImageError("the object leads beyond what can be read") from fault
        except MemoryError:
            # What this machine lacks now says nothing about the object: it may be tried again.
            raise
        except Exception as fault:
            raise ImageError(f"the object cannot be decoded ({type(fault).__name__})") from fault


def _stops_at_bulk() -> Callable[[int, str | None, int], bool]:
    """Return a test for pydicom's reader that also counts the elements it is shown."""
    count = 0

    def is_bulk(tag: int, _vr: str | None, _length: int) -> bool:
        nonlocal count
        count += 1
        if count > MAX_ELEMENTS:
            raise ImageError(f"the header has more than {MAX_ELEMENTS} elements")
        return tag in _PIXEL_TAGS or tag == _DOCUMENT

    return is_bulk


def _inflate(file: BinaryIO) -> BinaryIO:
    start = file.tell()
    head = file.read(6)
    file.seek(start)
    # Some senders announce the deflated encoding and send the data set as it is. An element's tag
    # with its VR is no beginning of a deflate stream: the lengths in it would contradict.
    if re.fullmatch(rb"[\x02-\x10]\x00..[A-Z]{2}", head, re.DOTALL):
        return file
    # PS3.5 section A.5: a raw deflate stream (RFC 1951), without a zlib header.
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(file.read(MAX_INFLATED_BYTES), MAX_INFLATED_BYTES)
    if inflater.unconsumed_tail:
        raise ImageError(f"the object inflates to more than {MAX_INFLATED_BYTES} bytes")
    return io.BytesIO(inflated)
