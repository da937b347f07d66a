"""The documents that are pages: Secondary Capture and Encapsulated PDF.

Both show what `page` lays out, with the patient's name on it; both are derived from the source and
say so. Their UIDs are functions of the pixels or the file as well: fonts and libraries differ from
machine to machine, and no two different pages may share one.
"""

import hashlib
import re
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as ItemSequence
from pydicom.uid import UID

from dicom_node import codes, contexts
from dicom_node.report.document import (
    PDF,
    RESULT_PAGE,
    Kind,
    description,
    header,
    moment,
    verification_flag,
)
from dicom_node.report.painting import Raster, paint
from dicom_node.report.printing import print_pdf
from dicom_node.report.result import AnalysisResult
from dicom_node.report.review import Predecessor
from dicom_node.report.sheet import Sheet
from dicom_node.report.source import Source
from dicom_node.report.speech import Speech
from dicom_node.report.uids import DerivedUids

_DERIVATION: Final = "ECG page with the findings of a network beside it; not verified"
_DERIVATION_VERIFIED: Final = "ECG page with the findings that a person verified beside it"
#: What only the transfer syntax may tell; JPEG 2000 can be without loss, but nobody says it is.
_LOSSY: Final = frozenset(
    {contexts.JPEG_BASELINE, contexts.JPEG_EXTENDED, contexts.JPEG_LS_NEAR, contexts.JPEG_2000}
)
_DECIMAL: Final = re.compile(r"\d+(\.\d+)?")


def result_page(
    source: Source,
    result: AnalysisResult,
    *,
    sheet: Sheet,
    raster: Raster,
    uids: DerivedUids,
    predecessor: Predecessor | None = None,
) -> Dataset:
    """Return the sheet as a Secondary Capture Image, RGB (PS3.3 section A.8.1)."""
    painted = paint(sheet, raster)
    pixels = painted.tobytes()
    ds = _page(RESULT_PAGE, source, result, content=pixels, uids=uids, predecessor=predecessor)
    # General Series (C.7.3.1): not one of two sides. General Image (C.7.6.1)
    ds.BodyPartExamined = "HEART"
    ds.PatientOrientation = ""
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.DerivationDescription = _DERIVATION if result.review is None else _DERIVATION_VERIFIED
    ds.ImageComments = description(result)
    if source.is_picture:
        ds.SourceImageSequence = ItemSequence(
            [source.reference(frame) for frame in result.frames_with(result.frame_number)]
        )
        _copy_lossy(source.header, ds)
    # Image Pixel (C.7.6.3)
    ds.SamplesPerPixel = 3
    ds.PhotometricInterpretation = "RGB"
    ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = painted.shape[:2]
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    ds.add_new("PixelData", "OB", pixels + b"\0" * (len(pixels) % 2))
    return ds


def pdf_report(
    source: Source,
    result: AnalysisResult,
    *,
    sheet: Sheet,
    raster: Raster,
    speech: Speech,
    uids: DerivedUids,
    predecessor: Predecessor | None = None,
) -> Dataset:
    """Return the sheet as an Encapsulated PDF (PS3.3 section A.45.1)."""
    at = moment(source, result)
    content = print_pdf(sheet, raster, title=description(result), language=speech.code, made_at=at)
    ds = _page(PDF, source, result, content=content, uids=uids, predecessor=predecessor)
    # Encapsulated Document (C.24.2)
    ds.AcquisitionDateTime = ""
    ds.DocumentTitle = description(result)
    ds.ConceptNameCodeSequence = ItemSequence([codes.ECG_REPORT.as_item()])
    ds.VerificationFlag = verification_flag(result)
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(content)
    ds.add_new("EncapsulatedDocument", "OB", content + b"\0" * (len(content) % 2))
    return ds


def _page(
    kind: Kind,
    source: Source,
    result: AnalysisResult,
    *,
    content: bytes,
    uids: DerivedUids,
    predecessor: Predecessor | None,
) -> Dataset:
    of = [hashlib.sha256(content).hexdigest()]
    of += [] if predecessor is None else [predecessor.sop_instance_uid]
    ds = header(kind, source, result, uids=uids, of=tuple(of))
    # SC Equipment (C.8.6.1)
    ds.ConversionType = "WSD"
    ds.BurnedInAnnotation = "YES"
    # A page has no other place to name the one that it replaces.
    replaced = [] if predecessor is None else [predecessor.reference()]
    ds.SourceInstanceSequence = ItemSequence([source.reference(), *replaced])
    if requests := _requests(source):
        ds.RequestAttributesSequence = ItemSequence(requests)
    return ds


def _requests(source: Source) -> list[Dataset]:
    """The orders as a series tells them (PS3.3 Table 10-9): by their requested procedure."""
    requests = []
    for order in source.orders:
        if not order.RequestedProcedureID:
            continue
        item = Dataset()
        item.StudyInstanceUID = UID(str(order.StudyInstanceUID))
        for keyword in ("RequestedProcedureID", "AccessionNumber", "RequestedProcedureDescription"):
            if order[keyword].value:
                item.add(order[keyword])
        requests.append(item)
    return requests


def _copy_lossy(source: Dataset, target: Dataset) -> None:
    """Once compressed with loss, an image and all that is derived from it stay so (C.7.6.1.1.5)."""
    meta = getattr(source, "file_meta", None)
    is_stored_so = meta is not None and str(meta.get("TransferSyntaxUID", "")) in _LOSSY
    if str(source.get("LossyImageCompression", "")) != "01" and not is_stored_so:
        return
    target.LossyImageCompression = "01"
    ratios = _values(source.get("LossyImageCompressionRatio"))
    methods = _values(source.get("LossyImageCompressionMethod"))
    if ratios and all(_DECIMAL.fullmatch(str(ratio)) for ratio in ratios):
        target.LossyImageCompressionRatio = ratios
        if len(methods) == len(ratios):
            target.LossyImageCompressionMethod = methods


def _values(value: Any) -> list[Any]:
    if value in (None, ""):
        return []
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
