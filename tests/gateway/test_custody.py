"""Senders ask what we keep before they delete it: a real Orthanc, and carts that a test scripts."""

from __future__ import annotations

import datetime
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from archives import Orthanc
from django.db import connections
from django.utils import timezone
from peers import Program, eventually, free_port, is_listening
from pictures import save_picture
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pytest_django import Settings
from same_database import database_url
from workers import broker, worker

from dicom_node.commitment import SYNTAXES, CommitmentResult, Reference, parse_result
from dicom_node.contexts import STORAGE_COMMITMENT
from dicom_node.custody import CommitmentRequest
from dicom_node.scp import AssociationRecord, Caller, StorageSCP
from dicom_node.status import Status
from gateway import answering, custody, doorbell, holdings, ingest, retention, spool
from gateway.models import CustodyRequest, Instance, Peer
from gateway.states import State

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
WELL_KNOWN = "1.2.840.10008.1.20.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
OTHER_CLASS = "1.2.840.10008.5.1.4.1.1.9.1.1"
CART = Caller("CART", "127.0.0.1", "ECGGATEWAY")


@pytest.fixture(autouse=True)
def _quick(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_BACKOFF_S = 0.0
    settings.ECG_DICOM_TIMEOUT_S = 5.0
    monkeypatch.setattr(custody, "HEAD_START_S", 0.0)


# --- peers and objects -------------------------------------------------------------------------


@contextmanager
def listening() -> Iterator[StorageSCP]:
    """Run the Listener's SCP on a thread."""
    with StorageSCP(
        "ECGGATEWAY",
        "127.0.0.1",
        0,
        admit=functools.partial(ingest.admit, title="ECGGATEWAY"),
        on_instance=ingest.receive,
        on_association=record,
        on_commitment_request=ingest.take_request,
        incoming_folder=spool.incoming(),
    ) as scp:
        yield scp


def record(association: AssociationRecord) -> None:
    """Write an association down; its thread ends with it, and its connections with that."""
    try:
        ingest.record(association)
    finally:
        if association.ended_at is not None:
            connections.close_all()


class Cart:
    """A sender that hears what we keep, and answers as a test says.

    Parameters
    ----------
    statuses
        Of its answers, first to last; then success.
    hangs
        It takes the report and never answers.
    """

    def __init__(self, *statuses: int, title: str = "CART", hangs: bool = False) -> None:
        self.title = title
        self.statuses = list(statuses)
        self.heard: list[CommitmentResult] = []
        self.is_free = threading.Event()
        if not hangs:
            self.is_free.set()

    def __enter__(self) -> Cart:
        ae = AE(self.title)
        ae.add_supported_context(STORAGE_COMMITMENT, list(SYNTAXES), scu_role=True, scp_role=True)
        self._server = ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._told)]
        )
        self.peer = known(self.title, port=self._server.server_address[1])
        return self

    def __exit__(self, *_: object) -> None:
        self.is_free.set()
        self._server.shutdown()

    def _told(self, event: Any) -> tuple[int, None]:
        content = event.request.EventInformation.getvalue()
        syntax = str(event.context.transfer_syntax)
        self.heard.append(parse_result(content, transfer_syntax_uid=syntax))
        self.is_free.wait(30)
        return self.statuses.pop(0) if self.statuses else 0x0000, None


def known(title: str = "CART", host: str = "127.0.0.1", port: int = 104, **values: Any) -> Peer:
    """Return a Peer that may send to us."""
    return Peer.objects.create(title=title, host=host, port=port, **{"is_sender": True, **values})


def send(tmp_path: Path, *, title: str = "CART", uid: str = "", tone: int = 0) -> Instance:
    """Have an object received from a cart, as the Listener receives it."""
    number = uuid.uuid4().hex
    ds = save_picture(tmp_path / f"{number}.dcm")
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(
        uid or f"2.25.{uuid.uuid4().int}"
    )
    ds.ImageComments = str(tone)
    ds.save_as(tmp_path / f"{number}.dcm")
    with listening() as scp:
        ae = AE(title)
        ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
        association = ae.associate("127.0.0.1", scp.port, ae_title="ECGGATEWAY")
        assert association.send_c_store(ds).Status == Status.SUCCESS
        association.release()
    row = Instance.objects.filter(sop_instance_uid=ds.SOPInstanceUID).order_by("pk").last()
    assert row is not None
    return row


