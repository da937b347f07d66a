"""What a report is made of: one result, from which every document says the same."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from dicom_node.codes import FINDING_CODES
from dicom_node.errors import DicomError

Verdict = Literal["present", "absent", "undetermined"]
_ORDER: Final = {"present": 0, "undetermined": 1, "absent": 2}


class ReportError(DicomError):
    """No report can be made of this source and result; the message says why. Final."""


@dataclass(frozen=True)
class Device:
    """The gateway as the observer of its reports (PS3.16 TID 1004).

    Attributes
    ----------
    uid : str
        Fixed for each installed gateway.
    """

    uid: str
    name: str
    manufacturer: str
    model: str
    serial: str
    software_version: str


@dataclass(frozen=True)
class FindingResult:
    """One finding.

    Attributes
    ----------
    key : str
        One of `dicom_node.codes.FINDING_CODES`.
    probability, threshold : float
        0..1.
    verdict : {"present", "absent", "undetermined"}
    validated : bool
        False where too few real ECGs stood behind the network's figures for this finding.
    """

    key: str
    probability: float
    threshold: float
    verdict: Verdict
    validated: bool = True

    def __post_init__(self) -> None:
        if self.key not in FINDING_CODES:
            raise ReportError(f"expected a finding with a code, received {self.key!r}")
        if not (0.0 <= self.probability <= 1.0 and 0.0 <= self.threshold <= 1.0):
            raise ReportError(f"{self.key}: probability and threshold lie between 0 and 1")
        if self.verdict not in _ORDER:
            raise ReportError(f"{self.key}: expected a verdict, received {self.verdict!r}")

    @property
    def percent(self) -> str:
        """The probability as every document prints it."""
        return f"{100.0 * self.probability:.1f}"


@dataclass(frozen=True)
class AnalysisResult:
    """What one network said about one picture.

    Attributes
    ----------
    findings : tuple of FindingResult
        The ten, in any order; see :attr:`ordered`.
    model_name, model_version, model_sha256 : str
        The network and the hash of its weights.
    frame_number : int or None
        The page of a multi-frame source, from 1; None for a single frame.
    region : four (column, row) corners, or None
        The tracing in the stored picture.
    device : Device
    analysed_at : aware datetime
        The documents' content date and time.
    quality_note : str or None
        A sentence about the picture for the comment.
    """

    findings: tuple[FindingResult, ...]
    model_name: str
    model_version: str
    model_sha256: str
    frame_number: int | None
    region: tuple[tuple[float, float], ...] | None
    device: Device
    analysed_at: datetime
    quality_note: str | None = None

    def __post_init__(self) -> None:
        if self.analysed_at.tzinfo is None:
            raise ReportError("analysed_at needs a time zone")
        keys = [finding.key for finding in self.findings]
        if sorted(keys) != sorted(FINDING_CODES):
            raise ReportError(f"expected each of the ten findings once, received {keys}")

    @property
    def ordered(self) -> tuple[FindingResult, ...]:
        """Present first, then undetermined, then absent; the more probable before the less."""
        return tuple(
            sorted(self.findings, key=lambda f: (_ORDER[f.verdict], -f.probability, f.key))
        )

    @property
    def present(self) -> tuple[FindingResult, ...]:
        """The findings that are present."""
        return tuple(finding for finding in self.ordered if finding.verdict == "present")

    def derive_uid(self, source_uid: str, *purpose: str) -> str:
        """Return a UID that is a function of the source, this result and a purpose.

        A 2.25 UID (PS3.5 section B.2) of the first 128 bits of a SHA-256 over the parts, each
        with a separator that no part holds.
        """
        parts = [source_uid, self.model_sha256, self.device.uid, self.analysed_at.isoformat()]
        parts += [f"{f.key}={f.probability!r}/{f.threshold!r}/{f.verdict}" for f in self.ordered]
        parts += [repr(self.frame_number), repr(self.region), *purpose]
        digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"
