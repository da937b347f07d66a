"""What a report is made of: one result, from which every document says the same."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from dicom_node.codes import FINDING_CODES
from dicom_node.errors import DicomError
from dicom_node.report.attributes import is_uid

if TYPE_CHECKING:
    from dicom_node.report.review import Review

Verdict = Literal["present", "absent", "undetermined"]
Corners = tuple[tuple[float, float], ...]
_ORDER: Final = {"present": 0, "undetermined": 1, "absent": 2}
# Beyond six decimals of a percent, two single-precision numbers are one.
_MAX_DECIMALS: Final = 6


class ReportError(DicomError):
    """No report can be made of this source and result; the message says why. Final."""


class FontMissing(ReportError):
    """There is no font at all to draw a page with; installing one helps."""


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

    def __post_init__(self) -> None:
        if not is_uid(self.uid):
            raise ReportError(f"expected the UID of a device, received {self.uid!r}")


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
        True only where enough real ECGs stood behind the network's figures for this finding. Said
        by nobody, it is False: a report may warn too often, never too seldom.
    frame_number : int or None
        The page of several it was read on, from 1; None where the result's own says it.
    region : four (column, row) corners, or None
        The tracing on that page; None where the result's own says it.
    overridden : {"present", "absent", "undetermined"} or None
        What the network had said where a person says otherwise: then the verdict is the person's,
        and the probability stands beside nothing but this.
    """

    key: str
    probability: float
    threshold: float
    verdict: Verdict
    validated: bool = False
    frame_number: int | None = None
    region: Corners | None = None
    overridden: Verdict | None = None

    def __post_init__(self) -> None:
        if self.key not in FINDING_CODES:
            raise ReportError(f"expected a finding with a code, received {self.key!r}")
        if not (0.0 <= self.probability <= 1.0 and 0.0 <= self.threshold <= 1.0):
            raise ReportError(f"{self.key}: probability and threshold lie between 0 and 1")
        if self.verdict not in _ORDER:
            raise ReportError(f"{self.key}: expected a verdict, received {self.verdict!r}")
        _check_place(self.frame_number, self.region)

    @property
    def is_overridden(self) -> bool:
        """Whether a person says something else than the network."""
        return self.overridden is not None

    @property
    def percent(self) -> str:
        """The probability as every document prints it, in percent."""
        return self._printed[0]

    @property
    def threshold_percent(self) -> str:
        """The threshold as every document prints it, in percent."""
        return self._printed[1]

    @property
    def _printed(self) -> tuple[str, str]:
        """Probability and threshold, with the decimals that tell on which side it lies.

        49.96 % against 50 % would read "50.0 %, threshold 50.0 %: absent" with one decimal.
        """
        values = (100.0 * self.probability, 100.0 * self.threshold)
        side = _side(*values)
        for decimals in range(1, _MAX_DECIMALS):
            printed = (f"{values[0]:.{decimals}f}", f"{values[1]:.{decimals}f}")
            if _side(float(printed[0]), float(printed[1])) == side:
                return printed
        return f"{values[0]:.{_MAX_DECIMALS}f}", f"{values[1]:.{_MAX_DECIMALS}f}"


@dataclass(frozen=True)
class Joined:
    """Two pages that are halves of one ECG and were read as one.

    Attributes
    ----------
    frames : (int, int)
        Their numbers, from 1.
    regions : (corners or None, corners or None)
        The tracing on each.
    """

    frames: tuple[int, int]
    regions: tuple[Corners | None, Corners | None] = (None, None)

    def __post_init__(self) -> None:
        if self.frames[0] == self.frames[1]:
            raise ReportError(f"expected two pages, received page {self.frames[0]} twice")
        for frame, region in self.places:
            _check_place(frame, region)

    @property
    def places(self) -> tuple[tuple[int, Corners | None], ...]:
        """Each page with the tracing on it."""
        return tuple(zip(self.frames, self.regions, strict=True))


