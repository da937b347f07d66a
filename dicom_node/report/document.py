"""The modules around a content: patient, study, series, equipment, SR document, SOP common."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as ItemSequence
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node import codes
from dicom_node.contexts import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.elements import data_set, to_file
from dicom_node.report.result import AnalysisResult, Device
from dicom_node.report.review import Predecessor, Review
from dicom_node.report.source import Source
from dicom_node.report.uids import DerivedUids

SERIES_DESCRIPTION: Final = "AI ECG result - UNVERIFIED"
VERIFIED_DESCRIPTION: Final = "ECG result - VERIFIED by a person"
#: Documents of a review stand this far behind those of the network.
_REVIEW_SERIES: Final = 100
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
    day, time = at.strftime("%Y%m%d"), at.strftime("%H%M%S")
    ds = data_set(
        SpecificCharacterSet="ISO_IR 192",
        InstanceCreationDate=day,
        InstanceCreationTime=time,
        ContentDate=day,
        ContentTime=time,
        TimezoneOffsetFromUTC=at.strftime("%z")[:5],
        SOPClassUID=kind.sop_class_uid,
        SOPInstanceUID=uids.derive(kind.name, "instance", *of),
        # General Series (PS3.3 C.7.3.1), SR Document Series (C.17.1), General Equipment (C.7.5.1)
        Modality=kind.modality,
        SeriesInstanceUID=uids.derive(kind.name, "series", *of),
        SeriesNumber=kind.series_number + (_REVIEW_SERIES if result.review else 0),
        SeriesDescription=description(result),
        SeriesDate=day,
        SeriesTime=time,
        Manufacturer=result.device.manufacturer,
        ManufacturerModelName=result.device.model,
        DeviceSerialNumber=result.device.serial,
        SoftwareVersions=result.device.software_version,
        InstanceNumber=1,
        ContributingEquipmentSequence=[_equipment(result.device, at)],
    )
    source.copy_identity(ds)
    ds.file_meta = _file_meta(ds)
    return ds


def structured_report(
    kind: Kind,
    source: Source,
    result: AnalysisResult,
    *,
    tree: Dataset,
    uids: DerivedUids,
    predecessor: Predecessor | None = None,
) -> Dataset:
    """Return a whole SR document around its content tree."""
    of = () if predecessor is None else (predecessor.sop_instance_uid,)
    ds = header(kind, source, result, uids=uids, of=of)
    if source.orders:
        ds.ReferencedRequestSequence = ItemSequence(source.orders)
    # SR Document General (C.17.2)
    general = data_set(
        ReferencedPerformedProcedureStepSequence=[],
        CompletionFlag="COMPLETE",
        VerificationFlag=verification_flag(result),
        PreliminaryFlag="PRELIMINARY",
        AuthorObserverSequence=[_author(result.device)],
        PerformedProcedureCodeSequence=[],
        CurrentRequestedProcedureEvidenceSequence=[source.evidence()],
    )
    if result.review is not None:
        ds.update(_coding_scheme(result.review))
        general.update(_verification(result.review, result.device, moment(source, result)))
    if predecessor is not None:
        replaced = predecessor.in_study(str(ds.StudyInstanceUID))
        general.update(data_set(PredecessorDocumentsSequence=[replaced]))
    ds.update(general)
    ds.update(tree)
    return ds


def to_bytes(ds: Dataset) -> bytes:
    """Return a report as a DICOM file (PS3.10), Explicit VR Little Endian."""
    return to_file(ds)


def description(result: AnalysisResult) -> str:
    """Return what a series is called: by whether a person stands behind it."""
    return SERIES_DESCRIPTION if result.review is None else VERIFIED_DESCRIPTION


def verification_flag(result: AnalysisResult) -> str:
    """Return the Verification Flag."""
    return "UNVERIFIED" if result.review is None else "VERIFIED"


def moment(source: Source, result: AnalysisResult) -> datetime:
    """Return when it was judged, on the clock of the source where that is known.

    Timezone Offset From UTC speaks for every time of an object, the copied study time included.
    """
    found = _OFFSET.fullmatch(str(source.header.get("TimezoneOffsetFromUTC", "") or "").strip())
    if found is None:
        return result.judged_at
    sign = -1 if found[1] == "-" else 1
    minutes = sign * (60 * int(found[2]) + int(found[3]))
    if abs(minutes) > 14 * 60:
        return result.judged_at
    return result.judged_at.astimezone(timezone(timedelta(minutes=minutes)))


def _verification(review: Review, device: Device, at: datetime) -> Dataset:
    """What a person's word changes (C.17.2): it is final, theirs, and says when."""
    verifier = review.verifier
    verifying = data_set(
        VerifyingOrganization=verifier.organization,
        VerificationDateTime=at.strftime("%Y%m%d%H%M%S%z"),
        VerifyingObserverName=verifier.name,
        VerifyingObserverIdentificationCodeSequence=verifier.codes(),
    )
    author = data_set(
        ObserverType="PSN",
        PersonName=verifier.name,
        PersonIdentificationCodeSequence=verifier.codes(),
        InstitutionName=verifier.organization,
        InstitutionCodeSequence=[],
    )
    return data_set(
        PreliminaryFlag="FINAL",
        VerifyingObserverSequence=[verifying],
        AuthorObserverSequence=[author, _author(device)],
    )


def _coding_scheme(review: Review) -> Dataset:
    """Say whose scheme it is that people are identified by (C.12.1.1.7), where one is."""
    if not review.verifier.identification:
        return Dataset()
    scheme = data_set(
        CodingSchemeDesignator=codes.LOCAL_SCHEME,
        CodingSchemeName="Identification of persons by their organization",
        CodingSchemeResponsibleOrganization=review.verifier.organization,
    )
    return data_set(CodingSchemeIdentificationSequence=[scheme])


def _author(device: Device) -> Dataset:
    """Identified Person or Device Macro (PS3.3 Table C.17-3b)."""
    return data_set(
        ObserverType="DEV",
        StationName=device.name[:16],
        DeviceUID=device.uid,
        Manufacturer=device.manufacturer,
        ManufacturerModelName=device.model,
        InstitutionName="",
        InstitutionCodeSequence=[],
    )


def _equipment(device: Device, at: datetime) -> Dataset:
    return data_set(
        PurposeOfReferenceCodeSequence=[codes.PROCESSING_EQUIPMENT.as_item()],
        Manufacturer=device.manufacturer,
        ManufacturerModelName=device.model,
        DeviceSerialNumber=device.serial,
        SoftwareVersions=device.software_version,
        ContributionDateTime=at.strftime("%Y%m%d%H%M%S"),
    )


def _file_meta(ds: Dataset) -> FileMetaDataset:
    return FileMetaDataset(
        data_set(
            MediaStorageSOPClassUID=ds.SOPClassUID,
            MediaStorageSOPInstanceUID=ds.SOPInstanceUID,
            TransferSyntaxUID=ExplicitVRLittleEndian,
            ImplementationClassUID=IMPLEMENTATION_CLASS_UID,
            ImplementationVersionName=IMPLEMENTATION_VERSION_NAME,
        )
    )
