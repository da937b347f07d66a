"""That archives show they keep what they took: a real Orthanc, and one that a test scripts."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from archives import Orthanc, StoreSCP
from desk_rows import analyse, make_ecg
from django.db import connections
from django.utils import timezone
from peers import eventually
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pytest_django import Settings

from dicom_node.commitment import CommitmentResult, FailedReference, Reference, parse_result
from gateway import leases, pipeline, proof
from gateway.models import Commitment, Dispatch, Instance, Peer
from gateway.models.peers import Proof
from gateway.outputs import SOP_CLASSES
from gateway.states import Event, State

pytestmark = pytest.mark.django_db(transaction=True)

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
WELL_KNOWN = "1.2.840.10008.1.20.1.1"
NOT_THERE = 0x0112

Failures = Callable[[int, list[str]], dict[str, int]]


@pytest.fixture(autouse=True)
def _quick(settings: Settings, tmp_path: Path) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_BACKOFF_S = 0.0
    settings.ECG_SWEEP_S = 0.0
    settings.ECG_PROOF_DELAY_S = 0.0
    settings.ECG_DICOM_TIMEOUT_S = 5.0


class Keeper:
    """A Storage SCP that is asked to commit itself, and answers as a test says.

    Parameters
    ----------
    failures
        Of the how-manieth request and its SOP Instance UIDs: what it fails, and why; None: it
        never answers on the association of the request.
    """

    def __init__(self, failures: Failures | None) -> None:
        self.failures = failures
        self.stored: list[str] = []
        self.asked: list[tuple[str, list[str]]] = []

    def __enter__(self) -> Keeper:
        ae = AE("KEEPER")
        ae.supported_contexts = [build_context(uid) for uid in SOP_CLASSES.values()]
        ae.add_supported_context(STORAGE_COMMITMENT)
        self._server = ae.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_N_ACTION, self._action),
                (evt.EVT_PDU_SENT, self._sent),
            ],
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    @property
    def entity_args(self) -> tuple[str, str, int]:
        """Title, host and port."""
        return ("KEEPER", "127.0.0.1", self._server.server_address[1])

    def _store(self, event: evt.Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _action(self, event: evt.Event) -> tuple[int, None]:
        asked = event.action_information
        uids = [str(item.ReferencedSOPInstanceUID) for item in asked.ReferencedSOPSequence]
        self.asked.append((str(asked.TransactionUID), uids))
        self._owed = self._result(asked, uids) if self.failures else None
        return 0x0000, None

    def _sent(self, event: evt.Event) -> None:
        """Report once the answer to the request has gone out, on the same association."""
        owed = getattr(self, "_owed", None)
        if owed is None or type(event.pdu).__name__ != "P_DATA_TF":
            return
        self._owed = None
        kind = 2 if "FailedSOPSequence" in owed else 1
        report = threading.Thread(
            target=event.assoc.send_n_event_report,
            args=(owed, kind, STORAGE_COMMITMENT, WELL_KNOWN),
        )
        report.start()

    def _result(self, asked: Dataset, uids: list[str]) -> Dataset:
        assert self.failures is not None
        failed = self.failures(len(self.asked), uids)
        result = Dataset()
        result.TransactionUID = asked.TransactionUID
        kept, lost = [], []
        for item in asked.ReferencedSOPSequence:
            reason = failed.get(item.ReferencedSOPInstanceUID)
            if reason is None:
                kept.append(item)
            else:
                item.FailureReason = reason
                lost.append(item)
        if kept:
            result.ReferencedSOPSequence = kept
        if lost:
            result.FailedSOPSequence = lost
        return result


def none_fails(_number: int, _uids: list[str]) -> dict[str, int]:
    return {}


def the_first_fails_once(number: int, uids: list[str]) -> dict[str, int]:
    return {uids[0]: NOT_THERE} if number == 1 else {}


def destination(entity: tuple[str, str, int], **values: Any) -> Peer:
    title, host, port = entity
    return Peer.objects.create(title=title, host=host, port=port, is_destination=True, **values)


def delivered() -> Instance:
    """Return an ECG whose two reports were stored."""
    row = analyse(make_ecg(), {"af": 0.93})
    pipeline.report_waiting()
    row.refresh_from_db()
    assert row.state == State.DELIVERED, row.last_error
    return row


def state_of(row: Instance) -> str:
    row.refresh_from_db()
    return row.state


def dispatches(row: Instance) -> list[Dispatch]:
    return list(Dispatch.objects.filter(report__instance=row).order_by("pk"))


def uids_of(row: Instance) -> list[str]:
    return [one.report.sop_instance_uid for one in dispatches(row)]


def result(
    transaction: str, committed: list[str], failed: dict[str, int] | None = None
) -> CommitmentResult:
    def refer(uid: str) -> Reference:
        return Reference(SOP_CLASSES["basic_text"], uid)

    lost = tuple(FailedReference(refer(uid), why) for uid, why in (failed or {}).items())
    return CommitmentResult(transaction, tuple(map(refer, committed)), lost)


def overdue() -> None:
    """Let the time for every answer be over."""
    then = timezone.now() - datetime.timedelta(seconds=1)
    Commitment.objects.filter(outcome="asked").update(answer_due_at=then)
    Dispatch.objects.filter(proof_due_at__isnull=False).update(proof_due_at=then)


def asked_and_silent(keeper: Keeper) -> Instance:
    """Return a delivered ECG for whose reports an archive was asked that said nothing yet."""
    destination(keeper.entity_args)
    row = delivered()
    proof.prove_waiting()
    assert state_of(row) == State.DELIVERED
    assert len(keeper.asked) == 1
    return row


# --- committed ---------------------------------------------------------------------------------


def test_an_archive_that_commits_itself_on_the_association_proves_both_reports() -> None:
    with Keeper(none_fails) as keeper:
        destination(keeper.entity_args)
        row = delivered()
        assert {one.proven_at for one in dispatches(row)} == {None}
        proof.prove_waiting()
        assert state_of(row) == State.PROVEN
        assert {one.proven_by for one in dispatches(row)} == {"commitment"}
        assert {one.proof_due_at for one in dispatches(row)} == {None}
        ((_, uids),) = keeper.asked
        assert sorted(uids) == sorted(keeper.stored), "one request for all that was due"
        assert Commitment.objects.get().outcome == "committed"
        last = row.transitions.last()
        assert last is not None
        assert (last.event, last.to_state) == (Event.PROVE, State.PROVEN)
        assert "KEEPER: Storage Commitment" in last.detail


def test_a_late_answer_proves_though_it_was_asked_again_and_twice_is_as_good_as_once() -> None:
    with Keeper(None) as keeper:
        row = asked_and_silent(keeper)
        overdue()
        proof.prove_waiting()
        (first, uids), (second, _) = keeper.asked
        assert first != second, "asked again under another Transaction UID"
        assert [one.outcome for one in Commitment.objects.order_by("pk")] == ["unanswered", "asked"]
        for _ in range(2):
            proof.answered("KEEPER", result(first, uids))
            assert state_of(row) == State.PROVEN
        assert row.transitions.filter(event=Event.PROVE).count() == 1
        proof.prove_waiting()
        assert len(keeper.asked) == 2


def test_an_answer_that_is_none_of_ours_changes_nothing() -> None:
    with Keeper(None) as keeper:
        row = asked_and_silent(keeper)
        ((transaction, uids),) = keeper.asked
        before = list(Dispatch.objects.order_by("pk").values())
        proof.answered("KEEPER", result("2.25.4711", uids))
        proof.answered("SOMEBODY", result(transaction, uids))
        proof.answered("KEEPER", result(transaction, ["1.2.3"], {"1.2.4": NOT_THERE}))
        assert list(Dispatch.objects.order_by("pk").values()) == before
        assert state_of(row) == State.DELIVERED


def test_proof_that_comes_before_the_last_report_is_stored_counts_when_it_is(
    settings: Settings,
) -> None:
    with Keeper(None) as keeper, StoreSCP() as other:
        destination(keeper.entity_args)
        slow = destination(other.entity_args, proof=Proof.NONE)
        Peer.objects.filter(pk=slow.pk).update(port=1)
        row = analyse(make_ecg(), {"af": 0.93})
        settings.ECG_BACKOFF_S = 3600.0
        pipeline.report_waiting()
        assert state_of(row) == State.REPORTED
        proof.prove_waiting()
        ((transaction, uids),) = keeper.asked
        proof.answered("KEEPER", result(transaction, uids))
        assert state_of(row) == State.REPORTED
        Peer.objects.filter(pk=slow.pk).update(port=other.entity_args[2])
        Instance.objects.update(not_before=timezone.now())
        pipeline.deliver_waiting()
        assert state_of(row) == State.PROVEN


# --- not there ---------------------------------------------------------------------------------


def test_what_an_archive_does_not_have_is_sent_again_and_then_proven() -> None:
    with Keeper(the_first_fails_once) as keeper:
        destination(keeper.entity_args)
        row = delivered()
        proof.prove_waiting()
        assert state_of(row) == State.REPORTED
        assert Commitment.objects.get().outcome == "partly"
        missing, kept = dispatches(row)
        assert (missing.outcome, kept.outcome) == ("waiting", "stored")
        assert kept.proven_by == "commitment"
        assert "no such object (0x0112)" in missing.proof_error
        last = row.transitions.last()
        assert last is not None
        assert (last.event, last.from_state) == (Event.MISS, State.DELIVERED)
        pipeline.deliver_waiting()
        assert state_of(row) == State.DELIVERED
        assert len(keeper.stored) == 3, "only what was missing"
        proof.prove_waiting()
        assert state_of(row) == State.PROVEN


def test_what_is_never_there_ends_after_the_attempts_and_a_person_can_go_on(
    settings: Settings,
) -> None:
    settings.ECG_ATTEMPTS = 3
    with Keeper(lambda _, uids: dict.fromkeys(uids, NOT_THERE)) as keeper:
        destination(keeper.entity_args)
        row = delivered()
        for _ in range(10):
            proof.prove_waiting()
            pipeline.deliver_waiting()
        assert state_of(row) == State.FAILED
        assert "sent 3 times" in row.reason
        assert len(keeper.stored) == 6
        keeper.failures = none_fails
        assert leases.resume(row, actor="person")
        pipeline.deliver_waiting()
        proof.prove_waiting()
        assert state_of(row) == State.PROVEN


def test_a_failure_of_a_request_that_was_repeated_no_longer_counts() -> None:
    with Keeper(None) as keeper:
        row = asked_and_silent(keeper)
        overdue()
        proof.prove_waiting()
        (first, uids), (second, _) = keeper.asked
        proof.answered("KEEPER", result(first, [], dict.fromkeys(uids, NOT_THERE)))
        assert state_of(row) == State.DELIVERED
        failed = result(second, [], dict.fromkeys(uids, NOT_THERE))
        proof.answered("KEEPER", failed)
        assert state_of(row) == State.REPORTED
        pipeline.deliver_waiting()
        proof.answered("KEEPER", failed)
        assert state_of(row) == State.DELIVERED, "the same answer twice: it was sent again since"


def test_an_instance_that_is_being_worked_on_is_not_moved() -> None:
    with Keeper(None) as keeper:
        row = asked_and_silent(keeper)
        ((transaction, uids),) = keeper.asked
        soon = timezone.now() + datetime.timedelta(seconds=60)
        Instance.objects.update(state=State.REPORTED, lease_expires_at=soon)
        proof.answered("KEEPER", result(transaction, [], dict.fromkeys(uids, NOT_THERE)))
        assert {one.outcome for one in dispatches(row)} == {"stored"}
        assert all(one.proof_due_at is not None for one in dispatches(row)), "asked for again"


def test_a_failure_of_the_moment_is_asked_again_under_another_transaction() -> None:
    def busy_once(number: int, uids: list[str]) -> dict[str, int]:
        return dict.fromkeys(uids, 0x0213) if number == 1 else {}

    with Keeper(busy_once) as keeper:
        destination(keeper.entity_args)
        row = delivered()
        proof.prove_waiting()
        assert state_of(row) == State.PROVEN
        (first, _), (second, _) = keeper.asked
        assert first != second
        assert len(keeper.stored) == 2


# --- never, and without -------------------------------------------------------------------------


def test_who_never_answers_is_asked_less_and_less_often(settings: Settings) -> None:
    settings.ECG_PROOF_PATIENCE_S = 100.0
    with Keeper(None) as keeper:
        asked_and_silent(keeper)
        for _ in range(2):
            overdue()
            proof.prove_waiting()
        rows = Commitment.objects.order_by("pk")
        assert len({row.transaction_uid for row in rows}) == 3
        last = rows.last()
        assert last is not None
        assert 390 < (last.answer_due_at - last.asked_at).total_seconds() < 410


def test_an_archive_without_commitment_and_without_an_answer_says_so_and_stays_delivered() -> None:
    with StoreSCP() as archive:
        peer = destination(archive.entity_args)
        row = delivered()
        proof.prove_waiting()
        peer.refresh_from_db()
        assert peer.refuses_commitment_since is not None
        assert state_of(row) == State.DELIVERED
        assert {one.proof_due_at for one in dispatches(row)} == {None}
        assert all(proof.NO_MEANS in one.proof_error for one in dispatches(row))
        peer.proof = Proof.NONE
        peer.save()
        proof.prove_waiting()
        assert state_of(row) == State.DELIVERED, "nobody has shown anything"
        assert {one.proof_error for one in dispatches(row)} == {""}


@contextmanager
def qido(*uids: str, status: int = 200) -> Iterator[str]:
    """A QIDO-RS service that has these instances."""

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            rows = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids if uid in self.path]
            body = json.dumps(rows).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
        server.shutdown()


def test_a_web_service_is_asked_where_commitment_is_refused() -> None:
    with StoreSCP() as archive:
        peer = destination(archive.entity_args)
        row = delivered()
        with qido(*uids_of(row)) as address:
            Peer.objects.filter(pk=peer.pk).update(qido_url=address)
            proof.prove_waiting()
        assert state_of(row) == State.PROVEN
        assert {one.proven_by for one in dispatches(row)} == {"qido"}


def test_a_wrong_web_address_is_trouble_and_no_sign_that_a_report_is_missing() -> None:
    with StoreSCP() as archive:
        peer = destination(archive.entity_args, proof=Proof.QUERY)
        row = delivered()
        with qido(*uids_of(row), status=404) as address:
            Peer.objects.filter(pk=peer.pk).update(qido_url=address)
            for _ in range(5):
                proof.prove_waiting()
        assert state_of(row) == State.DELIVERED
        assert {one.outcome for one in dispatches(row)} == {"stored"}
        assert all("answered 404" in one.proof_error for one in dispatches(row))


def test_what_a_look_does_not_find_three_times_is_sent_again() -> None:
    with StoreSCP() as archive:
        peer = destination(archive.entity_args, proof=Proof.QUERY)
        row = delivered()
        with qido() as address:
            Peer.objects.filter(pk=peer.pk).update(qido_url=address)
            proof.prove_waiting()
        assert state_of(row) == State.REPORTED
        assert row.transitions.filter(event=Event.MISS).count() == 1
        assert "looked into 3 times" in row.last_error


def test_a_peer_that_is_away_is_asked_later_and_no_attempt_of_the_report_is_spent(
    settings: Settings,
) -> None:
    settings.ECG_BACKOFF_S = 60.0
    with Keeper(none_fails) as keeper:
        peer = destination(keeper.entity_args)
        row = delivered()
    proof.prove_waiting()
    assert state_of(row) == State.DELIVERED
    assert {one.proof_attempts for one in dispatches(row)} == {1}
    assert all(one.proof_due_at > timezone.now() for one in dispatches(row) if one.proof_due_at)
    assert Commitment.objects.get(peer=peer).outcome == "refused"


def test_two_couriers_ask_once() -> None:
    with Keeper(None) as keeper:
        destination(keeper.entity_args)
        for _ in range(3):
            delivered()
        pair = [threading.Thread(target=proof.prove_waiting) for _ in range(2)]
        for one in pair:
            one.start()
        for one in pair:
            one.join()
        asked = [uid for _, uids in keeper.asked for uid in uids]
        assert sorted(asked) == sorted(keeper.stored)


def test_a_real_archive_that_has_no_commitment_for_strangers_is_looked_into() -> None:
    with Orthanc() as archive:
        destination(archive.entity_args, proof=Proof.QUERY)
        row = delivered()
        proof.prove_waiting()
        assert state_of(row) == State.PROVEN
        assert {one.proven_by for one in dispatches(row)} == {"query"}


@contextmanager
def report_receiver(title: str) -> Iterator[int]:
    """Take commitment results on associations that archives open; yield the port."""

    def take(event: evt.Event) -> tuple[int, None]:
        try:
            told = parse_result(
                event.request.EventInformation.getvalue(),
                transfer_syntax_uid=str(event.context.transfer_syntax),
            )
            proof.answered(str(event.assoc.requestor.ae_title), told)
        finally:
            connections.close_all()
        return 0x0000, None

    ae = AE(title)
    ae.add_supported_context(STORAGE_COMMITMENT, scu_role=False, scp_role=True)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)]
    )
    yield server.server_address[1]
    server.shutdown()


def test_orthanc_commits_itself_on_an_association_of_its_own_and_what_it_lost_is_sent_again(
    settings: Settings,
) -> None:
    with Orthanc() as archive, report_receiver(settings.ECG_AE_TITLE) as port:
        archive.introduce(settings.ECG_AE_TITLE, "127.0.0.1", port)
        destination(archive.entity_args)
        row = delivered()
        archive.clear()
        proof.prove_waiting()
        eventually(lambda: state_of(row) == State.REPORTED, what="Orthanc to miss both")
        pipeline.deliver_waiting()
        assert archive.count() == 2
        proof.prove_waiting()
        eventually(lambda: state_of(row) == State.PROVEN, what="Orthanc to commit itself")
        assert {one.proven_by for one in dispatches(row)} == {"commitment"}
