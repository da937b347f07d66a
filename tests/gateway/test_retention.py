"""What is old enough goes, and what somebody is owed stays, whatever its age."""

from __future__ import annotations

import datetime
import io
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk_rows import (
    analyse,
    attempt,
    compose,
    drawn,
    fail,
    make_alert,
    make_alert_rule,
    make_association,
    make_ecg,
    make_peer,
    mean,
    reject,
)
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from dicom_node.scp import ReceivedInstance
from dicom_node.status import Status
from gateway import ingest, retention, spool, tasks
from gateway.models import (
    Alert,
    Association,
    Commitment,
    CustodyRequest,
    Delivery,
    Dispatch,
    Disposal,
    Instance,
    Peer,
    Report,
    Transition,
)
from gateway.states import State

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = datetime.timedelta(days=100)


@pytest.fixture(autouse=True)
def _policy(settings: Settings, tmp_path: Path) -> Iterator[None]:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_KEEP_PICTURES_DAYS = settings.ECG_KEEP_REPORTS_DAYS = 30
    settings.ECG_KEEP_RECORDS_DAYS = 30
    yield
    retention._holds.clear()


def age(*rows: Any) -> None:
    """Make ECGs, and all that hangs on them, a hundred days old."""
    then = timezone.now() - LONG_AGO
    for row in rows:
        Instance.objects.filter(pk=row.pk).update(received_at=then, state_since=then)
        Transition.objects.filter(instance=row).update(at=then)
        row.reports.update(composed_at=then)
        Delivery.objects.filter(report__instance=row).update(attempted_at=then)


def ended(state: State = State.PROVEN, *, peer: Peer | None = None, **dispatch: Any) -> Instance:
    """Return an old ECG whose reports were stored and proven, unless told otherwise."""
    row = analyse(make_ecg(drawn()[::8, ::8]), {})
    values = {"outcome": "stored", "ended_at": timezone.now(), "proven_at": timezone.now()}
    for report in compose(row):
        mean(report, peer or make_peer(), **{**values, **dispatch})
        attempt(report, peer or make_peer())
    Instance.objects.filter(pk=row.pk).update(state=state)
    age(row)
    row.refresh_from_db()
    return row


def files() -> int:
    return sum(1 for path in spool.root().rglob("*.dcm") if path.is_file())


def remove() -> dict[str, retention.Outlook]:
    done, is_done = retention.apply(actor="test")
    assert is_done
    return {one.kind: one for one in done}


def last_event(row: Instance) -> str:
    return str(row.transitions.values_list("event", flat=True).last())


def is_here(row: Instance) -> bool:
    row.refresh_from_db()
    has_file = (spool.root() / row.spool_name).is_file()
    assert has_file == (row.aged_out_at is None)
    return has_file


def test_nothing_goes_while_no_policy_is_set(settings: Settings) -> None:
    settings.ECG_KEEP_PICTURES_DAYS = settings.ECG_KEEP_REPORTS_DAYS = 0
    settings.ECG_KEEP_RECORDS_DAYS = 0
    row = ended()
    assert remove() == {}
    assert is_here(row)
    out = io.StringIO()
    call_command("retention", "--apply", stdout=out)
    assert "kept for ever" in out.getvalue()


def test_a_dry_run_says_what_would_go_and_removes_nothing() -> None:
    row = ended()
    out = io.StringIO()
    call_command("retention", stdout=out)
    assert "pictures after 30 days (ECG_KEEP_PICTURES_DAYS=30): 1 would go" in out.getvalue()
    assert "reports after 30 days (ECG_KEEP_REPORTS_DAYS=30): 2 would go" in out.getvalue()
    assert is_here(row)
    assert not Disposal.objects.exists()


def test_bytes_go_rows_stay_and_every_removal_is_on_record() -> None:
    old, young = ended(), ended()
    Instance.objects.filter(pk=young.pk).update(state_since=timezone.now())
    findings, count = old.findings.count(), files()
    done = remove()
    assert (done["pictures"].count, done["reports"].count) == (1, 2)
    assert done["pictures"].size_bytes == old.size_bytes
    assert not is_here(old)
    assert is_here(young)
    assert files() == count - 3
    assert old.findings.count() == findings
    assert {d.outcome for d in Dispatch.objects.filter(report__instance=old)} == {"stored"}
    gone = Disposal.objects.get(kind=Disposal.Kind.PICTURE)
    assert (gone.uid, gone.sha256, gone.size_bytes) == (
        old.sop_instance_uid, old.sha256, old.size_bytes,
    )  # fmt: skip
    assert (gone.actor, gone.policy) == ("test", "ECG_KEEP_PICTURES_DAYS=30")
    assert Disposal.objects.filter(kind=Disposal.Kind.REPORT).count() == 2
    assert last_event(old) == "age_out"
    assert remove()["pictures"].count == 0


