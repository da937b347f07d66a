"""Command sets are read without surprises and answered with what they said."""

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filereader import read_dataset

from dicom_node.command import (
    C_ECHO_RQ,
    C_GET_RSP,
    C_MOVE_RQ,
    C_STORE_RQ,
    Command,
    CommandFault,
    encode_query,
    encode_response,
    parse_command,
    parse_response,
)


def encode(elements: dict[int, bytes]) -> bytes:
    return b"".join(
        struct.pack("<HHL", 0, element, len(value)) + value for element, value in elements.items()
    )


STORE = {
    0x0002: b"1.2.840.10008.5.1.4.1.1.7\0",
    0x0100: struct.pack("<H", C_STORE_RQ),
    0x0110: struct.pack("<H", 7),
    0x0700: struct.pack("<H", 0),
    0x0800: struct.pack("<H", 1),
    0x1000: b"1.2..3.",
}


def test_a_request_is_read_with_its_uids_as_sent() -> None:
    command = parse_command(encode(STORE))
    assert command == Command(
        field=C_STORE_RQ,
        message_id=7,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        sop_instance_uid="1.2..3.",
        has_data_set=True,
    )


@pytest.mark.parametrize("missing", [0x0100, 0x0110, 0x0800])
def test_a_request_without_a_mandatory_element_is_a_fault(missing: int) -> None:
    with pytest.raises(CommandFault, match=f"{missing:04X}"):
        parse_command(encode({key: value for key, value in STORE.items() if key != missing}))


def test_an_element_of_another_group_is_a_fault() -> None:
    with pytest.raises(CommandFault, match="0008"):
        parse_command(encode(STORE) + struct.pack("<HHL", 8, 0x16, 0))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_or_a_fault(encoded: bytes) -> None:
    try:
        command = parse_command(encoded)
    except CommandFault:
        return
    assert 0 <= command.message_id <= 0xFFFF


# Short of the last mandatory element, which the SOP Instance UID follows.
@given(st.integers(0, len(encode(STORE)) - 8 - len(STORE[0x1000]) - 1))
def test_a_request_that_is_cut_off_is_a_fault(length: int) -> None:
    with pytest.raises(CommandFault):
        parse_command(encode(STORE)[:length])


@given(
    st.sampled_from([C_STORE_RQ, C_ECHO_RQ]),
    st.integers(0, 0xFFFF),
    st.text(st.characters(max_codepoint=0xFF, exclude_characters="\0 "), max_size=70),
    st.integers(0, 0xFFFF),
)
def test_an_independent_reader_finds_in_the_response_what_was_asked(
    field: int, message_id: int, uid: str, status: int
) -> None:
    request = Command(field, message_id, "1.2.840.10008.1.1", uid, has_data_set=True)
    encoded = encode_response(request, status)
    ds = read_dataset(BytesIO(encoded), is_implicit_VR=True, is_little_endian=True)
    assert ds.CommandGroupLength == len(encoded) - 12
    assert ds.CommandField == field | 0x8000
    assert ds.MessageIDBeingRespondedTo == message_id
    assert ds.CommandDataSetType == 0x0101
    assert ds.Status == status
    if field == C_STORE_RQ:
        sent = ds.get_item(0x00001000).value or b""
        assert sent.decode("latin-1").rstrip("\0") == uid


GET_RESPONSE = {
    0x0100: struct.pack("<H", C_GET_RSP),
    0x0120: struct.pack("<H", 1),
    0x0800: struct.pack("<H", 0x0101),
    0x0900: struct.pack("<H", 0xB000),
    0x0902: b"some failed ",
    0x1021: struct.pack("<H", 3),
    0x1022: struct.pack("<H", 1),
}


def test_a_response_is_read_and_what_lies_behind_its_group_is_left_alone() -> None:
    body = encode(GET_RESPONSE)
    grouped = struct.pack("<HHLL", 0, 0, 4, len(body)) + body
    for encoded in (body, grouped, grouped + struct.pack("<HHL", 8, 0x58, 2) + b"1\0"):
        response = parse_response(encoded)
        assert (response.status, response.completed, response.failed) == (0xB000, 3, 1)
        assert (response.remaining, response.comment) == (None, "some failed")
        assert not response.has_data_set


@given(st.binary(max_size=200))
def test_any_bytes_are_a_response_or_a_fault(encoded: bytes) -> None:
    try:
        response = parse_response(encoded)
    except CommandFault:
        return
    assert 0 <= response.status <= 0xFFFF


def test_an_independent_reader_finds_in_a_query_what_it_asks() -> None:
    encoded = encode_query(
        C_MOVE_RQ, message_id=5, sop_class_uid="1.2.3", move_destination="ECGGATEWAY"
    )
    ds = read_dataset(BytesIO(encoded), is_implicit_VR=True, is_little_endian=True)
    assert (ds.CommandField, ds.MessageID, ds.MoveDestination) == (C_MOVE_RQ, 5, "ECGGATEWAY")
    assert (ds.AffectedSOPClassUID, ds.CommandDataSetType) == ("1.2.3", 1)
    assert [element.tag for element in ds] == sorted(element.tag for element in ds)
