"""Text of every character set becomes the text a person wrote, and nothing else."""

from __future__ import annotations

import contextlib
import importlib.resources
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from dicom_node.capture import secondary_capture
from dicom_node.charset import UNICODE, clean_text, decode_dataset, decode_text

# The examples of PS3.5 Annexes H to K, and what hospitals send besides.
NAMES = [
    # Single-byte sets, PS3.3 Table C.12-2
    (["ISO_IR 100"], b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
    (["ISO_IR 101"], b"Wa\xb3\xeasa", "Wałęsa"),
    (["ISO_IR 109"], b"\xf8u", "ĝu"),
    (["ISO_IR 110"], b"\xb9\xe0", "šā"),
    (["ISO_IR 144"], b"\xbb\xee\xda^\xce\xe0", "Люк^Юр"),
    (["ISO_IR 126"], b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
    (["ISO_IR 127"], b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"),
    (["ISO_IR 138"], b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
    (["ISO_IR 148"], b"\xc7avu\xfeo\xf0lu", "Çavuşoğlu"),
    (["ISO_IR 166"], b"\xca\xc1\xaa\xd2\xc2", "สมชาย"),
    (["ISO_IR 203"], b"\xa4 \xbd", "€ œ"),
    (["ISO_IR 13"], b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    (["ISO_IR 6"], b"Smith^John", "Smith^John"),
    # Multi-byte sets with code extensions
    (
        ["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    (
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J"
        b"=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    (["", "ISO 2022 IR 159"], b"\x1b$(D\x30\x21\x1b(B", "丂"),
    (
        ["", "ISO 2022 IR 149"],
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"
        b"=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    (
        ["", "ISO 2022 IR 58"],
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        "Zhang^XiaoDong=张^小东=",
    ),
    (
        ["ISO 2022 IR 100", "ISO 2022 IR 144"],
        b"Bj\xf6rn^\x1b-L\xbb\xee\xda",
        "Björn^Люк",
    ),
    # Multi-byte sets without code extensions
    (["ISO_IR 192"], "Wang^XiaoDong=王^小东".encode(), "Wang^XiaoDong=王^小东"),
    (["GB18030"], b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"),
    (["GBK"], b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"),
    (["GB18030"], "𠀀^㐀".encode("gb18030"), "𠀀^㐀"),
    # GBK characters whose second byte is a backslash or a caret
    (["GBK"], b"\x81\x5c^\x8f\x5c", "乗^廫"),
    (["GBK"], b"\x95\x5e^\x81\x5e", "昢^乛"),
    (["GB18030"], b"\x95\x5e^\x81\x5c", "昢^乗"),
]


@pytest.mark.parametrize(("character_sets", "encoded", "name"), NAMES)
def test_a_name_is_read_as_it_was_written(
    character_sets: list[str], encoded: bytes, name: str
) -> None:
    assert decode_text(encoded, character_sets, is_person_name=True) == name


# What the standard does not allow and hospitals send.
@pytest.mark.parametrize(
    ("character_sets", "encoded", "text"),
    [
        ([], "王^小东".encode(), "王^小东"),
        ([], b"M\xfcller", "Müller"),
        ([], b"Zhang=\x1b$)A\xd5\xc5", "Zhang=张"),
        ([], b"", ""),
        (["ISO-IR 100"], b"M\xfcller", "Müller"),
        (["iso ir 100"], b"M\xfcller", "Müller"),
        (["ISO 100"], b"M\xfcller", "Müller"),
        (["UTF-8"], "Müller".encode(), "Müller"),
        (["ISO 2022 GBK"], b"\xcd\xf5", "王"),
        (["", "ISO 2022 58"], b"\x1b$)A\xd5\xc5", "张"),
        (["", "ISO 2022 IR 58"], b"\xd5\xc5^\xd0\xa1", "张^小"),
        (["", "ISO 2022 IR 149"], b"\xc8\xab", "홍"),
        (["", "ISO 2022 IR 58"], b"\x1b$)A\x95\x5e", "昢"),
        (["NO SUCH SET"], b"M\xfcller", "Müller"),
        (["ISO_IR 192"], b"M\xfcller", "M\ufffdller"),
        (["ISO_IR 100"], b"O\x92Neill", "O’Neill"),
        (["GBK"], b"\xcd", "\ufffd"),
        (["ISO_IR 100"], b"Smith^John  \0", "Smith^John"),
        (["ISO_IR 100"], b"a\x00b\x07c", "abc"),
        (["ISO_IR 100"], b"two\r\nlines", "two\r\nlines"),
        (["ISO_IR 100"], b"\x1bZ strange \x1b", " strange"),
        (["", "ISO 2022 IR 87"], b"\x1b$B;3E", "山\ufffd"),
        (["ISO_IR 192"], "张\x1b$)A三".encode(), "张三"),
    ],
)
def test_what_is_declared_wrongly_is_read_as_well_as_can_be(
    character_sets: list[str], encoded: bytes, text: str
) -> None:
    assert decode_text(encoded, character_sets, is_person_name=True) == text


TERMS = st.sampled_from(
    [
        "",
        "ISO_IR 6",
        "ISO_IR 13",
        "ISO_IR 100",
        "ISO_IR 144",
        "ISO_IR 166",
        "ISO_IR 192",
        "GBK",
        "GB18030",
        "ISO 2022 IR 58",
        "ISO 2022 IR 87",
        "ISO 2022 IR 149",
        "ISO 2022 IR 159",
        "nonsense",
        "ISO_IR 99999",
    ]
)
SHIFTS = st.sampled_from(
    [b"\x1b$B", b"\x1b(B", b"\x1b$)A", b"\x1b$)C", b"\x1b$(D", b"\x1b-L", b"\x1b"]
)
PIECES = st.lists(st.one_of(st.binary(max_size=6), SHIFTS), max_size=8).map(b"".join)


@given(PIECES, st.lists(TERMS, max_size=3), st.booleans())
def test_any_bytes_become_clean_text_that_utf_8_can_hold(
    encoded: bytes, terms: list[str], is_person_name: bool
) -> None:
    text = decode_text(encoded, terms, is_person_name=is_person_name)
    assert text.encode("utf-8").decode("utf-8") == text
    assert "\x1b" not in text
    assert not any(ord(character) < 0x20 and character not in "\t\n\f\r" for character in text)
    assert clean_text(text) == text


@given(st.text(st.characters(codec="gb18030", exclude_categories=["C"]), max_size=20))
def test_every_name_that_gb18030_can_write_comes_back(name: str) -> None:
    assert decode_text(name.encode("gb18030"), ["GB18030"]) == name.rstrip(" ")


@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=10))
def test_every_name_in_gb2312_comes_back_through_its_escape_sequence(name: str) -> None:
    encoded = name.encode("gb2312", "ignore")
    assert decode_text(b"\x1b$)A" + encoded, ["", "ISO 2022 IR 58"]) == encoded.decode("gb2312")


@given(st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), max_size=10))
def test_every_name_in_ks_x_1001_comes_back_through_its_escape_sequence(name: str) -> None:
    encoded = name.encode("euc_kr", "ignore")
    # Python writes syllables beyond the 2350 of KS X 1001 as eight bytes of jamo.
    letters = encoded.decode("euc_kr")
    if len(letters) * 2 == len(encoded):
        assert decode_text(b"\x1b$)C" + encoded, ["", "ISO 2022 IR 149"]) == letters


@given(st.text(st.characters(min_codepoint=0x3041, max_codepoint=0x9FA0), max_size=10))
def test_every_name_that_iso_2022_jp_can_write_comes_back(name: str) -> None:
    encoded = name.encode("iso2022_jp_2", "ignore")
    # Characters of other registrations, such as GB 2312, are beyond IR 87 and 159.
    if not any(shift in encoded for shift in (b"\x1b$A", b"\x1b$(A", b"\x1b$(C")):
        text = decode_text(encoded, ["", "ISO 2022 IR 87", "ISO 2022 IR 159"])
        assert text == encoded.decode("iso2022_jp_2").rstrip(" ")


CHARSET_FILES = [
    "chrArab",
    "chrFren",
    "chrFrenMulti",
    "chrGerm",
    "chrGreek",
    "chrH31",
    "chrH32",
    "chrHbrw",
    "chrI2",
    "chrJapMulti",
    "chrKoreanMulti",
    "chrRuss",
    "chrX1",
    "chrX2",
]


@pytest.mark.parametrize("name", CHARSET_FILES)
def test_real_objects_give_the_names_pydicom_reads_without_its_escape_sequences(name: str) -> None:
    folder = importlib.resources.files("pydicom.data").joinpath("charset_files")
    path = Path(str(folder.joinpath(f"{name}.dcm")))
    expected = str(dcmread(path).PatientName)
    decoded = decode_dataset(dcmread(path))
    assert str(decoded.PatientName) == clean_text(expected)
    assert decoded.SpecificCharacterSet == UNICODE


def encoded_data_set(character_set: str, **elements: bytes) -> Dataset:
    """Return a data set as read from a network, with these bytes as its text."""
    codes = {"PatientName": (0x0010, b"PN"), "PatientID": (0x0020, b"LO")}
    body = b"\x08\x00\x05\x00CS" + len(character_set).to_bytes(2, "little") + character_set.encode()
    for keyword, value in elements.items():
        element, vr = codes[keyword]
        value += b" " * (len(value) % 2)
        body += b"\x10\x00" + element.to_bytes(2, "little") + vr
        body += len(value).to_bytes(2, "little") + value
    return read_dataset(BytesIO(body), is_implicit_VR=False, is_little_endian=True)


def test_several_values_are_split_only_where_they_are_parted() -> None:
    ds = decode_dataset(encoded_data_set("GBK ", PatientID=b"\x81\x5c\\\x8f\x5c"))
    assert list(ds.PatientID) == ["乗", "廫"]


def test_a_value_of_one_line_holds_no_line_break() -> None:
    ds = decode_dataset(encoded_data_set("ISO_IR 100", PatientID=b" 12\r\n34 "))
    assert ds.PatientID == "1234"


def test_a_value_that_is_too_long_stays() -> None:
    ds = decode_dataset(encoded_data_set("ISO_IR 100", PatientID=b"x" * 200))
    assert ds.PatientID == "x" * 200


def test_text_in_items_has_the_set_of_the_item_or_of_the_object_around_it() -> None:
    ds = encoded_data_set("GBK ", PatientName=b"\xcd\xf5")
    inheriting = encoded_data_set("GBK ", PatientName=b"\xd0\xa1")
    del inheriting.SpecificCharacterSet
    own = encoded_data_set("ISO_IR 144", PatientName=b"\xbb\xee\xda")
    ds.add_new(0x00081140, "SQ", [inheriting, own])
    decoded = decode_dataset(ds)
    assert decoded.PatientName == "王"
    items = decoded.ReferencedImageSequence
    assert [str(item.PatientName) for item in items] == ["小", "Люк"]
    assert all("SpecificCharacterSet" not in item for item in items)


def test_a_name_that_pydicom_has_read_before_is_clean_as_well() -> None:
    ds = encoded_data_set("\\ISO 2022 IR 58 ", PatientName=b"Zhang=\x1b$)A\xd5\xc5^\x1b$)A\xc8\xfd")
    assert "\x1b" in str(ds.PatientName)
    assert str(decode_dataset(ds).PatientName) == "Zhang=张^三"


def test_what_is_decoded_can_be_written_and_read_again() -> None:
    ds = encoded_data_set("\\ISO 2022 IR 58 ", PatientName=b"Zhang=\x1b$)A\xd5\xc5^\x1b$)A\xc8\xfd")
    decoded = decode_dataset(ds)
    buffer = BytesIO()
    copy = secondary_capture_with(decoded)
    copy.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    assert dcmread(buffer).PatientName == "Zhang=张^三"


def secondary_capture_with(decoded: Dataset) -> Dataset:
    """Return a picture with the patient of another object."""
    ds = secondary_capture(np.zeros((2, 2), np.uint8), patient_id="PID-1")
    ds.PatientName = decoded.PatientName
    ds.SpecificCharacterSet = decoded.SpecificCharacterSet
    return ds


def test_an_element_nobody_can_read_is_left_out() -> None:
    ds = encoded_data_set("ISO_IR 100", PatientName=b"Smith")
    body = b"\x28\x00\x10\x00US\x04\x00\x01\x00\x02"
    ds.update(read_dataset(BytesIO(body), is_implicit_VR=False, is_little_endian=True))
    decoded = decode_dataset(ds)
    assert "Rows" not in decoded
    assert decoded.PatientName == "Smith"


@given(st.binary(max_size=300))
def test_a_data_set_of_any_bytes_is_decoded_without_a_complaint(body: bytes) -> None:
    for is_implicit in (True, False):
        ds = Dataset()
        # Bytes that no reader takes for a data set are of no interest here.
        with contextlib.suppress(Exception):
            ds = read_dataset(BytesIO(body), is_implicit_VR=is_implicit, is_little_endian=True)
        assert decode_dataset(ds).SpecificCharacterSet == UNICODE
