"""Data sets made of values that are legal already, and what they are as bytes.

A report is some eight hundred elements, nearly all of them text, and one is made for every ECG:
pydicom's ways to set and to write an element, which look at each value again, take most of the time
that a report takes. What these functions do not know of they leave to pydicom, and their bytes are
those that pydicom writes.
"""

import functools
import struct
from typing import Any, Final

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence as ItemSequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

#: Text whose characters are those of Specific Character Set; the rest is ASCII (PS3.5 section 6.2).
_UNICODE: Final = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
_TEXT: Final = _UNICODE | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI"}
#: Values of one string that pydicom keeps as they are given.
_PLAIN: Final = frozenset({"AS", "CS", "DA", "LO", "LT", "SH", "ST", "TM", "UT"})
#: Of those with the long form of an element's head (PS3.5 section 7.1.2), what is written here.
_LONG: Final = frozenset({"SQ", "UC", "UT"})
_ITEM: Final = b"\xfe\xff\x00\xe0"
_MAX_SHORT_BYTES: Final = 0xFFFF
_PREAMBLE: Final = bytes(128) + b"DICM"


def data_set(**values: Any) -> Dataset:
    """Return a data set of attributes by their keywords, in any order.

    Values are not looked at: they come from us, or were checked before. The items of a sequence
    are a list.
    """
    return Dataset(
        {_known(keyword)[0]: _element(keyword, value) for keyword, value in values.items()}
    )


def _element(keyword: str, value: Any) -> DataElement:
    tag, vr = _known(keyword)
    is_ready = vr in _PLAIN and isinstance(value, str) and "\\" not in value
    if vr == "SQ":
        value, is_ready = ItemSequence(value), True
    elif vr == "UI":
        value, is_ready = UID(value), True
    return DataElement(tag, vr, value, already_converted=is_ready, validation_mode=config.IGNORE)


@functools.cache
def _known(keyword: str) -> tuple[BaseTag, str]:
    return Tag(keyword), dictionary_VR(keyword)


def to_file(ds: Dataset) -> bytes:
    """Return a data set with File Meta Information as a DICOM file (PS3.10 section 7).

    Explicit VR Little Endian, as `encode`.
    """
    named = data_set(FileMetaInformationVersion=b"\x00\x01")
    named.update(ds.file_meta)
    meta = encode(named)
    length = struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(meta))
    return b"".join((_PREAMBLE, length, meta, encode(ds)))


def encode(ds: Dataset) -> bytes:
    """Return a data set in Explicit VR Little Endian, its text in UTF-8.

    Sequences and their items have explicit lengths.
    """
    elements = {int(tag): element for tag, element in ds.items()}
    # Group Length is retired but for command and file meta elements (PS3.5 section 7.2).
    return b"".join(
        _encoded(tag, ds[tag] if elements[tag].is_raw else elements[tag])
        for tag in sorted(elements)
        if tag & 0xFFFF or tag < 0x00080000
    )


def _encoded(tag: int, element: Any) -> bytes:
    vr, value = element.VR, element.value
    if vr == "SQ":
        content = b"".join(map(_item, value))
    elif vr in _TEXT and isinstance(value, str):
        content = value.encode("utf_8" if vr in _UNICODE else "latin_1", "replace")
        if len(content) % 2:
            content += b"\0" if vr == "UI" else b" "
    else:
        return _by_pydicom(element)
    if vr in _LONG:
        return struct.pack("<HH2s2xL", tag >> 16, tag & 0xFFFF, vr.encode(), len(content)) + content
    if len(content) > _MAX_SHORT_BYTES:
        return _by_pydicom(element)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(content)) + content


def _item(ds: Dataset) -> bytes:
    content = encode(ds)
    return _ITEM + struct.pack("<L", len(content)) + content


def _by_pydicom(element: DataElement) -> bytes:
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = False, True
    write_data_element(out, element, ["utf_8"])
    return out.getvalue()
