"""Bytes at rest: a file is whole, flushed and named before anything is said about it.

Names are random, never made of what came over the wire. A name is relative to the spool, so the
folder can be moved. Durability follows fsync(2) and rename(2): write to ``incoming``, fsync the
file, rename it into place, fsync the folder.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from django.conf import settings

Kind = Literal["instances", "reports"]


class SpoolError(OSError):
    """A spooled file is missing or is not what its row says."""


@dataclass(frozen=True)
class Spooled:
    """A file in the spool: its name relative to the root, its size and SHA-256."""

    name: str
    size_bytes: int
    sha256: str


def root() -> Path:
    """Return the spool's folder."""
    return Path(settings.ECG_SPOOL_DIR)


def incoming() -> Path:
    """Return the folder for files still being written, made if need be."""
    folder = root() / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def prepare() -> None:
    """Make the folders of all names there can be, so that no object waits for its own."""
    folder = root() / "instances"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(256):
        (folder / f"{number:02x}").mkdir(exist_ok=True)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flush a folder, so that a rename in it survives the power going."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new_name(kind: Kind) -> tuple[str, Path]:
    unique = uuid.uuid4().hex
    name = f"{kind}/{unique[:2]}/{unique}.dcm"
    path = root() / name
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent.parent)
    return name, path


def adopt(path: Path, *, kind: Kind = "instances") -> str:
    """Move a complete, flushed file of ``incoming`` into the spool and return its name."""
    name, target = _new_name(kind)
    path.rename(target)
    sync_folder(target.parent)
    return name


def write(content: bytes, *, kind: Kind = "reports") -> Spooled:
    """Keep `content` durably and return where it is."""
    part = incoming() / f"{uuid.uuid4().hex}.part"
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        name = adopt(part, kind=kind)
    finally:
        part.unlink(missing_ok=True)
    return Spooled(name, len(content), hashlib.sha256(content).hexdigest())


def locate(name: str) -> Path:
    """Return the path of a spooled file.

    Raises
    ------
    SpoolError
        The name leads out of the spool, or no file is there.
    """
    path = (root() / name).resolve()
    if not path.is_relative_to(root().resolve()):
        raise SpoolError(f"expected a name inside the spool, received {name!r}")
    if not path.is_file():
        raise SpoolError(f"expected a file {name!r} in the spool, found none")
    return path


def verified(name: str, *, sha256: str) -> Path:
    """Return the path of a spooled file whose bytes are still those of its row."""
    path = locate(name)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise SpoolError(f"{name}: expected SHA-256 {sha256}, found {found}")
    return path


def remove(name: str) -> None:
    """Remove a spooled file; nothing happens when it is gone already."""
    (root() / name).unlink(missing_ok=True)
