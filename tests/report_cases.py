"""Pictures and results that reports are composed from in tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import numpy as np
import pypdfium2
from pydicom import Dataset, dcmread
from pydicom.uid import UID

from dicom_node import report
from dicom_node.capture import secondary_capture
from dicom_node.codes import FINDING_CODES

KEYS = tuple(FINDING_CODES)
DEVICE = report.Device(
    uid="2.25.1234567890",
    name="ECG Gateway",
    manufacturer="ECG Gateway",
    model="ECG Gateway",
    serial="34567890",
    software_version="0.1.0",
)
OTHER_REGION = ((50.0, 60.0), (1000.0, 60.0), (1000.0, 700.0), (50.0, 700.0))
STATEMENTS = ("Ventricular rate 72 /min", "QRS duration 94 ms", "QRS axis -30 degrees")
REGION = ((20.0, 30.0), (1100.0, 30.0), (1100.0, 800.0), (20.0, 800.0))
WHEN = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC)


def source(**values: str) -> Dataset:
    """Return a picture with everything a hospital fills in."""
    described = {
        "patient_id": "P-1",
        "patient_name": "Test^Patient",
        "patient_birth_date": "19500102",
        "patient_sex": "F",
        "accession_number": "A-1",
        "study_id": "S-1",
        "study_description": "12-lead ECG",
        **values,
    }
    return secondary_capture(np.full((900, 1200), 255, np.uint8), **described)  # type: ignore[arg-type]


def result(
    present: tuple[str, ...] = ("af",),
    undetermined: tuple[str, ...] = (),
    *,
    frame_number: int | None = None,
    region: tuple[tuple[float, float], ...] | None = REGION,
) -> report.AnalysisResult:
    """Return a result; the findings not named are absent, two classes are not validated."""
    findings = []
    for number, key in enumerate(KEYS):
        verdict, probability = "absent", 0.01 + 0.03 * number
        if key in present:
            verdict, probability = "present", 0.91 - 0.01 * number
        elif key in undetermined:
            verdict, probability = "undetermined", 0.41
        findings.append(
            report.FindingResult(
                key=key,
                probability=probability,
                threshold=0.5,
                verdict=verdict,  # type: ignore[arg-type]
                validated=key not in ("at", "atrial_escape"),
            )
        )
    return report.AnalysisResult(
        findings=tuple(findings),
        model_name="resnet18",
        model_version="1.0",
        model_sha256="ab" * 32,
        frame_number=frame_number,
        region=region,
        device=DEVICE,
        analysed_at=WHEN,
    )


def pair(ds: Dataset, analysed: report.AnalysisResult, **options: Any) -> tuple[Dataset, Dataset]:
    """Compose what is made by default: the document for people and the one for machines."""
    people, machines = report.compose(ds, analysed, **options).values()
    return people, machines


def multi_frame() -> Dataset:
    ds = source()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7.2")
    ds.NumberOfFrames = 2
    ds.PixelData = ds.PixelData * 2
    return ds


def waveform(**values: str) -> Dataset:
    """Return the header of an ECG that is no picture."""
    return _without_pixels("1.2.840.10008.5.1.4.1.1.9.1.1", **values)


def document(**values: str) -> Dataset:
    """Return the header of an Encapsulated PDF."""
    return _without_pixels("1.2.840.10008.5.1.4.1.1.104.1", **values)


def _without_pixels(sop_class_uid: str, **values: str) -> Dataset:
    ds = source(**values)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    for element in (*ds.group_dataset(0x0028), ds["PixelData"], ds["ImageType"]):
        del ds[element.tag]
    return ds


def two_pages() -> report.AnalysisResult:
    """Return a result whose findings were read on both pages of `multi_frame`."""
    base = result(("af", "crbbb", "pvc"), frame_number=1)
    placed = {"pvc": (2, OTHER_REGION), "crbbb": (2, None), "af": (1, None)}
    return replace(
        base,
        findings=tuple(
            replace(finding, frame_number=placed[finding.key][0], region=placed[finding.key][1])
            if finding.key in placed
            else finding
            for finding in base.findings
        ),
    )


def halves() -> report.AnalysisResult:
    """Return a result read on both pages of `multi_frame` together."""
    joined = report.Joined((1, 2), (REGION, OTHER_REGION))
    return replace(result(("af", "pvc"), frame_number=1), joined=(joined,))


def with_order() -> Dataset:
    ds = source()
    request = Dataset()
    request.RequestedProcedureID = "RP-1"
    request.RequestedProcedureDescription = "ECG at rest"
    ds.RequestAttributesSequence = [request]
    return ds


LONG_UID = "1.2.826.0.1.3680043.8.498." + "1" * 38
CASES: dict[str, tuple[Dataset, report.AnalysisResult]] = {
    "one present": (source(), result()),
    "several present": (source(), result(("af", "crbbb", "pvc", "at"))),
    "none present": (source(), result(())),
    "undetermined": (source(), result((), ("pac", "afl"))),
    "no region": (source(), result(region=None)),
    "a page of several": (multi_frame(), result(frame_number=2)),
    "an order": (with_order(), result()),
    "two pages": (multi_frame(), two_pages()),
    "halves": (multi_frame(), halves()),
    "a waveform": (waveform(), replace(result(), statements=STATEMENTS)),
    "a document": (document(), result((), frame_number=2)),
    "long uids": (source(sop_instance_uid=LONG_UID, study_instance_uid=LONG_UID + ""), result()),
    "long texts": (source(study_description="d" * 64, accession_number="1" * 16), result()),
    "chinese": (source(patient_name="王^小东=王^小东"), result()),
    "japanese": (source(patient_name="Yamada^Tarou=山田^太郎=やまだ^たろう"), result()),
    "latin": (source(patient_name="Müller^Jürgen"), result()),
}
# Character set -> (its bytes in the file, what they say)
NAMES: dict[str, tuple[str | list[str], bytes, str]] = {
    "GB18030": ("GB18030", "Wang^XiaoDong=王^小东=".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    # Second bytes 0x5C and 0x5E, the backslash and the caret of other character sets
    "GBK": ("GBK", b"\x81\x5c\x81\x5e^\xd0\xa1", "乗乛^小"),
    "ISO 2022 IR 58": (
        ["", "ISO 2022 IR 58"],
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        "Zhang^XiaoDong=张^小东",
    ),
    "ISO 2022 IR 87": (
        ["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
        "Yamada^Tarou=山田^太郎",
    ),
    "ISO 2022 IR 149": (
        ["", "ISO 2022 IR 149"],
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=",
        "Hong^Gildong=洪^吉洞",
    ),
    "ISO_IR 144": ("ISO_IR 144", "Иванов^Иван".encode("iso8859_5"), "Иванов^Иван"),
    "ISO_IR 192": ("ISO_IR 192", "Wang^XiaoDong=王^小东".encode(), "Wang^XiaoDong=王^小东"),
    "ISO_IR 100": ("ISO_IR 100", "Müller^Jürgen".encode("latin-1"), "Müller^Jürgen"),
    "none": ("", b"Mueller^Juergen", "Mueller^Juergen"),
}


def named(character_set: str) -> Dataset:
    """Return a picture as read from a file whose patient has a name of NAMES."""
    declared, raw, _ = NAMES[character_set]
    raw += b" " * (len(raw) % 2)
    placeholder = b"N" * len(raw)
    ds = source(patient_name=placeholder.decode())
    del ds.SpecificCharacterSet
    if declared:
        ds.SpecificCharacterSet = declared
    written = BytesIO()
    ds.save_as(written, enforce_file_format=True)
    return dcmread(BytesIO(written.getvalue().replace(placeholder, raw, 1)))


def pdf_text(ds: Dataset) -> str:
    """Return the text of the one page of a PDF report, as a search finds it."""
    with pypdfium2.PdfDocument(ds.EncapsulatedDocument) as pdf:
        (page,) = pdf
        return str(page.get_textpage().get_text_bounded()).replace("\r\n", "\n")


def walk(node: report.ReportNode) -> list[report.ReportNode]:
    """Return a node and everything below it."""
    return [node, *(found for child in node.children for found in walk(child))]