def commitment_of(row: Instance) -> None:
    CustodyRequest.objects.create(
        calling_title="CART",
        transaction_uid="2.25.77",
        references=[[row.sop_class_uid, row.sop_instance_uid]],
    )


def test_what_somebody_is_owed_stays_and_the_reason_is_said() -> None:
    waits = analyse(make_ecg(drawn()[::8, ::8]), {})
    failed = fail(make_ecg(drawn()[::8, ::8]), "no answer")
    original = ended()
    aside = make_ecg(
        drawn()[::8, ::8], state=State.SET_ASIDE, conflict_of=original,
    )  # fmt: skip
    meant = ended(State.DELIVERED, outcome="waiting", proven_at=None)
    unproven = ended(State.DELIVERED, proven_at=None)
    asked = ended()
    commitment_of(asked)
    frozen = ended()
    retention.hold("in a frozen set", lambda: Instance.objects.filter(pk=frozen.pk).values("pk"))
    rows = [waits, failed, original, aside, meant, unproven, asked, frozen]
    age(*rows)
    done = remove()
    assert done["pictures"].count == done["reports"].count == 0
    assert all(is_here(row) for row in rows)
    assert done["pictures"].held == {
        "not delivered yet": 1,
        "failed: a person has to look at it": 1,
        "set aside: a person has to look at it": 1,
        "another object of its UID is set aside": 1,
        "a report waits for a Peer": 1,
        "a Peer has not shown that it keeps a report": 1,
        "a sender asks whether we keep it": 1,
        "in a frozen set": 1,
    }
    assert sum(done["reports"].held.values()) == 10


def test_a_peer_that_shows_nothing_and_a_picture_that_was_rejected_hold_nothing() -> None:
    silent = make_peer("SILENT", "10.0.0.7", proof="none")
    rows = [
        ended(State.DELIVERED, peer=silent, proven_at=None),
        reject(make_ecg(drawn()[::8, ::8]), "blank picture"),
    ]
    age(*rows)
    remove()
    assert not any(is_here(row) for row in rows)


def test_a_hold_that_cannot_be_asked_stops_everything() -> None:
    row = ended()

    def broken() -> Any:
        raise RuntimeError("the other table is away")

    retention.hold("in a frozen set", broken)
    with pytest.raises(RuntimeError, match="away"):
        retention.apply(actor="test")
    assert is_here(row)


def test_a_run_that_dies_before_the_files_are_gone_leaves_no_row_without_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = ended()
    with monkeypatch.context() as dying:
        dying.setattr(spool, "remove", lambda _: exec("raise KeyboardInterrupt"))
        with pytest.raises(KeyboardInterrupt):
            retention.apply(actor="test")
    row.refresh_from_db()
    assert row.aged_out_at is not None
    assert (spool.root() / row.spool_name).is_file()
    remove()
    assert not is_here(row)
    assert Disposal.objects.filter(kind=Disposal.Kind.PICTURE).count() == 1


def send_again(row: Instance, data: bytes) -> Status:
    path = spool.incoming() / f"{uuid.uuid4().hex}.part"
    path.write_bytes(data)
    return ingest.receive(
        ReceivedInstance(
            path=path,
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            transfer_syntax_uid=row.transfer_syntax_uid,
            calling_title="CART",
            calling_address="127.0.0.1",
            association_id="later",
            sha256_dataset=row.sha256,
        )
    )


def test_the_same_object_sent_again_is_kept_again_and_reported_no_second_time() -> None:
    row = ended()
    data = spool.locate(row.spool_name).read_bytes()
    remove()
    assert not is_here(row)
    assert send_again(row, data) == Status.SUCCESS
    assert is_here(row)
    assert spool.locate(row.spool_name).read_bytes() == data
    assert (row.state, Instance.objects.count()) == (State.PROVEN, 1)
    assert last_event(row) == "restore"
    # Kept for thirty days from then on.
    assert remove()["pictures"].count == 0
    Transition.objects.filter(event="restore").update(at=timezone.now() - LONG_AGO)
    assert remove()["pictures"].count == 1


