"""Storage commitment with real archives: asked, refused, answered on an association of theirs."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from archives import Orthanc, StoreSCP
from dcmtk import storescu
from pictures import save_picture
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_role, evt
from pynetdicom.presentation import build_context

from dicom_node import commitment
from dicom_node.commitment import CommitmentResult, Reference
from dicom_node.contexts import STORAGE_COMMITMENT
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import AnswerNotUnderstood, CommitmentRefused, NoAcceptedContext
from dicom_node.scp import Caller, Limits, ReceivedInstance, StorageSCP
from dicom_node.status import Status

WELL_KNOWN = "1.2.840.10008.1.20.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture
def heard() -> Any:
    return queue.Queue()


@pytest.fixture
def listener(tmp_path: Path, heard: Any) -> Iterator[StorageSCP]:
    """Run a Storage SCP that hears of commitments, and stores what it is sent."""

    def keep(instance: ReceivedInstance) -> int:
        instance.path.rename(tmp_path / "kept.dcm")
        return Status.SUCCESS

    def take(caller: Caller, result: CommitmentResult) -> int:
        heard.put((caller, result))
        return Status.SUCCESS

    with StorageSCP(
        "ECGGATEWAY",
        "127.0.0.1",
        0,
        admit=lambda _: None,
        on_instance=keep,
        on_commitment_result=take,
        incoming_folder=tmp_path / "incoming",
        limits=Limits(association_timeout_s=5.0, idle_timeout_s=60.0),
    ) as scp:
        yield scp


@contextmanager
def archive_calls(listener: StorageSCP, *, is_scp: bool = True) -> Iterator[Any]:
    """Open an association as an archive does that reports."""
    ae = AE("PACS")
    role = build_role(STORAGE_COMMITMENT, scp_role=is_scp, scu_role=not is_scp)
    contexts = [build_context(STORAGE_COMMITMENT), build_context(SECONDARY_CAPTURE)]
    association = ae.associate(
        "127.0.0.1", listener.port, contexts=contexts, ae_title="ECGGATEWAY", ext_neg=[role]
    )
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


def information(transaction_uid: str, *kept: str) -> Dataset:
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = []
    for uid in kept:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SECONDARY_CAPTURE, uid
        ds.ReferencedSOPSequence.append(item)
    return ds


def test_an_archive_answers_on_an_association_of_its_own_for_what_it_has_and_has_not(
    listener: StorageSCP, heard: Any, orthanc: Orthanc, tmp_path: Path
) -> None:
    orthanc.introduce("ECGGATEWAY", "127.0.0.1", listener.port)
    ds = save_picture(tmp_path / "ecg.dcm")
    title, host, port = orthanc.entity_args
    assert storescu(tmp_path / "ecg.dcm", port=port, called=title).returncode == 0
    there = Reference(str(ds.SOPClassUID), str(ds.SOPInstanceUID))
    missing = Reference(SECONDARY_CAPTURE, "2.25.404")
    uid = commitment.new_transaction_uid()
    at_once = commitment.request(
        ApplicationEntity(title, host, port),
        [there, missing],
        transaction_uid=uid,
        calling_title="ECGGATEWAY",
    )
    assert at_once is None
    caller, result = heard.get(timeout=20)
    assert caller.title == title
    assert result.transaction_uid == uid
    assert result.committed == (there,)
    assert [(one.reference, one.reason) for one in result.failed] == [(missing, 0x0112)]


def test_an_archive_without_storage_commitment_says_so(store_scp: StoreSCP) -> None:
    with pytest.raises(NoAcceptedContext):
        commitment.request(
            ApplicationEntity(*store_scp.entity_args),
            [Reference(SECONDARY_CAPTURE, "1.2.3")],
            transaction_uid="2.25.1",
            calling_title="ECGGATEWAY",
        )


@contextmanager
def scripted(status: int, answer: Dataset | None = None) -> Iterator[ApplicationEntity]:
    """Run an archive that answers an N-ACTION so, and reports on the same association."""
    ae = AE("SCRIPTED")
    ae.add_supported_context(STORAGE_COMMITMENT)

    def act(event: Any) -> tuple[int, None]:
        if answer is not None:
            answer.TransactionUID = event.action_information.TransactionUID

            def report(sent: Any) -> None:
                if type(sent.pdu).__name__ == "P_DATA_TF":
                    event.assoc.unbind(evt.EVT_PDU_SENT, report)
                    event.assoc.dimse.send_msg(_report(answer), event.context.context_id)

            event.assoc.bind(evt.EVT_PDU_SENT, report)
        return status, None

    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, act)])
    try:
        yield ApplicationEntity("SCRIPTED", "127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()


def _report(answer: Dataset) -> Any:
    from io import BytesIO

    from pynetdicom.dimse_primitives import N_EVENT_REPORT
    from pynetdicom.dsutils import encode

    primitive = N_EVENT_REPORT()
    primitive.MessageID = 7
    primitive.AffectedSOPClassUID = STORAGE_COMMITMENT
    primitive.AffectedSOPInstanceUID = WELL_KNOWN
    primitive.EventTypeID = 1
    primitive.EventInformation = BytesIO(encode(answer, True, True) or b"")
    return primitive


def test_an_answer_that_comes_on_the_association_of_the_request_is_returned() -> None:
    with scripted(0x0000, information("", "1.2.3")) as peer:
        result = commitment.request(
            peer,
            [Reference(SECONDARY_CAPTURE, "1.2.3")],
            transaction_uid="2.25.5",
            calling_title="ECGGATEWAY",
            wait_s=10,
        )
    assert result == CommitmentResult("2.25.5", (Reference(SECONDARY_CAPTURE, "1.2.3"),), ())


@pytest.mark.parametrize(("status", "can_help"), [(0x0110, True), (0x0213, True), (0x0122, False)])
def test_a_request_that_is_refused_says_whether_asking_again_can_help(
    status: int, can_help: bool
) -> None:
    with scripted(status) as peer, pytest.raises(CommitmentRefused) as caught:
        commitment.request(
            peer,
            [Reference(SECONDARY_CAPTURE, "1.2.3")],
            transaction_uid="2.25.5",
            calling_title="ECGGATEWAY",
        )
    assert (caught.value.status, caught.value.retryable) == (status, can_help)


def test_what_is_no_result_is_answered_and_the_association_goes_on(
    listener: StorageSCP, heard: Any
) -> None:
    with archive_calls(listener) as association:

        def report(ds: Dataset, kind: int) -> int:
            answer, _ = association.send_n_event_report(ds, kind, STORAGE_COMMITMENT, WELL_KNOWN)
            return int(answer.Status)

        assert report(information("", "1.2.3"), 1) == Status.INVALID_ARGUMENT_VALUE
        assert report(information("2.25.9"), 1) == Status.INVALID_ARGUMENT_VALUE
        assert report(information("2.25.9", "1.2.3"), 3) == Status.NO_SUCH_EVENT_TYPE
        assert heard.empty()
        assert report(information("2.25.9", "1.2.3"), 1) == Status.SUCCESS
    caller, result = heard.get_nowait()
    assert (caller.title, result.transaction_uid) == ("PACS", "2.25.9")


def test_a_result_that_could_not_be_taken_is_answered_as_a_failure(tmp_path: Path) -> None:
    def fail(_caller: Caller, _result: CommitmentResult) -> int:
        raise RuntimeError("the database is away")

    with (
        StorageSCP(
            "ECGGATEWAY",
            "127.0.0.1",
            0,
            admit=lambda _: None,
            on_instance=lambda _: Status.SUCCESS,
            on_commitment_result=fail,
            incoming_folder=tmp_path,
        ) as scp,
        archive_calls(scp) as association,
    ):
        answer, _ = association.send_n_event_report(
            information("2.25.9", "1.2.3"), 1, STORAGE_COMMITMENT, WELL_KNOWN
        )
        assert answer.Status == Status.PROCESSING_FAILURE


def test_a_request_to_us_is_answered_as_no_operation_of_ours(listener: StorageSCP) -> None:
    with archive_calls(listener, is_scp=False) as association:
        answer, _ = association.send_n_action(
            information("2.25.9", "1.2.3"), 1, STORAGE_COMMITMENT, WELL_KNOWN
        )
        assert answer.Status == 0x0211
        assert association.is_established


def test_no_object_is_stored_on_a_context_that_is_none_of_storage(
    listener: StorageSCP, tmp_path: Path
) -> None:
    ds = save_picture(tmp_path / "ecg.dcm")
    with archive_calls(listener) as association:
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID(STORAGE_COMMITMENT)
        context = next(
            one
            for one in association.accepted_contexts
            if one.abstract_syntax == STORAGE_COMMITMENT
        )
        context._as_scu = True  # as a peer that does not keep to its own role
        answer = association.send_c_store(ds)
        assert answer.Status == Status.SOP_CLASS_NOT_SUPPORTED
    assert not (tmp_path / "kept.dcm").exists()


@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 50, b"\x08\x00\x95\x11\xff\xff\xff\x7f"])
def test_bytes_that_are_no_result_are_a_named_error(content: bytes) -> None:
    for syntax in commitment.SYNTAXES:
        with pytest.raises(AnswerNotUnderstood):
            commitment.parse_result(content, transfer_syntax_uid=syntax)
