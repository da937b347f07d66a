"""Every coded concept we write: value, scheme, meaning, and where it comes from.

Meanings stay English and within the 64 bytes of their VR (LO); texts for people carry the other
languages. No code of the retired SRT scheme is written.

Five of the ten finding codes are in PS3.16 CID 3230 "ECG Findings"; the other five extend it. They
come from the diagnosis map of the PhysioNet/CinC Challenge 2021 and from SNOMED International's
public lists; whether they are active was not checked in a SNOMED release.
"""

from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from dicom_node.elements import data_set

#: Of a Code Value, in characters; what is longer is a Long Code Value (PS3.3 section 8.1).
MAX_VALUE: Final = 16
#: What an organization calls its own people by (PS3.3 section 8.2: private schemes begin so).
LOCAL_SCHEME: Final = "99ECGGATEWAY"


@dataclass(frozen=True)
class Concept:
    """A coded concept (PS3.3 section 8.8): Code Value, Coding Scheme Designator, Code Meaning."""

    value: str
    scheme: str
    meaning: str

    def __post_init__(self) -> None:
        if len(self.meaning.encode()) > 64 or len(self.value) > MAX_VALUE:
            raise ValueError(f"({self.value}, {self.scheme}) does not fit its VRs")

    def as_item(self) -> Dataset:
        """Return the concept as an item of a code sequence."""
        return data_set(
            CodeValue=self.value,
            CodingSchemeDesignator=self.scheme,
            CodeMeaning=self.meaning,
        )


# Document titles and headings of TID 2000 (CID 7000, 7001)
ECG_REPORT: Final = Concept("11524-0", "LN", "ECG Report")
IMPRESSIONS: Final = Concept("19005-8", "LN", "Impressions")
FINDINGS: Final = Concept("59776-5", "LN", "Findings")
PROCEDURE_DESCRIPTIONS: Final = Concept("55111-9", "LN", "Current Procedure Descriptions")
KEY_IMAGES: Final = Concept("55113-5", "LN", "Key Images")
IMPRESSION: Final = Concept("121073", "DCM", "Impression")
FINDING: Final = Concept("121071", "DCM", "Finding")
PROCEDURE_DESCRIPTION: Final = Concept("121065", "DCM", "Procedure Description")
BEST_ILLUSTRATION: Final = Concept("121080", "DCM", "Best illustration of finding")

# TID 1204 Language of Content Item and Descendants
LANGUAGE: Final = Concept("121049", "DCM", "Language of Content Item and Descendants")
ENGLISH: Final = Concept("en-US", "RFC5646", "English (United States)")
CHINESE: Final = Concept("zh-CN", "RFC5646", "Chinese (China)")
LANGUAGES: Final = {concept.value: concept for concept in (ENGLISH, CHINESE)}

# TID 1002, 1003, 1004 Observer Context
OBSERVER_TYPE: Final = Concept("121005", "DCM", "Observer Type")
PERSON: Final = Concept("121006", "DCM", "Person")
PERSON_NAME: Final = Concept("121008", "DCM", "Person Observer Name")
PERSON_ORGANIZATION: Final = Concept("121009", "DCM", "Person Observer's Organization Name")
DEVICE: Final = Concept("121007", "DCM", "Device")
DEVICE_UID: Final = Concept("121012", "DCM", "Device Observer UID")
DEVICE_NAME: Final = Concept("121013", "DCM", "Device Observer Name")
DEVICE_MANUFACTURER: Final = Concept("121014", "DCM", "Device Observer Manufacturer")
DEVICE_MODEL: Final = Concept("121015", "DCM", "Device Observer Model Name")
DEVICE_SERIAL: Final = Concept("121016", "DCM", "Device Observer Serial Number")