def asked_for(uid: str, *, port: int) -> int:
    """Ask for an object over the network, as a cart does; return the status of the answer."""
    ae = AE("CART")
    ae.add_requested_context(STORAGE_COMMITMENT)
    association = ae.associate("127.0.0.1", port, ae_title="ECGGATEWAY")
    ds, item = Dataset(), Dataset()
    ds.TransactionUID = "2.25.77"
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SECONDARY_CAPTURE, uid
    ds.ReferencedSOPSequence = [item]
    answer, _ = association.send_n_action(ds, 1, STORAGE_COMMITMENT, WELL_KNOWN)
    association.abort()
    return int(answer.Status)


def surroundings(**settings: str) -> dict[str, str]:
    """Return the environment of a process of ours beside this test."""
    return {
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
        "DATABASE_URL": database_url(),
        "ECG_SPOOL_DIR": str(spool.root()),
        **settings,
    }


def ask(*uids: str, transaction: str = "", caller: Caller = CART) -> Status:
    """Ask for objects as a cart does whose N-ACTION has come in."""
    references = tuple(Reference(SECONDARY_CAPTURE, uid) for uid in uids)
    asked = CommitmentRequest(transaction or f"2.25.{uuid.uuid4().int}", references)
    return ingest.take_request(caller, asked)


def the_request() -> CustodyRequest:
    return CustodyRequest.objects.get()


def told(result: CommitmentResult) -> tuple[list[str], dict[str, int]]:
    """Return what a result commits to, and what not and why."""
    return (
        [one.sop_instance_uid for one in result.committed],
        {one.reference.sop_instance_uid: one.reason for one in result.failed},
    )


def examine(*uids: str, title: str = "CART") -> tuple[list[str], dict[str, int]]:
    """Return what we would answer now."""
    row = CustodyRequest.objects.create(
        calling_title=title,
        transaction_uid=f"2.25.{uuid.uuid4().int}",
        references=[[SECONDARY_CAPTURE, uid] for uid in uids],
    )
    return told(holdings.examine(row))


def damage(row: Instance) -> None:
    path = spool.locate(row.spool_name)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


# --- a real sender -----------------------------------------------------------------------------


def test_orthanc_sends_an_ecg_and_asks_and_is_told_the_truth_each_time(
    orthanc: Orthanc, tmp_path: Path
) -> None:
    known(*orthanc.entity_args)
    save_picture(tmp_path / "ecg.dcm")
    identifier = orthanc.upload(tmp_path / "ecg.dcm")
    with listening() as scp:
        orthanc.introduce("ECGGATEWAY", "127.0.0.1", scp.port)

        def store() -> None:
            body = json.dumps([identifier]).encode()
            orthanc.request("/modalities/ECGGATEWAY/store", method="POST", body=body)

        def report() -> Any:
            body = json.dumps({"Resources": [identifier]}).encode()
            path = "/modalities/ECGGATEWAY/storage-commitment"
            asked = json.loads(orthanc.request(path, method="POST", body=body))["ID"]
            waiting = CustodyRequest.objects.filter(transaction_uid=asked)
            eventually(waiting.exists, what="the request to come")
            custody.answer_waiting()
            return json.loads(orthanc.request(f"/storage-commitment/{asked}"))

        before = report()
        assert before["Status"] == "Failure", "it was never sent"
        store()
        row = Instance.objects.get()
        assert report()["Status"] == "Success"
        assert report()["Status"] == "Success", "asked again"
        damage(row)
        damaged = report()
        assert damaged["Status"] == "Failure"
        assert [one["FailureReason"] for one in damaged["Failures"]] == [0x0110]
        store()
        assert report()["Status"] == "Success", "what was damaged came again"
        spool.remove(row.spool_name)
        lost = report()
        assert [one["FailureReason"] for one in lost["Failures"]] == [0x0112]
        store()
        assert report()["Status"] == "Success", "what was lost came again"
    assert {one.outcome for one in CustodyRequest.objects.all()} == {"answered"}
    lines = row.transitions.filter(event=retention.COMMITTED)
    assert lines.count() == 4
    assert {(line.from_state, line.to_state) for line in lines} == {
        (State.RECEIVED, State.RECEIVED)
    }
    assert lines[0].detail.startswith("to ORTHANC, transaction ")


