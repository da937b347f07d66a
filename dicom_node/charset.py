"""Text of any Specific Character Set -> clean Unicode.

The names in our reports must be the names in the archive, so the bytes are decoded here, by PS3.5
section 6.1.2 and Annexes H to K, and nothing is left of the code extensions: no escape sequence, no
control character. Nothing raises either. A byte that its character set does not know becomes U+FFFD
where it cannot be read, which a person sees; an object is not lost to a misspelt character set.

Rules for what the standard leaves open
---------------------------------------
* No Specific Character Set, or one nobody knows: UTF-8 where the bytes are valid UTF-8, otherwise
  Latin-1, which at least keeps every byte apart from every other.
* A multi-byte set that is declared but not switched to by its escape sequence is tried as a whole.
* Escape sequences are obeyed whether the character set they name was declared or not.
* Bytes 0x80 to 0x9F under Latin-1 are read as Windows-1252, which is what wrote them.
* In GBK, GB18030 and UTF-8 a value is decoded before it is split: the second byte of a GBK
  character may be the backslash 0x5C or the caret 0x5E.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as ItemSequence
from pydicom.valuerep import PersonName

UNICODE: Final = "ISO_IR 192"

_SPECIFIC_CHARACTER_SET: Final = 0x00080005
# Several values are parted by a backslash in these, which is an ordinary character in the others.
_MULTIVALUED: Final = frozenset({"SH", "LO", "UC", "PN"})
_TEXT: Final = _MULTIVALUED | {"ST", "LT", "UT"}

# PS3.3 Table C.12-2, C.12-3: ISO registration number -> codec of the upper half (G1).
_SINGLE_BYTE: Final = {
    "100": "cp1252",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "166": "iso8859_11",
    "203": "iso8859_15",
    "13": "shift_jis",
}
# PS3.3 Table C.12-5, and the spellings that PS3.3 never had.
_WHOLE: Final = {
    "ISO IR 192": "utf_8",
    "UTF 8": "utf_8",
    "UTF8": "utf_8",
    "GB18030": "gb18030",
    "ISO 2022 GB18030": "gb18030",
    "GBK": "gb18030",
    "ISO 2022 GBK": "gb18030",
    "GB2312": "gb18030",
}
# PS3.3 Table C.12-3 and C.12-4: escape sequence -> what it puts where.
_TO_G0: Final = {
    b"\x1b(B": None,
    b"\x1b(J": None,
    b"\x1b$B": "jis_x_0208",
    b"\x1b$@": "jis_x_0208",
    b"\x1b$(D": "jis_x_0212",
}
_TO_G1: Final = {
    b"\x1b-A": "cp1252",
    b"\x1b-B": "iso8859_2",
    b"\x1b-C": "iso8859_3",
    b"\x1b-D": "iso8859_4",
    b"\x1b-F": "iso8859_7",
    b"\x1b-G": "iso8859_6",
    b"\x1b-H": "iso8859_8",
    b"\x1b-L": "iso8859_5",
    b"\x1b-M": "iso8859_9",
    b"\x1b-T": "iso8859_11",
    b"\x1b-b": "iso8859_15",
    b"\x1b)I": "shift_jis",
    b"\x1b$)C": "euc_kr",
    b"\x1b$)A": "gbk",
}
_DOUBLE_BYTE_G1: Final = frozenset({"euc_kr", "gbk"})
# What a value without the escape sequences it needs was probably written with.
_WITHOUT_ESCAPES: Final = {
    "58": ("gb2312", "utf_8", "gb18030"),
    "149": ("euc_kr", "utf_8", "cp949"),
    "87": ("utf_8", "shift_jis", "euc_jp"),
    "159": ("utf_8", "euc_jp"),
}
# ISO/IEC 2022: ESC, intermediate bytes, a final byte.
_ESCAPE: Final = re.compile(rb"\x1b[\x20-\x2f]*[\x30-\x7e]?")
_ESCAPE_TEXT: Final = re.compile(r"\x1b[\x20-\x2f]*[\x30-\x7e]?")
# C0 without TAB, LF, FF, CR; DEL; C1; and what UTF-8 cannot hold.
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class _CharacterSet:
    """What the bytes of a value mean before any escape sequence.

    ``whole`` is a codec for the value as a whole; otherwise bytes below 0x80 are ASCII or ``g0``,
    those above are ``g1``. Both are ``None`` when nothing is declared.
    """

    whole: str | None = None
    g0: str | None = None
    g1: str | None = None


def decode_text(
    value: bytes, character_sets: Sequence[str] = (), *, is_person_name: bool = False
) -> str:
    """Decode one value, or several with their backslashes, of a text attribute.

    Parameters
    ----------
    value : bytes
        As encoded in the data set.
    character_sets : sequence of str
        The values of Specific Character Set (0008,0005); empty when it is absent.
    is_person_name : bool
        Whether carets and equals signs part components, which resets code extensions
        (PS3.5 section 6.1.2.5.3).

    Returns
    -------
    str
        Without escape sequences and control characters other than TAB, LF, FF and CR, and without
        trailing padding.
    """
    initial = _find_character_set(character_sets)
    if initial.whole is not None:
        text = value.decode(initial.whole, "replace")
    elif b"\x1b" in value:
        text = _decode_extended(
            value, initial, b"\\\r\n\f\t^=" if is_person_name else b"\\\r\n\f\t"
        )
    elif initial.g1 is not None:
        text = value.decode(initial.g1, "replace")
    else:
        text = _guess(value, character_sets)
    return clean_text(text)


def clean_text(text: str) -> str:
    """Remove escape sequences, control characters and trailing padding from decoded text."""
    return _CONTROL.sub("", _ESCAPE_TEXT.sub("", text)).rstrip(" \0")


def decode_dataset(ds: Dataset) -> Dataset:
    """Return a copy of a data set with all its text in Unicode, sequences included.

    Parameters
    ----------
    ds : Dataset
        Best as read from a file: text that was accessed before has been decoded by pydicom
        already, and is then only cleaned.

    Returns
    -------
    Dataset
        With Specific Character Set ISO_IR 192. Elements whose value cannot be read at all are
        left out; private elements of unknown representation are copied as bytes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = _decode_items(ds, ())
    out.SpecificCharacterSet = UNICODE
    if hasattr(ds, "file_meta"):
        out.file_meta = ds.file_meta
    return out