# TID 1500 Measurement Report, TID 1501, TID 1600 Image Library
MEASUREMENT_REPORT: Final = Concept("126000", "DCM", "Imaging Measurement Report")
PROCEDURE_REPORTED: Final = Concept("121058", "DCM", "Procedure reported")
ECG_12_LEAD: Final = Concept("268400002", "SCT", "12 lead electrocardiogram")
IMAGE_LIBRARY: Final = Concept("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP: Final = Concept("126200", "DCM", "Image Library Group")
SOURCE: Final = Concept("260753009", "SCT", "Source")
MODALITY: Final = Concept("121139", "DCM", "Modality")
ELECTROCARDIOGRAPHY: Final = Concept("ECG", "DCM", "Electrocardiography")
PIXEL_ROWS: Final = Concept("110910", "DCM", "Pixel Data Rows")
PIXEL_COLUMNS: Final = Concept("110911", "DCM", "Pixel Data Columns")
IMAGING_MEASUREMENTS: Final = Concept("126010", "DCM", "Imaging Measurements")
MEASUREMENT_GROUP: Final = Concept("125007", "DCM", "Measurement Group")
TRACKING_IDENTIFIER: Final = Concept("112039", "DCM", "Tracking Identifier")
TRACKING_UID: Final = Concept("112040", "DCM", "Tracking Unique Identifier")
PROBABILITY: Final = Concept("122157", "DCM", "Probability")
OUTLINE: Final = Concept("111041", "DCM", "Outline")
QUALITATIVE_EVALUATIONS: Final = Concept("C0034375", "UMLS", "Qualitative Evaluations")
SUMMARY: Final = Concept("121111", "DCM", "Summary")
COMMENT: Final = Concept("121106", "DCM", "Comment")

# TID 4019 Algorithm Identification
ALGORITHM_NAME: Final = Concept("111001", "DCM", "Algorithm Name")
ALGORITHM_PARAMETERS: Final = Concept("111002", "DCM", "Algorithm Parameters")
ALGORITHM_VERSION: Final = Concept("111003", "DCM", "Algorithm Version")

# CID 240 Present-Absent
PRESENT: Final = Concept("52101004", "SCT", "Present")
ABSENT: Final = Concept("272519000", "SCT", "Absent")
UNDETERMINED: Final = Concept("373068000", "SCT", "Undetermined")
VERDICTS: Final = {"present": PRESENT, "absent": ABSENT, "undetermined": UNDETERMINED}

# PS3.16 Annex D
REPLACED_REPORT: Final = Concept("121360", "DCM", "Replaced report")

# CID 7005 Contributing Equipment Purposes of Reference
PROCESSING_EQUIPMENT: Final = Concept("109102", "DCM", "Processing Equipment")

# Units (UCUM)
PERCENT: Final = Concept("%", "UCUM", "Percent")
PIXELS: Final = Concept("{pixels}", "UCUM", "pixels")

# The ten findings: (c) CID 3230, (p) PhysioNet/CinC 2021 map, (s) SNOMED public list.
FINDING_CODES: Final[dict[str, Concept]] = {
    "normal": Concept("164854000", "SCT", "Normal ECG"),  # c
    "pvc": Concept("251175005", "SCT", "Ventricular premature contraction"),  # c
    "preexcitation": Concept("195060002", "SCT", "Ventricular pre-excitation"),  # c
    "clbbb": Concept("733534002", "SCT", "Complete left bundle branch block"),  # p
    "crbbb": Concept("713427006", "SCT", "Complete right bundle branch block"),  # p
    "af": Concept("49436004", "SCT", "Atrial fibrillation"),  # c
    "afl": Concept("5370000", "SCT", "Atrial flutter"),  # s
    "atrial_escape": Concept("251187003", "SCT", "Atrial escape complex"),  # p
    "pac": Concept("284470004", "SCT", "Atrial premature contraction"),  # c
    "at": Concept("713422000", "SCT", "Atrial tachycardia"),  # p
}
EXTENDS_CID_3230: Final = frozenset({"clbbb", "crbbb", "afl", "atrial_escape", "at"})
