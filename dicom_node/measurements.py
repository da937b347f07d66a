"""The numbers a recorder wrote beside its waveform, as sentences.

Read from the Waveform Annotation Sequence (PS3.3 C.10.10), by the codes of PS3.16 CID 3227 to 3229,
those of SCP-ECG that recorders use, LOINC, or the name alone. Only numbers with a unit that a heart
can have; a machine's diagnosis is never passed on.
"""

import re
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from dicom_node.values import first_number

_MAX_ANNOTATIONS: Final = 5000
_MAX_TEXT: Final = 2000


@dataclass(frozen=True)
class _Measurement:
    """A number worth repeating: its name, unit and possible range, and how recorders call it."""

    name: str
    unit: str
    lowest: float
    highest: float
    codes: tuple[str, ...]
    names: tuple[str, ...]


_MEASUREMENTS: Final = (
    _Measurement(
        "Ventricular rate", "/min", 10, 400,
        ("MDC 2:16016", "SCPECG 5.10.2.5-1"),
        ("ventricularrate", "ventricularheartrate", "ventrate", "vrate"),
    ),
    _Measurement(
        "Atrial rate", "/min", 10, 700,
        ("MDC 2:16020", "SCPECG 5.10.2.5-2"),
        ("atrialrate", "atrialheartrate"),
    ),
    _Measurement(
        "Heart rate", "/min", 10, 400,
        ("MDC 2:16770", "MDC 147842", "LN 8867-4"),
        ("heartrate", "hr"),
    ),
    _Measurement(
        "RR interval", "ms", 150, 6000,
        ("MDC 2:16168", "SCPECG 5.10.2.1-3"),
        ("rrinterval", "rr"),
    ),
    _Measurement(
        "P duration", "ms", 20, 300,
        ("MDC 2:16184",),
        ("pduration", "pwaveduration"),
    ),
    _Measurement(
        "PR interval", "ms", 20, 1000,
        ("MDC 2:15872", "SCPECG 5.13.5-7", "LN 8625-6"),
        ("printerval", "pr", "pqinterval", "pq"),
    ),
    _Measurement(
        "QRS duration", "ms", 30, 400,
        ("MDC 2:16156", "SCPECG 5.13.5-9", "LN 8633-0"),
        ("qrsduration", "qrs", "qrsd"),
    ),
    _Measurement(
        "QT interval", "ms", 100, 1000,
        ("MDC 2:16160", "SCPECG 5.13.5-11", "LN 8634-8"),
        ("qtinterval", "qt"),
    ),
    _Measurement(
        "QTc interval", "ms", 100, 1000,
        ("MDC 2:15876", "SCPECG 5.10.2.5-5", "LN 8636-3"),
        ("qtcinterval", "qtc"),
    ),
    _Measurement(
        "QTc interval (Bazett)", "ms", 100, 1000,
        ("MDC 2:15880",),
        ("qtcusingbazettformula", "qtcbazett", "qtcb"),
    ),
    _Measurement(
        "QTc interval (Fridericia)", "ms", 100, 1000,
        ("MDC 2:15892",),
        ("qtcusingfridericiaformula", "qtcusingfredericiaformula", "qtcfridericia", "qtcf"),
    ),
    _Measurement(
        "P axis", "degrees", -180, 360,
        ("MDC 2:16128", "SCPECG 5.10.3-11", "LN 8626-4"),
        ("paxis", "pwaveaxis"),
    ),
    _Measurement(
        "QRS axis", "degrees", -180, 360,
        ("MDC 2:16132", "SCPECG 5.10.3-13", "LN 8632-2"),
        ("qrsaxis", "raxis"),
    ),
    _Measurement(
        "T axis", "degrees", -180, 360,
        ("MDC 2:16136", "SCPECG 5.10.3-15", "LN 8638-9"),
        ("taxis", "twaveaxis"),
    ),
)  # fmt: skip
_BY_CODE: Final = {code: one for one in _MEASUREMENTS for code in one.codes}
_BY_NAME: Final = {name: one for one in _MEASUREMENTS for name in one.names}
_SCHEMES: Final = {"SCP-ECG": "SCPECG", "SCP": "SCPECG", "LOINC": "LN"}
# Unit as it is written -> our unit, and how many of ours it is.
_UNITS: Final[dict[str, tuple[str, float]]] = (
    dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), ("ms", 1.0))
    | dict.fromkeys(("s", "second", "seconds"), ("ms", 1000.0))
    | dict.fromkeys(
        ("/min", "1/min", "bpm", "{h.b.}/min", "{h.b}/min", "{beats}/min", "{beat}/min",
         "beats/min", "beats per minute", "heart beats per minute", "per minute"),
        ("/min", 1.0),
    )
    | dict.fromkeys(("deg", "degree", "degrees", "°"), ("degrees", 1.0))
)  # fmt: skip
_WRITTEN: Final = re.compile(
    r"([A-Za-z][A-Za-z .()\-]{0,40}?)[ .:=]*"
    r"(-?\d{1,4}(?:\.\d{1,2})?) *([A-Za-z/°][A-Za-z/ ]{0,24})"
)


