"""The sentences that both documents share, so that they cannot disagree."""

from typing import Final

from dicom_node.codes import FINDING_CODES
from dicom_node.report.result import AnalysisResult, FindingResult

NEW_LINE: Final = "\r\n"
UNVERIFIED: Final = (
    "AI RESULT - UNVERIFIED. Decision support, not a diagnosis until a physician confirms it."
)
NONE_PRESENT: Final = (
    "None of the ten findings reached its threshold. This does not mean a normal ECG."
)
NOT_VALIDATED: Final = "not validated: too few real ECGs behind it"


def meaning(finding: FindingResult) -> str:
    """The name of a finding as the codes say it."""
    return FINDING_CODES[finding.key].meaning


def finding_line(finding: FindingResult) -> str:
    """One finding with its verdict, probability and threshold."""
    line = (
        f"{meaning(finding)}: {finding.verdict.upper()} (probability {finding.percent} %, "
        f"threshold {100.0 * finding.threshold:.1f} %)"
    )
    return line if finding.validated else f"{line} [{NOT_VALIDATED}]"


def impression(result: AnalysisResult) -> str:
    """The disclaimer, what is present, what is undetermined, and what stayed below."""
    lines = [UNVERIFIED, *map(_short, result.present)]
    if not result.present:
        lines.append(NONE_PRESENT)
    undetermined = [f for f in result.ordered if f.verdict == "undetermined"]
    if undetermined:
        lines.append("Undetermined: " + ", ".join(map(_short, undetermined)))
    below = [f for f in result.ordered if f.verdict == "absent"]
    if below:
        lines.append("Below threshold: " + ", ".join(map(meaning, below)))
    return NEW_LINE.join(lines)


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
    pairs = [f"{meaning(finding)} {100.0 * finding.threshold:.1f}" for finding in ordered]
    return "Thresholds in percent: " + "; ".join(pairs)


def comment(result: AnalysisResult) -> str:
    """What a reader of the numbers has to know."""
    lines = ["Probabilities are calibrated on other ECGs; a picture may show none of the findings."]
    doubtful = [meaning(f) for f in result.ordered if not f.validated]
    if doubtful:
        lines.append(f"Not validated: {', '.join(doubtful)}.")
    if result.quality_note:
        lines.append(result.quality_note)
    return NEW_LINE.join(lines)