def _decode_items(ds: Dataset, inherited: Sequence[str]) -> Dataset:
    character_sets = _declared(ds, inherited)
    out = Dataset()
    for tag in sorted(ds.keys()):
        if tag == _SPECIFIC_CHARACTER_SET:
            continue
        try:
            element = _decode_element(ds, tag, character_sets)
        except Exception:  # noqa: BLE001, S112  an element nobody can read is not worth the object
            continue
        out[tag] = element
    return out


def _declared(ds: Dataset, inherited: Sequence[str]) -> Sequence[str]:
    # An item without a character set of its own has that of the data set around it.
    if _SPECIFIC_CHARACTER_SET not in ds:
        return inherited
    item = ds.get_item(_SPECIFIC_CHARACTER_SET)
    value: Any = item.value
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").split("\\")
    if value is None or isinstance(value, str):
        value = [value or ""]
    return tuple(str(term) for term in value)


def _decode_element(ds: Dataset, tag: Any, character_sets: Sequence[str]) -> DataElement:
    item = ds.get_item(tag)
    vr = _representation(item)
    if vr in _TEXT and isinstance(item, RawDataElement):
        raw = item.value or b""
        text = decode_text(raw, character_sets, is_person_name=vr == "PN")
        return _text_element(tag, vr, text.split("\\") if vr in _MULTIVALUED else [text])
    element: DataElement = ds[tag]
    if element.VR == "SQ":
        items = [_decode_items(nested, character_sets) for nested in element.value]
        return DataElement(tag, "SQ", ItemSequence(items))
    if element.VR in _TEXT:
        values = element.value if element.VM > 1 else [element.value]
        return _text_element(tag, element.VR, [_text_of(value, character_sets) for value in values])
    return element


