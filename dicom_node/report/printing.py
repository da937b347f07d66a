"""A sheet as a PDF of one page: its text searchable, its fonts embedded as far as they are used."""

from datetime import datetime
from typing import Final

from fpdf import FPDF
from PIL import Image

from dicom_node.report.painting import Raster, picture_of
from dicom_node.report.sheet import WIDTH_PX, Box, Picture, Sheet, Text

_A4_PT: Final = (841.89, 595.28)
_PT: Final = _A4_PT[0] / WIDTH_PX
#: A picture is printed with this many pixels to one of the sheet: about 210 to the inch.
_FINENESS: Final = 1.3


def print_pdf(
    sheet: Sheet, raster: Raster, *, title: str, language: str, made_at: datetime
) -> bytes:
    """Return a sheet as a PDF; the same sheet, picture, title and time give the same bytes."""
    pdf = FPDF(orientation="landscape", unit="pt", format=_A4_PT[::-1])
    pdf.set_auto_page_break(False)
    pdf.set_margin(0)
    pdf.set_title(title)
    pdf.set_lang(language)
    pdf.set_producer("ECG Gateway")
    pdf.creation_date = made_at
    pdf.add_page()
    texts = [mark for mark in sheet.marks if isinstance(mark, Text)]
    for family, bold in dict.fromkeys((text.family, text.style.bold) for text in texts):
        pdf.add_font(
            family.name,
            "B" if bold else "",
            family.file(bold=bold),
            collection_font_number=family.face,
        )
    for mark in sheet.marks:
        match mark:
            case Box(left, top, width, height, colour):
                pdf.set_fill_color(*colour)
                pdf.rect(left * _PT, top * _PT, width * _PT, height * _PT, style="F")
            case Text(x, y, text, style, family):
                pdf.set_font(family.name, "B" if style.bold else "", style.size_px * _PT)
                pdf.set_text_color(*style.colour)
                pdf.text(x * _PT, y * _PT, text)
            case Picture():
                _place(pdf, mark, raster)
    return bytes(pdf.output())


def _place(pdf: FPDF, mark: Picture, raster: Raster) -> None:
    """Put the picture in, never with more pixels than it has; lossless, for it is a tracing."""
    picture = picture_of(raster)
    picture.thumbnail(
        (round(mark.width * _FINENESS), round(mark.height * _FINENESS)), Image.Resampling.LANCZOS
    )
    pdf.image(picture, mark.left * _PT, mark.top * _PT, mark.width * _PT, mark.height * _PT)
    pdf.set_draw_color(*mark.colour)
    pdf.set_line_width(mark.line_px * _PT)
    for corners in mark.outlines:
        pdf.polygon([(x * _PT, y * _PT) for x, y in corners], style="D")