def statements_of(header: Dataset) -> tuple[str, ...]:
    """Return the recorder's own numbers, such as "QRS duration 94 ms", in a fixed order.

    Of each measurement the first that is global counts; one without a unit, of a single lead, or
    outside what a heart can do is left out.
    """
    found: dict[str, str] = {}
    for annotation in (header.get("WaveformAnnotationSequence") or [])[:_MAX_ANNOTATIONS]:
        for measurement, number, unit in _read(annotation):
            known = _UNITS.get(_plain(unit))
            if known is None or known[0] != measurement.unit:
                continue
            value = number * known[1]
            if measurement.lowest <= value <= measurement.highest:
                sentence = f"{measurement.name} {value:g} {measurement.unit}"
                found.setdefault(measurement.name, sentence)
    return tuple(found[one.name] for one in _MEASUREMENTS if one.name in found)


def _read(annotation: Dataset) -> list[tuple[_Measurement, float, str]]:
    if _is_of_one_lead(annotation):
        return []
    concepts = annotation.get("ConceptNameCodeSequence") or []
    if not concepts:
        return _read_text(str(annotation.get("UnformattedTextValue") or "")[:_MAX_TEXT])
    measurement = _measurement(concepts[0])
    number = first_number(annotation.get("NumericValue"))
    if measurement is None or number is None:
        return []
    for unit in (annotation.get("MeasurementUnitsCodeSequence") or [])[:1]:
        for keyword in ("CodeValue", "CodeMeaning"):
            text = str(unit.get(keyword) or "")
            if _plain(text) in _UNITS:
                return [(measurement, number, text)]
    return []


def _read_text(text: str) -> list[tuple[_Measurement, float, str]]:
    """Read lines that are one measurement and nothing else."""
    read = []
    for line in re.split(r"[\r\n;]+", text.replace("\x00", "")):
        match = _WRITTEN.fullmatch(line.strip())
        if match and (measurement := _BY_NAME.get(_letters(match[1]))):
            read.append((measurement, float(match[2]), match[3]))
    return read


def _measurement(concept: Dataset) -> _Measurement | None:
    scheme = _plain(str(concept.get("CodingSchemeDesignator") or "")).upper()
    value = _plain(str(concept.get("CodeValue") or ""))
    by_code = _BY_CODE.get(f"{_SCHEMES.get(scheme, scheme)} {value}")
    if by_code is not None:
        return by_code
    return _BY_NAME.get(_letters(str(concept.get("CodeMeaning") or "")[:64]))


def _is_of_one_lead(annotation: Dataset) -> bool:
    """Tell whether it refers to one channel; channel 0 means all of its group (PS3.3 C.10.10)."""
    channels = annotation.get("ReferencedWaveformChannels")
    if channels is None or isinstance(channels, int | str):
        return False
    return len(channels) == 2 and channels[1] != 0


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower()).replace("global", "")


def _plain(text: str) -> str:
    return " ".join(text.replace("\x00", "").lower().split())