def test_a_result_is_there_within_a_second_after_the_request_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custody, "HEAD_START_S", 0.2)
    monkeypatch.setattr(doorbell, "_silent_until", 0.0)
    with Cart() as cart, broker(tmp_path), worker("upkeep"), listening() as scp:
        row_uid = send(tmp_path).sop_instance_uid
        assert asked_for(row_uid, port=scp.port) == Status.SUCCESS
        answered_at = time.monotonic()
        assert not cart.heard
        eventually(lambda: cart.heard, interval_s=0.01, what="the result")
        waited_s = time.monotonic() - answered_at
        eventually(lambda: the_request().outcome == "answered", what="the row to say so")
    assert told(cart.heard[0]) == ([row_uid], {})
    assert waited_s < 2.0, "a second, on a machine that does nothing else"


def test_a_listener_that_is_killed_right_after_its_answer_loses_no_request(tmp_path: Path) -> None:
    with Cart() as cart:
        uid = send(tmp_path).sop_instance_uid
        port = free_port()
        listener = Program(
            [sys.executable, ROOT / "manage.py", "listen"],
            folder=tmp_path,
            name="listener",
            environment=surroundings(ECG_DICOM_HOST="127.0.0.1", ECG_DICOM_PORT=str(port)),
        )
        with listener:
            listener.start(ready=lambda: is_listening(port), timeout_s=60)
            assert asked_for(uid, port=port) == Status.SUCCESS
            listener.kill()
        custody.answer_waiting()
    assert [told(one) for one in cart.heard] == [([uid], {})]


def test_a_steward_that_is_killed_while_it_tells_loses_nothing(tmp_path: Path) -> None:
    with Cart(hangs=True) as cart:
        uid = send(tmp_path).sop_instance_uid
        assert ask(uid) == Status.SUCCESS
        teller = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import django; django.setup(); from gateway import custody;"
                " custody.answer_waiting()",
            ],
            cwd=ROOT,
            env={**os.environ, **surroundings()},
        )
        eventually(lambda: cart.heard, timeout_s=60, what="the report to come")
        teller.send_signal(signal.SIGKILL)
        teller.wait(30)
        cart.is_free.set()
        assert the_request().outcome == "waiting"
        custody.answer_waiting()
        assert the_request().outcome == "waiting", "another has it until its time is over"
        CustodyRequest.objects.update(not_before=timezone.now())
        custody.answer_waiting()
    assert the_request().outcome == "answered"
    assert [told(one) for one in cart.heard] == [([uid], {})] * 2


def test_a_claim_is_renewed_while_thousands_are_read_and_lost_to_who_asks_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings, "_PAGE", 1)
    claims, looked_at = [], holdings._looked_at

    def slowly(row: CustodyRequest, page: Sequence[Reference]) -> Iterator[Any]:
        claims.append(the_request().not_before)
        if len(claims) == 3:
            # The sender asks the same anew while its second answer is under way.
            CustodyRequest.objects.update(attempts=0, not_before=timezone.now())
        return looked_at(row, page)

    monkeypatch.setattr(holdings, "_looked_at", slowly)
    with Cart() as cart:
        uids = [send(tmp_path).sop_instance_uid for _ in range(2)]
        ask(*uids)
        custody.answer_waiting()
        assert len(cart.heard) == 1
        assert claims[0] < claims[1]
        CustodyRequest.objects.update(outcome="waiting", attempts=0, not_before=timezone.now())
        custody.answer_waiting()
        assert len(cart.heard) == 2, "what was asked anew is told once, by who took it anew"
        assert len(claims) == 5, "who lost the request looks at no more of it"
    assert (the_request().outcome, the_request().attempts) == ("answered", 1)


# --- what we keep ------------------------------------------------------------------------------


def test_what_was_rejected_is_kept_and_what_was_aged_out_or_never_came_is_not(
    tmp_path: Path,
) -> None:
    known()
    rejected, gone = send(tmp_path), send(tmp_path)
    Instance.objects.filter(pk=rejected.pk).update(state=State.REJECTED)
    Instance.objects.filter(pk=gone.pk).update(aged_out_at=timezone.now())
    kept, lost = examine(rejected.sop_instance_uid, gone.sop_instance_uid, "2.25.404")
    assert kept == [rejected.sop_instance_uid]
    assert lost == {gone.sop_instance_uid: 0x0112, "2.25.404": 0x0112}


