"""What a report copies from its source, and which values may be copied.

The lists follow the modules of the SR IODs (PS3.3 section A.35): Patient C.7.1.1, Clinical Trial
Subject C.7.1.3, General Study C.7.2.1, Patient Study C.7.2.2, Clinical Trial Study C.7.2.3. A
report that left some out would contradict the study it joins. Attributes of animals, photographs
and retired attributes stay behind.
"""

import copy
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import RE_VALID_UID

#: Type 2 in a report: present even when the source lacks it.
ALWAYS: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
#: Copied where the source has them.
WHERE_PRESENT: Final = (
    # Patient
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "PatientBirthTime",
    "QualityControlSubject",
    "EthnicGroup",
    "PatientComments",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    # Clinical Trial Subject, Clinical Trial Study
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
    # General Study
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    "ConsultingPhysicianName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "ProcedureCodeSequence",
    "ReferencedStudySequence",
    # Patient Study
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "Occupation",
    "AdditionalPatientHistory",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "ServiceEpisodeID",
    "ServiceEpisodeDescription",
)
#: Of an item of Referenced Request Sequence: without one of these there is no order to join.
ORDER_IDENTIFIERS: Final = (
    "AccessionNumber",
    "RequestedProcedureID",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
)
#: Type 2 in that item.
ORDER_ALWAYS: Final = (
    *ORDER_IDENTIFIERS,
    "ReferencedStudySequence",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
)
#: All that is copied to it.
ORDER: Final = (
    *ORDER_ALWAYS,
    "IssuerOfAccessionNumberSequence",
    "OrderPlacerIdentifierSequence",
    "OrderFillerIdentifierSequence",
)

_LEGAL: Final[Mapping[str, re.Pattern[str]]] = {
    "DA": re.compile(r"(1[89]|2\d)\d{6}"),
    "TM": re.compile(r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"),
    "CS": re.compile(r"[A-Z0-9 _]{1,16}"),
    "AS": re.compile(r"\d{3}[DWMY]"),
    "DS": re.compile(r"(?=.{1,16}$)[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"),
}
_ENUMERATED: Final[Mapping[str, frozenset[str]]] = {
    "PatientSex": frozenset("MFO"),
    "PatientIdentityRemoved": frozenset({"YES", "NO"}),
    "QualityControlSubject": frozenset({"YES", "NO"}),
}
_CODE_VALUES: Final = ("CodeValue", "LongCodeValue", "URNCodeValue")


def is_uid(value: object) -> bool:
    """Tell whether this is one UID (PS3.5 section 9.1): at most 64 digits and dots."""
    said = str(value)
    return len(said) <= 64 and re.fullmatch(RE_VALID_UID, said) is not None


def legal_value(ds: Dataset, keyword: str) -> Any:
    """Return a value that may be copied, or None.

    Of a sequence, those of its items that are whole; private attributes are left out of them.
    """
    value = ds.get(keyword)
    if value is None or value == "" or value == []:
        return None
    vr = dictionary_VR(keyword)
    if vr == "SQ":
        items = [_public(item) for item in value if _is_whole(keyword, item)]
        return items or None
    said = str(value).strip()
    if (pattern := _LEGAL.get(vr)) and not pattern.fullmatch(said):
        return None
    if vr == "DA" and not _is_day(said):
        return None
    if said not in _ENUMERATED.get(keyword, {said}):
        return None
    return value


def empty_value(keyword: str) -> Any:
    """Return what an attribute without a value holds."""
    return [] if dictionary_VR(keyword) == "SQ" else ""


def _is_day(said: str) -> bool:
    try:
        date(int(said[:4]), int(said[4:6]), int(said[6:]))
    except ValueError:
        return False
    return True


def _is_whole(keyword: str, item: Dataset) -> bool:
    """Tell whether an item of a sequence has its attributes of type 1."""
    if keyword.endswith("CodeSequence"):
        return bool(item.get("CodeMeaning")) and any(item.get(name) for name in _CODE_VALUES)
    if keyword == "ReferencedStudySequence":
        uids = (item.get("ReferencedSOPClassUID"), item.get("ReferencedSOPInstanceUID"))
        return all(map(is_uid, uids))
    return len(item) > 0


def _public(item: Dataset) -> Dataset:
    kept = copy.deepcopy(item)
    kept.remove_private_tags()
    return kept
