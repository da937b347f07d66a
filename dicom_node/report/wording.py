"""The sentences that all documents share, so that they cannot disagree, in any language.

Every sentence is marked by `gettext_noop` and said by `Speech.say`: one that is not marked would
stay English in every language.
"""

from collections.abc import Iterable
from typing import Final

from dicom_node.codes import FINDING_CODES
from dicom_node.report.names import displayed_name
from dicom_node.report.result import AnalysisResult, FindingResult, Verdict
from dicom_node.report.speech import Speech, gettext_noop
from dicom_node.report.statements import stated

NEW_LINE: Final = "\r\n"
UNVERIFIED: Final = gettext_noop(
    "AI RESULT - UNVERIFIED. Decision support, not a diagnosis until a physician confirms it."
)
NONE_PRESENT: Final = gettext_noop(
    "None of the ten findings was called present. This does not mean a normal ECG."
)
CONTRADICTION: Final = gettext_noop(
    "CONTRADICTION: a normal ECG and abnormal findings are both called present. Read the tracing."
)
ONLY_THESE: Final = gettext_noop(
    "Only these ten findings were looked for; ischaemia, infarction and all others were not."
)
VERIFIED: Final = gettext_noop("REVIEWED AND VERIFIED by %(name)s, %(organization)s, %(when)s.")
VERIFIED_BY_A_PERSON: Final = gettext_noop("REVIEWED AND VERIFIED by a person.")
SAYS_NOTHING_ELSE: Final = gettext_noop(
    "This report is about these ten findings alone; "
    "it says nothing of ischaemia, infarction and all others."
)
DECIDED: Final = gettext_noop("decided by the reader")
NOT_VALIDATED: Final = gettext_noop("not validated: too few real ECGs behind it")
NOT_VALIDATED_SHORT: Final = gettext_noop("not validated")

#: The findings as the codes call them.
FINDING_NAMES: Final = {
    "normal": gettext_noop("Normal ECG"),
    "pvc": gettext_noop("Ventricular premature contraction"),
    "preexcitation": gettext_noop("Ventricular pre-excitation"),
    "clbbb": gettext_noop("Complete left bundle branch block"),
    "crbbb": gettext_noop("Complete right bundle branch block"),
    "af": gettext_noop("Atrial fibrillation"),
    "afl": gettext_noop("Atrial flutter"),
    "atrial_escape": gettext_noop("Atrial escape complex"),
    "pac": gettext_noop("Atrial premature contraction"),
    "at": gettext_noop("Atrial tachycardia"),
}
VERDICTS: Final = {
    "present": gettext_noop("PRESENT"),
    "undetermined": gettext_noop("UNDETERMINED"),
    "absent": gettext_noop("ABSENT"),
}
# What stands on the page: whose it is, and what is drawn.
PATIENT_ID: Final = gettext_noop("Patient ID: %(value)s")
BORN: Final = gettext_noop("Born: %(value)s")
SEX: Final = gettext_noop("Sex: %(value)s")
ACCESSION_NUMBER: Final = gettext_noop("Accession number: %(value)s")
STUDY: Final = gettext_noop("Study: %(value)s")
SEXES: Final = {
    "F": gettext_noop("female"),
    "M": gettext_noop("male"),
    "O": gettext_noop("other"),
}
CANNOT_BE_SHOWN: Final = gettext_noop("(cannot be shown here; see the study)")
NO_FONT: Final = gettext_noop("No font for the language of this report: this page is in English.")
OUTLINED: Final = gettext_noop("Outlined: the tracing that was read.")
PERCENT: Final = gettext_noop("%(value)s %%")
THRESHOLD: Final = gettext_noop("threshold %(value)s %%")
ON_PAGE: Final = gettext_noop("%(line)s, page %(number)s")
ON_PAGES: Final = gettext_noop("%(line)s, pages %(first)s and %(second)s")
SHOWN: Final = gettext_noop("Shown: page %(number)s.")

