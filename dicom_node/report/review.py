"""What a person said of a result: the same result, verified.

The documents of a review are made of the network's result with the person's verdicts in it. Where
both say the same, the network's probability stays beside it; where they do not, it is told in the
comment alone, as what the network had said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydicom.dataset import Dataset

from dicom_node import codes
from dicom_node.codes import Concept
from dicom_node.elements import data_set
from dicom_node.report.names import displayed_name
from dicom_node.report.result import AnalysisResult, ReportError, Verdict

_MAX_MEANING_BYTES = 64


@dataclass(frozen=True)
class Verifier:
    """The person who answers for a report (PS3.3 section C.17.2, PS3.16 TID 1003).

    Attributes
    ----------
    name : str
        As a DICOM person name, ``Family^Given``.
    organization : str
        On whose behalf, at most 64 characters.
    identification : str
        What the organization knows the person by; empty: nothing.
    """

    name: str
    organization: str
    identification: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip("^= ") or not self.organization.strip():
            raise ReportError("expected the name and the organization of who verifies, found none")

    def codes(self) -> list[Dataset]:
        """Return the identification as a code of the organization's own, or nothing."""
        if not self.identification:
            return []
        meaning = displayed_name(self.name).encode()[:_MAX_MEANING_BYTES].decode(errors="ignore")
        if len(self.identification) <= codes.MAX_VALUE:
            return [Concept(self.identification, codes.LOCAL_SCHEME, meaning).as_item()]
        long = data_set(
            LongCodeValue=self.identification,
            CodingSchemeDesignator=codes.LOCAL_SCHEME,
            CodeMeaning=meaning,
        )
        return [long]


@dataclass(frozen=True)
class Review:
    """What one person said of all ten findings.

    Attributes
    ----------
    number : int
        1 for the first of this ECG.
    verdicts : mapping of str to {"present", "absent", "undetermined"}
        Of each of `dicom_node.codes.FINDING_CODES`.
    verifier : Verifier
    verified_at : aware datetime
        The documents' content date and time.
    comment : str
        What the person remarks; may be empty.
    """

    number: int
    verdicts: Mapping[str, Verdict]
    verifier: Verifier
    verified_at: datetime
    comment: str = ""

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ReportError(f"expected a review counted from 1, received {self.number}")
        if sorted(self.verdicts) != sorted(codes.FINDING_CODES):
            raise ReportError(f"expected each finding once, received {sorted(self.verdicts)}")
        if self.verified_at.tzinfo is None:
            raise ReportError("verified_at needs a time zone")

    def of(self, result: AnalysisResult) -> AnalysisResult:
        """Return a network's result as this review has it."""
        findings = []
        for finding in result.findings:
            verdict = self.verdicts[finding.key]
            overridden = None if verdict == finding.verdict else finding.verdict
            findings.append(replace(finding, verdict=verdict, overridden=overridden))
        return replace(result, findings=tuple(findings), review=self)

    def said(self) -> dict[str, Any]:
        """Return all of it that shows in a document and is not in the findings."""
        return {
            "number": self.number,
            "name": self.verifier.name,
            "organization": self.verifier.organization,
            "identification": self.verifier.identification,
            "verified_at": self.verified_at.isoformat(),
            "comment": self.comment,
        }


@dataclass(frozen=True)
class Predecessor:
    """A document of the same study that another one replaces."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str

    def reference(self) -> Dataset:
        """Return an item of a Referenced SOP Sequence that says why it is there."""
        return data_set(
            ReferencedSOPClassUID=self.sop_class_uid,
            ReferencedSOPInstanceUID=self.sop_instance_uid,
            PurposeOfReferenceCodeSequence=[codes.REPLACED_REPORT.as_item()],
        )

    def in_study(self, study_instance_uid: str) -> Dataset:
        """Return an item of the Predecessor Documents Sequence (PS3.3 Table C.17-3)."""
        series = data_set(
            SeriesInstanceUID=self.series_instance_uid, ReferencedSOPSequence=[self.reference()]
        )
        return data_set(StudyInstanceUID=study_instance_uid, ReferencedSeriesSequence=[series])
