"""What a person verified of an ECG becomes reports of its own, delivered like the others."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import Orthanc
from desk_rows import analyse, make_ecg
from django.db import connections
from django.utils import timezone
from dying import dies_at_writing
from judges import dcentvfy, dciodvfy
from pydicom import Dataset, dcmread
from pynetdicom import evt
from pytest_django import Settings
from scripted import ScriptedArchive

from dicom_node import report
from gateway import leases, pipeline, proof, retention, reviewing, spool
from gateway.delivery import deliver
from gateway.models import Dispatch, Instance, Line, Peer, Report, Review, Rule
from gateway.models.peers import Proof
from gateway.outputs import SOP_CLASSES, Language, Output
from gateway.states import Event, State
from models.labels import KEYS

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "Wang^Li=王^丽"
BASIC = SOP_CLASSES[Output.BASIC_TEXT]
ENHANCED = SOP_CLASSES[Output.ENHANCED]


@pytest.fixture(autouse=True)
def _apart(settings: Settings, tmp_path: Path) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_BACKOFF_S = 0.0
    settings.ECG_SWEEP_S = 0.0
    settings.ECG_PROOF_DELAY_S = 0.0
    settings.ECG_DICOM_TIMEOUT_S = 5.0


def analysed() -> Instance:
    return analyse(make_ecg(), {"af": 0.93})


def order(row: Instance, *present: str, **values: Any) -> Review:
    findings = {key: "present" if key in present else "absent" for key in KEYS}
    given = {"findings": findings, "verifier_name": NAME, "organization": "County Hospital"}
    return reviewing.order(row, **{**given, **values})


def destination(entity: tuple[str, str, int], **values: Any) -> Peer:
    title, host, port = entity
    values = {"proof": Proof.NONE, **values}
    return Peer.objects.create(title=title, host=host, port=port, is_destination=True, **values)


def delivered() -> Instance:
    row = analysed()
    pipeline.report_waiting()
    assert state_of(row) == State.DELIVERED, row.last_error
    return row


def state_of(row: Instance) -> str:
    row.refresh_from_db()
    return row.state


def uids(row: Instance, review: Review | None = None) -> list[str]:
    """Return the reports of an ECG or of a review of it, in the order in which they are sent."""
    found = Report.objects.filter(instance=row, review=review).order_by("kind")
    return list(found.values_list("sop_instance_uid", flat=True))


def document(row: Instance, review: Review | None, kind: str = "basic_text") -> Dataset:
    found = Report.objects.get(instance=row, review=review, kind=kind, language="en")
    return dcmread(retention.report_file(found))


def replaced(ds: Dataset) -> tuple[str, str]:
    """Return the SOP Class and Instance UID of what a document says that it replaces."""
    (study,) = ds.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (one,) = series.ReferencedSOPSequence
    return one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID


# --- what can be ordered --------------------------------------------------------------------------


def test_what_was_never_analysed_is_not_reviewable() -> None:
    for state in (State.RECEIVED, State.REJECTED, State.SET_ASIDE):
        row = make_ecg()
        Instance.objects.filter(pk=row.pk).update(state=state)
        with pytest.raises(reviewing.NotReviewable, match=f"it is {state.label.lower()[:8]}"):
            order(row, "af")
    Instance.objects.filter(pk=row.pk).update(state=State.FAILED, failed_in=State.RECEIVED)
    with pytest.raises(reviewing.NotReviewable, match="it is failed as received"):
        order(row, "af")
    assert Review.objects.count() == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"findings": {"af": "present"}}, "expected normal, pvc"),
        ({"findings": dict.fromkeys(KEYS, "perhaps")}, "received 'perhaps'"),
        ({"verifier_name": " ^"}, "verifier_name: expected a text"),
        ({"organization": ""}, "organization: expected a text"),
        ({"organization": "A\\B"}, "no backslash"),
        ({"verifier_id": "1\r2"}, "no control character"),
        ({"verifier_name": "a" * 65}, "groups of at most 64"),
        ({"verifier_name": "A=B=C=D"}, "up to three groups"),
        ({"comment": "x" * 1001}, "at most 1000"),
    ],
)
def test_what_no_report_could_say_is_refused(values: dict[str, Any], said: str) -> None:
    row = analysed()
    with pytest.raises(ValueError, match=said):
        order(row, "af", **values)
    assert Review.objects.count() == 0


def test_reviews_of_an_ecg_are_numbered() -> None:
    row, other = analysed(), analysed()
    assert [order(each, "af").number for each in (row, row, other)] == [1, 2, 1]


def test_what_has_aged_out_is_not_reviewable() -> None:
    row = analysed()
    Instance.objects.filter(pk=row.pk).update(aged_out_at=timezone.now())
    with pytest.raises(reviewing.NotReviewable, match="retention policy"):
        order(row, "af")


# --- delivered ------------------------------------------------------------------------------------


def test_a_real_archive_holds_the_verified_pair_beside_the_first_and_is_asked_for_it() -> None:
    with Orthanc() as archive:
        destination(archive.entity_args, proof=Proof.QUERY)
        row = delivered()
        proof.prove_waiting()
        assert state_of(row) == State.PROVEN
        before = {path.name: path.read_bytes() for path in spool.root().rglob("*.dcm")}

        first = order(row, "af", "pvc", comment="Rate 90.", verifier_id="W-4711")
        assert state_of(row) == State.REPORTED
        pipeline.report_waiting()
        assert state_of(row) == State.DELIVERED, row.last_error
        proof.prove_waiting()
        assert state_of(row) == State.PROVEN
        assert archive.count() == 4
        second = order(row, "pvc")
        pipeline.report_waiting()
        proof.prove_waiting()
        assert state_of(row) == State.PROVEN

        folder = spool.root().parent / "held"
        folder.mkdir()
        for name in archive.instances():
            (folder / f"{name}.dcm").write_bytes(archive.file(name))
        source = spool.locate(row.spool_name)
        assert dcentvfy(source, *folder.iterdir()) == []
        for path in folder.iterdir():
            assert not [line for line in dciodvfy(path) if line.startswith("Error")]
        there = {ds.SOPInstanceUID: ds for ds in map(dcmread, folder.iterdir())}

        archive.clear()
        Dispatch.objects.filter(report__review=second).update(
            proven_at=None, proof_due_at=timezone.now(), proof_looks=proof.LOOKS
        )
        proof.prove_waiting()
        assert state_of(row) == State.REPORTED
        pipeline.deliver_waiting()
        assert archive.count() == 2, "what it has lost of the last review is sent again"
    chain = [uids(row), uids(row, first), uids(row, second)]
    assert sorted(there) == sorted(uid for link in chain for uid in link)
    for earlier, later in itertools.pairwise(chain):
        for old, new in zip(earlier, later, strict=True):
            assert replaced(there[new]) == (there[old].SOPClassUID, old)
            assert there[new].VerificationFlag == "VERIFIED"
    after = {path.name: path.read_bytes() for path in spool.root().rglob("*.dcm")}
    assert before.items() <= after.items(), "what the network said stays as it is"
    assert row.transitions.filter(event=Event.REVIEW).count() == 2


def test_reviews_go_to_whom_the_first_reports_went_in_their_languages() -> None:
    with ScriptedArchive(0x0000) as archive, ScriptedArchive(0x0000) as ward:
        destination(archive.entity_args)
        chinese = destination(
            ("WARD", *ward.entity_args[1:]),
            outputs=["basic_text"],
            language=Language.CHINESE,
        )
        row = delivered()
        destination(("LATER", *archive.entity_args[1:]))
        review = order(row, "af")
        pipeline.report_waiting()
        assert state_of(row) == State.DELIVERED
        assert (len(archive.stored), len(ward.stored)) == (4, 2)
    made = Report.objects.filter(review=review).values_list("kind", "language")
    assert set(made) == {
        ("basic_text", "en"),
        ("comprehensive", "en"),
        ("basic_text", "zh-hans"),
    }
    assert not Dispatch.objects.filter(peer__title="LATER").exists()
    said = Report.objects.get(review=review, kind="basic_text", language="zh-hans")
    old = Report.objects.get(review=None, kind="basic_text", language="zh-hans")
    ds = dcmread(retention.report_file(said))
    assert replaced(ds)[1] == old.sop_instance_uid
    assert "已审核并确认" in report.render_tree(ds)
    assert chinese.dispatches.filter(report__review=review, outcome="stored").count() == 1


def test_a_review_before_anything_was_composed_comes_after_what_it_replaces() -> None:
    with ScriptedArchive(0x0000) as archive:
        destination(archive.entity_args)
        row = analysed()
        review = order(row, "af")
        assert state_of(row) == State.ANALYSED
        pipeline.report_waiting()
        assert state_of(row) == State.DELIVERED
        assert archive.stored == uids(row) + uids(row, review)


def test_while_an_archive_is_away_both_wait_in_their_order_and_others_get_theirs() -> None:
    with ScriptedArchive(0x0000) as archive, ScriptedArchive(0x0000) as other:
        away = destination(("AWAY", "127.0.0.1", 1))
        destination(other.entity_args)
        row = analysed()
        pipeline.compose_waiting()
        deliver(leases.claim(State.REPORTED))
        assert state_of(row) == State.REPORTED
        review = order(row)
        assert leases.overdue((State.REPORTED,)) == [row.pk], "at once, whatever it waited for"
        deliver(leases.claim(State.REPORTED))
        assert other.stored == uids(row) + uids(row, review)
        assert state_of(row) == State.REPORTED
        Peer.objects.filter(pk=away.pk).update(port=archive.entity_args[2])
        _let_time_pass()
        pipeline.deliver_waiting()
        assert state_of(row) == State.DELIVERED, row.last_error
        assert archive.stored == uids(row) + uids(row, review)
        assert len(other.stored) == 4


def test_what_is_not_taken_now_is_not_overtaken_by_what_replaces_it() -> None:
    busy = 3

    def answer(_event: evt.Event) -> int:
        nonlocal busy
        busy -= 1
        return 0x0110 if busy >= 0 else 0x0000

    with ScriptedArchive(answer) as archive:
        destination(archive.entity_args)
        row = analysed()
        review = order(row, "af")
        _until_delivered(row)
        taken = archive.stored[3:]
        assert set(taken) == set(uids(row) + uids(row, review))
        assert set(taken[-2:]) == set(uids(row, review))


def test_what_is_refused_for_good_does_not_hold_back_what_replaces_it() -> None:
    refused: set[str] = set()

    def answer(event: evt.Event) -> int:
        return 0xC001 if event.request.AffectedSOPInstanceUID in refused else 0x0000

    with ScriptedArchive(answer) as archive:
        destination(archive.entity_args)
        row = analysed()
        pipeline.compose_waiting()
        refused |= set(uids(row))
        pipeline.deliver_waiting()
        assert state_of(row) == State.FAILED
        review = order(row, "af")
        assert state_of(row) == State.REPORTED
        pipeline.deliver_waiting()
        assert state_of(row) == State.FAILED, "the first are still refused"
        assert outcomes(row, review) == {"basic_text": "stored", "comprehensive": "stored"}
        assert outcomes(row) == {"basic_text": "refused", "comprehensive": "refused"}
        refused.clear()
        assert leases.resume(row, actor="person")
        pipeline.deliver_waiting()
        assert state_of(row) == State.DELIVERED
        assert archive.stored.count(uids(row, review)[0]) == 1


def outcomes(row: Instance, review: Review | None = None) -> dict[str, str]:
    rows = Dispatch.objects.filter(report__instance=row, report__review=review)
    return dict(rows.values_list("report__kind", "outcome"))


@pytest.mark.parametrize("is_known", [False, True])
def test_a_peer_that_refuses_a_class_gets_the_next_of_the_review_too(is_known: bool) -> None:
    with ScriptedArchive(0x0000, sop_classes=[BASIC, ENHANCED]) as archive:
        destination(archive.entity_args)
        row = delivered() if is_known else analysed()
        review = order(row, "pvc")
        pipeline.report_waiting()
        assert state_of(row) == State.DELIVERED, row.last_error
        assert len(archive.stored) == len(set(archive.stored)) == 4
    stand_in = document(row, review, "enhanced")
    assert replaced(stand_in) == (ENHANCED, document(row, None, "enhanced").SOPInstanceUID)
    meant = Dispatch.objects.get(report__review=review, report__kind="enhanced")
    assert (meant.instead_of, meant.outcome) == ("comprehensive", "stored")


def test_a_peer_that_refuses_a_class_since_gets_another_that_names_what_it_has() -> None:
    with ScriptedArchive(0x0000) as archive:
        peer = destination(archive.entity_args, outputs=["comprehensive"])
        row = delivered()
    with ScriptedArchive(0x0000, sop_classes=[BASIC]) as archive:
        Peer.objects.filter(pk=peer.pk).update(port=archive.entity_args[2])
        review = order(row, "af")
        pipeline.report_waiting()
        assert state_of(row) == State.DELIVERED, row.last_error
        assert archive.stored == [document(row, review).SOPInstanceUID]
    assert replaced(document(row, review))[1] == document(row, None, "comprehensive").SOPInstanceUID


def test_what_is_sent_nowhere_has_no_verified_report_either() -> None:
    Rule.objects.create(name="stays here")
    row = delivered()
    review = order(row, "af")
    pipeline.report_waiting()
    assert state_of(row) == State.DELIVERED
    review.refresh_from_db()
    assert review.composed_at is not None
    assert Report.objects.count() == 0


# --- at once, and at any line ---------------------------------------------------------------------


def test_a_review_that_is_ordered_while_the_last_report_goes_out_is_not_lost() -> None:
    ordered: list[Review] = []

    def answer(_event: evt.Event) -> int:
        if not ordered:
            _elsewhere(lambda: ordered.append(order(row, "pvc")))
        return 0x0000

    with ScriptedArchive(answer) as archive:
        destination(archive.entity_args, outputs=["basic_text"])
        row = analysed()
        pipeline.compose_waiting()
        deliver(leases.claim(State.REPORTED))
        assert state_of(row) == State.REPORTED, "delivered, and at once on its way again"
        pipeline.deliver_waiting()
        assert state_of(row) == State.DELIVERED
        assert archive.stored == uids(row) + uids(row, ordered[0])
    events = list(row.transitions.values_list("event", "from_state", "to_state"))
    assert events[-4:] == [
        ("review", "reported", "reported"),
        ("deliver", "reported", "delivered"),
        ("review", "delivered", "reported"),
        ("deliver", "reported", "delivered"),
    ]


def test_orders_that_come_at_once_are_numbered_and_all_reported() -> None:
    with ScriptedArchive(0x0000) as archive:
        destination(archive.entity_args, outputs=["basic_text"])
        row = delivered()
        threads = [threading.Thread(target=_closing(lambda: order(row, "af"))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pipeline.report_waiting()
        assert state_of(row) == State.DELIVERED
        reviews = list(Review.objects.filter(instance=row).order_by("number"))
        assert [review.number for review in reviews] == [1, 2, 3]
        assert archive.stored == uids(row) + [uid for one in reviews for uid in uids(row, one)]


def test_an_order_that_dies_at_any_line_is_whole_or_was_never_made() -> None:
    with ScriptedArchive(0x0000) as archive:
        destination(archive.entity_args, outputs=["basic_text"])
        row = delivered()
    last = 1
    while dies_at_writing(last, lambda: order(row, "af")):
        assert (Review.objects.count(), state_of(row)) == (0, State.DELIVERED)
        last += 1
    assert last > 3
    assert (Review.objects.count(), state_of(row)) == (1, State.REPORTED)


def test_dying_at_any_line_of_its_way_loses_no_review_and_doubles_none() -> None:
    with ScriptedArchive(0x0000, sop_classes=[BASIC, ENHANCED]) as archive:
        destination(archive.entity_args)
        row = delivered()
        for last in range(1, 100):
            review = order(row, "af")
            before = len(archive.stored)
            has_died = dies_at_writing(last, lambda: deliver(leases.claim(State.REPORTED)))
            if state_of(row) == State.REPORTED:
                _let_time_pass()
                pipeline.deliver_waiting()
            assert state_of(row) == State.DELIVERED, (last, row.last_error)
            kept = Report.objects.filter(review=review).exclude(kind="comprehensive")
            sent = archive.stored[before:]
            assert set(sent) == set(kept.values_list("sop_instance_uid", flat=True)), last
            assert len(sent) <= 3, "at most what was on its way is sent again, with its UID"
            assert outcomes(row, review) in (
                {"basic_text": "stored", "comprehensive": "replaced", "enhanced": "stored"},
                {"basic_text": "stored", "enhanced": "stored"},
            )
            if not has_died:
                break
        assert last > 8, "it died at every line that writes"
        on_disk = {path.name for path in spool.root().rglob("*.dcm")}
        rows = set(Report.objects.values_list("spool_name", flat=True)) | {row.spool_name}
        assert {Path(name).name for name in rows} <= on_disk


def _let_time_pass() -> None:
    """Let leases, lines and pauses run out."""
    now = timezone.now()
    Instance.objects.filter(lease_token__isnull=False).update(lease_expires_at=now)
    Instance.objects.update(not_before=now)
    Line.objects.update(expires_at=now)


def _until_delivered(row: Instance) -> None:
    pipeline.compose_waiting()
    for _ in range(10):
        _let_time_pass()
        pipeline.deliver_waiting()
        if state_of(row) == State.DELIVERED:
            return
    raise AssertionError(row.last_error)


def _closing(work: Callable[[], object]) -> Callable[[], None]:
    def closed() -> None:
        try:
            work()
        finally:
            connections.close_all()

    return closed


def _elsewhere(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=_closing(work))
    thread.start()
    thread.join()