def _side(value: float, threshold: float) -> int:
    return (value > threshold) - (value < threshold)


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
        The content date and time of documents that no person has verified.
    quality_note : str or None
        A sentence about the picture for the comment.
    statements : tuple of str
        What the source says of itself in numbers, such as its rate and intervals.
    joined : tuple of Joined
        Pages that were read together; what was read on one of them was read on both.
    review : Review or None
        What a person said of it; the verdicts are then that person's (`Review.of`).
    """

    findings: tuple[FindingResult, ...]
    model_name: str
    model_version: str
    model_sha256: str
    frame_number: int | None
    region: Corners | None
    device: Device
    analysed_at: datetime
    quality_note: str | None = None
    statements: tuple[str, ...] = ()
    joined: tuple[Joined, ...] = ()
    review: "Review | None" = None

    def __post_init__(self) -> None:
        if self.analysed_at.tzinfo is None:
            raise ReportError("analysed_at needs a time zone")
        keys = [finding.key for finding in self.findings]
        if sorted(keys) != sorted(FINDING_CODES):
            raise ReportError(f"expected each of the ten findings once, received {keys}")
        _check_place(self.frame_number, self.region)
        joined = [frame for pair in self.joined for frame in pair.frames]
        if len(set(joined)) < len(joined):
            raise ReportError(f"expected each page joined with one other, received {joined}")

    @property
    def judged_at(self) -> datetime:
        """When the last word was said: by the network, or by the person who verified it."""
        return self.analysed_at if self.review is None else self.review.verified_at

    @property
    def contradicts_itself(self) -> bool:
        """Whether the ECG is said to be both normal and not."""
        keys = {finding.key for finding in self.present}
        return "normal" in keys and len(keys) > 1

    def frame_of(self, finding: FindingResult) -> int | None:
        """The frame a finding was read on."""
        return self.frame_number if finding.frame_number is None else finding.frame_number

    def region_of(self, finding: FindingResult) -> Corners | None:
        """The tracing a finding was read on; the result's own region is of the result's frame."""
        if finding.region is not None:
            return finding.region
        return self.region if self.frame_of(finding) == self.frame_number else None

    def joined_at(self, frame: int | None) -> Joined | None:
        """The pages that were read together, where this frame is one of them."""
        return next((pair for pair in self.joined if frame in pair.frames), None)

    def frames_with(self, frame: int | None) -> tuple[int | None, ...]:
        """A frame, and the one that was read together with it."""
        pair = self.joined_at(frame)
        return (frame,) if pair is None else pair.frames

    def places_of(self, finding: FindingResult) -> tuple[tuple[int | None, Corners | None], ...]:
        """The frames a finding was read on, one or two, and the tracing on each."""
        pair = self.joined_at(self.frame_of(finding))
        if pair is None:
            return ((self.frame_of(finding), self.region_of(finding)),)
        return pair.places

    @property
    def frames(self) -> tuple[int | None, ...]:
        """The frames that any finding was read on, the result's own first."""
        first: dict[int, int | None] = {self.frame_number or 1: self.frame_number}
        read = (frame for f in self.findings for frame in self.frames_with(self.frame_of(f)))
        for frame in sorted(read, key=lambda frame: frame or 1):
            # In a source of a single frame, none and the first are the same.
            first.setdefault(frame or 1, frame)
        return tuple(first.values())

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


def _check_place(frame_number: int | None, region: Corners | None) -> None:
    if frame_number is not None and frame_number < 1:
        raise ReportError(f"expected a frame from 1, received {frame_number}")
    if region is not None and not _is_quadrilateral(region):
        raise ReportError("expected a region of four finite (column, row) corners")


def _is_quadrilateral(region: Corners) -> bool:
    return len(region) == 4 and all(
        len(corner) == 2 and all(map(math.isfinite, corner)) for corner in region
    )
