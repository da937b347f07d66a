"""What the pages of one object say together.

Rules
-----
* Each page is judged by itself. One that cannot be read takes nothing from the others.
* A finding other than normal is as on the page where it is most probable: what a few beats show on
  one page, the next may not. Normal is as on the page where it is least probable: an ECG is as
  normal as its least normal page.
* Two pages in a row that show six leads each, in six rows, are halves of one ECG: limb leads, then
  chest leads, as some recorders print them. They are laid side by side, as a page of two columns,
  and that is read; of the ten seconds of each, the first five are taken. At 50 mm/s a page of six
  leads and one of twelve in two columns are too much alike to be told apart, and joining two of the
  latter would make an ECG up: such halves stay refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np

from gateway.pages import PageOrReason
from models.page import Corner, Page
from models.predict import Finding, PageReading

Classify = Callable[[Sequence[Page]], list[PageReading]]

NORMAL: Final = "normal"
_HALF_ROWS: Final = 6.0


@dataclass(frozen=True)
class Placed:
    """A finding and the number of the page that it was read on."""

    finding: Finding
    number: int


@dataclass(frozen=True)
class ObjectReading:
    """What was read in one object, or why nothing was.

    Attributes
    ----------
    number : int
        The first page that was read; of an object without such a page, its first.
    findings : tuple of Placed
        One of each of the ten; empty where nothing was read.
    reason : str or None
        Why nothing was read.
    region, quality
        Of that page.
    pages : tuple of dict
        JSON of every page: ``number``, ``reason`` (None: it was read), ``region``, and
        ``joined_with`` for the halves of one ECG.
    """

    number: int
    findings: tuple[Placed, ...] = ()
    reason: str | None = None
    region: tuple[Corner, ...] | None = None
    quality: dict[str, float] = field(default_factory=dict)
    pages: tuple[dict[str, Any], ...] = ()


def read_objects(
    objects: Sequence[Sequence[PageOrReason]], classify: Classify
) -> list[ObjectReading]:
    """Read the pages of several objects, all at once; one reading for each object, in order.

    Parameters
    ----------
    objects
        Of each its pages, first to last, at least one.
    classify
        Gives a reading for each page, `models.predict.Predictor.classify`.
    """
    looked = iter(classify([one.page for pages in objects for one in pages if one.page]))
    read = [[_Read(one, next(looked) if one.page else None) for one in pages] for pages in objects]
    halves = [list(_halves(pages)) for pages in read]
    whole_pages = [_side_by_side(*pair) for pairs in halves for pair in pairs]
    joined = iter(classify(whole_pages) if whole_pages else [])
    for pairs in halves:
        for first, second in pairs:
            whole = next(joined)
            first.joined_with, second.joined_with = second.number, first.number
            first.reading = second.reading = whole
    return [_together(pages) for pages in read]


@dataclass
class _Read:
    found: PageOrReason
    reading: PageReading | None
    joined_with: int | None = None

    @property
    def number(self) -> int:
        return self.found.number

    @property
    def reason(self) -> str | None:
        return self.found.reason if self.reading is None else self.reading.reason

    @property
    def region(self) -> tuple[Corner, ...] | None:
        return self.found.page.region if self.found.page else None

    def described(self) -> dict[str, Any]:
        region = self.region
        described = {
            "number": self.number,
            "reason": self.reason,
            "region": [list(corner) for corner in region] if region else None,
        }
        return described | ({"joined_with": self.joined_with} if self.joined_with else {})


def _halves(pages: Sequence[_Read]) -> Iterator[tuple[_Read, _Read]]:
    rest = iter(pages)
    before: _Read | None = None
    for page in rest:
        if not _is_half(page):
            before = None
        elif before is None:
            before = page
        else:
            yield before, page
            before = None


def _is_half(page: _Read) -> bool:
    return (
        page.reading is not None
        and page.reading.kinds == ("six_leads",)
        and page.reading.quality.get("rows") == _HALF_ROWS
    )


def _side_by_side(first: _Read, second: _Read) -> Page:
    """The twelve-lead page that two halves would have been; its region is the first one's."""
    left, right = _five_seconds(first), _five_seconds(second)
    size = (max(left.shape[1], right.shape[1]), max(left.shape[0], right.shape[0]))
    columns = [cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (left, right)]
    page = _page(first)
    return Page(np.hstack(columns), page.region, page.quality)


def _five_seconds(half: _Read) -> np.ndarray[Any, np.dtype[np.uint8]]:
    grey = _page(half).grey
    return grey[:, : grey.shape[1] // 2]


def _page(read: _Read) -> Page:
    if read.found.page is None:
        raise ValueError(f"page {read.number}: expected a page, received {read.reason!r}")
    return read.found.page


def _together(pages: Sequence[_Read]) -> ObjectReading:
    described = tuple(page.described() for page in pages)
    readable = [page for page in pages if page.reading is not None and page.reading.readable]
    if not readable:
        # What the network says of a page is more than that a later one is blank.
        shown = next((page for page in pages if page.reading is not None), pages[0])
        quality = dict(shown.reading.quality) if shown.reading else {}
        reason = shown.reason or "not readable"
        return ObjectReading(shown.number, (), reason, None, quality, described)
    shown = readable[0]
    placed = [
        Placed(finding, page.number)
        for page in readable
        if page.reading is not None
        for finding in page.reading.findings
    ]
    keys = [one.finding.key for one in placed if one.number == shown.number]
    findings = tuple(_strongest(key, placed) for key in dict.fromkeys(keys))
    quality = dict(shown.reading.quality) if shown.reading else {}
    return ObjectReading(shown.number, findings, None, shown.region, quality, described)


def _strongest(key: str, placed: Sequence[Placed]) -> Placed:
    """The first of the pages that decide on a finding."""
    of_key = [one for one in placed if one.finding.key == key]
    decide = min if key == NORMAL else max
    return decide(of_key, key=lambda one: one.finding.probability)