_FINDING_LINE: Final = gettext_noop(
    "%(finding)s: %(verdict)s (probability %(probability)s %%, threshold %(threshold)s %%)"
)
_AGREED_LINE: Final = gettext_noop(
    "%(finding)s: %(verdict)s "
    "(the network agrees: probability %(probability)s %%, threshold %(threshold)s %%)"
)
_REMARK_OF_READER: Final = gettext_noop("The reader remarks: %(comment)s")
_OVERRIDDEN: Final = gettext_noop("The network had said otherwise: %(findings)s")
_PROBABILITIES: Final = gettext_noop(
    "Probabilities are the network's; they stand where it says the same as the reader."
)
_ARE_ABSENT: Final = gettext_noop("ABSENT: %(findings)s")
_SHORT: Final = gettext_noop("%(finding)s %(probability)s %%")
_VERDICT_OF: Final = gettext_noop("%(finding)s: %(verdict)s")
_REMARKED: Final = gettext_noop("%(line)s [%(remark)s]")
_IS_PRESENT: Final = gettext_noop("PRESENT: %(finding)s")
_IS_UNDETERMINED: Final = gettext_noop("UNDETERMINED: %(finding)s")
_BELOW: Final = gettext_noop("Below threshold: %(findings)s")
_PICTURE: Final = gettext_noop("Picture: %(note)s")
_PAGE_READ: Final = gettext_noop("Page %(number)s of the source was read.")
_TOGETHER: Final = gettext_noop(
    "Pages %(first)s and %(second)s of the source were read together, as one ECG."
)
_MADE_BY: Final = gettext_noop(
    "Automated reading of the picture of an ECG by %(name)s %(version)s, "
    "weights SHA-256 %(sha256)s."
)
_PARAMETERS: Final = gettext_noop("Weights SHA-256 %(sha256)s. %(thresholds)s")
_THRESHOLDS: Final = gettext_noop("Thresholds in percent: %(thresholds)s")
_NEED_NOT_ADD_UP: Final = gettext_noop(
    "Each probability is estimated by itself; the ten need not add up to 100 %."
)
_DOUBTFUL: Final = gettext_noop("Not validated: %(findings)s.")
_COMMA: Final = gettext_noop(", ")
_SEMICOLON: Final = gettext_noop("; ")


def meaning(finding: FindingResult, speech: Speech) -> str:
    """The name of a finding."""
    return speech.say(FINDING_NAMES[finding.key])


def verdict(finding: FindingResult, speech: Speech) -> str:
    """The verdict in a word."""
    return speech.say(VERDICTS[finding.verdict])


def headline(result: AnalysisResult, speech: Speech) -> str:
    """What stands above everything: that nobody has verified it, or who has, and when."""
    review = result.review
    if review is None:
        return speech.say(UNVERIFIED)
    return speech.say(
        VERIFIED,
        name=displayed_name(review.verifier.name),
        organization=review.verifier.organization,
        when=review.verified_at.strftime("%Y-%m-%d %H:%M %z"),
    )


def limits(result: AnalysisResult, speech: Speech) -> str:
    """What the document says nothing of."""
    return speech.say(ONLY_THESE if result.review is None else SAYS_NOTHING_ELSE)


def is_doubtful(result: AnalysisResult, finding: FindingResult) -> bool:
    """Whether a finding has to be called not validated: where it is the network's alone."""
    return not finding.validated and result.review is None


def finding_line(result: AnalysisResult, finding: FindingResult, speech: Speech) -> str:
    """One finding with its verdict, probability and threshold; its page where there are several."""
    if finding.is_overridden:
        line = speech.say(
            _REMARKED,
            line=_verdict_of(finding, finding.verdict, speech),
            remark=speech.say(DECIDED),
        )
    else:
        sentence = _FINDING_LINE if result.review is None else _AGREED_LINE
        line = _with_probability(sentence, finding, finding.verdict, speech)
    line = placed(line, result, finding, speech)
    return remarked(line, NOT_VALIDATED, speech) if is_doubtful(result, finding) else line


def placed(line: str, result: AnalysisResult, finding: FindingResult, speech: Speech) -> str:
    """A line of a finding with its page, or both pages, where there are several."""
    if len(result.frames) == 1:
        return line
    frames = [frame or 1 for frame, _ in result.places_of(finding)]
    if len(frames) == 1:
        return speech.say(ON_PAGE, line=line, number=frames[0])
    return speech.say(ON_PAGES, line=line, first=frames[0], second=frames[1])


def impression(result: AnalysisResult, speech: Speech) -> str:
    """The headline, what is present, what is undetermined, what stayed below; the limits."""
    lines = [speech.say(_IS_PRESENT, finding=_short(result, f, speech)) for f in result.present]
    lines += remarks(result, speech)
    lines += [
        speech.say(_IS_UNDETERMINED, finding=_short(result, finding, speech))
        for finding in result.ordered
        if finding.verdict == "undetermined"
    ]
    if below := [_short(result, f, speech) for f in result.ordered if f.verdict == "absent"]:
        sentence = _BELOW if result.review is None else _ARE_ABSENT
        lines.append(speech.say(sentence, findings=_listed(below, speech)))
    return NEW_LINE.join([headline(result, speech), *lines, limits(result, speech)])


def summary(result: AnalysisResult, speech: Speech) -> str:
    """The same for a document that has no other text: all ten lines instead of the list."""
    lines = [headline(result, speech), *remarks(result, speech)]
    lines += [finding_line(result, finding, speech) for finding in result.ordered]
    return NEW_LINE.join([*lines, limits(result, speech)])


