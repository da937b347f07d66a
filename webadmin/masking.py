"""An ECG's page without anything that says whose it is: the tracing alone.

What leaves is what the network reads of a page (:mod:`models.page`): cut out along the ends of its
rows, laid level, grey. Nothing of the picture outside the tracing is carried over. A header that
stands close reaches into the cut; above the first row and below the last, every dark thing that is
no part of a trace is therefore painted over, the names of the leads there included.

A page of two rows is told from half a page by the names of its leads, and no rule tells these from
the name of a patient. Such a page does not leave.

Source: DICOM PS3.15 Annex E, Clean Pixel Data Option. A person looks at a few pictures before an
export leaves, since no rule sees a name that somebody wrote across the waves.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from models.page import MIN_SIDE_PX, NotReadable, Page
from models.page.ink import Ink, find_ink, without_grid
from models.page.traces import Traces, find_traces

Raster = npt.NDArray[np.uint8]

MAX_COLUMNS_PX: Final = 1600

_INK_SHARE: Final = 0.25
"""Of the darkest ink: what is at least so dark could be read."""

_NEAR_TRACE_SHARE: Final = 0.004
"""So near to a trace, as a share of the width, ink belongs to it; about one millimetre."""

_OFF_BASELINE_SHARE: Final = 0.12
"""Of the way to the next row: so far beyond the outermost baselines the bands begin."""

_ROWS_WITHOUT_NAMES: Final = 3
"""So many rows make a page by themselves."""


@dataclass(frozen=True)
class Masked:
    """A tracing by itself.

    Attributes
    ----------
    grey : uint8 (rows, columns)
        The picture that may leave.
    wiped_px : int
        How many of its pixels were painted over.
    """

    grey: Raster
    wiped_px: int


def mask(page: Page) -> Masked:
    """Return a page without what is not tracing.

    Raises
    ------
    NotReadable
        The rows of the page are not found again, so that nobody can say what is beyond them, or
        there are too few of them.
    """
    cut = _scaled(page.grey)
    paper = int(np.median(cut[::4, ::4]))
    beyond = _beyond_rows(cut)
    cut[beyond] = paper
    missing = [max(0, MIN_SIDE_PX - side) for side in cut.shape]
    grey = np.pad(cut, [(0, more) for more in missing], constant_values=paper)
    return Masked(grey, int(beyond.sum()))


def to_png(grey: Raster) -> bytes:
    """Return a picture as PNG: its pixels, and no other chunk than those that hold them."""
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _scaled(grey: Raster) -> Raster:
    rows, columns = grey.shape
    if columns <= MAX_COLUMNS_PX:
        return grey.copy()
    size = (MAX_COLUMNS_PX, max(1, round(rows * MAX_COLUMNS_PX / columns)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _beyond_rows(cut: Raster) -> npt.NDArray[np.bool_]:
    """Return where something dark lies above the first row or below the last, and is no trace."""
    ink = find_ink(cut)
    if ink.inverted:
        raise NotReadable("expected dark traces on light paper")
    clear, traces = _traces(ink)
    baselines = traces.rows.baselines
    if len(baselines) < _ROWS_WITHOUT_NAMES:
        raise NotReadable("print on a page of one or two rows may be a name")
    rows, columns = clear.shape
    near = max(1, round(_NEAR_TRACE_SHARE * columns))
    kept = _on_baselines(traces, near)
    strange = (clear > _INK_SHARE * ink.darkest) & ~kept
    off = round(_OFF_BASELINE_SHARE * (traces.rows.pitch or rows))
    strange[max(0, baselines[0] - off) : baselines[-1] + off] = False
    # The soft edge of a letter is fainter than its middle, and can still be read.
    wiped = (cv2.dilate(strange.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0) & ~kept
    size = (cut.shape[1], cut.shape[0])
    large = cv2.resize(wiped.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(large > 0)


def _on_baselines(traces: Traces, near: int) -> npt.NDArray[np.bool_]:
    """Return where ink belongs to a trace that passes a baseline.

    A line of print that the cut goes through may pass for a trace, but passes no baseline.
    """
    wide = cv2.dilate(traces.mask, np.ones((2 * near + 1, 2 * near + 1), np.uint8))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(wide)
    top = boxes[:, cv2.CC_STAT_TOP]
    bottom = top + boxes[:, cv2.CC_STAT_HEIGHT]
    passes = [
        bool(((traces.rows.baselines >= first) & (traces.rows.baselines <= last)).any())
        for first, last in zip(top, bottom, strict=True)
    ]
    passes[0] = False  # what is no ink
    return np.asarray(np.array(passes)[labels])


def _traces(ink: Ink) -> tuple[Raster, Traces]:
    clear = without_grid(ink.darkness)
    try:
        return clear, find_traces(clear, ink.darkest)
    except NotReadable:
        return ink.darkness, find_traces(ink.darkness, ink.darkest)
