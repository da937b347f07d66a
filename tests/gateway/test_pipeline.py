"""Analyse, compose, deliver: on real files, a real network and real archives."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone
from peers import Orthanc, StoreSCP
from pictures import page, picture
from pydicom import DataElement, Dataset, config, dcmread
from pydicom.uid import UID, generate_uid
from pytest_django import Settings
from scripted import ScriptedArchive

from dicom_node import report
from dicom_node.capture import multi_frame_capture
from dicom_node.scp import ReceivedInstance
from dicom_node.status import Status
from gateway import dispatching, ingest, leases, network, pipeline, sources, spool
from gateway.delivery import deliver
from gateway.models import Alert, AlertRule, Delivery, Finding, Instance, Peer, Report
from gateway.outputs import Output
from gateway.states import State
from models.corpus import STYLES, draw_page, simulate
from models.corpus.layouts import SIX_LEAD_LAYOUTS
from models.labels import KEYS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(settings: Settings, tmp_path: Path) -> Iterator[None]:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_BACKOFF_S = 0.0
    settings.ECG_SWEEP_S = 0.0
    settings.ECG_DICOM_TIMEOUT_S = 3.0
    yield
    # The row of the network goes with the test's database.
    network.model_version.cache_clear()


def take(ds: Dataset, *, announced: str | None = None, cut_bytes: int = 0) -> Instance:
    """Receive an object as the Listener does and return its row."""
    path = spool.incoming() / f"{uuid.uuid4().hex}.part"
    ds.save_as(path, enforce_file_format=True)
    if cut_bytes:
        path.write_bytes(path.read_bytes()[:-cut_bytes])
    uid = announced or str(ds.SOPInstanceUID)
    received = ReceivedInstance(
        path=path,
        sop_class_uid=str(ds.SOPClassUID),
        sop_instance_uid=uid,
        transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
        calling_title="CART",
        calling_address="127.0.0.1",
        association_id="1",
        sha256_dataset=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    assert ingest.receive(received) == Status.SUCCESS
    return Instance.objects.get(sop_instance_uid=uid)


def analyse_and_compose() -> int:
    """Do what an Analyst and a Courier do until nothing waits; return how many were composed."""
    pipeline.analyse_waiting()
    return pipeline.compose_waiting()


def destination(title: str, host: str, port: int) -> Peer:
    """Make an archive known."""
    return Peer.objects.create(title=title, host=host, port=port, is_destination=True)


# --- analyse and compose -------------------------------------------------------------------------


def test_a_picture_gets_ten_findings_and_two_reports() -> None:
    row = take(picture(accession_number="A-1"))
    assert analyse_and_compose() == 1
    row.refresh_from_db()
    assert row.state == State.REPORTED, row.reason
    assert {f.key for f in row.findings.all()} == set(KEYS)
    assert all(0.0 <= f.probability <= 1.0 for f in row.findings.all())
    assert {r.kind for r in row.reports.all()} == {"basic_text", "comprehensive"}
    assert row.study is not None
    assert row.study.accession_number == "A-1"
    assert [t.to_state for t in row.transitions.all()] == ["received", "analysed", "reported"]


def test_what_the_report_says_is_what_the_rows_say() -> None:
    row = take(picture())
    analyse_and_compose()
    row.refresh_from_db()
    for kept in row.reports.all():
        text = report.render_tree(dcmread(spool.locate(kept.spool_name)))
        for finding in row.findings.filter(verdict=Finding.Verdict.PRESENT):
            assert f"{100 * finding.probability:.1f}" in text, kept.kind


def test_reports_composed_again_have_the_same_bytes() -> None:
    row = take(picture())
    analyse_and_compose()
    row.refresh_from_db()
    kept = {r.kind: spool.locate(r.spool_name).read_bytes() for r in row.reports.all()}
    again = {kind.value: content for kind, (_, content) in sources.reports_of(row).items()}
    assert again == kept


def test_many_waiting_pictures_are_classified_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [take(picture()) for _ in range(5)]
    sizes: list[int] = []
    classify = network.predictor().classify

    def spy(pages: Any) -> Any:
        sizes.append(len(pages))
        return classify(pages)

    monkeypatch.setattr(network.predictor(), "classify", spy)
    analyse_and_compose()
    assert sizes == [5]
    assert set(Instance.objects.values_list("state", flat=True)) == {State.REPORTED}
    assert Report.objects.count() == 2 * len(rows)


def test_an_analyst_that_died_between_its_two_steps_is_followed_by_one_that_composes() -> None:
    row = take(picture())
    analyse_and_compose()
    # As if it had died right after the findings were committed.
    Report.objects.all().delete()
    Instance.objects.filter(pk=row.pk).update(state=State.ANALYSED)
    analyse_and_compose()
    row.refresh_from_db()
    assert (row.state, row.reports.count()) == (State.REPORTED, 2)


def test_a_row_that_ends_every_process_that_works_on_it_is_given_up(settings: Settings) -> None:
    row, good = take(picture()), take(picture())
    settings.ECG_ATTEMPTS = 3
    for _ in range(3):
        # Claimed, and never heard of again.
        assert leases.claim(State.RECEIVED, ids=[row.pk])
        Instance.objects.filter(pk=row.pk).update(lease_expires_at=timezone.now())
    analyse_and_compose()
    row.refresh_from_db()
    good.refresh_from_db()
    assert (row.state, row.failed_in) == (State.FAILED, State.RECEIVED)
    assert "3 attempts ended without an answer" in row.reason
    assert good.state == State.REPORTED


def blank() -> Dataset:
    return picture(np.full((1200, 1600, 3), 255, np.uint8))


def at_50_mm_a_second() -> Dataset:
    fast = replace(STYLES["pink"], speed_mm_per_s=50.0)
    return picture(draw_page(simulate("normal", 1), 250.0, "3x4+1", fast, 1))


def ct_slice() -> Dataset:
    rows, columns = np.mgrid[-1:1:512j, -1:1:512j]
    body = (rows**2 + (1.3 * columns) ** 2 < 0.8).astype(float) * 0.5
    body += (rows**2 + (columns - 0.3) ** 2 < 0.05) * 0.4
    noise = np.random.default_rng(1).normal(0, 0.02, body.shape)
    return picture((255 * np.clip(body + noise, 0, 1)).astype(np.uint8), modality="CT")


def photograph() -> Dataset:
    rng = np.random.default_rng(2)
    small = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return picture(np.kron(small, np.ones((80, 80, 1), np.uint8)))


def declared_huge() -> Dataset:
    ds = picture()
    ds.Rows = ds.Columns = 65535
    return ds


def beyond_the_bytes() -> Dataset:
    ds = picture()
    ds.Rows = ds.Rows * 2
    return ds


def without_study() -> Dataset:
    ds = picture()
    del ds.StudyInstanceUID
    return ds


def invalid_uid() -> Dataset:
    ds = picture()
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID("1..2.")
    return ds


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (blank, "blank"),
        (at_50_mm_a_second, "50 mm/s"),
        (ct_slice, ""),
        (photograph, ""),
        (declared_huge, "65535"),
        (beyond_the_bytes, "bytes"),
        (without_study, "Study"),
        (invalid_uid, "UID"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_what_cannot_be_read_is_rejected_with_its_reason_and_delays_nobody(
    make: Callable[[], Dataset], word: str
) -> None:
    bad, good = take(make()), take(picture())
    analyse_and_compose()
    bad.refresh_from_db()
    good.refresh_from_db()
    assert bad.state == State.REJECTED
    assert bad.reason
    assert word in bad.reason
    assert bad.findings.count() == bad.reports.count() == 0
    assert good.state == State.REPORTED


def test_how_far_a_page_is_from_the_training_is_kept_with_it_read_or_not() -> None:
    good, fast = take(picture()), take(at_50_mm_a_second())
    analyse_and_compose()
    for row, state in ((good, State.REPORTED), (fast, State.REJECTED)):
        row.refresh_from_db()
        assert row.state == state
        assert row.quality["unfamiliarity"] > 0
    assert good.quality["unfamiliarity"] < 1, "the limit"


def test_an_identifier_that_would_have_to_be_mended_is_given_up_with_its_name() -> None:
    ds = picture()
    ds.add(DataElement("PatientID", "LO", "12\t34", validation_mode=config.IGNORE))
    bad, good = take(ds), take(picture())
    analyse_and_compose()
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.state, bad.failed_in) == (State.FAILED, State.ANALYSED)
    assert bad.reason.startswith("PatientID holds characters")
    assert "12" not in bad.reason
    assert bad.reports.count() == 0
    assert good.state == State.REPORTED


def test_a_truncated_object_is_rejected() -> None:
    row = take(picture(), cut_bytes=100_000)
    analyse_and_compose()
    row.refresh_from_db()
    assert row.state == State.REJECTED
    assert row.reason


def test_an_object_other_than_announced_is_rejected() -> None:
    row = take(picture(), announced="1.2.3.4")
    analyse_and_compose()
    row.refresh_from_db()
    assert row.state == State.REJECTED
    assert "differ" in row.reason


def test_an_object_without_patient_and_order_is_reported_all_the_same() -> None:
    ds = picture()
    for keyword in ("PatientID", "PatientName", "AccessionNumber", "SpecificCharacterSet"):
        if keyword in ds:
            delattr(ds, keyword)
    row = take(ds)
    analyse_and_compose()
    row.refresh_from_db()
    assert row.state == State.REPORTED, row.reason


def test_every_page_of_an_object_is_read_and_each_finding_names_its_own() -> None:
    grey = page()[..., 0]
    ds = picture(grey)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7.2")
    ds.NumberOfFrames = 3
    empty = np.full_like(grey, 255)
    ds.PixelData = np.stack([empty, grey, grey]).tobytes()
    row = take(ds)
    analyse_and_compose()
    row.refresh_from_db()
    assert (row.state, row.frame_number) == (State.REPORTED, 2), row.reason
    assert [one["number"] for one in row.pages] == [1, 2, 3]
    assert [one["reason"] is None for one in row.pages] == [False, True, True]
    assert {finding.frame_number for finding in row.findings.all()} <= {2, 3}
    assert row.transitions.get(event="analyse").detail.endswith("on page 2, 3")


def test_limb_leads_and_chest_leads_on_two_pages_are_read_as_one_ecg() -> None:
    limb, chest = (page(layout) for layout in SIX_LEAD_LAYOUTS[:2])
    ds = multi_frame_capture([limb, chest], picture(limb))
    row = take(ds)
    analyse_and_compose()
    row.refresh_from_db()
    assert row.state == State.REPORTED, row.reason
    assert [one["joined_with"] for one in row.pages] == [2, 1]
    whole = take(picture(page("6x2")))
    analyse_and_compose()
    for finding in row.findings.all():
        same = whole.findings.get(key=finding.key)
        assert finding.verdict == same.verdict, finding.key
        assert finding.probability == pytest.approx(same.probability, abs=0.15), finding.key


def test_a_result_of_ours_that_comes_back_is_never_analysed() -> None:
    row = take(picture())
    analyse_and_compose()
    (page_of_result, _) = sources.reports_of(
        Instance.objects.get(pk=row.pk), [Output.RESULT_PAGE], "en"
    )[Output.RESULT_PAGE]
    again = take(page_of_result)
    analyse_and_compose()
    again.refresh_from_db()
    assert (again.state, again.findings.count()) == (State.REJECTED, 0)
    assert "our own result" in again.reason


def test_an_alert_is_there_with_the_findings_it_is_about() -> None:
    AlertRule.objects.create(
        name="any",
        finding="af",
        min_probability=0.0,
        channel="webhook",
        target="http://127.0.0.1:9",
    )
    AlertRule.objects.create(
        name="none",
        finding="af",
        min_probability=1.0,
        channel="webhook",
        target="http://127.0.0.1:9",
    )
    row = take(picture())
    analyse_and_compose()
    assert [alert.rule.name for alert in Alert.objects.filter(instance=row)] == ["any"]


def test_a_64_character_uid_is_taken_and_referenced() -> None:
    uid = generate_uid(prefix="1.2.826.0.1.3680043.8.498.")[:63].rstrip(".")
    uid = uid + "1" * (64 - len(uid))
    row = take(picture(sop_instance_uid=uid))
    analyse_and_compose()
    row.refresh_from_db()
    assert row.state == State.REPORTED, row.reason
    assert all(len(r.sop_instance_uid) <= 64 for r in row.reports.all())


def test_two_patients_under_one_study_uid_are_never_shown_as_one() -> None:
    first = picture(patient_id="ALICE")
    second = picture(patient_id="BOB", study_instance_uid=str(first.StudyInstanceUID))
    rows = [take(first), take(second)]
    analyse_and_compose()
    for row, patient in zip(rows, ("ALICE", "BOB"), strict=True):
        row.refresh_from_db()
        assert row.study is not None
        assert row.study.patient_id == patient


# --- deliver -----------------------------------------------------------------------------------


def test_both_reports_reach_an_archive_once(store_scp: StoreSCP) -> None:
    destination(*store_scp.entity_args)
    row = take(picture())
    analyse_and_compose()
    pipeline.deliver_waiting()
    pipeline.deliver_waiting()
    row.refresh_from_db()
    assert row.state == State.DELIVERED
    assert len(store_scp.files()) == 2
    assert [d.status for d in Delivery.objects.all()] == [0, 0]


def test_without_a_destination_reports_wait_and_spend_no_attempt(orthanc: Orthanc) -> None:
    row = take(picture())
    analyse_and_compose()
    (held,) = leases.claim(State.REPORTED)
    deliver([held])
    row.refresh_from_db()
    assert (row.state, row.attempts) == (State.REPORTED, 0)
    assert "peer add" in row.last_error
    destination(*orthanc.entity_args)
    pipeline.deliver_waiting()
    row.refresh_from_db()
    assert row.state == State.DELIVERED
    assert orthanc.count() == 2


@pytest.mark.parametrize(
    ("status", "state", "outcome"),
    [
        (0x0000, State.DELIVERED, "stored"),
        (0x0111, State.DELIVERED, "stored"),
        (0xB000, State.DELIVERED, "warning"),
        (0xB007, State.DELIVERED, "warning"),
        (0xA700, State.REPORTED, "retry"),
        (0x0110, State.REPORTED, "retry"),
        (0x0122, State.FAILED, "refused"),
        (0xA900, State.FAILED, "refused"),
        (0xC001, State.FAILED, "refused"),
    ],
)
def test_what_an_archive_answers_decides_what_happens_next(
    status: int, state: State, outcome: str
) -> None:
    with ScriptedArchive(status) as archive:
        destination(*archive.entity_args)
        row = take(picture())
        analyse_and_compose()
        deliver(leases.claim(State.REPORTED))
    row.refresh_from_db()
    assert row.state == state
    assert {d.outcome for d in Delivery.objects.all()} == {outcome}
    assert {d.status for d in Delivery.objects.all()} == {status}
    assert bool(row.reason) == (state == State.FAILED)


def test_an_archive_that_is_away_is_tried_again_until_it_is_there() -> None:
    with ScriptedArchive(0x0000) as archive:
        title, host, port = archive.entity_args
    destination(title, host, port)
    row = take(picture())
    analyse_and_compose()
    deliver(leases.claim(State.REPORTED))
    row.refresh_from_db()
    assert (row.state, row.attempts) == (State.REPORTED, 0)
    assert title in row.last_error
    with ScriptedArchive(0x0000, port=port) as archive:
        deliver(leases.claim(State.REPORTED))
        stored = list(archive.stored)
    row.refresh_from_db()
    assert row.state == State.DELIVERED
    assert sorted(stored) == sorted(r.sop_instance_uid for r in row.reports.all())


def test_what_one_archive_has_is_not_sent_again_when_another_is_away() -> None:
    with ScriptedArchive(0x0000) as away:
        gone = away.entity_args
    with ScriptedArchive(0x0000) as archive:
        destination(*archive.entity_args)
        late = destination("LATE", *gone[1:])
        row = take(picture())
        analyse_and_compose()
        for _ in range(3):
            deliver(leases.claim(State.REPORTED))
        assert len(archive.stored) == 2
        row.refresh_from_db()
        assert row.state == State.REPORTED
        assert dispatching.withdraw(late.dispatches.all()) == 2
        deliver(leases.claim(State.REPORTED))
        row.refresh_from_db()
        assert row.state == State.DELIVERED
        assert len(archive.stored) == 2


def test_an_archive_that_takes_no_reports_fails_the_row_with_the_reason_and_it_can_be_resumed(
    orthanc: Orthanc,
) -> None:
    with ScriptedArchive(0x0000, sop_classes=("1.2.840.10008.5.1.4.1.1.2",)) as archive:
        peer = destination(*archive.entity_args)
        row = take(picture())
        analyse_and_compose()
        deliver(leases.claim(State.REPORTED))
    row.refresh_from_db()
    assert (row.state, row.failed_in) == (State.FAILED, State.REPORTED)
    assert row.reason.startswith(f"{peer.title}: the Peer accepts none of Comprehensive SR, ")
    peer.title, peer.host, peer.port = orthanc.entity_args
    peer.save()
    assert leases.resume(row, actor="person")
    pipeline.deliver_waiting()
    row.refresh_from_db()
    assert row.state == State.DELIVERED
    assert orthanc.count() == 2


def test_a_report_that_changed_on_disk_is_never_sent() -> None:
    with ScriptedArchive(0x0000) as archive:
        destination(*archive.entity_args)
        row = take(picture())
        analyse_and_compose()
        kept = row.reports.order_by("kind")[0]
        spool.locate(kept.spool_name).write_bytes(b"forged")
        deliver(leases.claim(State.REPORTED))
        other = row.reports.exclude(pk=kept.pk).get()
        assert archive.stored == [other.sop_instance_uid]
    row.refresh_from_db()
    assert row.state == State.REPORTED
    assert "SHA-256" in row.last_error