def tracking_identifier(result: AnalysisResult, finding: FindingResult, speech: Speech) -> str:
    """What viewers print beside the region: of what is not present, never the bare name."""
    said = meaning(finding, speech)
    if finding.verdict != "present":
        said = _verdict_of(finding, finding.verdict, speech)
    doubtful = is_doubtful(result, finding)
    return remarked(said, NOT_VALIDATED_SHORT, speech) if doubtful else said


def by_reader(result: AnalysisResult, speech: Speech) -> list[str]:
    """What the reader remarks, and what the network had said where the reader says otherwise."""
    if result.review is None:
        return []
    lines = []
    if result.review.comment:
        comment = NEW_LINE.join(result.review.comment.splitlines())
        lines.append(speech.say(_REMARK_OF_READER, comment=comment))
    overridden = [
        _with_probability(_FINDING_LINE, finding, finding.overridden, speech)
        for finding in result.ordered
        if finding.overridden is not None
    ]
    if overridden:
        said = speech.say(_SEMICOLON).join(overridden)
        lines.append(speech.say(_OVERRIDDEN, findings=said))
    if len(overridden) < len(result.findings):
        lines.append(speech.say(_PROBABILITIES))
    return lines


def remarks(result: AnalysisResult, speech: Speech) -> list[str]:
    """What has to be said of the result as a whole."""
    lines = []
    if result.contradicts_itself:
        lines.append(speech.say(CONTRADICTION))
    if not result.present:
        lines.append(speech.say(NONE_PRESENT))
    if result.quality_note:
        lines.append(speech.say(_PICTURE, note=result.quality_note))
    return lines


def remarked(line: str, remark: str, speech: Speech) -> str:
    """A line with a remark behind it."""
    return speech.say(_REMARKED, line=line, remark=speech.say(remark))


def algorithm(result: AnalysisResult, speech: Speech, *more: str) -> str:
    """What made the result, and with which thresholds."""
    return NEW_LINE.join([made_by(result, speech), *more, thresholds(result, speech)])


def made_by(result: AnalysisResult, speech: Speech) -> str:
    """What made the result."""
    return speech.say(
        _MADE_BY,
        name=result.model_name,
        version=result.model_version,
        sha256=result.model_sha256,
    )


def parameters(result: AnalysisResult, speech: Speech) -> str:
    """What one has to know to run the network again."""
    return speech.say(
        _PARAMETERS, sha256=result.model_sha256, thresholds=thresholds(result, speech)
    )


def thresholds(result: AnalysisResult, speech: Speech) -> str:
    """The operating thresholds by finding, in percent."""
    ordered = sorted(result.findings, key=lambda finding: list(FINDING_CODES).index(finding.key))
    pairs = [f"{meaning(finding, speech)} {finding.threshold_percent}" for finding in ordered]
    return speech.say(_THRESHOLDS, thresholds=speech.say(_SEMICOLON).join(pairs))


def page_read(result: AnalysisResult, speech: Speech) -> list[str]:
    """Which page was read, or which together, for documents that cannot refer to them."""
    together = read_together(result, speech)
    if result.frame_number is None or result.joined_at(result.frame_number):
        return together
    return [speech.say(_PAGE_READ, number=result.frame_number), *together]


def read_together(result: AnalysisResult, speech: Speech) -> list[str]:
    """A sentence for each two pages that were read as one."""
    return [
        speech.say(_TOGETHER, first=pair.frames[0], second=pair.frames[1]) for pair in result.joined
    ]


def comment(result: AnalysisResult, speech: Speech, *more: str) -> str:
    """What a reader of the numbers has to know."""
    lines = [*by_reader(result, speech), speech.say(_NEED_NOT_ADD_UP), limits(result, speech)]
    if doubtful := [meaning(f, speech) for f in result.ordered if not f.validated]:
        lines.append(speech.say(_DOUBTFUL, findings=_listed(doubtful, speech)))
    if result.quality_note:
        lines.append(speech.say(_PICTURE, note=result.quality_note))
    return NEW_LINE.join([*lines, *more, *stated(result, speech)])


def _short(result: AnalysisResult, finding: FindingResult, speech: Speech) -> str:
    if result.review is not None:
        return meaning(finding, speech)
    short = speech.say(_SHORT, finding=meaning(finding, speech), probability=finding.percent)
    return short if finding.validated else remarked(short, NOT_VALIDATED_SHORT, speech)


def _verdict_of(finding: FindingResult, said: Verdict, speech: Speech) -> str:
    return speech.say(
        _VERDICT_OF, finding=meaning(finding, speech), verdict=speech.say(VERDICTS[said])
    )


def _with_probability(sentence: str, finding: FindingResult, said: Verdict, speech: Speech) -> str:
    return speech.say(
        sentence,
        finding=meaning(finding, speech),
        verdict=speech.say(VERDICTS[said]),
        probability=finding.percent,
        threshold=finding.threshold_percent,
    )


def _listed(words: Iterable[str], speech: Speech) -> str:
    return speech.say(_COMMA).join(words)