def test_an_object_of_another_class_is_a_conflict_and_not_kept(tmp_path: Path) -> None:
    known()
    uid = send(tmp_path).sop_instance_uid
    row = CustodyRequest.objects.create(
        calling_title="CART", transaction_uid="2.25.5", references=[[OTHER_CLASS, uid]]
    )
    assert told(holdings.examine(row)) == ([], {uid: 0x0119})


def test_a_sender_whose_object_was_set_aside_must_keep_it_and_the_first_sender_need_not(
    tmp_path: Path,
) -> None:
    known()
    known("OTHER")
    uid = send(tmp_path).sop_instance_uid
    assert send(tmp_path, title="OTHER", uid=uid, tone=1).state == State.SET_ASIDE
    assert examine(uid) == ([uid], {})
    assert examine(uid, title="OTHER") == ([], {uid: 0x0110})


def test_a_spool_that_is_away_is_no_reason_to_say_that_all_is_lost(tmp_path: Path) -> None:
    with Cart() as cart:
        uid = send(tmp_path).sop_instance_uid
        folder = spool.root() / "instances"
        folder.rename(tmp_path / "unmounted")
        ask(uid)
        custody._answer(custody._claim() or the_request())
        assert not cart.heard
        assert (the_request().outcome, the_request().attempts) == ("waiting", 1)
        assert "found none" in the_request().last_error
        (tmp_path / "unmounted").rename(folder)
        custody.answer_waiting()
        assert told(cart.heard[0]) == ([uid], {})


def test_what_a_sender_was_promised_is_kept_as_long_as_if_it_came_today(
    tmp_path: Path, settings: Settings
) -> None:
    settings.ECG_KEEP_PICTURES_DAYS = 30
    long_ago = timezone.now() - datetime.timedelta(days=100)
    with Cart():
        promised, other = send(tmp_path), send(tmp_path)
        Instance.objects.update(state=State.REJECTED, state_since=long_ago)
        ask(promised.sop_instance_uid)
        custody.answer_waiting()
    retention.apply(actor="test")
    promised.refresh_from_db()
    other.refresh_from_db()
    assert promised.aged_out_at is None
    assert other.aged_out_at is not None
    promised.transitions.filter(event=retention.COMMITTED).update(at=long_ago)
    retention.apply(actor="test")
    promised.refresh_from_db()
    assert promised.aged_out_at is not None


# --- who is told, and how often ----------------------------------------------------------------


def test_who_may_not_send_is_refused_and_leaves_no_request() -> None:
    known("PACS", is_sender=False, is_destination=True)
    assert ask("1.2.3", caller=Caller("PACS", "127.0.0.1", "ECGGATEWAY")) == Status.NOT_AUTHORISED
    assert ask("1.2.3", caller=Caller("NOBODY", "127.0.0.1", "ECGGATEWAY")) == 0x0124
    assert not CustodyRequest.objects.exists()


def test_a_sender_without_an_address_is_refused_and_a_person_finds_why(tmp_path: Path) -> None:
    known(host="")
    assert ask("1.2.3", transaction="2.25.5") == Status.PROCESSING_FAILURE
    assert (the_request().outcome, the_request().last_error) == ("failed", custody.NO_ADDRESS)
    custody.answer_waiting()
    assert answering.answer_again(CustodyRequest.objects.all()) == 0, "it was owed no answer"
    with Cart() as cart:
        uid = send(tmp_path).sop_instance_uid
        assert ask(uid, transaction="2.25.5") == Status.SUCCESS
        custody.answer_waiting()
        assert told(cart.heard[0]) == ([uid], {})


def test_the_peer_at_the_address_of_the_request_is_told_and_not_its_namesake() -> None:
    known(host="192.0.2.1")
    with Cart() as cart:
        ask("1.2.3")
        custody.answer_waiting()
        assert len(cart.heard) == 1


