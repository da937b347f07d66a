"""The modules around a content tree: patient, study, series, equipment, SR document, SOP common."""

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
    """One of the documents: its name, SOP Class and series number."""

    name: str
    sop_class_uid: str
    series_number: int


BASIC_TEXT: Final = Kind("basic_text", "1.2.840.10008.5.1.4.1.1.88.11", 9001)
COMPREHENSIVE: Final = Kind("comprehensive", "1.2.840.10008.5.1.4.1.1.88.33", 9002)


def document(
    kind: Kind, source: Source, result: AnalysisResult, *, tree: Dataset, uids: DerivedUids
) -> Dataset:
    """Return a whole SR document: `tree` with its modules and File Meta Information."""
    moment = _moment(source, result)
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.InstanceCreationDate = ds.SeriesDate = ds.ContentDate = moment.strftime("%Y%m%d")
    ds.InstanceCreationTime = ds.SeriesTime = ds.ContentTime = moment.strftime("%H%M%S")
    ds.TimezoneOffsetFromUTC = moment.strftime("%z")[:5]
    ds.SOPClassUID = UID(kind.sop_class_uid)
    ds.SOPInstanceUID = uids.derive(kind.name, "instance")
    source.copy_identity(ds)

    # SR Document Series (PS3.3 C.17.1), General Equipment (C.7.5.1)
    ds.Modality = "SR"
    ds.SeriesInstanceUID = uids.derive(kind.name, "series")
    ds.SeriesNumber = kind.series_number
    ds.SeriesDescription = SERIES_DESCRIPTION
    ds.ReferencedPerformedProcedureStepSequence = ItemSequence([])
    ds.Manufacturer = result.device.manufacturer
    ds.ManufacturerModelName = result.device.model
    ds.DeviceSerialNumber = result.device.serial
    ds.SoftwareVersions = result.device.software_version

    # SR Document General (C.17.2)
    ds.InstanceNumber = 1
    ds.CompletionFlag = "COMPLETE"
    ds.VerificationFlag = "UNVERIFIED"
    ds.PreliminaryFlag = "PRELIMINARY"
    ds.AuthorObserverSequence = ItemSequence([_author(result.device)])
    ds.PerformedProcedureCodeSequence = ItemSequence([])
    ds.CurrentRequestedProcedureEvidenceSequence = ItemSequence([source.evidence()])
    ds.ContributingEquipmentSequence = ItemSequence([_equipment(result.device, moment)])

    ds.update(tree)
    ds.file_meta = _file_meta(ds)
    return ds


def to_bytes(ds: Dataset) -> bytes:
    """Return a report as a DICOM file (PS3.10), Explicit VR Little Endian."""
    out = BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def _moment(source: Source, result: AnalysisResult) -> datetime:
    """When it was analysed, on the clock of the source where that is known.

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


def _equipment(device: Device, moment: datetime) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = ItemSequence([codes.PROCESSING_EQUIPMENT.as_item()])
    item.Manufacturer = device.manufacturer
    item.ManufacturerModelName = device.model
    item.DeviceSerialNumber = device.serial
    item.SoftwareVersions = device.software_version
    item.ContributionDateTime = moment.strftime("%Y%m%d%H%M%S")
    return item


def _file_meta(ds: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
