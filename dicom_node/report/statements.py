"""What a source says of itself, and what was read of it, in any language."""

import re
from typing import Final

from dicom_node.report.result import AnalysisResult
from dicom_node.report.speech import Speech, gettext_noop

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
_STATED: Final = gettext_noop("Stated by the source, not by this gateway: %(statements)s")
_SEMICOLON: Final = gettext_noop("; ")


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
