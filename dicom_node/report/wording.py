"""The sentences that all documents share, so that they cannot disagree, in any language.

Every sentence is marked by `gettext_noop` and said by `Speech.say`: one that is not marked would
stay English in every language.
"""

import re
from collections.abc import Iterable
from typing import Final

from dicom_node.codes import FINDING_CODES
from dicom_node.report.result import AnalysisResult, FindingResult
from dicom_node.report.speech import Speech, gettext_noop

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
#: What recorders measure, by the names that statements of a source begin with.
MEASURED: Final = frozenset(
    {
        gettext_noop("Ventricular rate"),
        gettext_noop("Atrial rate"),
        gettext_noop("Heart rate"),
        gettext_noop("RR interval"),
        gettext_noop("P duration"),
        gettext_noop("PR interval"),
        gettext_noop("QRS duration"),
        gettext_noop("QT interval"),
        gettext_noop("QTc interval"),
        gettext_noop("QTc interval (Bazett)"),
        gettext_noop("QTc interval (Fridericia)"),
        gettext_noop("P axis"),
        gettext_noop("QRS axis"),
        gettext_noop("T axis"),
    }
)
UNITS: Final = frozenset({gettext_noop("degrees")})
_STATEMENT: Final = re.compile(r"(?P<name>.+) (?P<number>[-+.e\d]+) (?P<unit>\S+)")
#: What was read of a source and what was not: our words, though they come with its own.
NOTES: Final = {
    gettext_noop("Computed from the other limb leads: %(leads)s"): re.compile(
        r"Computed from the other limb leads: (?P<leads>.+)"
    ),
    gettext_noop("Flat: %(leads)s"): re.compile(r"Flat: (?P<leads>.+)"),
    gettext_noop("Read: %(length)s s from second %(start)s of a recording of %(whole)s s"): (
        re.compile(
            r"Read: (?P<length>\S+) s from second (?P<start>\S+) of a recording of (?P<whole>\S+) s"
        )
    ),
    gettext_noop("Looked at: the first %(looked)s of %(count)s pages"): re.compile(
        r"Looked at: the first (?P<looked>\d+) of (?P<count>\d+) pages"
    ),
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
_SHORT: Final = gettext_noop("%(finding)s %(probability)s %%")
_VERDICT_OF: Final = gettext_noop("%(finding)s: %(verdict)s")
_REMARKED: Final = gettext_noop("%(line)s [%(remark)s]")
_IS_PRESENT: Final = gettext_noop("PRESENT: %(finding)s")
_IS_UNDETERMINED: Final = gettext_noop("UNDETERMINED: %(finding)s")
_BELOW: Final = gettext_noop("Below threshold: %(findings)s")
_PICTURE: Final = gettext_noop("Picture: %(note)s")
_STATED: Final = gettext_noop("Stated by the source, not by this gateway: %(statements)s")
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


def finding_line(result: AnalysisResult, finding: FindingResult, speech: Speech) -> str:
    """One finding with its verdict, probability and threshold; its page where there are several."""
    line = speech.say(
        _FINDING_LINE,
        finding=meaning(finding, speech),
        verdict=verdict(finding, speech),
        probability=finding.percent,
        threshold=finding.threshold_percent,
    )
    line = placed(line, result, finding, speech)
    return line if finding.validated else remarked(line, NOT_VALIDATED, speech)


def placed(line: str, result: AnalysisResult, finding: FindingResult, speech: Speech) -> str:
    """A line of a finding with its page, or both pages, where there are several."""
    if len(result.frames) == 1:
        return line
    frames = [frame or 1 for frame, _ in result.places_of(finding)]
    if len(frames) == 1:
        return speech.say(ON_PAGE, line=line, number=frames[0])
    return speech.say(ON_PAGES, line=line, first=frames[0], second=frames[1])


def impression(result: AnalysisResult, speech: Speech) -> str:
    """The disclaimer, what is present, what is undetermined, what stayed below; the limits."""
    lines = [speech.say(UNVERIFIED)]
    lines += [speech.say(_IS_PRESENT, finding=_short(f, speech)) for f in result.present]
    lines += remarks(result, speech)
    lines += [
        speech.say(_IS_UNDETERMINED, finding=_short(finding, speech))
        for finding in result.ordered
        if finding.verdict == "undetermined"
    ]
    if below := [_short(f, speech) for f in result.ordered if f.verdict == "absent"]:
        lines.append(speech.say(_BELOW, findings=_listed(below, speech)))
    return NEW_LINE.join([*lines, speech.say(ONLY_THESE)])


def summary(result: AnalysisResult, speech: Speech) -> str:
    """The same for a document that has no other text: all ten lines instead of the list."""
    lines = [speech.say(UNVERIFIED), *remarks(result, speech)]
    lines += [finding_line(result, finding, speech) for finding in result.ordered]
    return NEW_LINE.join([*lines, speech.say(ONLY_THESE)])


def tracking_identifier(finding: FindingResult, speech: Speech) -> str:
    """What viewers print beside the region: of what is not present, never the bare name."""
    said = meaning(finding, speech)
    if finding.verdict != "present":
        said = speech.say(_VERDICT_OF, finding=said, verdict=verdict(finding, speech))
    return said if finding.validated else remarked(said, NOT_VALIDATED_SHORT, speech)


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


def stated(result: AnalysisResult, speech: Speech) -> list[str]:
    """What the source says of itself, as the source's, and what was read of it: lines, or none."""
    notes = {said: _note(said, speech) for said in result.statements}
    measured = [_measured(said, speech) for said, note in notes.items() if note is None]
    lines = [note for note in notes.values() if note is not None]
    if measured:
        lines.insert(0, speech.say(_STATED, statements=speech.say(_SEMICOLON).join(measured)))
    return lines


def _note(statement: str, speech: Speech) -> str | None:
    for sentence, pattern in NOTES.items():
        if found := pattern.fullmatch(statement):
            return speech.say(sentence, **found.groupdict())
    return None


def _measured(statement: str, speech: Speech) -> str:
    """A statement with its name and unit in the language, where known; its number as it is."""
    found = _STATEMENT.fullmatch(statement)
    if found is None or found["name"] not in MEASURED:
        return statement
    unit = found["unit"]
    said = speech.say(unit) if unit in UNITS else unit
    return f"{speech.say(found['name'])} {found['number']} {said}"


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
    lines = [speech.say(_NEED_NOT_ADD_UP), speech.say(ONLY_THESE)]
    if doubtful := [meaning(f, speech) for f in result.ordered if not f.validated]:
        lines.append(speech.say(_DOUBTFUL, findings=_listed(doubtful, speech)))
    if result.quality_note:
        lines.append(speech.say(_PICTURE, note=result.quality_note))
    return NEW_LINE.join([*lines, *more, *stated(result, speech)])


def _short(finding: FindingResult, speech: Speech) -> str:
    short = speech.say(_SHORT, finding=meaning(finding, speech), probability=finding.percent)
    return short if finding.validated else remarked(short, NOT_VALIDATED_SHORT, speech)


def _listed(words: Iterable[str], speech: Speech) -> str:
    return speech.say(_COMMA).join(words)
