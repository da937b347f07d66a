"""Encapsulated PDF, or a PDF file -> rasters, page by page, in bounded memory and time.

PS3.3 section A.45.1. Each document is rendered by a process of its own (``pdf_child``): a PDF that
crashes PDFium, fills the memory or never ends is an ImageError here, and nothing else.

>>> with StoredPdf(path) as pdf:            # doctest: +SKIP
...     rasters = [pdf.read(index) for index in range(pdf.page_count)]
"""

import errno
import io
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NoReturn, Self, cast

import numpy as np

from dicom_node import pdf_child
from dicom_node.errors import ImageError
from dicom_node.part10 import StoredObject, faults_named
from dicom_node.pixels import Raster

MAX_DOCUMENT_BYTES: Final = 64 << 20
#: What a document may take, all pages together: of a processor, and of its reader's time.
MAX_CPU_S: Final = 10
MAX_WAIT_S: Final = 40.0

_MAX_ANSWER_BYTES: Final = 200
_MAX_SIDE_PX: Final = 30_000
#: A PDF may begin with something else (ISO 32000-1 Annex H: within the first 1024 bytes).
_HEADER_WITHIN: Final = 1024
_END_S: Final = 5.0
_TOO_LONG: Final = "the PDF takes too long to render"
_NO_TURN: Final = "the process that renders PDFs got no processor time"
_CRASHED: Final = "the PDF crashes its renderer or needs more memory than a page may take"
_FAULTS: Final = {
    "encrypted": "the PDF is encrypted",
    "broken": "the PDF is broken or has no pages",
    "page": "the PDF page cannot be rendered",
    "memory": "the PDF needs more memory than a page may take",
}


