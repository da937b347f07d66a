"""Which lead a waveform channel holds, and the limb leads that follow from two others.

PS3.16 CID 3001: the codes of SCP-ECG (5.6.3-9-x) and of ISO/IEEE 11073 (2:x) count the leads alike.
Many recorders write neither, or wrongly padded, and only name the lead.
"""

import re
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_node.errors import ImageError

LEADS: Final = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

_BY_NUMBER: Final[dict[int, str]] = {
    1: "I", 2: "II", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6",
    61: "III", 62: "aVR", 63: "aVL", 64: "aVF",
}  # fmt: skip
_BY_NAME: Final = {lead.upper(): lead for lead in LEADS} | {f"C{n}": f"V{n}" for n in range(1, 7)}
_CODE: Final = re.compile(r"(?:5\.6\.3-9-|2:)(\d{1,3})")
# The same numbers in one word: 2 in the upper half, the partition of ISO/IEEE 11073.
_WORD: Final = re.compile(r"131\d{3}")
_PARTITION: Final = 2 << 16
_LEAD: Final = r"(?:III|II|I|AVR|AVL|AVF|[VC][1-6])"
_NAME: Final = re.compile(rf"(?:MDC )?(?:ECG )?(?:LEAD:? )?({_LEAD})(?![A-Z0-9])(.*)")
# What may follow a lead's name and leave it that lead; every other word may turn or move it.
_PLAIN: Final = frozenset({
    "EINTHOVEN", "GOLDBERGER", "WILSON", "AUGMENTED", "UNIPOLAR", "BIPOLAR", "STANDARD", "VOLTAGE",
    "LEAD", "LIMB", "EXTREMITY", "CHEST", "PRECORDIAL", "ECG", "RHYTHM", "CHANNEL", "SIGNAL", "RAW",
    "FILTERED", "UV", "MV",
})  # fmt: skip
_SIDES: Final = {"aVR": {"RIGHT", "ARM"}, "aVL": {"LEFT", "ARM"}, "aVF": {"LEFT", "LEG", "FOOT"}}
_MINUS_LAST: Final = re.compile(r"-(?! ?[A-Z])")
# Names of leads that are none of the twelve: turned, computed, right-sided, posterior, of Frank.
_OTHER_NAME: Final = re.compile(
    rf"(?:^|[ (])-{_LEAD}(?![A-Z0-9])|^- {_LEAD}(?![A-Z0-9])"
    r"|\b(?:NEG|NEGATIVE|INV|INVERTED|INVERSE|REVERSED|DERIVED)\b"
    r"|\b[VC](?:[1-6][A-Z]|[7-9][A-Z]?)\b|^(?:ECG )?[XYZ]$"
    r"|\bLEAD:? (?!NO\b|ID\b|SET\b|PER\b|AND\b|LEAD\b)[A-Z]{1,3}\d{0,2}[A-Z]?(?![A-Z0-9])"
)
# Said of a channel that holds something else than a lead of the twelve as it is.
_ANOTHER: Final = "another"
_MAX_NAME: Final = 64

Signal = npt.NDArray[np.float64]


def lead_of(channel: Dataset) -> str | None:
    """Return the lead of an item of the Channel Definition Sequence.

    Returns
    -------
    str or None
        One of ``LEADS``; ``None`` for every other channel: a pressure, or what its code or any of
        its names calls another lead, or one turned upside down, which is better computed than
        trusted.

    Raises
    ------
    ImageError
        When code and name say different leads: whichever were wrong, a lead would be mistaken.
    """
    words = [_by_name(_clean(channel.get("ChannelLabel")))]
    for source in (channel.get("ChannelSourceSequence") or [])[:1]:
        value = _clean(source.get("CodeValue"))
        words += [_by_code(value), _by_name(value), _by_name(_clean(source.get("CodeMeaning")))]
    said = {word for word in words if word is not None}
    if _ANOTHER in said:
        return None
    if len(said) > 1:
        raise ImageError("the codes and the names of the leads contradict each other")
    return said.pop() if said else None


def complete(found: dict[str, Signal]) -> tuple[dict[str, Signal], tuple[str, ...]]:
    """Compute the limb leads that are missing, by Einthoven's and Goldberger's laws.

    Parameters
    ----------
    found : dict of lead to (n,) microvolts
        What was recorded, all of the same time.

    Returns
    -------
    dict, tuple of str
        All twelve leads, and the names of those that were computed.

    Raises
    ------
    ImageError
        When leads are missing that do not follow from others.
    """
    missing = missing_of(set(found))
    if missing:
        raise ImageError(
            f"{len(LEADS)} leads are needed, {len(missing)} are missing: {', '.join(missing)}"
        )
    leads = dict(found)
    if "I" not in leads:
        leads["I"] = leads["II"] - leads["III"]
    if "II" not in leads:
        leads["II"] = leads["I"] + leads["III"]
    one, two = leads["I"], leads["II"]
    computed = {
        "III": two - one,
        "aVR": -(one + two) / 2,
        "aVL": one - two / 2,
        "aVF": two - one / 2,
    }
    leads = computed | leads
    return leads, tuple(lead for lead in LEADS if lead not in found)


def missing_of(found: set[str]) -> tuple[str, ...]:
    """Return the leads that are neither in `found` nor follow from it."""
    follow = set(LEADS[:6]) if len(found & {"I", "II", "III"}) >= 2 else set()
    return tuple(lead for lead in LEADS if lead not in found | follow)


def _by_code(value: str) -> str | None:
    """Return the lead of a code, ``_ANOTHER``, or ``None`` where it says nothing of leads."""
    match = _CODE.fullmatch(value)
    if match:
        number = int(match[1])
    elif _WORD.fullmatch(value):
        number = int(value) - _PARTITION
    else:
        return None
    # Number 0 is "unspecified lead".
    return _BY_NUMBER.get(number, _ANOTHER) if number > 0 else None


def _by_name(text: str) -> str | None:
    """Return the lead of a name, ``_ANOTHER``, or ``None`` where it says nothing of leads."""
    name = text.upper().replace("−", "-")
    match = _NAME.fullmatch(name)
    if match is None:
        return _ANOTHER if _OTHER_NAME.search(name) else None
    lead = _BY_NAME[match[1]]
    words = set(re.findall(r"[^\W_]+", match[2]))
    is_plain = words <= _PLAIN | _SIDES.get(lead, set()) and not _MINUS_LAST.search(match[2])
    return lead if is_plain else _ANOTHER


def _clean(value: object) -> str:
    """Return a text value without the padding some recorders leave in it."""
    text = str(value or "")[:_MAX_NAME].replace("\x00", "").replace("_", " ")
    return " ".join(text.split())
