"""Whose ECG it is, as a page tells it: values of the source, written as people write them.

What no font shows is not shown in part: half a name would be another name. Neither is what is far
longer than its attribute may be, which would push the findings off the page.
"""

import re
from typing import Final

from dicom_node.report import wording
from dicom_node.report.fonts import Fonts
from dicom_node.report.names import displayed_name
from dicom_node.report.source import Source
from dicom_node.report.speech import Speech

# Two groups of a name have 64 characters each (PS3.5 section 6.2), other values at most 64.
_LONGEST: Final = 200


def name_of(source: Source, fonts: Fonts, speech: Speech) -> str:
    """Return the patient's name; the alphabetic group alone where the others cannot be drawn."""
    name = _value(source, "PatientName")
    whole, alphabetic = displayed_name(name), displayed_name(name.split("=")[0])
    if alphabetic and fonts.family_for(whole) is None:
        whole = alphabetic
    return shown(whole, fonts, speech)


def fields_of(source: Source, fonts: Fonts, speech: Speech) -> list[str]:
    """Return what else tells patient and study, each with its label; nothing for what is absent.

    A label stands by itself before its value where no one font shows both.
    """
    sex = wording.SEXES.get(_value(source, "PatientSex"))
    when = f"{_date(_value(source, 'StudyDate'))} {_time(_value(source, 'StudyTime'))}"
    said = [
        (wording.PATIENT_ID, _value(source, "PatientID")),
        (wording.BORN, _date(_value(source, "PatientBirthDate"))),
        (wording.SEX, speech.say(sex) if sex else ""),
        (wording.ACCESSION_NUMBER, _value(source, "AccessionNumber")),
        (wording.STUDY, f"{when.strip()} {_value(source, 'StudyDescription')}".strip()),
    ]
    parts: list[str] = []
    for label, value in said:
        if value:
            told = shown(value, fonts, speech)
            whole = speech.say(label, value=told)
            is_whole = fonts.family_for(whole) is not None
            parts += [whole] if is_whole else [speech.say(label, value="").strip(), told]
    return parts


def shown(text: str, fonts: Fonts, speech: Speech, *, longest: int = _LONGEST) -> str:
    """Return a text, or that it cannot be shown."""
    is_shown = len(text) <= longest and fonts.family_for(text) is not None
    return text if is_shown else speech.say(wording.CANNOT_BE_SHOWN)


def _value(source: Source, keyword: str) -> str:
    return str(source.header.get(keyword, "") or "").strip()


def _date(value: str) -> str:
    return re.sub(r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3", value)


def _time(value: str) -> str:
    found = re.match(r"(\d\d)(\d\d)", value)
    return f"{found[1]}:{found[2]}" if found else ""
