"""The judges of Structured Reports: dicom3tools, PixelMed and DCMTK, for real."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from programs import require

# What PixelMed's validator says of any report of these templates: it does not know this SNOMED
# code, a NUM under a CODE and a source that is no image lie outside the extensible template, and
# its list of headings in LOINC is that of 2005.
_ALLOWED = (
    re.compile(r"\(268400002,SCT,.*\) not found in context group 100"),
    re.compile(r"/CODE \([^/]*\)/NUM \(122157,DCM,\"Probability\"\): Content Item not in template"),
    re.compile(r"/(WAVEFORM|COMPOSITE) \(260753009,SCT,\"Source\"\): Content Item not in template"),
    re.compile(r"/CONTAINER \((19005-8|59776-5|55111-9|55113-5),LN,.*Content Item not in template"),
)


def dciodvfy(path: Path) -> list[str]:
    """Return the errors and warnings of dciodvfy."""
    done = subprocess.run(
        [require("dciodvfy"), path], capture_output=True, text=True, check=False, timeout=60
    )
    lines = (done.stdout + done.stderr).splitlines()
    return [line for line in lines if line.startswith(("Error", "Warning"))]


def dcentvfy(*paths: Path) -> list[str]:
    """Return where dcentvfy sees one patient, study or series described in two ways.

    It counts the Accession Number of a Secondary Capture to its series, whatever it holds; that
    line is left out.
    """
    done = subprocess.run(
        [require("dcentvfy"), *paths], capture_output=True, text=True, check=False, timeout=60
    )
    lines = (done.stdout + done.stderr).splitlines()
    quirk = "Different information entities for attribute - Element=<AccessionNumber>"
    return [line for line in lines if line.startswith(("Error", "Warning")) and quirk not in line]


def pixelmed(path: Path) -> list[str]:
    """Return what PixelMed's SR validator says of a report beyond what is allowed."""
    limits = [f"-Djdk.xml.xpath{name}Limit=0" for name in ("ExprGrp", "ExprOp", "TotalOp")]
    done = subprocess.run(
        [
            require("java"),
            "-XX:TieredStopAtLevel=1",  # it runs once; compiling it well takes longer
            *limits,
            "-cp",
            "/usr/share/java/pixelmed.jar",
            "com.pixelmed.validate.DicomSRValidator",
            path,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    lines = (done.stdout + done.stderr).splitlines()
    for said in ("Root Template Validation Complete", "IOD validation complete"):
        assert any(said in line for line in lines), lines
    return [
        line
        for line in lines
        if line.startswith(("Error", "Warning"))
        and not any(allowed.search(line) for allowed in _ALLOWED)
    ]
