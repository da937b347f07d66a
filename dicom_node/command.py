"""DIMSE command sets (PS3.7 section 6.3.1): flat, Implicit VR Little Endian, group 0000.

Read and written without a data set library, because the values must come through as they are: a
UID that breaks the rules is echoed to its sender in the answer, and nothing here warns or coerces.
"""

import struct
from dataclasses import dataclass
from typing import Final

C_STORE_RQ: Final = 0x0001
C_STORE_RSP: Final = 0x8001
C_ECHO_RQ: Final = 0x0030
C_ECHO_RSP: Final = 0x8030

NO_DATA_SET: Final = 0x0101

_GROUP_LENGTH: Final = 0x0000
_AFFECTED_SOP_CLASS_UID: Final = 0x0002
_COMMAND_FIELD: Final = 0x0100
_MESSAGE_ID: Final = 0x0110
_MESSAGE_ID_RESPONDED_TO: Final = 0x0120
_DATA_SET_TYPE: Final = 0x0800
_STATUS: Final = 0x0900
_AFFECTED_SOP_INSTANCE_UID: Final = 0x1000


class CommandFault(ValueError):
    """The bytes are no command set that PS3.7 allows."""


@dataclass(frozen=True)
class Command:
    """The elements of a request that we use.

    ``sop_class_uid`` and ``sop_instance_uid`` are as sent, without their padding.
    """

    field: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool


def parse_command(encoded: bytes) -> Command:
    """Read a command set.

    Raises
    ------
    CommandFault
        When an element runs past the end, is not of group 0000, has the wrong length, or a
        mandatory one is missing.
    """
    elements: dict[int, bytes] = {}
    offset = 0
    while offset < len(encoded):
        if offset + 8 > len(encoded):
            raise CommandFault("an element header is cut off")
        group, element, length = struct.unpack_from("<HHL", encoded, offset)
        offset += 8
        if group != 0:
            raise CommandFault(f"expected elements of group 0000, received group {group:04X}")
        if offset + length > len(encoded):
            raise CommandFault(f"element (0000,{element:04X}) runs past the end")
        elements[element] = encoded[offset : offset + length]
        offset += length
    return Command(
        field=_number(elements, _COMMAND_FIELD),
        message_id=_number(elements, _MESSAGE_ID),
        sop_class_uid=_uid(elements, _AFFECTED_SOP_CLASS_UID),
        sop_instance_uid=_uid(elements, _AFFECTED_SOP_INSTANCE_UID),
        has_data_set=_number(elements, _DATA_SET_TYPE) != NO_DATA_SET,
    )


def encode_response(request: Command, status: int) -> bytes:
    """Write the response to a request: its field with the top bit set, its message and its UIDs."""
    elements = [
        (_AFFECTED_SOP_CLASS_UID, _padded(request.sop_class_uid)),
        (_COMMAND_FIELD, struct.pack("<H", request.field | 0x8000)),
        (_MESSAGE_ID_RESPONDED_TO, struct.pack("<H", request.message_id)),
        (_DATA_SET_TYPE, struct.pack("<H", NO_DATA_SET)),
        (_STATUS, struct.pack("<H", status)),
    ]
    if request.field == C_STORE_RQ:
        elements.append((_AFFECTED_SOP_INSTANCE_UID, _padded(request.sop_instance_uid)))
    body = b"".join(
        struct.pack("<HHL", 0, element, len(value)) + value for element, value in elements
    )
    return struct.pack("<HHLL", 0, _GROUP_LENGTH, 4, len(body)) + body


def _number(elements: dict[int, bytes], element: int) -> int:
    value = elements.get(element)
    if value is None or len(value) != 2:
        raise CommandFault(f"element (0000,{element:04X}) is no unsigned short")
    return int.from_bytes(value, "little")


def _uid(elements: dict[int, bytes], element: int) -> str:
    # Latin-1 keeps every byte, so that the answer repeats what was asked.
    return elements.get(element, b"").decode("latin-1").rstrip("\0 ")


def _padded(uid: str) -> bytes:
    encoded = uid.encode("latin-1")
    return encoded + b"\0" * (len(encoded) % 2)
