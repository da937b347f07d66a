"""Storage commitment that senders ask of us: a real Orthanc, and a client for the odd requests."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from archives import Orthanc, StoreSCP
from hypothesis import example, given
from hypothesis import strategies as st
from peers import eventually, free_port
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pynetdicom import AE, evt

from dicom_node import custody
from dicom_node.command import N_ACTION_RQ, Command, encode_response
from dicom_node.commitment import (
    MAX_RESULT_BYTES,
    SYNTAXES,
    CommitmentResult,
    FailedReference,
    Reference,
    parse_result,
)
from dicom_node.contexts import EXPLICIT_LE, IMPLICIT_LE, STORAGE_COMMITMENT
from dicom_node.custody import MAX_REFERENCES, CommitmentRequest, parse_request, send_result
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import (
    NoAcceptedContext,
    PeerUnreachable,
    RejectedForGood,
    RequestNotTaken,
    ResultNotTaken,
    ResultRefused,
)
from dicom_node.scp import Caller, StorageSCP
from dicom_node.status import Status

WELL_KNOWN = "1.2.840.10008.1.20.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ASKED = Command(
    field=N_ACTION_RQ,
    message_id=1,
    sop_class_uid=STORAGE_COMMITMENT,
    sop_instance_uid=WELL_KNOWN,
    has_data_set=True,
    action_type=1,
)


def encoded(ds: Dataset, syntax: str = IMPLICIT_LE) -> bytes:
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, syntax == IMPLICIT_LE
    write_dataset(file, ds)
    return file.getvalue()


def information(transaction_uid: str | None = "2.25.9", *uids: str) -> Dataset:
    ds = Dataset()
    if transaction_uid is not None:
        ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = [refer(uid) for uid in uids]
    return ds


def refer(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SECONDARY_CAPTURE, uid
    return item


# --- what a sender asks -----------------------------------------------------------------------


Answer = Callable[[Caller, CommitmentRequest], int]


@pytest.fixture
def heard() -> Any:
    return queue.Queue()


@contextmanager
def listening(folder: Path, answer: Answer) -> Iterator[StorageSCP]:
    with StorageSCP(
        "ECGGATEWAY",
        "127.0.0.1",
        0,
        admit=lambda _: None,
        on_instance=lambda _: Status.SUCCESS,
        on_commitment_request=answer,
        incoming_folder=folder,
    ) as scp:
        yield scp


@pytest.fixture
def listener(tmp_path: Path, heard: Any) -> Iterator[StorageSCP]:
    """Run a Storage SCP that takes every request for commitment."""

    def take(caller: Caller, asked: CommitmentRequest) -> int:
        heard.put((caller, asked))
        return Status.SUCCESS

    with listening(tmp_path, take) as scp:
        yield scp


@contextmanager
def sender(listener: StorageSCP) -> Iterator[Any]:
    ae = AE("CART")
    ae.add_requested_context(STORAGE_COMMITMENT)
    association = ae.associate("127.0.0.1", listener.port, ae_title="ECGGATEWAY")
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


def test_a_request_is_handed_over_before_it_is_answered(listener: StorageSCP, heard: Any) -> None:
    with sender(listener) as association:
        answer, _ = association.send_n_action(
            information("2.25.9", "1.2.3", "1.2.4", "1.2.3"), 1, STORAGE_COMMITMENT, WELL_KNOWN
        )
        caller, asked = heard.get_nowait()
    assert answer.Status == Status.SUCCESS
    assert caller == Caller("CART", "127.0.0.1", "ECGGATEWAY")
    assert asked == CommitmentRequest(
        "2.25.9", (Reference(SECONDARY_CAPTURE, "1.2.3"), Reference(SECONDARY_CAPTURE, "1.2.4"))
    )


def test_the_response_repeats_what_was_asked() -> None:
    response = encode_response(ASKED, Status.SUCCESS)
    ds = read_dataset(BytesIO(response), is_implicit_VR=True, is_little_endian=True)
    assert (ds.CommandField, ds.Status, ds.ActionTypeID) == (0x8130, 0x0000, 1)
    assert (ds.AffectedSOPClassUID, ds.AffectedSOPInstanceUID) == (STORAGE_COMMITMENT, WELL_KNOWN)


def test_what_is_no_request_is_answered_by_its_fault_and_the_association_goes_on(
    listener: StorageSCP, heard: Any
) -> None:
    many = information("2.25.9", *(f"1.2.{number}" for number in range(MAX_REFERENCES + 1)))
    with sender(listener) as association:

        def ask(ds: Dataset | None, action: int = 1, instance: str = WELL_KNOWN) -> int:
            answer, _ = association.send_n_action(ds, action, STORAGE_COMMITMENT, instance)
            return int(answer.Status)

        good = information("2.25.9", "1.2.3")
        assert ask(good, instance="1.2.840.10008.1.20.1.2") == Status.NO_SUCH_OBJECT_INSTANCE
        assert ask(good, action=2) == Status.NO_SUCH_ACTION
        assert ask(None) == Status.INVALID_ARGUMENT_VALUE
        assert ask(information(None, "1.2.3")) == Status.INVALID_ARGUMENT_VALUE
        assert ask(information("", "1.2.3")) == Status.INVALID_ARGUMENT_VALUE
        assert ask(information("2.25.9")) == Status.INVALID_ARGUMENT_VALUE
        assert ask(many) == Status.RESOURCE_LIMITATION
        assert heard.empty()
        assert ask(good) == Status.SUCCESS
    assert heard.get_nowait()[1].transaction_uid == "2.25.9"


def test_a_request_on_the_context_of_another_class_is_none(listener: StorageSCP) -> None:
    ae = AE("CART")
    ae.add_requested_context(SECONDARY_CAPTURE)
    association = ae.associate("127.0.0.1", listener.port, ae_title="ECGGATEWAY")
    association.accepted_contexts[0].abstract_syntax = STORAGE_COMMITMENT  # so it believes
    answer, _ = association.send_n_action(
        information("2.25.9", "1.2.3"), 1, STORAGE_COMMITMENT, WELL_KNOWN
    )
    association.release()
    assert answer.Status == Status.UNRECOGNISED_OPERATION


def test_a_request_that_could_not_be_kept_is_answered_as_a_failure(tmp_path: Path) -> None:
    def fail(_caller: Caller, _asked: CommitmentRequest) -> int:
        raise RuntimeError("the database is away")

    with listening(tmp_path, fail) as scp, sender(scp) as association:
        answer, _ = association.send_n_action(
            information("2.25.9", "1.2.3"), 1, STORAGE_COMMITMENT, WELL_KNOWN
        )
    assert answer.Status == Status.PROCESSING_FAILURE


def test_a_data_set_that_is_too_long_is_answered_and_not_kept(
    listener: StorageSCP, heard: Any
) -> None:
    ds = information("2.25.9", "1.2.3")
    ds.add_new(0x00091001, "OB", bytes(2 * MAX_RESULT_BYTES))
    with sender(listener) as association:
        answer, _ = association.send_n_action(ds, 1, STORAGE_COMMITMENT, WELL_KNOWN)
        assert answer.Status == Status.RESOURCE_LIMITATION
        assert association.is_established
    assert heard.empty()


# --- its data set -----------------------------------------------------------------------------

UIDS = st.from_regex(r"[0-9.]{0,31}[0-9][0-9.]{0,32}", fullmatch=True)


@given(UIDS, st.lists(st.tuples(UIDS, UIDS), min_size=1, max_size=9), st.sampled_from(SYNTAXES))
@example("1..2", [("01.2.", ".5")], IMPLICIT_LE)
def test_whatever_was_written_is_read(
    transaction: str, named: list[tuple[str, str]], syntax: str
) -> None:
    references = tuple(dict.fromkeys(Reference(*one) for one in named))
    ds = custody._event_information(CommitmentResult(transaction, references, ()))
    asked = parse_request(ASKED, encoded(ds, syntax), transfer_syntax_uid=syntax)
    assert asked == CommitmentRequest(transaction, references)


GOOD = encoded(information("2.25.9", "1.2.3"))


@given(
    st.one_of(
        st.binary(max_size=200),
        st.tuples(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8)).map(
            lambda cut: GOOD[: cut[0]] + cut[1] + GOOD[cut[0] + len(cut[1]) :]
        ),
        st.integers(0, len(GOOD)).map(lambda end: GOOD[:end]),
    ),
    st.sampled_from(SYNTAXES),
)
def test_any_bytes_are_a_request_or_a_named_error(content: bytes, syntax: str) -> None:
    status: int = Status.SUCCESS
    try:
        asked = parse_request(ASKED, content, transfer_syntax_uid=syntax)
        assert asked.transaction_uid
        assert asked.references
    except RequestNotTaken as fault:
        status = fault.status
    assert status in (Status.SUCCESS, Status.INVALID_ARGUMENT_VALUE)


@pytest.mark.parametrize("uid", ["", "1.2.a", "...", "1.2 .3", "1" * 65])
def test_what_is_no_uid_names_no_object(uid: str) -> None:
    for one in (Reference(SECONDARY_CAPTURE, uid), Reference(uid, "1.2.3")):
        ds = custody._event_information(CommitmentResult("2.25.9", (one,), ()))
        with pytest.raises(RequestNotTaken):
            parse_request(ASKED, encoded(ds), transfer_syntax_uid=IMPLICIT_LE)


def test_the_most_objects_fit_into_a_request_and_into_its_result() -> None:
    longest = [Reference("1" * 64, f"1.{number + 10**61}") for number in range(MAX_REFERENCES)]
    failed = tuple(FailedReference(one, 0x0112) for one in longest)
    for result in (
        CommitmentResult("1" * 64, tuple(longest), ()),
        CommitmentResult("1" * 64, (), failed),
    ):
        content = encoded(custody._event_information(result), EXPLICIT_LE)
        assert len(content) <= MAX_RESULT_BYTES
        assert parse_result(content, transfer_syntax_uid=EXPLICIT_LE) == result


# --- what we report ---------------------------------------------------------------------------

KEPT = Reference(SECONDARY_CAPTURE, "1.2.3")
LOST = FailedReference(Reference(SECONDARY_CAPTURE, "1.2.4"), 0x0112)


@contextmanager
def told(status: int, heard: Any, *, takes_role: bool = True) -> Iterator[ApplicationEntity]:
    """Run a sender that hears of results, and answers each so."""
    ae = AE("CART")
    roles = {"scu_role": True, "scp_role": True} if takes_role else {}
    ae.add_supported_context(STORAGE_COMMITMENT, list(SYNTAXES), **roles)

    def report(event: Any) -> tuple[int, None]:
        content = event.request.EventInformation.getvalue()
        syntax = str(event.context.transfer_syntax)
        heard.put((event.event_type, parse_result(content, transfer_syntax_uid=syntax)))
        return status, None

    handlers = [(evt.EVT_N_EVENT_REPORT, report)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield ApplicationEntity("CART", "127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    ("result", "event_type"),
    [
        (CommitmentResult("2.25.9", (KEPT,), ()), 1),
        (CommitmentResult("2.25.9", (KEPT,), (LOST,)), 2),
        (CommitmentResult("2.25.9", (), (LOST,)), 2),
    ],
)
def test_a_result_arrives_under_its_event_type(
    result: CommitmentResult, event_type: int, heard: Any
) -> None:
    with told(0x0000, heard) as cart:
        send_result(cart, result, calling_title="ECGGATEWAY")
    assert heard.get_nowait() == (event_type, result)


@pytest.mark.parametrize(
    ("status", "kind", "can_help"),
    [
        (0x0110, ResultNotTaken, True),
        (0x0213, ResultNotTaken, True),
        (0x0112, ResultRefused, False),
        (0x0115, ResultRefused, False),
    ],
)
def test_a_result_that_is_not_taken_says_whether_again_can_help(
    status: int, kind: type[ResultRefused], can_help: bool, heard: Any
) -> None:
    with told(status, heard) as cart, pytest.raises(kind) as caught:
        send_result(cart, CommitmentResult("2.25.9", (KEPT,), ()), calling_title="ECGGATEWAY")
    assert (caught.value.status, caught.value.retryable) == (status, can_help)


def test_who_does_not_let_us_be_the_scp_is_not_reported_to(heard: Any) -> None:
    result = CommitmentResult("2.25.9", (KEPT,), ())
    with (
        told(0x0000, heard, takes_role=False) as cart,
        pytest.raises(NoAcceptedContext, match="role selection"),
    ):
        send_result(cart, result, calling_title="ECGGATEWAY")
    assert heard.empty()


def test_who_knows_no_commitment_is_not_there_or_does_not_know_us_is_a_typed_error(
    store_scp: StoreSCP, orthanc: Orthanc
) -> None:
    result = CommitmentResult("2.25.9", (KEPT,), ())
    with pytest.raises(NoAcceptedContext):
        send_result(ApplicationEntity(*store_scp.entity_args), result, calling_title="ECGGATEWAY")
    with pytest.raises(PeerUnreachable):
        send_result(
            ApplicationEntity("CART", "127.0.0.1", free_port()), result, calling_title="ECGGATEWAY"
        )
    with pytest.raises(RejectedForGood):
        send_result(
            ApplicationEntity("OTHER", orthanc.host, orthanc.port),
            result,
            calling_title="ECGGATEWAY",
        )


def test_a_result_about_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        send_result(
            ApplicationEntity("CART", "127.0.0.1", 104),
            CommitmentResult("2.25.9", (), ()),
            calling_title="ECGGATEWAY",
        )


def test_orthanc_asks_and_is_told(listener: StorageSCP, heard: Any, orthanc: Orthanc) -> None:
    orthanc.introduce("ECGGATEWAY", "127.0.0.1", listener.port)
    uids = ("1.2.3", "1.2.4")
    body = json.dumps({"DicomInstances": [[SECONDARY_CAPTURE, uid] for uid in uids]}).encode()
    answer = json.loads(
        orthanc.request("/modalities/ECGGATEWAY/storage-commitment", method="POST", body=body)
    )
    caller, asked = heard.get(timeout=20)
    assert caller.title == orthanc.title
    assert answer["ID"] == asked.transaction_uid
    kept, lost = asked.references
    send_result(
        ApplicationEntity(*orthanc.entity_args),
        CommitmentResult(asked.transaction_uid, (kept,), (FailedReference(lost, 0x0119),)),
        calling_title="ECGGATEWAY",
    )
    state = eventually(lambda: reported(orthanc, answer["ID"]), what="Orthanc to take the result")
    assert state["Status"] == "Failure"
    assert [one["SOPInstanceUID"] for one in state["Success"]] == ["1.2.3"]
    ((failure),) = state["Failures"]
    assert (failure["SOPInstanceUID"], failure["FailureReason"]) == ("1.2.4", 0x0119)


def reported(orthanc: Orthanc, transaction_uid: str) -> Any:
    """Return Orthanc's own report of a request, once it is answered."""
    state = json.loads(orthanc.request(f"/storage-commitment/{transaction_uid}"))
    return state if state["Status"] != "Pending" else None
