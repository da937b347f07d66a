"""The SOP Classes and Transfer Syntaxes we take and offer, and why each.

A sender often opens one association for one picture, and a negotiation of every storage class there
is costs about three times as much as one of the few that are used: the lists stay short.
"""

from typing import Final

VERIFICATION: Final = "1.2.840.10008.1.1"
# Push Model (PS3.4 section J.3). We ask archives and they report to us; senders ask us.
STORAGE_COMMITMENT: Final = "1.2.840.10008.1.20.1"

# PS3.4 Table B.5-1. How viewers and exporters hand over an ECG picture; the multi-frame classes
# are exports of several pages. Recorders send waveforms, and some of them a PDF beside or instead;
# twelve-lead ECGs have been seen in the Hemodynamic class. Ambulatory ECGs are hours long and no
# page: they are not taken.
STORAGE_CLASSES: Final[dict[str, str]] = {
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.1": "Multi-frame Single Bit Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.9.1.1": "12-lead ECG Waveform Storage",
    "1.2.840.10008.5.1.4.1.1.9.1.2": "General ECG Waveform Storage",
    "1.2.840.10008.5.1.4.1.1.9.2.1": "Hemodynamic Waveform Storage",
    "1.2.840.10008.5.1.4.1.1.104.1": "Encapsulated PDF Storage",
}

# What we send: the readable report and the machine readable one; the others where a Peer asks for
# them, or refuses those.
REPORT_CLASSES: Final[dict[str, str]] = {
    "1.2.840.10008.5.1.4.1.1.88.11": "Basic Text SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.22": "Enhanced SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR Storage",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.104.1": "Encapsulated PDF Storage",
}

STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
WORKLIST_FIND: Final = "1.2.840.10008.5.1.4.31"

# What we ask of archives, to bring the ECGs of the past, and of worklists.
QUERY_CLASSES: Final[dict[str, str]] = {
    STUDY_ROOT_FIND: "Study Root Query/Retrieve Information Model - FIND",
    STUDY_ROOT_GET: "Study Root Query/Retrieve Information Model - GET",
    STUDY_ROOT_MOVE: "Study Root Query/Retrieve Information Model - MOVE",
    WORKLIST_FIND: "Modality Worklist Information Model - FIND",
}

IMPLICIT_LE: Final = "1.2.840.10008.1.2"
EXPLICIT_LE: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BE: Final = "1.2.840.10008.1.2.2"
DEFLATED_LE: Final = "1.2.840.10008.1.2.1.99"
JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED: Final = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS: Final = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1: Final = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS: Final = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR: Final = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"
JPEG_2000: Final = "1.2.840.10008.1.2.4.91"
RLE: Final = "1.2.840.10008.1.2.5"

# Nine encodings under thirteen UIDs. A sender that offers several in one presentation context gets
# the first of this order: it never has to compress because of us, and never lossily.
TRANSFER_SYNTAXES: Final[dict[str, str]] = {
    EXPLICIT_LE: "Explicit VR Little Endian",
    IMPLICIT_LE: "Implicit VR Little Endian",
    EXPLICIT_BE: "Explicit VR Big Endian",
    DEFLATED_LE: "Deflated Explicit VR Little Endian",
    RLE: "RLE Lossless",
    JPEG_LOSSLESS_SV1: "JPEG Lossless, first-order prediction",
    JPEG_LOSSLESS: "JPEG Lossless",
    JPEG_LS_LOSSLESS: "JPEG-LS Lossless",
    JPEG_2000_LOSSLESS: "JPEG 2000 Lossless",
    JPEG_LS_NEAR: "JPEG-LS Near-lossless",
    JPEG_2000: "JPEG 2000",
    JPEG_BASELINE: "JPEG Baseline",
    JPEG_EXTENDED: "JPEG Extended",
}

# Under which names we appear in an association and in the files we write. The UID is of the 2.25
# form, a UUID as a number (PS3.5 section B.2).
IMPLEMENTATION_CLASS_UID: Final = "2.25.205489642195356239762493938117866584907"
IMPLEMENTATION_VERSION_NAME: Final = "ECGGATEWAY_1"


def accepts(sop_class_uid: str, transfer_syntax_uid: str) -> bool:
    """Tell whether the Storage SCP takes this SOP Class in this transfer syntax."""
    return sop_class_uid in STORAGE_CLASSES and transfer_syntax_uid in TRANSFER_SYNTAXES
