"""DIMSE command sets (PS3.7 section 6.3.1): flat, Implicit VR Little Endian, group 0000.

Read and written without a data set library, because the values must come through as they are: a
UID that breaks the rules is echoed to its sender in the answer, and nothing here warns or coerces.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

C_STORE_RQ: Final = 0x0001
C_STORE_RSP: Final = 0x8001
C_GET_RQ: Final = 0x0010
C_GET_RSP: Final = 0x8010
C_FIND_RQ: Final = 0x0020
C_FIND_RSP: Final = 0x8020
C_MOVE_RQ: Final = 0x0021
C_MOVE_RSP: Final = 0x8021
C_ECHO_RQ: Final = 0x0030
C_ECHO_RSP: Final = 0x8030
C_CANCEL_RQ: Final = 0x0FFF
N_EVENT_REPORT_RQ: Final = 0x0100
N_ACTION_RQ: Final = 0x0130

NO_DATA_SET: Final = 0x0101

TAKEN_UID: Final = re.compile(r"(?=.*[0-9])[0-9.]{1,64}", re.ASCII)
"""What we take for a UID: broken rules for its components are seen in hospitals every day."""

_GROUP_LENGTH: Final = 0x0000
_AFFECTED_SOP_CLASS_UID: Final = 0x0002
_REQUESTED_SOP_CLASS_UID: Final = 0x0003
_COMMAND_FIELD: Final = 0x0100
_MESSAGE_ID: Final = 0x0110
_MESSAGE_ID_RESPONDED_TO: Final = 0x0120
_MOVE_DESTINATION: Final = 0x0600
_PRIORITY: Final = 0x0700
_DATA_SET_TYPE: Final = 0x0800
_STATUS: Final = 0x0900
_ERROR_COMMENT: Final = 0x0902
_AFFECTED_SOP_INSTANCE_UID: Final = 0x1000
_REQUESTED_SOP_INSTANCE_UID: Final = 0x1001
_EVENT_TYPE_ID: Final = 0x1002
_ACTION_TYPE_ID: Final = 0x1008
_REMAINING: Final = 0x1020
_COMPLETED: Final = 0x1021
_FAILED: Final = 0x1022
_WARNING: Final = 0x1023

_DATA_SET_FOLLOWS: Final = 0x0001
_MEDIUM: Final = 0x0000


class CommandFault(ValueError):
    """The bytes are no command set that PS3.7 allows."""


@dataclass(frozen=True)
class Command:
    """The elements of a request that we use.

    ``sop_class_uid`` and ``sop_instance_uid`` are as sent, without their padding: of an N-ACTION
    the requested ones, of others the affected ones. ``event_type`` is that of an N-EVENT-REPORT,
    ``action_type`` that of an N-ACTION.
    """

    field: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool
    event_type: int | None = None
    action_type: int | None = None


@dataclass(frozen=True)
class Response:
    """The elements of a response to C-FIND, C-GET or C-MOVE (PS3.7 section 9.3).

    The four counts are of sub-operations; ``None`` where the peer does not say. ``comment`` is the
    peer's own, so it may name a patient.
    """

    field: int
    responded_to: int
    status: int
    has_data_set: bool
    comment: str = ""
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None


def parse_command(encoded: bytes) -> Command:
    """Read the command set of a request.

    Raises
    ------
    CommandFault
        When an element runs past the end, is not of group 0000, has the wrong length, or a
        mandatory one is missing.
    """
    elements = _elements(encoded)
    field = _number(elements, _COMMAND_FIELD)
    is_action = field == N_ACTION_RQ
    sop_class = _REQUESTED_SOP_CLASS_UID if is_action else _AFFECTED_SOP_CLASS_UID
    sop_instance = _REQUESTED_SOP_INSTANCE_UID if is_action else _AFFECTED_SOP_INSTANCE_UID
    return Command(
        field=field,
        message_id=_number(elements, _MESSAGE_ID),
        sop_class_uid=_uid(elements, sop_class),
        sop_instance_uid=_uid(elements, sop_instance),
        has_data_set=_number(elements, _DATA_SET_TYPE) != NO_DATA_SET,
        event_type=_count(elements, _EVENT_TYPE_ID),
        action_type=_count(elements, _ACTION_TYPE_ID) if is_action else None,
    )


def command_field(encoded: bytes) -> int:
    """Return what kind of command a command set is; raises as :func:`parse_command`."""
    return _number(_elements(_group(encoded)), _COMMAND_FIELD)


def parse_response(encoded: bytes) -> Response:
    """Read the command set of a response; raises as :func:`parse_command`.

    DCMTK appends elements of other groups where an archive hands them to it as details of a status
    (Orthanc does, with the failed objects of a C-GET). They lie behind the length of group 0000.
    """
    elements = _elements(_group(encoded))
    return Response(
        field=_number(elements, _COMMAND_FIELD),
        responded_to=_number(elements, _MESSAGE_ID_RESPONDED_TO),
        status=_number(elements, _STATUS),
        has_data_set=_number(elements, _DATA_SET_TYPE) != NO_DATA_SET,
        comment=elements.get(_ERROR_COMMENT, b"").decode("latin-1").strip("\0 "),
        remaining=_count(elements, _REMAINING),
        completed=_count(elements, _COMPLETED),
        failed=_count(elements, _FAILED),
        warning=_count(elements, _WARNING),
    )


def _group(encoded: bytes) -> bytes:
    """Return the elements of group 0000, as far as it says that it reaches."""
    if len(encoded) < 12 or encoded[:8] != struct.pack("<HHL", 0, _GROUP_LENGTH, 4):
        return encoded
    return encoded[: 12 + int.from_bytes(encoded[8:12], "little")]


def _elements(encoded: bytes) -> dict[int, bytes]:
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
    return elements


def encode_query(
    field: int, *, message_id: int, sop_class_uid: str, move_destination: str = ""
) -> bytes:
    """Write the request of a C-FIND, C-GET or C-MOVE; its identifier follows as data set."""
    elements = [
        (_AFFECTED_SOP_CLASS_UID, _padded(sop_class_uid)),
        (_COMMAND_FIELD, struct.pack("<H", field)),
        (_MESSAGE_ID, struct.pack("<H", message_id)),
        (_PRIORITY, struct.pack("<H", _MEDIUM)),
        (_DATA_SET_TYPE, struct.pack("<H", _DATA_SET_FOLLOWS)),
    ]
    if field == C_MOVE_RQ:
        title = move_destination.encode("ascii")
        elements.insert(3, (_MOVE_DESTINATION, title + b" " * (len(title) % 2)))
    return _encode(elements)


def encode_cancel(message_id: int) -> bytes:
    """Write the request to cancel the operation of this number (PS3.7 section 9.3.2.3)."""
    return _encode(
        [
            (_COMMAND_FIELD, struct.pack("<H", C_CANCEL_RQ)),
            (_MESSAGE_ID_RESPONDED_TO, struct.pack("<H", message_id)),
            (_DATA_SET_TYPE, struct.pack("<H", NO_DATA_SET)),
        ]
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
    if request.field in (C_STORE_RQ, N_EVENT_REPORT_RQ, N_ACTION_RQ):
        elements.append((_AFFECTED_SOP_INSTANCE_UID, _padded(request.sop_instance_uid)))
    if request.event_type is not None:
        elements.append((_EVENT_TYPE_ID, struct.pack("<H", request.event_type)))
    if request.action_type is not None:
        elements.append((_ACTION_TYPE_ID, struct.pack("<H", request.action_type)))
    return _encode(elements)


def _encode(elements: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(
        struct.pack("<HHL", 0, element, len(value)) + value for element, value in elements
    )
    return struct.pack("<HHLL", 0, _GROUP_LENGTH, 4, len(body)) + body


def _number(elements: dict[int, bytes], element: int) -> int:
    value = elements.get(element)
    if value is None or len(value) != 2:
        raise CommandFault(f"element (0000,{element:04X}) is no unsigned short")
    return int.from_bytes(value, "little")


def _count(elements: dict[int, bytes], element: int) -> int | None:
    return _number(elements, element) if elements.get(element) else None


def _uid(elements: dict[int, bytes], element: int) -> str:
    # Latin-1 keeps every byte, so that the answer repeats what was asked.
    return elements.get(element, b"").decode("latin-1").rstrip("\0 ")


def _padded(uid: str) -> bytes:
    encoded = uid.encode("latin-1")
    return encoded + b"\0" * (len(encoded) % 2)
