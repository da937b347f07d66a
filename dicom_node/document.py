"""A PDF as an Encapsulated PDF object (PS3.3 section A.45.1)."""

from datetime import UTC, datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node.contexts import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.order import Order

ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
MAX_PDF_BYTES = 0xFFFFFFFE
_HEADER_WITHIN = 1024


def is_pdf(content: bytes) -> bool:
    """Tell whether a file has a PDF header where readers look for one (ISO 32000-1 Annex H.3)."""
    return b"%PDF-" in content[:_HEADER_WITHIN]


def encapsulated_pdf(
    content: bytes,
    order: Order,
    *,
    study_instance_uid: str,
    series_instance_uid: str,
    sop_instance_uid: str,
    title: str = "ECG",
    modality: str = "ECG",
    made_at: datetime | None = None,
) -> Dataset:
    """Wrap a PDF file.

    Parameters
    ----------
    content : bytes
        The file; it goes in as it is.
    order : Order
        Whose it is; its own study comes before `study_instance_uid`.
    made_at : aware datetime, optional
        When it was handed in; now by default.

    Returns
    -------
    Dataset
        With File Meta Information, Explicit VR Little Endian, UTF-8.

    Raises
    ------
    ValueError
        When the bytes are no PDF, or the time has no zone.
    """
    if not is_pdf(content) or len(content) > MAX_PDF_BYTES:
        raise ValueError("expected a PDF file")
    moment = made_at or datetime.now(UTC)
    if moment.tzinfo is None:
        raise ValueError("made_at needs a time zone")
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(ENCAPSULATED_PDF)
    ds.file_meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    ds.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME

    ds.SOPClassUID = UID(ENCAPSULATED_PDF)
    ds.SOPInstanceUID = UID(sop_instance_uid)
    ds.TimezoneOffsetFromUTC = moment.strftime("%z")[:5]
    ds.StudyInstanceUID = UID(study_instance_uid)
    ds.StudyDate = ds.ContentDate = moment.strftime("%Y%m%d")
    ds.StudyTime = ds.ContentTime = moment.strftime("%H%M%S")
    order.describe(ds)

    ds.Modality = modality
    ds.SeriesInstanceUID = UID(series_instance_uid)
    ds.SeriesNumber = 1
    ds.Manufacturer = ""
    ds.ConversionType = "WSD"

    # Encapsulated Document Module (PS3.3 C.24.2). When it was acquired is not known.
    ds.InstanceNumber = 1
    ds.AcquisitionDateTime = ""
    ds.BurnedInAnnotation = "YES"
    ds.DocumentTitle = title
    ds.ConceptNameCodeSequence = Sequence()
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(content)
    ds.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return ds
