"""A Chinese-named patient reads right wherever a report is read: DCMTK, Orthanc, a PDF reader."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from peers import Orthanc, dcmtk
from pydicom import Dataset, dcmread
from report_cases import pdf_text, result, source

from dicom_node import report

OUTPUTS = ("basic_text", "comprehensive", "result_page", "pdf")


@dataclass(frozen=True)
class Written:
    """How a hospital writes its texts."""

    declared: str | list[str] | None
    codec: str
    family: str
    escape: bytes = b""

    def bytes_of(self, text: str) -> bytes:
        """Return a text, its components one by one, for each begins in ASCII."""
        parts = [self.escape + part.encode(self.codec) for part in text.split("^")]
        return b"^".join(parts)


# The second bytes of 乗 and 乛 are the backslash and the caret of other character sets.
HOSPITALS = {
    "GB18030": Written("GB18030", "gb18030", "乗乛"),
    "GBK": Written("GBK", "gbk", "乗乛"),
    "ISO 2022 IR 58": Written(["", "ISO 2022 IR 58"], "gb2312", "王", b"\x1b$)A"),
    # A character outside the plane that most fonts stay in.
    "ISO_IR 192": Written("ISO_IR 192", "utf_8", "𠮷乗"),
    "none": Written(None, "utf_8", "王"),
}


def picture_of(hospital: Written) -> Dataset:
    """Return a picture as read from a file of this hospital, an order in it."""
    texts = {
        "PatientName": f"{hospital.family}^小东",
        "StudyDescription": f"{hospital.family}心电图",
        "RequestedProcedureDescription": f"静息{hospital.family}",
    }
    ds = source(patient_name="N" * 40, study_description="D" * 40)
    request = Dataset()
    request.RequestedProcedureID, request.RequestedProcedureDescription = "RP-1", "R" * 40
    ds.RequestAttributesSequence = [request]
    del ds.SpecificCharacterSet
    if hospital.declared is not None:
        ds.SpecificCharacterSet = hospital.declared
    written = BytesIO()
    ds.save_as(written, enforce_file_format=True)
    content = written.getvalue()
    for letter, text in zip("NDR", texts.values(), strict=True):
        content = content.replace(letter.encode() * 40, hospital.bytes_of(text).ljust(40))
    return dcmread(BytesIO(content))


@pytest.mark.parametrize("name", HOSPITALS)
def test_a_chinese_name_reads_right_everywhere(name: str, orthanc: Orthanc, tmp_path: Path) -> None:
    hospital = HOSPITALS[name]
    pixels = np.full((90, 120), 255, np.uint8)
    made = report.compose(picture_of(hospital), result(), outputs=OUTPUTS, picture=lambda: pixels)
    for output, ds in made.items():
        path = tmp_path / f"{output}.dcm"
        path.write_bytes(report.to_bytes(ds))
        tags = orthanc.tags(orthanc.upload(path))
        assert tags["PatientName"] == f"{hospital.family}^小东"
        assert tags["StudyDescription"] == f"{hospital.family}心电图"
        orders = "ReferencedRequestSequence" if tags["Modality"] == "SR" else (
            "RequestAttributesSequence"
        )  # fmt: skip
        (order,) = tags[orders]
        assert order["RequestedProcedureDescription"] == f"静息{hospital.family}"
    (study,) = orthanc.studies(accession_number="A-1")
    assert study["PatientName"] == f"{hospital.family}^小东"

    rendered = dcmtk("dsr2html", tmp_path / "basic_text.dcm", tmp_path / "report.html")
    assert rendered.returncode == 0, rendered.output
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"小东 {hospital.family} (female" in html
    assert f"{hospital.family}心电图" in html

    text = pdf_text(made["pdf"])
    assert f"{hospital.family}小东" in text
    assert f"{hospital.family}心电图" in text
