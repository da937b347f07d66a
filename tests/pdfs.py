"""PDF documents of every kind, written by hand or by Pillow, and wrapped as DICOM objects."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from dicom_node.contexts import IMPLEMENTATION_CLASS_UID

ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
A4 = (842.0, 595.0)
"""Width and height of an A4 sheet on its side, in points."""


def pdf_of(*rasters: npt.NDArray[np.uint8], dpi: float = 200) -> bytes:
    """Return a PDF with a page for each raster, at that many pixels an inch."""
    first, *others = [Image.fromarray(raster) for raster in rasters]
    buffer = io.BytesIO()
    first.save(buffer, "PDF", save_all=True, append_images=others, resolution=dpi, quality=95)
    return buffer.getvalue()


def stream(data: bytes, extra: bytes = b"") -> bytes:
    """Return a stream object."""
    return b"<</Length %d %s>>\nstream\n%s\nendstream" % (len(data), extra, data)


def document(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """Return a PDF of these objects, numbered from 1; the first is the catalogue."""
    written, offsets = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return (
        written
        + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
        + b"trailer\n<</Size %d/Root 1 0 R%s>>\n" % (size, trailer)
        + b"startxref\n%d\n%%%%EOF\n" % len(written)
    )


def drawn(
    content: bytes,
    *,
    size: tuple[float, float] = A4,
    count: int = 1,
    resources: bytes = b"",
    more: Sequence[bytes] = (),
    trailer: bytes = b"",
) -> bytes:
    """Return a PDF whose `count` pages are all drawn by this content stream.

    `more` are objects numbered from 5.
    """
    kids = b" ".join([b"3 0 R"] * count)
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %f %f]/Contents 4 0 R/Resources<<%s>>>>"
    return document(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, kids),
            page % (*size, resources),
            content if content.startswith(b"<<") else stream(content),
            *more,
        ],
        trailer,
    )


def locked() -> bytes:
    """Return a PDF that only a password opens: no password has these keys."""
    keys = b"/O<%s>/U<%s>" % (b"41" * 32, b"42" * 32)
    return drawn(
        b"0 0 m 100 100 l S",
        more=[b"<</Filter/Standard/V 1/R 2/P -4%s>>" % keys],
        trailer=b"/Encrypt 5 0 R/ID[<00><00>]",
    )


def encapsulated(pdf: bytes, sop_class_uid: str = ENCAPSULATED_PDF) -> Dataset:
    """Return a PDF as a DICOM object (PS3.3 section A.45.1)."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = UID(sop_class_uid), generate_uid()
    ds.StudyDate = ds.ContentDate = "20260102"
    ds.StudyTime = ds.ContentTime = "030405"
    ds.AcquisitionDateTime = "20260102030405"
    ds.AccessionNumber, ds.Modality, ds.Manufacturer = "ACC-1", "DOC", "Tests"
    ds.ConversionType = "SD"
    ds.ReferringPhysicianName = ""
    ds.PatientName, ds.PatientID = "Test^Patient", "PID-1"
    ds.PatientBirthDate = ds.PatientSex = ""
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", "1", "1"
    ds.BurnedInAnnotation, ds.DocumentTitle = "YES", "ECG"
    ds.ConceptNameCodeSequence = []
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    ds.file_meta.MediaStorageSOPInstanceUID = UID(ds.SOPInstanceUID)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    return ds


def save_pdf(path: Path, pdf: bytes) -> Path:
    """Write a PDF, as a DICOM object where the name ends so."""
    if path.suffix == ".dcm":
        encapsulated(pdf).save_as(path, enforce_file_format=True)
    else:
        path.write_bytes(pdf)
    return path