def test_whoever_asks_for_a_file_that_was_removed_is_told_so() -> None:
    row = ended()
    remove()
    row.refresh_from_db()
    with pytest.raises(retention.AgedOut, match=r"removed on .* by the retention policy"):
        retention.picture_file(row)
    with pytest.raises(retention.AgedOut, match="bytes of this report were removed"):
        retention.report_file(row.reports.all()[0])


def test_records_of_the_machine_go_when_they_have_ended() -> None:
    then = timezone.now() - LONG_AGO
    ecg = ended()
    old, open_still = make_association(started_at=then), make_association(started_at=then)
    Association.objects.filter(pk=open_still.pk).update(outcome=Association.Outcome.ACCEPTED)
    Instance.objects.filter(pk=ecg.pk).update(association=old)
    unfinished = ended(State.DELIVERED, outcome="waiting", proven_at=None)
    told = make_alert(ecg, outcome=Alert.Outcome.SENT, raised_at=then)
    unheard = make_alert(ecg, rule=make_alert_rule("AF to the night shift"), raised_at=then)
    Alert.objects.filter(pk=unheard.pk).update(outcome=Alert.Outcome.FAILED)
    peer = make_peer()
    for number, outcome in enumerate(("committed", "asked")):
        Commitment.objects.create(
            peer=peer, transaction_uid=f"2.25.{number}", asked_at=then, answer_due_at=then,
            outcome=outcome,
        )  # fmt: skip
    CustodyRequest.objects.create(
        calling_title="CART", transaction_uid="2.25.1", references=[], requested_at=then,
        outcome="answered",
    )  # fmt: skip
    done = remove()
    assert {kind: one.count for kind, one in done.items()} == {
        "pictures": 1,
        "reports": 2,
        "associations": 1,
        "deliveries": 2,
        "alerts": 1,
        "requests of senders": 1,
        "requests to archives": 1,
    }
    assert Association.objects.get() == open_still
    assert {d.report.instance_id for d in Delivery.objects.all()} == {unfinished.pk}
    assert not Alert.objects.filter(pk=told.pk).exists()
    assert Instance.objects.get(pk=ecg.pk).association is None
    said = Disposal.objects.filter(kind="record").values_list("detail", flat=True)
    (deliveries,) = [detail for detail in said if "deliveries" in detail]
    assert re.fullmatch(r"2 deliveries: \d+(-|,)\d+", deliveries), "each is named by its number"
    assert Transition.objects.filter(instance=ecg).count() > 3


def test_machines_read_it_as_json() -> None:
    ended()
    out = io.StringIO()
    call_command("retention", "--json", "--apply", stdout=out)
    said = json.loads(out.getvalue())
    assert said["applied"] is True
    assert {one["kind"]: one["count"] for one in said["kinds"]}["reports"] == 2


def test_the_sweeper_s_task_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [ended() for _ in range(3)]
    monkeypatch.setattr(retention, "_BATCH", 1)
    again: list[bool] = []
    monkeypatch.setattr(tasks.age_out, "delay", lambda: again.append(True))
    monkeypatch.setattr(tasks, "AGE_OUT_S", 0.0)
    tasks.age_out()
    assert again
    assert sum(is_here(row) for row in rows) == 2
    monkeypatch.setattr(tasks, "AGE_OUT_S", 60.0)
    again.clear()
    tasks.age_out()
    assert not again
    assert not any(is_here(row) for row in rows)
    assert not Report.objects.filter(aged_out_at__isnull=True).exists()


def test_a_picture_is_shown_no_more_and_the_desk_says_why(admin_client: Any) -> None:
    row = ended()
    remove()
    page = admin_client.get(f"/desk/gateway/instance/{row.pk}/change/")
    assert "removed on" in page.content.decode()
    picture = admin_client.get(f"/desk/gateway/instance/{row.pk}/picture/")
    assert picture.status_code == 410
    assert "by the retention policy" in picture.content.decode()
    report = row.reports.all()[0]
    file = admin_client.get(f"/desk/gateway/report/{report.pk}/file/")
    assert "by the retention policy" in file.content.decode()
    listed = admin_client.get("/desk/gateway/disposal/").content.decode()
    assert "ECG_KEEP_PICTURES_DAYS=30" in listed
    one = Disposal.objects.filter(kind="picture").get()
    shown = admin_client.get(f"/desk/gateway/disposal/{one.pk}/change/").content.decode()
    assert row.sop_instance_uid in shown
