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

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as ItemSequence
from pydicom.uid import RE_VALID_UID
from pydicom.valuerep import STR_VR

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
#: What tells whose a report is and which order it answers: copied as they are, or no report.
IDENTIFIERS: Final = ("PatientID", "IssuerOfPatientID", *ORDER_IDENTIFIERS)
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
#: Sequence -> attributes of type 1 in its items.
_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "OtherPatientIDsSequence": ("PatientID", "TypeOfPatientID"),
    "ReferencedStudySequence": ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"),
}
#: Sequences of the HL7v2 Hierarchic Designator Macro.
_DESIGNATORS: Final = frozenset(
    {
        "IssuerOfAccessionNumberSequence",
        "IssuerOfAdmissionIDSequence",
        "IssuerOfServiceEpisodeIDSequence",
        "OrderPlacerIdentifierSequence",
        "OrderFillerIdentifierSequence",
        "AssigningFacilitySequence",
    }
)
_CODE_VALUES: Final = ("CodeValue", "LongCodeValue", "URNCodeValue")


def is_uid(value: object) -> bool:
    """Tell whether this is one UID (PS3.5 section 9.1): at most 64 digits and dots."""
    said = str(value)
    return len(said) <= 64 and re.fullmatch(RE_VALID_UID, said) is not None


def legal_element(ds: Dataset, keyword: str) -> DataElement | None:
    """Return a copy of what may be copied of an attribute, or None.

    Of a sequence, those of its items that are whole once everything empty, illegal or private is
    taken out of them, at any depth. What is encoded as another kind of value counts as absent,
    but text of one kind may stand for text of another.
    """
    vr = dictionary_VR(keyword)
    if vr == "SQ":
        items = [_legal_item(item) for item in items_of(ds, keyword)]
        whole = [item for item in items if _is_whole(keyword, item)]
        return DataElement(ds[keyword].tag, "SQ", ItemSequence(whole)) if whole else None
    if keyword not in ds or not _are_alike(ds[keyword].VR, vr):
        return None
    element = ds[keyword]
    said = ["" if part is None else str(part).strip() for part in _parts(element.value)]
    if not any(said) or not all(_is_legal(keyword, vr, part) for part in said):
        return None
    if vr == element.VR:
        return copy.deepcopy(element)
    # Only that it is text was known of it so far; how long it may be is not judged here either.
    return DataElement(element.tag, vr, "\\".join(said), validation_mode=config.IGNORE)


def items_of(ds: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence: none where there is none, or something else in its place."""
    return list(ds[keyword].value) if keyword in ds and ds[keyword].VR == "SQ" else []


def empty_value(keyword: str) -> Any:
    """Return what an attribute without a value holds."""
    return [] if dictionary_VR(keyword) == "SQ" else ""


def _are_alike(vr: str, expected: str) -> bool:
    return vr == expected or (vr in STR_VR and expected in STR_VR)


def _parts(value: Any) -> list[Any]:
    return list(value) if isinstance(value, MultiValue) else [value]


def _is_legal(keyword: str, vr: str, said: str) -> bool:
    if (pattern := _LEGAL.get(vr)) and not pattern.fullmatch(said):
        return False
    if (vr == "DA" and not _is_day(said)) or (vr == "UI" and not is_uid(said)):
        return False
    return said in _ENUMERATED.get(keyword, {said})


def _is_day(said: str) -> bool:
    try:
        date(int(said[:4]), int(said[4:6]), int(said[6:]))
    except ValueError:
        return False
    return True


def _legal_item(item: Dataset) -> Dataset:
    kept = Dataset()
    for found in item:
        # Private attributes have no keyword.
        if found.keyword and (element := legal_element(item, found.keyword)) is not None:
            kept.add(element)
    return kept


def _is_whole(keyword: str, item: Dataset) -> bool:
    """Tell whether an item of a sequence has its attributes of types 1 and 1C."""
    if keyword.endswith("CodeSequence"):
        # PS3.3 Table 8.8-1: one kind of value; a URN is its own scheme.
        values = [name for name in _CODE_VALUES if name in item]
        named = values == ["URNCodeValue"] or "CodingSchemeDesignator" in item
        return len(values) == 1 and named and "CodeMeaning" in item
    if keyword == "IssuerOfPatientIDQualifiersSequence":
        return len(item) > 0 and ("UniversalEntityID" in item) == ("UniversalEntityIDType" in item)
    if keyword in _DESIGNATORS:
        # PS3.3 Table 10-17: a local name, or a universal one with its type.
        universal = [name in item for name in ("UniversalEntityID", "UniversalEntityIDType")]
        return all(universal) or ("LocalNamespaceEntityID" in item and not any(universal))
    return len(item) > 0 and all(name in item for name in _REQUIRED.get(keyword, ()))
