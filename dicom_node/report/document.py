"""The modules around a content: patient, study, series, equipment, SR document, SOP common."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Final

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as ItemSequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node import codes
from dicom_node.contexts import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.report.result import AnalysisResult, Device
from dicom_node.report.source import Source
from dicom_node.report.uids import DerivedUids

SERIES_DESCRIPTION: Final = "AI ECG result - UNVERIFIED"
_OFFSET: Final = re.compile(r"([+-])(\d\d)(\d\d)")


@dataclass(frozen=True)
class Kind:
    """One of the documents: its name, SOP Class, Modality and series number."""

    name: str
    sop_class_uid: str
    modality: str
    series_number: int


BASIC_TEXT: Final = Kind("basic_text", "1.2.840.10008.5.1.4.1.1.88.11", "SR", 9001)
COMPREHENSIVE: Final = Kind("comprehensive", "1.2.840.10008.5.1.4.1.1.88.33", "SR", 9002)
RESULT_PAGE: Final = Kind("result_page", "1.2.840.10008.5.1.4.1.1.7", "OT", 9003)
PDF: Final = Kind("pdf", "1.2.840.10008.5.1.4.1.1.104.1", "DOC", 9004)
ENHANCED: Final = Kind("enhanced", "1.2.840.10008.5.1.4.1.1.88.22", "SR", 9005)
COMPREHENSIVE_3D: Final = Kind("comprehensive_3d", "1.2.840.10008.5.1.4.1.1.88.34", "SR", 9006)
KINDS: Final = (BASIC_TEXT, COMPREHENSIVE, RESULT_PAGE, PDF, ENHANCED, COMPREHENSIVE_3D)


def header(
    kind: Kind, source: Source, result: AnalysisResult, *, uids: DerivedUids, of: tuple[str, ...]
) -> Dataset:
    """Return what every document begins with, with File Meta Information.

    Parameters
    ----------
    of : tuple of str
        What the UIDs depend on besides source, result and kind, such as a digest of pixels.
    """
    at = moment(source, result)
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.InstanceCreationDate = ds.SeriesDate = ds.ContentDate = at.strftime("%Y%m%d")
    ds.InstanceCreationTime = ds.SeriesTime = ds.ContentTime = at.strftime("%H%M%S")
    ds.TimezoneOffsetFromUTC = at.strftime("%z")[:5]
    ds.SOPClassUID = UID(kind.sop_class_uid)
    ds.SOPInstanceUID = uids.derive(kind.name, "instance", *of)
    source.copy_identity(ds)

    # General Series (PS3.3 C.7.3.1), SR Document Series (C.17.1), General Equipment (C.7.5.1)
    ds.Modality = kind.modality
    ds.SeriesInstanceUID = uids.derive(kind.name, "series", *of)
    ds.SeriesNumber = kind.series_number
    ds.SeriesDescription = SERIES_DESCRIPTION
    ds.Manufacturer = result.device.manufacturer
    ds.ManufacturerModelName = result.device.model
    ds.DeviceSerialNumber = result.device.serial
    ds.SoftwareVersions = result.device.software_version

    ds.InstanceNumber = 1
    ds.ContributingEquipmentSequence = ItemSequence([_equipment(result.device, at)])
    ds.file_meta = _file_meta(ds)
    return ds


def structured_report(
    kind: Kind, source: Source, result: AnalysisResult, *, tree: Dataset, uids: DerivedUids
) -> Dataset:
    """Return a whole SR document around its content tree."""
    ds = header(kind, source, result, uids=uids, of=())
    if orders := source.orders():
        ds.ReferencedRequestSequence = ItemSequence(orders)
    ds.ReferencedPerformedProcedureStepSequence = ItemSequence([])

    # SR Document General (C.17.2)
    ds.CompletionFlag = "COMPLETE"
    ds.VerificationFlag = "UNVERIFIED"
    ds.PreliminaryFlag = "PRELIMINARY"
    ds.AuthorObserverSequence = ItemSequence([_author(result.device)])
    ds.PerformedProcedureCodeSequence = ItemSequence([])
    ds.CurrentRequestedProcedureEvidenceSequence = ItemSequence([source.evidence()])
    ds.update(tree)
    return ds


def to_bytes(ds: Dataset) -> bytes:
    """Return a report as a DICOM file (PS3.10), Explicit VR Little Endian."""
    out = BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def moment(source: Source, result: AnalysisResult) -> datetime:
    """Return when it was analysed, on the clock of the source where that is known.

    Timezone Offset From UTC speaks for every time of an object, the copied study time included.
    """
    found = _OFFSET.fullmatch(str(source.header.get("TimezoneOffsetFromUTC", "") or "").strip())
    if found is None:
        return result.analysed_at
    sign = -1 if found[1] == "-" else 1
    minutes = sign * (60 * int(found[2]) + int(found[3]))
    if abs(minutes) > 14 * 60:
        return result.analysed_at
    return result.analysed_at.astimezone(timezone(timedelta(minutes=minutes)))


def _author(device: Device) -> Dataset:
    """Identified Person or Device Macro (PS3.3 Table C.17-3b)."""
    item = Dataset()
    item.ObserverType = "DEV"
    item.StationName = device.name[:16]
    item.DeviceUID = UID(device.uid)
    item.Manufacturer = device.manufacturer
    item.ManufacturerModelName = device.model
    item.InstitutionName = ""
    item.InstitutionCodeSequence = ItemSequence([])
    return item


def _equipment(device: Device, at: datetime) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = ItemSequence([codes.PROCESSING_EQUIPMENT.as_item()])
    item.Manufacturer = device.manufacturer
    item.ManufacturerModelName = device.model
    item.DeviceSerialNumber = device.serial
    item.SoftwareVersions = device.software_version
    item.ContributionDateTime = at.strftime("%Y%m%d%H%M%S")
    return item


def _file_meta(ds: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
