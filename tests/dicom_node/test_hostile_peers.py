"""Whatever comes down the port, nothing half is kept and the next association works."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers import echoscu, eventually

from dicom_node.status import Status
from dicom_node.wire import MAX_PDU_BYTES


def serves_the_next(hospital: Any, call: Callable[..., Any]) -> bool:
    """Tell whether nothing is left of what came before, and an object still gets through."""
    eventually(hospital.is_clean, what="files and threads to be gone")
    caller = call(hospital.port)
    caller.associate()
    assert caller.store(b"next") == Status.SUCCESS
    caller.release()
    eventually(hospital.is_clean)
    return True


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: hospital\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        bytes(1000),
        b"\xff" * 1000,
        b"",
    ],
    ids=["http", "tls", "ssh", "zeros", "ones", "nothing"],
)
def test_another_protocol_on_the_port_is_ended(
    hospital: Any, call: Callable[..., Any], noise: bytes
) -> None:
    caller = call(hospital.port)
    caller.socket.sendall(noise)
    # The connection ends, by A-ABORT or by closing, without our doing.
    assert caller.read_pdu()[0] in (0, 7)
    assert serves_the_next(hospital, call)
    assert [record.calling_title for record in hospital.ends()] == ["RAWCALLER"]


@given(noise=st.binary(min_size=1, max_size=300))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_before_an_association_do_no_harm(
    hospital: Any, call: Callable[..., Any], noise: bytes
) -> None:
    caller = call(hospital.port)
    caller.socket.sendall(noise)
    caller.reset()
    eventually(hospital.is_clean)


@given(position=st.integers(0, 200), byte=st.integers(0, 255), cut=st.integers(0, 50))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_association_request_does_no_harm(
    hospital: Any, call: Callable[..., Any], position: int, byte: int, cut: int
) -> None:
    caller = call(hospital.port)
    request = bytearray(caller.association_request())
    request[position % len(request)] = byte
    caller.send_pdu(1, bytes(request[: len(request) - cut]))
    caller.read_pdu()
    caller.reset()
    eventually(hospital.is_clean)


@given(kind=st.integers(0, 8), body=st.binary(max_size=60))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_pdu_within_an_association_does_no_harm(
    hospital: Any, call: Callable[..., Any], kind: int, body: bytes
) -> None:
    caller = call(hospital.port)
    caller.associate()
    caller.send_pdu(kind, body)
    caller.reset()
    eventually(hospital.is_clean)


@given(header=st.integers(0, 3), value=st.binary(max_size=60), context_id=st.integers(0, 9))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_presentation_data_value_does_no_harm(
    hospital: Any, call: Callable[..., Any], header: int, value: bytes, context_id: int
) -> None:
    caller = call(hospital.port)
    caller.associate()
    caller.send_value(0x03, caller.store_command())
    caller.send_value(header, value, context_id)
    caller.reset()
    eventually(hospital.is_clean)


def test_after_all_kinds_of_noise_a_real_client_is_served(hospital: Any) -> None:
    assert echoscu(port=hospital.port).returncode == 0


def half_an_object(caller: Any) -> None:
    caller.associate()
    caller.send_value(0x03, caller.store_command())
    caller.send_value(0x00, bytes(100_000))
    caller.send_value(0x00, bytes(100_000))


def test_an_abort_in_the_middle_leaves_nothing(hospital: Any, call: Callable[..., Any]) -> None:
    caller = call(hospital.port)
    half_an_object(caller)
    eventually(lambda: list(hospital.incoming.iterdir()), what="the object to begin")
    caller.send_pdu(7, bytes(4))
    assert hospital.await_end().outcome == "aborted"
    assert serves_the_next(hospital, call)
    assert len(hospital.instances) == 1


def test_a_connection_that_breaks_in_the_middle_leaves_nothing(
    hospital: Any, call: Callable[..., Any]
) -> None:
    caller = call(hospital.port)
    half_an_object(caller)
    eventually(lambda: list(hospital.incoming.iterdir()), what="the object to begin")
    caller.reset()
    record = hospital.await_end()
    assert (record.outcome, record.instances_count) == ("aborted", 0)
    assert serves_the_next(hospital, call)


def test_a_release_in_the_middle_leaves_nothing(hospital: Any, call: Callable[..., Any]) -> None:
    caller = call(hospital.port)
    half_an_object(caller)
    caller.release()
    hospital.await_end()
    assert serves_the_next(hospital, call)


@pytest.mark.parametrize("silence", ["connection", "association", "object", "pdu", "header"])
def test_a_sender_that_stops_talking_is_ended_in_time(
    open_hospital: Callable[..., Any], call: Callable[..., Any], silence: str
) -> None:
    hospital = open_hospital(association_timeout_s=0.5, idle_timeout_s=0.5)
    caller = call(hospital.port)
    if silence == "association":
        caller.associate()
    elif silence == "object":
        half_an_object(caller)
    elif silence == "pdu":
        half_an_object(caller)
        caller.socket.sendall(struct.pack(">BBL", 4, 0, 5000) + bytes(100))
    elif silence == "header":
        caller.associate()
        caller.socket.sendall(b"\x04\x00\x00")
    caller.socket.settimeout(8)
    assert caller.read_pdu()[0] in (0, 7)
    assert serves_the_next(hospital, call)


def test_a_sender_that_drips_is_ended_in_time(
    open_hospital: Callable[..., Any], call: Callable[..., Any]
) -> None:
    hospital = open_hospital(idle_timeout_s=0.5)
    caller = call(hospital.port)
    caller.associate()
    caller.socket.sendall(struct.pack(">BBL", 4, 0, 5000))
    done = threading.Event()

    def drip() -> None:
        try:
            while not done.wait(0.1):
                caller.socket.sendall(b"\0")
        except OSError:
            pass

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert hospital.await_end().outcome == "aborted"
    finally:
        done.set()
        thread.join()
    assert serves_the_next(hospital, call)


def test_a_pdu_that_claims_gigabytes_is_not_believed(
    hospital: Any, call: Callable[..., Any]
) -> None:
    caller = call(hospital.port)
    caller.associate()
    caller.socket.sendall(struct.pack(">BBL", 4, 0, MAX_PDU_BYTES + 1) + bytes(1000))
    assert hospital.await_end().outcome == "aborted"
    assert serves_the_next(hospital, call)


def test_a_request_before_the_last_one_is_answered_ends_the_association(
    hospital: Any, call: Callable[..., Any]
) -> None:
    busy = threading.Event()
    hospital.on_instance = lambda _: Status.SUCCESS if busy.wait(10) else Status.OUT_OF_RESOURCES
    caller = call(hospital.port)
    caller.associate()
    for _ in range(3):
        caller.send_value(0x03, caller.store_command())
        caller.send_value(0x02, b"pipelined")
    eventually(lambda: list(hospital.incoming.iterdir()), what="the object to begin")
    busy.set()
    assert caller.read_pdu()[0] == 7, "A-ABORT"
    hospital.await_end()
    eventually(hospital.is_clean)
    # What was taken over before the connection broke stays taken over; the others opened no file.
    assert hospital.ends()[-1].instances_count == len(hospital.instances) == 1
    assert serves_the_next(hospital, call)


def test_connections_beyond_any_need_are_closed_at_once(
    open_hospital: Callable[..., Any],
    call: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hospital = open_hospital(max_associations=1, association_timeout_s=5.0)
    with caplog.at_level(logging.WARNING, "dicom_node"):
        callers = [call(hospital.port) for _ in range(14)]
        eventually(lambda: "are open" in caplog.text)
    for caller in callers:
        caller.reset()
    assert serves_the_next(hospital, call)
