"""The sentences that both documents share, so that they cannot disagree."""

from typing import Final

from dicom_node.codes import FINDING_CODES
from dicom_node.report.result import AnalysisResult, FindingResult

NEW_LINE: Final = "\r\n"
UNVERIFIED: Final = (
    "AI RESULT - UNVERIFIED. Decision support, not a diagnosis until a physician confirms it."
)
NONE_PRESENT: Final = (
    "None of the ten findings was called present. This does not mean a normal ECG."
)
CONTRADICTION: Final = (
    "CONTRADICTION: a normal ECG and abnormal findings are both called present. Read the tracing."
)
ONLY_THESE: Final = (
    "Only these ten findings were looked for; ischaemia, infarction and all others were not."
)
NOT_VALIDATED: Final = "not validated: too few real ECGs behind it"


def meaning(finding: FindingResult) -> str:
    """The name of a finding as the codes say it."""
    return FINDING_CODES[finding.key].meaning


def finding_line(finding: FindingResult) -> str:
    """One finding with its verdict, probability and threshold."""
    line = (
        f"{meaning(finding)}: {finding.verdict.upper()} (probability {finding.percent} %, "
        f"threshold {finding.threshold_percent} %)"
    )
    return line if finding.validated else f"{line} [{NOT_VALIDATED}]"


def impression(result: AnalysisResult) -> str:
    """The disclaimer, what is present, what is undetermined, what stayed below; the limits."""
    lines = [UNVERIFIED]
    lines += [f"PRESENT: {_short(finding)}" for finding in result.present]
    lines += _remarks(result)
    lines += [f"UNDETERMINED: {_short(f)}" for f in result.ordered if f.verdict == "undetermined"]
    if below := [f for f in result.ordered if f.verdict == "absent"]:
        lines.append("Below threshold: " + ", ".join(map(_short, below)))
    return NEW_LINE.join([*lines, ONLY_THESE])


def summary(result: AnalysisResult) -> str:
    """The same for a document that has no other text: all ten lines instead of the list."""
    return NEW_LINE.join(
        [UNVERIFIED, *_remarks(result), *map(finding_line, result.ordered), ONLY_THESE]
    )


def tracking_identifier(finding: FindingResult) -> str:
    """What viewers print beside the region: of what is not present, never the bare name."""
    said = meaning(finding)
    if finding.verdict != "present":
        said = f"{said}: {finding.verdict.upper()}"
    return said if finding.validated else f"{said} [not validated]"


def _remarks(result: AnalysisResult) -> list[str]:
    lines = []
    if result.contradicts_itself:
        lines.append(CONTRADICTION)
    if not result.present:
        lines.append(NONE_PRESENT)
    if result.quality_note:
        lines.append(f"Picture: {result.quality_note}")
    return lines


def _short(finding: FindingResult) -> str:
    short = f"{meaning(finding)} {finding.percent} %"
    return short if finding.validated else f"{short} [not validated]"


def algorithm(result: AnalysisResult) -> str:
    """What made the result, and with which thresholds."""
    return NEW_LINE.join(
        [
            f"Automated reading of the picture of an ECG by {result.model_name} "
            f"{result.model_version}, weights SHA-256 {result.model_sha256}.",
            thresholds(result),
        ]
    )


def thresholds(result: AnalysisResult) -> str:
    """The operating thresholds by finding, in percent."""
    ordered = sorted(result.findings, key=lambda finding: list(FINDING_CODES).index(finding.key))
    pairs = [f"{meaning(finding)} {finding.threshold_percent}" for finding in ordered]
    return "Thresholds in percent: " + "; ".join(pairs)


def comment(result: AnalysisResult) -> str:
    """What a reader of the numbers has to know."""
    lines = [
        "Each probability is estimated by itself; the ten need not add up to 100 %.",
        ONLY_THESE,
    ]
    if doubtful := [meaning(f) for f in result.ordered if not f.validated]:
        lines.append(f"Not validated: {', '.join(doubtful)}.")
    if result.quality_note:
        lines.append(f"Picture: {result.quality_note}")
    return NEW_LINE.join(lines)
