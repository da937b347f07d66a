"""One object on its way from the network to the disk.

The bytes of the data set go to a file of the incoming folder as they arrive, and through SHA-256;
they are neither kept in memory nor parsed. The file is a DICOM file (PS3.10 section 7.1) from its
first byte on: preamble, File Meta Information of ours, then the data set as received.
"""

import contextlib
import hashlib
import logging
import os
import struct
import time
import uuid
from pathlib import Path
from typing import Final

from dicom_node.contexts import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

PART_SUFFIX: Final = ".part"
STALE_AFTER_S: Final = 24 * 3600

_log = logging.getLogger(__name__)


class Reception:
    """A file that grows by the fragments of one data set.

    A failure to write is kept for :meth:`complete` rather than raised: the sender's remaining
    fragments still have to be read before it can be told. The name of the file is random, so
    nothing from the network ever becomes a path.

    Parameters
    ----------
    folder : Path
        Where the file is made; it exists.
    max_bytes : int
        The longest data set that is kept.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        calling_title: str,
        max_bytes: int,
    ) -> None:
        self.path = folder / f"{uuid.uuid4().hex}{PART_SUFFIX}"
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._max_bytes = max_bytes
        self._descriptor: int | None = None
        self._fault: OSError | None = None
        meta = file_meta(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            calling_title=calling_title,
        )
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)
            self._put(b"\0" * 128 + b"DICM" + meta)
        except OSError as fault:
            self._fail(fault)

    def write(self, fragment: bytes | memoryview) -> None:
        """Take the next fragment of the data set."""
        if self._descriptor is None:
            return
        self._size_bytes += len(fragment)
        if self._size_bytes > self._max_bytes:
            self._fail(OSError(f"the data set is longer than {self._max_bytes} bytes"))
            return
        self._digest.update(fragment)
        try:
            self._put(fragment)
        except OSError as fault:
            self._fail(fault)

    def complete(self) -> str:
        """Make the file durable and return the SHA-256 of its data set, in hexadecimal.

        Raises
        ------
        OSError
            When any byte could not be written; no file is left then.
        """
        if self._fault is None and self._descriptor is not None:
            try:
                os.fsync(self._descriptor)
                os.close(self._descriptor)
                self._descriptor = None
            except OSError as fault:
                self._fail(fault)
        if self._fault is not None:
            raise self._fault
        return self._digest.hexdigest()

    def discard(self) -> None:
        """Remove the file, whatever its state. Calling it again does nothing."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
        try:
            self.path.unlink(missing_ok=True)
        except OSError as fault:
            _log.error("could not remove %s: %s", self.path.name, fault.strerror)

    def _put(self, data: bytes | memoryview) -> None:
        if self._descriptor is None:
            raise OSError("the file is closed")
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def _fail(self, fault: OSError) -> None:
        self._fault = fault
        self.discard()


def remove_stale_parts(folder: Path) -> int:
    """Remove what a process that was killed left behind, and return how many files that were.

    An object whose reception did not end was never acknowledged, so its sender still has it. Only
    files older than a day go: another process may be receiving into the same folder.
    """
    count = 0
    for part in folder.glob(f"*{PART_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > STALE_AFTER_S:
                part.unlink()
                count += 1
    return count


def file_meta(
    *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, calling_title: str
) -> bytes:
    """Encode File Meta Information (PS3.10 section 7.1), Explicit VR Little Endian.

    UIDs are written as they were sent, even where they break the rules for UIDs: the object is
    kept as its sender names it.
    """
    body = b"".join(
        (
            struct.pack("<HH2sHL", 2, 0x0001, b"OB", 0, 2) + b"\0\1",
            _short(0x0002, b"UI", sop_class_uid),
            _short(0x0003, b"UI", sop_instance_uid),
            _short(0x0010, b"UI", transfer_syntax_uid),
            _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            _short(0x0016, b"AE", calling_title),
        )
    )
    return struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body


def _short(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("latin-1")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value
