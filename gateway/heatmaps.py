"""Where on the page a network saw what it reports, drawn when a person asks for it.

The Desk asks and a Steward draws, in a process of its own: that needs TensorFlow, whose memory
goes when the process does. What is kept is a layer to lay over the picture, transparent where
nothing speaks for the finding. It shows nothing of the picture, so it names nobody, and may be
thrown away at any time: it is drawn again when it is asked for.

It says what the network leaned on. It measures nothing, and is no finding.
"""

from __future__ import annotations

import fcntl
import io
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import structlog
from django.conf import settings
from PIL import Image

from dicom_node.errors import ImageError
from gateway import pages, retention, serving, spool
from gateway.celery import app as celery_app
from gateway.models import Instance
from models.artifact import ArtifactError
from models.labels import KEYS
from models.overlay import layer
from models.page import Page

log = structlog.get_logger(__name__)

TASK: Final = "gateway.tasks.explain"
PATIENCE_S: Final = 60
"""How long a question waits for a Steward; a person does not wait longer."""

LONGEST_PX: Final = 1600
"""The longest side of a layer: what a screen shows."""

KEPT: Final = 2000
"""So many layers are kept, the latest; one is some ten kilobytes."""

_LIMIT_S: Final = 180.0
_FAILED: Final = ".failed"
_DRAWING: Final = ".drawing"


class NotDrawn(RuntimeError):
    """A layer cannot be drawn; the text says why, without patient data."""


def find(instance: Instance, key: str) -> Path | None:
    """Return the layer of a finding, None while there is none.

    Raises
    ------
    NotDrawn
        It was tried, and why that failed.
    """
    path = _path(instance, key)
    if path.is_file():
        return path
    try:
        raise NotDrawn(path.with_suffix(_FAILED).read_text())
    except FileNotFoundError:
        return None


def ask(instance: Instance, key: str) -> bool:
    """Have a Steward draw the layer of a finding; False when nobody can be told."""
    _path(instance, key).with_suffix(_FAILED).unlink(missing_ok=True)
    try:
        celery_app.send_task(
            TASK,
            (instance.pk, key),
            expires=PATIENCE_S,
            retry=False,
            ignore_result=True,
        )
    except Exception as error:  # noqa: BLE001 (whatever a broker or its client answers)
        log.warning("broker away; nothing is drawn", instance=instance.pk, error=repr(error))
        return False
    return True


def draw_apart(instance: Instance, key: str) -> None:
    """Draw a layer in a process of its own, or keep why that failed; what a Steward does.

    Nothing is done about one that is there, or that another is drawing.
    """
    drawing = _path(instance, key).with_suffix(_DRAWING)
    drawing.parent.mkdir(parents=True, exist_ok=True)
    # The lock goes with the process that holds it, whatever ends that.
    with drawing.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if not _path(instance, key).is_file():
            _draw_apart(instance, key)
        drawing.unlink(missing_ok=True)


def _draw_apart(instance: Instance, key: str) -> None:
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "explain"]
    try:
        done = subprocess.run(
            [*command, str(instance.pk), key],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        _keep_reason(instance, key, f"it took more than {_LIMIT_S:.0f} s")
        return
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        log.error("nothing drawn", instance=instance.pk, key=key, error=said)
        if not _path(instance, key).with_suffix(_FAILED).exists():
            _keep_reason(instance, key, "the process that draws ended early")


def draw(instance: Instance, keys: Sequence[str]) -> list[Path]:
    """Draw the layers of some findings and return where they are; loads TensorFlow.

    Raises
    ------
    NotDrawn
        Why not; the Desk is told the same.
    """
    try:
        return _draw(instance, keys)
    except NotDrawn as error:
        for key in keys:
            _keep_reason(instance, key, str(error))
        raise


def _draw(instance: Instance, keys: Sequence[str]) -> list[Path]:
    if instance.model_version is None:
        raise NotDrawn("no network has read this ECG")
    try:
        artifact = serving.verified(instance.model_version)
    except (ArtifactError, OSError) as error:
        raise NotDrawn("the network that read this ECG is not kept here") from error
    try:
        path = retention.picture_file(instance)
        page, raster = _page(path, instance)
    except (ImageError, OSError) as error:
        raise NotDrawn(f"the picture cannot be read: {error}") from error
    from models.explain import Explainer  # TensorFlow takes seconds to load

    maps = Explainer(artifact).explain(page, keys)
    shrink = min(1.0, LONGEST_PX / max(raster.shape[:2]))
    if shrink < 1.0:
        size = (round(raster.shape[1] * shrink), round(raster.shape[0] * shrink))
        raster = np.asarray(cv2.resize(raster, size, interpolation=cv2.INTER_AREA), np.uint8)
    region = [(column * shrink, row * shrink) for column, row in page.region]
    drawn = []
    for key in keys:
        buffer = io.BytesIO()
        Image.fromarray(layer(raster, region, maps[key])).save(buffer, "PNG")
        drawn.append(_keep(_path(instance, key), buffer.getvalue()))
    return drawn


def _page(path: Path, instance: Instance) -> tuple[Page, npt.NDArray[np.uint8]]:
    """Return the page that is shown of an instance, and the picture it lies in."""
    number = instance.frame_number or 1
    if any(one.get("joined_with") for one in instance.pages if one.get("number") == number):
        raise NotDrawn("it was read from two pages side by side")
    for found in pages.pages(path):
        if found.number == number and found.page is not None:
            return found.page, pages.raster(path, number)
    raise NotDrawn("no tracing is found on the page any more")


def _path(instance: Instance, key: str) -> Path:
    if key not in KEYS:
        raise KeyError(f"expected one of {', '.join(KEYS)}; received {key!r}")
    return _folder() / f"{instance.pk}-{instance.model_version_id}-{key}.png"


def _folder() -> Path:
    return spool.root() / "heatmaps"


def _keep(path: Path, content: bytes) -> Path:
    """Write a file that is whole as soon as it is there; it may be lost when the power goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{uuid.uuid4().hex}.part")
    part.write_bytes(content)
    part.rename(path)
    _forget_old()
    return path


def _keep_reason(instance: Instance, key: str, reason: str) -> None:
    _keep(_path(instance, key).with_suffix(_FAILED), reason.encode())


def _forget_old() -> None:
    files = sorted(_folder().iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[KEPT:]:
        path.unlink(missing_ok=True)