class StoredPdf:
    """The pages of a PDF, in a DICOM object or a file. A context manager: ends its process.

    Parameters
    ----------
    path : Path
        A DICOM object with an encapsulated document, or a PDF file.

    Attributes
    ----------
    page_count : int
        Pages of the document, at least 1. Whether one can be rendered shows when it is read.

    Raises
    ------
    ImageError
        When there is no PDF, or one that is encrypted, broken, too large, or has no pages.
    OSError
        When this machine cannot read or render it now: among them TimeoutError, where it is so busy
        that the renderer waited instead of working.
    """

    def __init__(self, path: Path) -> None:
        with ExitStack() as stack:
            with faults_named():
                fd, start, length = _find_document(path, stack)
            self._renderer = stack.enter_context(_Renderer(fd, start, length))
            self.page_count = self._renderer.count()
            if self.page_count < 1:
                raise ImageError(_FAULTS["broken"])
            self._stack = stack.pop_all()

    def read(self, index: int = 0) -> Raster:
        """Render one page, counted from 0.

        Returns
        -------
        uint8 array (rows, columns, 3)
            RGB on white, 200 dots an inch or what fits ``pdf_child.MAX_PAGE_PIXELS``.

        Raises
        ------
        ImageError
            When the page is not there or cannot be rendered.
        """
        if not 0 <= index < self.page_count:
            raise ImageError(f"page {index + 1} of {self.page_count} does not exist")
        return self._renderer.render(index)

    def close(self) -> None:
        """End the process and close the file."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Renderer:
    """The parent's end of the process that renders."""

    def __init__(self, document_fd: int, start: int, length: int) -> None:
        arguments = (document_fd, start, length, MAX_CPU_S)
        self._process = subprocess.Popen(
            # Isolated: neither the folder it is started in nor the environment chooses the code.
            [sys.executable, "-I", pdf_child.__file__, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            pass_fds=(document_fd,),
            env={},
            start_new_session=True,
        )
        assert self._process.stdin  # noqa: S101 (a pipe)
        assert self._process.stdout  # noqa: S101 (likewise)
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._waits = selectors.DefaultSelector()
        self._waits.register(self._answers, selectors.EVENT_READ)
        self._left_s = MAX_WAIT_S
        self._fault: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._waits.close()
        self._requests.close()
        self._answers.close()

    def count(self) -> int:
        """Return how many pages the document has: what the process says first."""
        (pages,) = self._numbers("pages")
        return pages

    def render(self, index: int) -> Raster:
        """Ask for a page and take its pixels."""
        if self._fault is not None:
            raise ImageError(self._fault)
        if self._left_s <= 0:
            raise TimeoutError(errno.ETIMEDOUT, _NO_TURN)
        try:
            self._requests.write(b"%d\n" % index)
        except BrokenPipeError:
            self._give_up()
        rows, columns = self._numbers("rows", "columns")
        # Whoever took the process over might say anything.
        sides_fit = 0 < rows <= _MAX_SIDE_PX and 0 < columns <= _MAX_SIDE_PX
        if not sides_fit or rows * columns > pdf_child.MAX_PAGE_PIXELS + 2 * _MAX_SIDE_PX:
            raise ImageError("the PDF page has no size or an impossible one")
        pixels = bytearray(rows * columns * 3)
        left = memoryview(pixels)
        while len(left):
            part = self._receive(len(left))
            left[: len(part)] = part
            left = left[len(part) :]
        return np.frombuffer(pixels, np.uint8).reshape(rows, columns, 3)

    def _numbers(self, *names: str) -> tuple[int, ...]:
        """Take a line of the process and return the numbers it names."""
        line = b""
        while not line.endswith(b"\n"):
            # A byte at a time: the pixels that may follow are not part of the line.
            line += self._receive(1)
            if len(line) > _MAX_ANSWER_BYTES:
                break
        try:
            answer = json.loads(line)
            fault = answer.get("fault")
            if fault is None:
                return tuple(int(answer[name]) for name in names)
            reason = _FAULTS[fault]
        except (ValueError, TypeError, KeyError, AttributeError):
            reason = self._fault = _CRASHED
        raise ImageError(reason)

    def _receive(self, most: int) -> bytes:
        began = time.monotonic()
        is_ready = self._waits.select(max(0.0, self._left_s))
        self._left_s -= time.monotonic() - began
        if not is_ready:
            # What a document itself takes is counted in its processor time: see SIGXCPU below.
            self._process.kill()
            raise TimeoutError(errno.ETIMEDOUT, _NO_TURN)
        part = os.read(self._answers.fileno(), most)
        if not part:
            self._give_up()
        return part

    def _give_up(self) -> NoReturn:
        """Say why the process ended before its answer did."""
        try:
            ended = self._process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            ended = 0
        if ended == -signal.SIGKILL:
            # Nobody here did: the machine had no memory left. Says nothing about the document.
            raise MemoryError("the process that renders PDFs was killed")
        if ended > 0:
            raise RuntimeError(f"the process that renders PDFs cannot run (exit status {ended})")
        self._fault = _TOO_LONG if ended == -signal.SIGXCPU else _CRASHED
        raise ImageError(self._fault)


def _find_document(path: Path, stack: ExitStack) -> tuple[int, int, int]:
    """Return a file that holds the document, start and length; the stack keeps it open."""
    file: BinaryIO
    if is_dicom(path):
        stored = stack.enter_context(StoredObject(path))
        if stored.document is None:
            raise ImageError("the object holds no document")
        start, length = stored.document.start, stored.document.length
        file = stored.stream
        if isinstance(file, io.BytesIO):
            # An inflated object lies in memory; the process can only be given a file.
            file = stack.enter_context(_copied(stored.stream, start, length))
            start = 0
    else:
        file = stack.enter_context(path.open("rb"))
        start, length = 0, sys.maxsize
    fd = file.fileno()
    length = min(length, os.fstat(fd).st_size - start)
    if not 0 < length <= MAX_DOCUMENT_BYTES:
        raise ImageError(f"a PDF of {length} bytes; 1 to {MAX_DOCUMENT_BYTES} were expected")
    if b"%PDF-" not in os.pread(fd, min(length, _HEADER_WITHIN), start):
        raise ImageError("the document is no PDF")
    return fd, start, length


def _copied(stream: BinaryIO, start: int, length: int) -> BinaryIO:
    copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (the caller closes it)
    stream.seek(start)
    copy.write(stream.read(min(length, MAX_DOCUMENT_BYTES + 1)))
    copy.flush()
    return copy


def is_dicom(path: Path) -> bool:
    """Tell whether a file begins as PS3.10 section 7.1 wants it."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def is_pdf(path: Path) -> bool:
    """Tell whether a file begins as a PDF does."""
    with path.open("rb") as file:
        return b"%PDF-" in file.read(_HEADER_WITHIN)
