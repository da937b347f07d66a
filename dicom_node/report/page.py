"""The page for people: the ECG with its findings beside it, what it is above everything.

    banner                      that nobody has verified it, or who has, and when
    name; identity              whose it is, as the source says it
    picture       | ten rows    the page that was read, its tracing outlined; a row for each finding
    remarks                     what has to be known to read it

One layout makes the result page (pixels) and the PDF, so that they cannot disagree.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from dicom_node.report import identity, wording
from dicom_node.report.fonts import Fonts
from dicom_node.report.region import clip
from dicom_node.report.result import AnalysisResult, Corners, FindingResult
from dicom_node.report.sheet import (
    BLACK,
    GREY,
    HEIGHT_PX,
    WHITE,
    WIDTH_PX,
    Box,
    Colour,
    Line,
    Picture,
    Sheet,
    Style,
    height_px,
)
from dicom_node.report.source import Source
from dicom_node.report.speech import ENGLISH, Speech
from dicom_node.report.statements import stated

_LOGGER = logging.getLogger(__name__)

_MARGIN: Final = 32.0
_WIDTH: Final = WIDTH_PX - 2 * _MARGIN
_LIST_WIDTH: Final = 636.0
_GAP: Final = 24.0
_ALARM: Final = (138, 28, 28)
_PAPER: Final = (246, 246, 244)
_RAIL: Final = (216, 216, 214)
_OUTLINE: Final = (11, 92, 173)
#: A verdict is told by its word and by its colour; a normal ECG that is present is no alarm.
_COLOURS: Final[dict[str, Colour]] = {
    "present": (176, 0, 32),
    "undetermined": (160, 90, 0),
    "absent": (95, 95, 95),
}
_WELL: Final = (20, 105, 60)
_BANNER: Final = Style(34.0, WHITE, bold=True)
_NAME: Final = Style(34.0, BLACK, bold=True)
_PLAIN: Final = Style(24.0)
_SMALL: Final = Style(20.0, GREY)
_REMARK: Final = Style(22.0, BLACK)
_WARNING: Final = Style(22.0, _ALARM, bold=True)
_SMALLEST_PX: Final = 18.0
_LONGEST_REMARK: Final = 1200
_SMALLEST_NAME_PX: Final = 26.0


def page_of(
    source: Source,
    result: AnalysisResult,
    speech: Speech,
    *,
    rows: int,
    columns: int,
    fonts: Fonts | None = None,
) -> Sheet:
    """Lay out the page.

    Parameters
    ----------
    rows, columns : int
        The size of the picture that will be shown.
    fonts : Fonts, optional
        Those of this machine by default. Without one for the language the page is in English and
        says so.

    Raises
    ------
    FontMissing
        There is no font at all.
    """
    fonts = fonts or Fonts.find()
    more: list[tuple[str, Style]] = []
    if fonts.family_for(speech.say(wording.UNVERIFIED)) is None:
        _LOGGER.warning("no font for %s; expected fonts-noto-cjk", speech.code)
        speech, more = ENGLISH, [(wording.NO_FONT, _WARNING)]
    sheet = Sheet(fonts.preferring(speech.say(wording.UNVERIFIED)))
    sheet.marks.append(Box(0, 0, WIDTH_PX, HEIGHT_PX, WHITE))
    top = _banner(sheet, result, speech)
    top = _identity(sheet, source, speech, top)
    bottom = _remarks(sheet, [*more, *_said(result, speech)], speech)
    _findings(sheet, result, speech, top, bottom)
    _picture(sheet, result, speech, (top, bottom), (rows, columns))
    return sheet


def _banner(sheet: Sheet, result: AnalysisResult, speech: Speech) -> float:
    height = 84.0
    sheet.marks.append(Box(0, 0, WIDTH_PX, height, _ALARM if result.review is None else _WELL))
    said = wording.headline(result, speech)
    if sheet.fonts.family_for(said) is None:
        said = speech.say(wording.VERIFIED_BY_A_PERSON)
    line = sheet.fit(said, _BANNER, _WIDTH, smallest_px=_SMALLEST_PX)
    sheet.write(_MARGIN, height / 2 + 0.36 * line.style.size_px, line)
    return height


def _identity(sheet: Sheet, source: Source, speech: Speech, top: float) -> float:
    """The name on a line of its own, for it may be long; it is never cut."""
    name = identity.name_of(source, sheet.fonts, speech)
    line = sheet.fit(name, _NAME, _WIDTH, smallest_px=_SMALLEST_NAME_PX)
    lines = sheet.wrap(line, _WIDTH)
    lines += _packed(sheet, identity.fields_of(source, sheet.fonts, speech))
    height = height_px(lines) + 24.0
    sheet.marks.append(Box(0, top, WIDTH_PX, height, _PAPER))
    sheet.write_down(_MARGIN, top + 6.0, lines)
    return top + height


def _packed(sheet: Sheet, parts: Sequence[str]) -> list[Line]:
    """Parts side by side, as many as a line takes; one that is wider is broken."""
    lines: list[Line] = []
    for part in parts:
        joined = f"{lines[-1].text}    {part}" if lines else part
        # A line is of one font: a part of another script may have to stand below.
        if sheet.fonts.family_for(joined) and sheet.line(joined, _PLAIN).width_px <= _WIDTH:
            lines[-1:] = [sheet.line(joined, _PLAIN)]
        else:
            lines += sheet.wrap(sheet.line(part, _PLAIN), _WIDTH)
    return lines


def _said(result: AnalysisResult, speech: Speech) -> list[tuple[str, Style]]:
    """What stands at the foot, what must not be missed first."""
    said = [(text, _WARNING) for text in wording.remarks(result, speech)]
    said += [
        (text, _REMARK)
        for text in (
            *(said.replace(wording.NEW_LINE, " ") for said in wording.by_reader(result, speech)),
            wording.limits(result, speech),
            *stated(result, speech),
        )
    ]
    return [*said, (wording.made_by(result, speech), _SMALL)]


def _remarks(sheet: Sheet, said: Sequence[tuple[str, Style]], speech: Speech) -> float:
    """Write the remarks at the foot and return where they begin."""
    lines = [
        line
        for text, style in said
        for line in sheet.wrap(
            sheet.line(identity.shown(text, sheet.fonts, speech, longest=_LONGEST_REMARK), style),
            _WIDTH,
        )
    ]
    top = HEIGHT_PX - height_px(lines) - 26.0
    sheet.marks.append(Box(_MARGIN, top, _WIDTH, 2.0, _RAIL))
    sheet.write_down(_MARGIN, top + 10.0, lines)
    return top


def _findings(
    sheet: Sheet, result: AnalysisResult, speech: Speech, top: float, bottom: float
) -> None:
    row = (bottom - top - 24.0) / len(result.ordered)
    for number, finding in enumerate(result.ordered):
        _finding(sheet, result, finding, speech, top + 12.0 + number * row, row)


def _finding(
    sheet: Sheet,
    result: AnalysisResult,
    finding: FindingResult,
    speech: Speech,
    top: float,
    height: float,
) -> None:
    """Two lines: name and probability; verdict, bar with the threshold on it, threshold."""
    left, right = WIDTH_PX - _MARGIN - _LIST_WIDTH, WIDTH_PX - _MARGIN
    is_present = finding.verdict == "present"
    colour = _WELL if is_present and finding.key == "normal" else _COLOURS[finding.verdict]
    if is_present:
        sheet.marks.append(Box(left, top, _LIST_WIDTH, height - 8.0, _PAPER))
    if finding.verdict != "absent":
        sheet.marks.append(Box(left, top, 6.0, height - 8.0, colour))
    left, right = left + 16.0, right - 8.0
    first, second = top + 0.42 * (height - 8.0), top + 0.86 * (height - 8.0)

    name = wording.placed(wording.meaning(finding, speech), result, finding, speech)
    style = Style(26.0, BLACK, bold=is_present)
    words = {
        verdict: sheet.line(speech.say(word), Style(21.0, colour, bold=True))
        for verdict, word in wording.VERDICTS.items()
    }
    if finding.is_overridden:
        sheet.write(left, first, sheet.fit(name, style, right - left, smallest_px=_SMALLEST_PX))
        sheet.write(left, second, words[finding.verdict])
        decided = sheet.line(speech.say(wording.DECIDED), _SMALL)
        sheet.write(right - decided.width_px, second, decided)
        return
    probability = sheet.line(
        speech.say(wording.PERCENT, value=finding.percent), Style(26.0, colour, bold=True)
    )
    sheet.write(right - probability.width_px, first, probability)
    room = right - left - probability.width_px - 12.0
    end = sheet.write(left, first, sheet.fit(name, style, room, smallest_px=_SMALLEST_PX))

    limit = speech.say(wording.THRESHOLD, value=finding.threshold_percent)
    if wording.is_doubtful(result, finding):
        remark = sheet.line(f"[{speech.say(wording.NOT_VALIDATED_SHORT)}]", _SMALL)
        if end + 8.0 + remark.width_px <= left + room:
            sheet.write(end + 8.0, first, remark)
        else:
            limit = f"{remark.text} {limit}"
    threshold = sheet.line(limit, _SMALL)
    sheet.write(right - threshold.width_px, second, threshold)

    sheet.write(left, second, words[finding.verdict])
    bar_left = left + max(word.width_px for word in words.values()) + 16.0
    bar_right = right - max(threshold.width_px, 190.0) - 16.0
    width, y = bar_right - bar_left, second - 15.0
    sheet.marks.append(Box(bar_left, y, width, 16.0, _RAIL))
    sheet.marks.append(Box(bar_left, y, width * finding.probability, 16.0, colour))
    at = bar_left + width * finding.threshold
    sheet.marks.append(Box(at - 1.5, y - 6.0, 3.0, 28.0, BLACK))


def _picture(
    sheet: Sheet,
    result: AnalysisResult,
    speech: Speech,
    span: tuple[float, float],
    size: tuple[int, int],
) -> None:
    """As large as it fits left of the list, with its outlines, and what they mean below it."""
    (top, bottom), (rows, columns) = span, size
    regions = _regions(result, rows, columns)
    caption = speech.say(wording.OUTLINED) if regions else ""
    if result.frame_number is not None:
        said = wording.page_read(result, speech)[:1]
        if pair := result.joined_at(result.frame_number):
            shown = speech.say(wording.SHOWN, number=result.frame_number)
            said = [*wording.read_together(replace(result, joined=(pair,)), speech), shown]
        caption = " ".join([*said, caption]).strip()
    width = _WIDTH - _LIST_WIDTH - _GAP
    height = bottom - top - 24.0 - (34.0 if caption else 0.0)
    scale = min(width / columns, height / rows)
    left = _MARGIN + (width - scale * columns) / 2.0
    top += 12.0
    placed = tuple(
        tuple((left + scale * x, top + scale * y) for x, y in corners) for corners in regions
    )
    sheet.marks.append(Box(left - 1.0, top - 1.0, scale * columns + 2.0, scale * rows + 2.0, _RAIL))
    sheet.marks.append(Picture(left, top, scale * columns, scale * rows, placed, _OUTLINE))
    if caption:
        line = sheet.fit(caption, _SMALL, width, smallest_px=_SMALLEST_PX)
        sheet.write(_MARGIN, top + scale * rows + 26.0, line)


def _regions(result: AnalysisResult, rows: int, columns: int) -> list[Corners]:
    """The regions on the page that is shown, each once."""
    own = [result.region]
    own += [
        region
        for finding in result.findings
        for frame, region in result.places_of(finding)
        if frame == result.frame_number
    ]
    clipped = [clip(region, rows=rows, columns=columns) for region in own if region is not None]
    return list(dict.fromkeys(clipped))
