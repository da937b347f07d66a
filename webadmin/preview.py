"""A spooled object -> the picture a browser shows: one page, scaled down, as PNG.

Frames of pictures are shown as they are stored, pages of PDFs as they are read, and waveforms as
the paper they are drawn on for the network: what a person sees is what was judged.

Pictures are burned-in patient data. They are served to signed-in people only, never kept by
shared caches, and asked for by row number. A browser keeps its copy but asks each time whether it
may still show it; the bytes of an object never change, so its hash is the answer.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import structlog
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.translation import gettext as _
from PIL import Image

from dicom_node.errors import ImageError
from dicom_node.image import StoredImage, read_header
from gateway import pages
from gateway.models import Instance
from gateway.retention import AgedOut, picture_file
from gateway.spool import SpoolError

log = structlog.get_logger(__name__)

FULL_PX = 1600
THUMBNAIL_PX = 320
"""The longest side of a picture, and of one in a list (shown at half that, for sharp screens)."""

DETAIL_PX = 4800
"""Of a picture that is looked at closely: all the pixels of a page scanned at 400 dpi."""

_LONGEST_PX = {"thumbnail": THUMBNAIL_PX, "detail": DETAIL_PX}

_AT_ONCE = threading.BoundedSemaphore(2)
"""A large page takes a few hundred megabytes while it is decoded; so many people may do it."""


@dataclass(frozen=True)
class Frame:
    """What the header says of the picture: its size, and which page of how many it is."""

    columns: int
    rows: int
    number: int
    count: int


def respond(request: HttpRequest, instance: Instance) -> HttpResponseBase:
    """Answer with the picture, with 304 when the browser has it, or with why there is none.

    The reason is plain text with status 422 (the object cannot be shown), 410 (removed by the
    retention policy), 404 (the spool has lost it) or 503 (not now: memory, files or the disk).
    """
    longest_px = _LONGEST_PX.get(request.GET.get("size", ""), FULL_PX)
    number = _page(request) or instance.frame_number or 1
    etag = f'"{instance.sha256}-{number}-{longest_px}"'
    answer = get_conditional_response(request, etag=etag)
    if answer is None:
        try:
            png = render(instance, number=number, longest_px=longest_px)
        except ImageError as error:
            return _reason(_("This object cannot be shown: %s.") % error, status=422)
        except AgedOut as error:
            return _reason(_("Not here any more: %s.") % error, status=410)
        except SpoolError:
            log.error("spooled file missing", instance=instance.pk)
            return _reason("The file of this object is missing from the spool.", status=404)
        except (MemoryError, OSError) as error:
            # What this machine lacks now; the object may be whole.
            log.error("picture not shown", instance=instance.pk, error=type(error).__name__)
            return _reason("This object cannot be shown now; try again later.", status=503)
        answer = HttpResponse(png, content_type="image/png")
        answer["ETag"] = etag
    answer["Cache-Control"] = "private, no-cache"
    answer["Content-Disposition"] = "inline"
    return answer


def is_small(request: HttpRequest) -> bool:
    """Return whether the picture is asked for as one of a list."""
    return request.GET.get("size") == "thumbnail"


def render(instance: Instance, *, number: int, longest_px: int) -> bytes:
    """Return page `number`, counted from 1, as PNG with no side longer than `longest_px`.

    Raises
    ------
    ImageError
        The object holds no such picture or a damaged one.
    SpoolError
        The file is gone.
    """
    path = picture_file(instance)
    with _AT_ONCE:
        return to_png(pages.raster(path, number), longest_px=longest_px)


def to_png(raster: npt.NDArray[np.uint8], *, longest_px: int) -> bytes:
    """Return a raster as PNG, scaled down where a side is longer than `longest_px`."""
    picture = Image.fromarray(raster)
    # Averaging keeps thin traces visible where picking pixels would break them.
    picture.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def frame(instance: Instance) -> Frame:
    """Return the size of the picture: as it is stored, from the header alone, or as it is drawn.

    Raises
    ------
    ImageError, SpoolError
        As :func:`render`.
    """
    path, number = picture_file(instance), instance.frame_number or 1
    header = read_header(path)
    if "Rows" in header:
        with StoredImage(path) as stored:
            columns, rows = int(stored.header.Columns), int(stored.header.Rows)
            return Frame(columns, rows, number, stored.frame_count)
    with _AT_ONCE:
        rows, columns = pages.raster(path, number).shape[:2]
    return Frame(columns, rows, number, pages.count(path))


def outline(region: list[list[float]] | None) -> str:
    """Return the corners of the tracing as the points of an SVG polygon; empty without them."""
    return " ".join(f"{column:.1f},{row:.1f}" for column, row in region or [])


def _page(request: HttpRequest) -> int | None:
    """Return the number of the page that was asked for, of an object with several."""
    text = request.GET.get("page", "")
    return int(text) if text.isdecimal() and len(text) < 5 else None


def _reason(text: str, *, status: int) -> HttpResponse:
    answer = HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
    answer["Cache-Control"] = "no-store"
    return answer