def test_a_transaction_that_is_asked_again_is_answered_again_about_what_it_names_now() -> None:
    with Cart() as cart:
        for uid in ("1.2.3", "1.2.4"):
            assert ask(uid, transaction="2.25.5") == Status.SUCCESS
            custody.answer_waiting()
            assert the_request().outcome == "answered"
        assert [told(one)[1] for one in cart.heard] == [{"1.2.3": 0x0112}, {"1.2.4": 0x0112}]
        assert {one.transaction_uid for one in cart.heard} == {"2.25.5"}


def test_a_transaction_that_is_asked_again_while_it_is_told_is_not_done() -> None:
    with Cart(hangs=True) as cart:
        ask("1.2.3", transaction="2.25.5")
        teller = threading.Thread(target=_answer_on_a_thread)
        teller.start()
        eventually(lambda: cart.heard, what="the report to come")
        ask("1.2.3", transaction="2.25.5")
        cart.is_free.set()
        teller.join(30)
        custody.answer_waiting()
        assert the_request().outcome == "answered"
        assert len(cart.heard) == 2


def _answer_on_a_thread() -> None:
    try:
        custody.answer_waiting()
    finally:
        connections.close_all()


def test_a_sender_that_cannot_take_it_now_is_told_again() -> None:
    with Cart(0x0213, 0x0110) as cart:
        ask("1.2.3")
        custody.answer_waiting()
        assert (the_request().outcome, the_request().attempts) == ("answered", 3)
        assert len(cart.heard) == 3
        assert the_request().last_error == ""


def test_a_sender_that_refuses_it_for_good_is_left_to_a_person_who_has_it_told_again() -> None:
    with Cart(0x0115) as cart:
        ask("1.2.3")
        custody.answer_waiting()
        assert (the_request().outcome, len(cart.heard)) == ("failed", 1)
        assert "0x0115" in the_request().last_error
        assert answering.answer_again(CustodyRequest.objects.all()) == 1
        custody.answer_waiting()
        assert (the_request().outcome, len(cart.heard)) == ("answered", 2)
        assert answering.answer_again(CustodyRequest.objects.all()) == 0


def test_a_sender_that_is_away_costs_one_call_and_ends_after_the_attempts(
    settings: Settings,
) -> None:
    settings.ECG_ATTEMPTS, settings.ECG_BACKOFF_S = 3, 3600.0
    known(port=free_port())
    for _ in range(3):
        ask("1.2.3")
    with Cart(title="OTHER") as other:
        ask("1.2.3", caller=Caller("OTHER", "127.0.0.1", "ECGGATEWAY"))
        custody.answer_waiting()
        assert len(other.heard) == 1, "nobody waits for another's sender"
    rows = CustodyRequest.objects.filter(calling_title="CART")
    assert {(row.outcome, row.attempts) for row in rows} == {("waiting", 1)}
    assert all("no connection" in row.last_error for row in rows)
    assert all(row.not_before > timezone.now() for row in rows)
    for _ in range(3):
        CustodyRequest.objects.update(not_before=timezone.now())
        custody.answer_waiting()
    assert {row.outcome for row in rows.all()} == {"failed"}
    assert all("no connection" in row.last_error for row in rows.all())


def test_what_kills_each_of_its_stewards_ends_too(settings: Settings) -> None:
    settings.ECG_ATTEMPTS = 2
    known()
    ask("1.2.3")
    for _ in range(2):
        assert custody._claim() is not None
        CustodyRequest.objects.update(not_before=timezone.now())
    custody.answer_waiting()
    assert (the_request().outcome, the_request().last_error) == (
        "failed",
        "no attempt came to an end",
    )


def test_stewards_that_come_at_once_tell_each_sender_once(tmp_path: Path) -> None:
    with Cart() as cart:
        uid = send(tmp_path).sop_instance_uid
        for _ in range(8):
            ask(uid)
        tellers = [threading.Thread(target=_answer_on_a_thread) for _ in range(3)]
        for teller in tellers:
            teller.start()
        for teller in tellers:
            teller.join(60)
        assert len(cart.heard) == len({one.transaction_uid for one in cart.heard}) == 8
    assert {(row.outcome, row.attempts) for row in CustodyRequest.objects.all()} == {
        ("answered", 1)
    }
    row = Instance.objects.get()
    assert row.transitions.filter(event=retention.COMMITTED).count() == 8