def _representation(item: Any) -> str:
    vr: str | None = item.VR
    if vr in (None, "UN"):
        try:
            return str(dictionary_VR(item.tag))
        except KeyError:
            return "UN"
    return str(vr)


def _text_of(value: Any, character_sets: Sequence[str]) -> str:
    if isinstance(value, PersonName) and isinstance(value.original_string, bytes):
        return decode_text(value.original_string, character_sets, is_person_name=True)
    return clean_text("" if value is None else str(value))


def _text_element(tag: Any, vr: str, values: list[str]) -> DataElement:
    # In values of one line, line breaks are as wrong as any other control character.
    if vr in _MULTIVALUED:
        values = [_LINE_CONTROL.sub("", value).strip(" ") for value in values]
    value = values if len(values) > 1 else values[0]
    # The sender's value may be longer than its representation allows, and stays.
    return DataElement(tag, vr, value, validation_mode=config.IGNORE)


def _find_character_set(terms: Sequence[str]) -> _CharacterSet:
    names = [re.sub(r"[-_\s]+", " ", term).strip().upper() for term in terms]
    for name in names:
        if name in _WHOLE:
            return _CharacterSet(whole=_WHOLE[name])
    first = re.fullmatch(r"ISO (?:2022 )?(?:IR )?(\d+)", names[0]) if names else None
    return _CharacterSet(g1=_SINGLE_BYTE.get(first.group(1)) if first else None)


def _decode_extended(value: bytes, initial: _CharacterSet, delimiters: bytes) -> str:
    """Decode with code extensions (PS3.5 section 6.1.2.5, ISO/IEC 2022)."""
    state = initial
    text: list[str] = []
    offset = 0
    while offset < len(value):
        byte = value[offset]
        if byte == 0x1B:
            state, offset = _escape(value, offset, state)
        elif byte < 0x21 or (state.g0 is None and byte < 0x80):
            text.append(chr(byte))
            offset += 1
            if byte in delimiters:
                state = initial
        elif byte < 0x80 or state.g1 in _DOUBLE_BYTE_G1:
            character, length = _decode_pair(value[offset : offset + 2], state)
            text.append(character)
            offset += length
        else:
            end = offset + 1
            while end < len(value) and value[end] >= 0x80:
                end += 1
            run = value[offset:end]
            text.append(run.decode(state.g1, "replace") if state.g1 else _guess(run))
            offset = end
    return "".join(text)


def _escape(value: bytes, offset: int, state: _CharacterSet) -> tuple[_CharacterSet, int]:
    match = _ESCAPE.match(value, offset)
    sequence = match.group() if match else value[offset : offset + 1]
    if sequence in _TO_G0:
        state = replace(state, g0=_TO_G0[sequence])
    elif sequence in _TO_G1:
        state = replace(state, g1=_TO_G1[sequence])
    return state, offset + len(sequence)


def _decode_pair(pair: bytes, state: _CharacterSet) -> tuple[str, int]:
    """Decode one character of a double-byte set; return it and how many bytes it took."""
    encoded, codec = pair, state.g1 or "ascii"
    if pair[0] < 0x80:
        # EUC-JP holds JIS X 0208 with the top bits set, JIS X 0212 after the shift 0x8F.
        encoded, codec = bytes(byte | 0x80 for byte in pair), "euc_jp"
        if state.g0 == "jis_x_0212":
            encoded = b"\x8f" + encoded
    try:
        return encoded.decode(codec), len(pair)
    except UnicodeDecodeError:
        # The second byte may be good text of its own.
        return "\ufffd", 1


def _guess(value: bytes, character_sets: Sequence[str] = ()) -> str:
    """Decode bytes above 0x7F that nothing declared says how to read."""
    codecs: list[str] = []
    for term in character_sets:
        number = re.search(r"(\d+)\s*$", term)
        codecs += _WITHOUT_ESCAPES.get(number.group(1), ()) if number else ()
    for codec in (*codecs, "utf_8"):
        try:
            return value.decode(codec)
        except UnicodeDecodeError:
            continue
    return value.decode("latin_1")
