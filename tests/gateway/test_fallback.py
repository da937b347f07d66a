"""What a Peer gets instead of what it refuses, by real Peers that refuse, and what rules send."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from archives import StoreSCP
from ctn import SimpleStorage
from desk_rows import analyse, make_ecg
from django.db import connection
from django.utils import timezone
from dying import Died, dies_at_writing
from peers import eventually
from pydicom import dcmread
from pytest_django import Settings
from scripted import ScriptedArchive

from dicom_node.report import fonts
from gateway import dispatching, leases, pipeline, sending, spool
from gateway.delivery import deliver
from gateway.models import Delivery, Dispatch, Instance, Line, Peer, RefusedOutput, Report, Rule
from gateway.outputs import SOP_CLASSES, Language, Output
from gateway.routing import Routing
from gateway.states import State

pytestmark = pytest.mark.django_db(transaction=True)

PATIENT_CT = "1.2.840.10008.5.1.4.1.1.2"
BASIC = SOP_CLASSES[Output.BASIC_TEXT]
ENHANCED = SOP_CLASSES[Output.ENHANCED]
COMPREHENSIVE = SOP_CLASSES[Output.COMPREHENSIVE]


@pytest.fixture(autouse=True)
def _quick(settings: Settings, tmp_path: Path) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_BACKOFF_S = 0.0
    settings.ECG_SWEEP_S = 0.0
    settings.ECG_DICOM_TIMEOUT_S = 5.0


def analysed(**probabilities: float) -> Instance:
    """Return an ECG with findings, by default atrial fibrillation."""
    return analyse(make_ecg(), probabilities or {"af": 0.93})


def destination(
    entity: tuple[str, str, int], *outputs: Output, language: Language = Language.ENGLISH
) -> Peer:
    """Make an archive known that wants these outputs."""
    title, host, port = entity
    peer = Peer(
        title=title,
        host=host,
        port=port,
        is_destination=True,
        outputs=[output.value for output in outputs] or [*map(str, USUAL)],
        language=language,
    )
    peer.full_clean()
    peer.save()
    return peer


USUAL = (Output.BASIC_TEXT, Output.COMPREHENSIVE)


def outcomes(instance: Instance) -> dict[str, str]:
    """Return how each Dispatch of an instance ended, by its output."""
    rows = Dispatch.objects.filter(report__instance=instance).select_related("report")
    return {str(row.report.kind): row.outcome for row in rows}


def classes(files: list[Path]) -> Counter[str]:
    """Return how often each SOP Class was received."""
    return Counter(str(dcmread(path, specific_tags=["SOPClassUID"]).SOPClassUID) for path in files)


# --- Peers that refuse ----------------------------------------------------------------------------


def test_ctn_refuses_3d_and_ends_with_the_comprehensive_report() -> None:
    with SimpleStorage() as ctn:
        peer = destination(ctn.entity_args, Output.COMPREHENSIVE_3D)
        first = analysed()
        pipeline.compose_waiting()

        def is_delivered(row: Instance) -> bool:
            # CTN does not listen for a moment after each association.
            pipeline.deliver_waiting()
            row.refresh_from_db()
            return row.state == State.DELIVERED

        eventually(lambda: is_delivered(first), interval_s=0.2)
        assert outcomes(first) == {"comprehensive_3d": "replaced", "comprehensive": "stored"}
        assert [row.output for row in peer.refused_outputs.all()] == ["comprehensive_3d"]
        stand_in = Dispatch.objects.get(report__instance=first, outcome="stored")
        assert stand_in.instead_of == "comprehensive_3d"
        assert "Comprehensive SR" in first.transitions.last().detail  # type: ignore[union-attr]

        second = analysed()
        pipeline.compose_waiting()
        assert outcomes(second) == {"comprehensive": "waiting"}, "known by now, and not composed"
        eventually(lambda: is_delivered(second), interval_s=0.2)
        kept = {report.sop_instance_uid for report in Report.objects.filter(kind="comprehensive")}
        assert len(kept) == 2
        eventually(lambda: kept == {path.name for path in ctn.files()}, what="CTN to write them")


def test_a_peer_for_explicit_basic_text_alone_gets_just_that_and_once(tmp_path: Path) -> None:
    config = tmp_path / "storescp.cfg"
    config.write_text(
        "[[TransferSyntaxes]]\n[Explicit]\nTransferSyntax1 = LittleEndianExplicit\n"
        "[[PresentationContexts]]\n[Basic]\n"
        "PresentationContext1 = BasicTextSRStorage\\Explicit\n"
        "[[Profiles]]\n[DEFAULT]\nPresentationContexts = Basic\n"
    )
    with StoreSCP(options=("--config-file", str(config), "Default")) as archive:
        destination(archive.entity_args)
        row = analysed()
        pipeline.report_waiting()
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        assert outcomes(row) == {
            "basic_text": "stored",
            "comprehensive": "replaced",
            "enhanced": "replaced",
        }
        assert classes(archive.files()) == {BASIC: 1}
    attempts = Delivery.objects.order_by("pk").values_list("report__kind", "outcome")
    assert list(attempts) == [
        ("basic_text", "stored"),
        ("comprehensive", "refused"),
        ("enhanced", "refused"),
    ]


def test_the_status_0122_refuses_the_kind_and_c001_the_object() -> None:
    with ScriptedArchive(0x0000, unsupported=[COMPREHENSIVE]) as archive:
        destination(archive.entity_args)
        row = analysed()
        pipeline.report_waiting()
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        assert outcomes(row) == {
            "basic_text": "stored",
            "comprehensive": "replaced",
            "enhanced": "stored",
        }
    with ScriptedArchive(0xC001) as archive:
        Peer.objects.update(port=archive.entity_args[2])
        row = analysed()
        pipeline.report_waiting()
        row.refresh_from_db()
        assert row.state == State.FAILED
        assert "0xC001" in row.reason
        assert set(outcomes(row).values()) == {"refused"}
    assert list(RefusedOutput.objects.values_list("output", flat=True)) == ["comprehensive"]


def test_a_chain_ends_with_a_picture() -> None:
    with ScriptedArchive(0x0000, sop_classes=[SOP_CLASSES[Output.RESULT_PAGE]]) as archive:
        destination(archive.entity_args)
        row = analysed()
        pipeline.report_waiting()
        row.refresh_from_db()
        assert row.state == State.DELIVERED, row.last_error
        assert [k for k, v in outcomes(row).items() if v == "stored"] == ["result_page"]
        assert len(archive.stored) == 1


def test_a_peer_that_takes_nothing_fails_the_row_and_once_mended_gets_what_was_wanted() -> None:
    with ScriptedArchive(0x0000, sop_classes=[PATIENT_CT]) as archive:
        peer = destination(archive.entity_args)
        row, next_row = analysed(), analysed()
        pipeline.report_waiting()
    for failed in (row, next_row):
        failed.refresh_from_db()
        assert (failed.state, failed.failed_in) == (State.FAILED, State.REPORTED)
        assert failed.reason == (
            "SCRIPTED: the Peer accepts none of Comprehensive SR, Enhanced SR, Basic Text SR, "
            "Result page (Secondary Capture)"
        )
        assert set(outcomes(failed).values()) == {"refused", "replaced"}
    assert RefusedOutput.objects.count() == 4

    with ScriptedArchive(0x0000) as archive:
        Peer.objects.filter(pk=peer.pk).update(port=archive.entity_args[2])
        assert leases.resume(row, actor="person")
        pipeline.deliver_waiting()
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        stored = {kind for kind, outcome in outcomes(row).items() if outcome == "stored"}
        assert stored == {"basic_text", "comprehensive"}
        assert len(archive.stored) == 2

        # At the same address a person says that the Peer may be asked again.
        Peer.objects.filter(pk=peer.pk).update(port=peer.port)
    with ScriptedArchive(0x0000, port=peer.port) as archive:
        assert leases.resume(next_row, actor="person")
        pipeline.deliver_waiting()
        next_row.refresh_from_db()
        assert next_row.state == State.DELIVERED, "a spent chain is asked from its start"
        assert "basic_text" not in RefusedOutput.objects.values_list("output", flat=True)


# --- what cannot be composed ----------------------------------------------------------------------


def test_a_picture_that_cannot_be_drawn_withholds_no_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedArchive(0x0000) as archive, ScriptedArchive(0x0000) as second:
        destination(archive.entity_args)
        ward = ("WARD", *second.entity_args[1:])
        destination(ward, Output.RESULT_PAGE, Output.COMPREHENSIVE)
        row = analysed()
        monkeypatch.setattr(fonts, "FOLDERS", (tmp_path,))
        pipeline.report_waiting()
        row.refresh_from_db()
        assert row.state == State.DELIVERED, row.last_error
        assert sorted(row.reports.values_list("kind", flat=True)) == ["basic_text", "comprehensive"]
        assert (len(archive.stored), len(second.stored)) == (2, 2)
        stand_in = Dispatch.objects.get(peer__title="WARD", report__kind="basic_text")
        assert (stand_in.instead_of, stand_in.outcome) == ("result_page", "stored")
        composed = row.transitions.get(event="compose").detail
        assert composed.startswith("no Result page (Secondary Capture) (English): no font")
        assert row.transitions.get(event="deliver").detail == (
            "WARD: Basic Text SR, for there could be composed no Result page (Secondary Capture)"
        )


def test_a_stand_in_that_cannot_be_composed_fails_the_row_after_all_others_were_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        ScriptedArchive(0x0000, sop_classes=[COMPREHENSIVE]) as strict,
        ScriptedArchive(0x0000) as archive,
    ):
        destination(strict.entity_args)
        destination(("ZULU", *archive.entity_args[1:]))
        row, next_row = analysed(), analysed()
        monkeypatch.setattr(fonts, "FOLDERS", (tmp_path,))
        pipeline.report_waiting()
        assert (len(strict.stored), len(archive.stored)) == (2, 4)
        for failed in (row, next_row):
            failed.refresh_from_db()
            assert (failed.state, failed.failed_in) == (State.FAILED, State.REPORTED)
            assert "refuses Basic Text SR; no Result page (Secondary Capture): " in failed.reason
            ended = Dispatch.objects.filter(report__instance=failed)
            assert Counter(ended.values_list("outcome", flat=True)) == {"stored": 3, "refused": 1}
        monkeypatch.undo()
        Peer.objects.filter(title="SCRIPTED").update(port=archive.entity_args[2])
        assert leases.resume(row, actor="person")
        pipeline.deliver_waiting()
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        assert len(archive.stored) == 5, "what was missing alone"


def test_a_backlog_meets_each_refusal_once() -> None:
    with ScriptedArchive(0x0000, sop_classes=[BASIC, ENHANCED]) as archive:
        destination(archive.entity_args)
        rows = [analysed() for _ in range(pipeline.DELIVERY_BATCH + 1)]
        pipeline.compose_waiting()
        pipeline.deliver_waiting()
        assert Delivery.objects.filter(outcome="refused").count() == pipeline.DELIVERY_BATCH
        assert len(archive.stored) == len(set(archive.stored)) == 2 * len(rows)
        assert archive.associations == 3, "two for the first batch, one for the second"
    assert set(Instance.objects.values_list("state", flat=True)) == {State.DELIVERED}


def test_dying_at_any_line_loses_nothing_and_doubles_nothing() -> None:
    with ScriptedArchive(0x0000, sop_classes=[BASIC, ENHANCED]) as archive:
        peer = destination(archive.entity_args)
        row = analysed()
        pipeline.compose_waiting()
        for last in range(2, 100):
            _as_composed(row, peer)
            before = len(archive.stored)
            if not dies_at_writing(last, lambda: deliver(leases.claim(State.REPORTED))):
                break
            row.refresh_from_db()
            if row.state == State.REPORTED:
                Instance.objects.filter(pk=row.pk).update(lease_expires_at=timezone.now())
                _hang_up()
                pipeline.deliver_waiting()
                row.refresh_from_db()
            assert row.state == State.DELIVERED, (last, row.last_error)
            assert outcomes(row) == {
                "basic_text": "stored",
                "comprehensive": "replaced",
                "enhanced": "stored",
            }, last
            sent = archive.stored[before:]
            kept = row.reports.exclude(kind="comprehensive")
            assert set(sent) == {report.sop_instance_uid for report in kept}
            assert len(sent) <= 3, "at most what was on its way is sent again, with its UID"
            assert row.reports.count() == 3
            assert row.transitions.filter(to_state=State.DELIVERED).count() == last - 1
        assert last > 10, "it died at every line of a delivery with a stand-in that writes"


def _as_composed(row: Instance, peer: Peer) -> None:
    """Bring a row back to where its two reports were composed and nothing was sent."""
    for found in (Delivery, Dispatch, RefusedOutput):
        found.objects.all().delete()
    Report.objects.filter(kind="enhanced").delete()
    for report in row.reports.all():
        Dispatch.objects.create(report=report, peer=peer)
    Instance.objects.filter(pk=row.pk).update(
        state=State.REPORTED, attempts=0, lease_token=None, lease_expires_at=None
    )
    _hang_up()


def _hang_up() -> None:
    """Let time pass until the line that a dead Courier held is free."""
    Line.objects.update(expires_at=timezone.now())


def test_each_answer_is_kept_and_the_lease_renewed_before_the_next_object_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "SPENT", 0.0)
    with ScriptedArchive(0x0000) as archive:
        destination(archive.entity_args)
        row = analysed()
        pipeline.compose_waiting()
        held = leases.claim(State.REPORTED)
        attempts = renewed = 0

        def wrapper(execute: Any, sql: str, *rest: Any) -> Any:
            nonlocal attempts, renewed
            attempts += sql.startswith('INSERT INTO "gateway_delivery"')
            if attempts == 2:
                raise Died
            renewed += attempts and sql.startswith('UPDATE "gateway_instance"')
            return execute(sql, *rest)

        with connection.execute_wrapper(wrapper), pytest.raises(Died):
            deliver(held)
        assert renewed == 1
        assert sorted(outcomes(row).values()) == ["stored", "waiting"]
        assert [attempt.status for attempt in Delivery.objects.all()] == [0]
        Instance.objects.update(lease_expires_at=timezone.now())
        _hang_up()
        deliver(leases.claim(State.REPORTED))
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        assert len(archive.stored) == 3, "the one whose answer was lost goes twice, the other once"


def test_a_peer_that_swallows_calls_is_left_alone_and_slows_no_other(settings: Settings) -> None:
    settings.ECG_DICOM_TIMEOUT_S = 1.0
    settings.ECG_BACKOFF_S = 30.0
    with ScriptedArchive(0x0000) as archive, socket.create_server(("127.0.0.1", 0)) as hole:
        destination(("A-HOLE", "127.0.0.1", hole.getsockname()[1]))
        destination(archive.entity_args)
        rows = [analysed() for _ in range(2)]
        pipeline.compose_waiting()
        deliver(leases.claim(State.REPORTED, ids=[rows[0].pk]))
        assert Delivery.objects.filter(peer__title="A-HOLE").count() == 2
        deliver(leases.claim(State.REPORTED, ids=[rows[1].pk]))
        assert len(archive.stored) == 4
    assert Delivery.objects.filter(peer__title="A-HOLE").count() == 2, "it was not called"
    rows[1].refresh_from_db()
    assert (rows[1].state, rows[1].attempts) == (State.REPORTED, 0)
    assert rows[1].last_error.startswith("A-HOLE: not called again yet: ")
    assert rows[1].not_before > timezone.now()


# --- rules and destinations -----------------------------------------------------------------------


def test_only_what_is_meant_for_somebody_is_composed_and_sent_by_the_rule() -> None:
    with ScriptedArchive(0x0000) as archive:
        pacs = destination(archive.entity_args)
        ward = destination(("WARD", *archive.entity_args[1:]), Output.ENHANCED)
        rule = Rule.objects.create(name="AF to the ward", finding="af", position=1)
        rule.destinations.add(ward)
        quiet, alarming = analysed(normal=0.97), analysed(af=0.9)
        pipeline.report_waiting()
        for row, kinds, where, name in (
            (quiet, {"basic_text", "comprehensive", "enhanced"}, {pacs, ward}, ""),
            (alarming, {"enhanced"}, {ward}, "AF to the ward"),
        ):
            row.refresh_from_db()
            assert row.state == State.DELIVERED
            assert set(row.reports.values_list("kind", flat=True)) == kinds
            meant = Dispatch.objects.filter(report__instance=row)
            assert {(d.rule, d.outcome) for d in meant} == {(name, "stored")}
            assert {d.peer for d in meant} == where


def test_two_languages_are_two_reports() -> None:
    with ScriptedArchive(0x0000) as archive:
        destination(archive.entity_args, Output.BASIC_TEXT)
        destination(
            ("CHINA", *archive.entity_args[1:]), Output.BASIC_TEXT, language=Language.CHINESE
        )
        row = analysed()
        pipeline.report_waiting()
        assert set(row.reports.values_list("kind", "language")) == {
            ("basic_text", "en"),
            ("basic_text", "zh-hans"),
        }
        assert len(set(archive.stored)) == 2
        for meant in Dispatch.objects.filter(report__instance=row):
            assert meant.report.language == meant.peer.language


def test_a_rule_may_send_nowhere() -> None:
    with ScriptedArchive(0x0000) as archive:
        destination(archive.entity_args)
        Rule.objects.create(name="normal stays here", finding="normal")
        row = analysed(normal=0.97)
        pipeline.report_waiting()
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        last = row.transitions.last()
        assert last is not None
        assert last.detail == "nothing was sent: routing rule normal stays here has no destination"
        assert row.reports.count() == archive.associations == 0


def test_a_rule_whose_peers_are_off_waits_and_goes_on_by_the_rules_of_then() -> None:
    with ScriptedArchive(0x0000) as archive:
        peer = destination(archive.entity_args)
        Rule.objects.create(name="all").destinations.add(peer)
        Peer.objects.update(is_destination=False)
        row = analysed()
        pipeline.compose_waiting()
        deliver(leases.claim(State.REPORTED))
        row.refresh_from_db()
        assert (row.state, row.attempts) == (State.REPORTED, 0)
        assert row.last_error == "routing rule all: none of its Peers receives reports now"
        peer.is_destination, peer.language = True, Language.CHINESE
        peer.save()
        pipeline.deliver_waiting()
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        assert set(row.reports.filter(language="zh-hans").values_list("kind", flat=True)) == {
            "basic_text",
            "comprehensive",
        }
        assert Dispatch.objects.filter(rule="all").count() == 2


def test_a_peer_switched_off_for_a_while_loses_nothing_and_holds_its_row() -> None:
    with ScriptedArchive(0x0000) as archive, ScriptedArchive(0x0000) as second:
        destination(archive.entity_args)
        ward = destination(("WARD", *second.entity_args[1:]))
        row = analysed()
        pipeline.compose_waiting()
        Peer.objects.filter(pk=ward.pk).update(is_destination=False)
        for _ in range(3):
            Instance.objects.update(not_before=timezone.now())
            deliver(leases.claim(State.REPORTED))
        row.refresh_from_db()
        assert (row.state, row.attempts) == (State.REPORTED, 0)
        assert row.last_error == "WARD: receives no reports now"
        assert (len(archive.stored), len(second.stored)) == (2, 0)
        Peer.objects.filter(pk=ward.pk).update(is_destination=True)
        Instance.objects.update(not_before=timezone.now())
        deliver(leases.claim(State.REPORTED))
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        assert (len(archive.stored), len(second.stored)) == (2, 2)


def test_what_was_refused_is_not_forgotten_when_its_peer_is_off_as_the_row_is_resumed() -> None:
    with ScriptedArchive(0xC001) as archive:
        destination(archive.entity_args)
        row = analysed()
        pipeline.report_waiting()
        Peer.objects.update(is_destination=False)
        row.refresh_from_db()
        assert leases.resume(row, actor="person")
        deliver(leases.claim(State.REPORTED))
        row.refresh_from_db()
        assert (row.state, row.last_error) == (
            State.REPORTED,
            "SCRIPTED: receives no reports now",
        )
        assert set(outcomes(row).values()) == {"waiting"}


def test_what_a_person_withdraws_from_a_peer_goes_where_the_tables_say_now() -> None:
    old = destination(("OLD", "127.0.0.1", 1))
    row = analysed()
    pipeline.compose_waiting()
    Peer.objects.filter(pk=old.pk).update(is_destination=False)
    with ScriptedArchive(0x0000) as archive:
        new = destination(archive.entity_args)
        deliver(leases.claim(State.REPORTED))
        row.refresh_from_db()
        assert (row.state, row.last_error) == (State.REPORTED, "OLD: receives no reports now")
        assert dispatching.withdraw(Dispatch.objects.all()) == 2
        deliver(leases.claim(State.REPORTED))
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        assert len(archive.stored) == 2
    by_peer = Counter(Dispatch.objects.values_list("peer", "outcome"))
    assert by_peer == {(old.pk, "withdrawn"): 2, (new.pk, "stored"): 2}


def test_what_was_withdrawn_from_a_peer_is_not_sent_to_it_after_all() -> None:
    with ScriptedArchive(0x0000) as archive:
        destination(archive.entity_args)
        row = analysed()
        pipeline.compose_waiting()
        dispatching.withdraw(Dispatch.objects.all())
        deliver(leases.claim(State.REPORTED))
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        assert archive.associations == 0
        assert set(outcomes(row).values()) == {"withdrawn"}


def test_a_peer_deleted_between_decision_and_record_delays_nothing() -> None:
    peer = destination(("GONE", "10.0.0.9", 104))
    row = analysed()
    decide = Routing.decide

    def decide_and_delete(self: Any, instance: Instance) -> Any:
        decision = decide(self, instance)
        Peer.objects.filter(pk=peer.pk).delete()
        return decision

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.composition.Routing.decide", decide_and_delete)
        pipeline.compose_waiting()
    row.refresh_from_db()
    assert row.state == State.REPORTED
    assert Dispatch.objects.count() == 0
    deliver(leases.claim(State.REPORTED))
    row.refresh_from_db()
    assert "peer add" in row.last_error


def test_a_stand_in_that_was_composed_and_never_recorded_is_composed_again() -> None:
    with ScriptedArchive(0x0000, sop_classes=[BASIC, ENHANCED]) as archive:
        destination(archive.entity_args)
        row = analysed()
        pipeline.compose_waiting()
        kept = set(spool.root().rglob("*.dcm"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gateway.composition.dispatch", _die)
            with pytest.raises(Died):
                deliver(leases.claim(State.REPORTED))
        assert len(set(spool.root().rglob("*.dcm")) - kept) == 1
        Instance.objects.update(lease_expires_at=timezone.now())
        deliver(leases.claim(State.REPORTED))
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        assert Report.objects.filter(kind="enhanced").count() == 1
        assert len(archive.stored) == 2


def _die(*_: Any, **__: Any) -> None:
    raise Died
