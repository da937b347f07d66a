"""A channel is a lead of the twelve only while nothing that is said of it says otherwise."""

from __future__ import annotations

import pytest
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts
from waveforms import NUMBERS, channel, code

from dicom_node.errors import ImageError
from dicom_node.leads import LEADS, lead_of

SCPECG = "5.6.3-9-"
#: Every lead of PS3.16 CID 3001, as pydicom's copy of it has them: code and meaning.
_MEANINGS: dict[str, dict[str, dict[str, tuple[str, list[int]]]]] = concepts  # type: ignore[assignment]
CID_3001 = [
    (value, meaning)
    for scheme, names in cid_concepts[3001].items()
    for name in names
    for value, (meaning, _) in _MEANINGS[scheme][name].items()
]


def lead(value: str, meaning: str, label: str | None = None) -> str | None:
    return lead_of(channel(code(value, "SCPECG", meaning), label=label))


@pytest.mark.parametrize(
    ("value", "meaning", "label"),
    [
        (f"{SCPECG}65", "Lead aVR, negative", "aVR"),
        (f"{SCPECG}65", "", "aVR"),
        (f"{SCPECG}12", "Lead V4R", "V4"),
        (f"{SCPECG}6", "Lead V4", "V4R"),
        (f"{SCPECG}6", "Lead V4R", "V4"),
        ("131137", "", "aVR"),
        ("", "V4 (right)", "V4"),
        ("", "V4 right", None),
        ("", "V3R, right", "V3"),
        ("", "Lead X", "I"),
        ("", "X", "I"),
        ("", "Lead CM5", "V5"),
        ("", "V7", "V6"),
        ("", "V5 posterior", None),
        (f"{SCPECG}1", "Lead I - inverted", "I"),
        (f"{SCPECG}1", "Lead I", "I, inverted"),
        (f"{SCPECG}1", "I (-)", "I"),
        (f"{SCPECG}1", "-I", "I"),
        (f"{SCPECG}62", "aVR, augmented voltage, right", "−aVR"),
        (f"{SCPECG}62", "aVR", "Ableitung -aVR"),
        (f"{SCPECG}7", "Derived Lead V5", "V5"),
    ],
)
def test_a_channel_that_anything_calls_another_lead_or_turned_is_not_trusted(
    value: str, meaning: str, label: str | None
) -> None:
    assert lead(value, meaning, label) is None


@pytest.mark.parametrize(
    ("value", "meaning", "label", "expected"),
    [
        (f"{SCPECG}1", "Lead I (Einthoven)", "Channel 3", "I"),
        (f"{SCPECG}62", "aVR, augmented voltage, right", "aVR", "aVR"),
        (f"{SCPECG}3", "Lead V1", "ECG - V1", "V1"),
        (f"{SCPECG}3", "Lead V1", "Lead 7", "V1"),
        (f"{SCPECG}3", "Brustwandableitung", "C1", "V1"),
        ("2:0", "Unspecified lead", "V1 (Wilson)", "V1"),
        ("131072", "", "aVL", "aVL"),
        ("MDC_ECG_LEAD_III", "", None, "III"),
        ("", "", "Lead II (rhythm)", "II"),
    ],
)
def test_what_says_nothing_against_a_lead_leaves_it(
    value: str, meaning: str, label: str | None, expected: str
) -> None:
    assert lead(value, meaning, label) == expected


@pytest.mark.parametrize(("value", "meaning"), CID_3001, ids=[meaning for _, meaning in CID_3001])
def test_of_the_standard_s_leads_the_twelve_and_no_other_are_known(
    value: str, meaning: str
) -> None:
    number = int(value.removeprefix("2:"))
    expected = next((name for name in LEADS if NUMBERS[name] == number), None)
    for given in (value, value.replace("2:", SCPECG), str(131072 + number)):
        assert lead(given, "") == expected
        assert lead(given, meaning) == expected
        assert lead("", meaning) in (expected, None)
        # A label of one of the twelve does not make another lead of the code that one.
        if expected is None and number:
            assert {lead(given, meaning, name) for name in LEADS} == {None}


def test_a_code_and_a_name_of_different_leads_are_a_contradiction() -> None:
    with pytest.raises(ImageError, match="contradict"):
        lead(f"{SCPECG}6", "Lead V4", "V5")
