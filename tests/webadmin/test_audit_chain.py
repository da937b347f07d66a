"""The chain: what is written is chained, and whatever is done to it afterwards is found."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import pytest
from desk_rows import analyse, attempt, compose, make_alert, make_association, make_ecg, make_peer
from desk_rows import mean as mean_for
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from django.utils import timezone
from pytest_django import Settings

from gateway import retention, spans
from gateway.models import (
    Alert,
    Association,
    Commitment,
    Delivery,
    Disposal,
    Instance,
    Promotion,
    Review,
    Transition,
)
from webadmin import audit, auditing, chain, chained
from webadmin.models import AuditLink, Deed


def life() -> Instance:
    """Return an ECG that has lived: it came, was read, reported, sent; alerts were raised."""
    association = make_association()
    ecg = analyse(make_ecg(association=association), {"af": 0.9})
    peer = make_peer()
    report = compose(ecg)[0]
    mean_for(report, peer)
    attempt(report, peer)
    make_alert(ecg)
    audit.record(audit.Action.VIEWED, actor="ada", subject=ecg, at_ms=1e22, share=0.1)
    return ecg


@pytest.fixture
def whole(db: None) -> Instance:
    """Return an ECG whose rows are chained."""
    ecg = life()
    assert chain.extend() > 8
    return ecg


def places() -> list[tuple[str, str]]:
    """Return the table and the words of what a verification finds."""
    return [(fault.table, fault.what) for fault in auditing.verify().faults]


def sql(text: str, *values: Any) -> None:
    """Do what somebody with the database in his hands can do."""
    with connection.cursor() as cursor:
        cursor.execute(text, values)
        assert cursor.rowcount > 0


def test_every_row_is_chained_once_and_the_chain_is_whole(whole: Instance) -> None:
    count = AuditLink.objects.count()
    assert chain.extend() == 0
    for source in chained.SOURCES:
        links = AuditLink.objects.filter(table=source.table)
        assert set(links.values_list("row", flat=True)) == set(
            source.rows().values_list("pk", flat=True)
        ), source.table
    verdict = auditing.verify()
    assert (verdict.is_whole, verdict.links_count) == (True, count)
    assert verdict.head == chain.head()
    assert verdict.head.number == count


def test_what_may_still_change_is_chained_when_it_changes_no_more(whole: Instance) -> None:
    open_one = make_association(outcome="accepted", ended_at=None)
    asked = Commitment.objects.create(
        peer=make_peer(), transaction_uid="2.25.1", answer_due_at=timezone.now()
    )
    chain.extend()
    assert not AuditLink.objects.filter(table="gateway.association", row=open_one.pk).exists()
    Association.objects.filter(pk=open_one.pk).update(outcome="released", ended_at=timezone.now())
    Commitment.objects.filter(pk=asked.pk).update(outcome="committed", answered_at=timezone.now())
    assert chain.extend() == 2
    assert auditing.verify().is_whole


def test_what_a_machine_goes_on_to_write_breaks_nothing(whole: Instance) -> None:
    Alert.objects.update(outcome="sent", attempts=3, ended_at=timezone.now())
    Instance.objects.update(state="proven", reason="", last_error="x")
    assert auditing.verify().is_whole


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("webadmin.deed", "UPDATE webadmin_deed SET actor = 'eve'"),
        ("webadmin.deed", "UPDATE webadmin_deed SET patient_id = '1' WHERE action = 'view'"),
        ("gateway.transition", "UPDATE gateway_transition SET actor = 'x' WHERE id IN "
                               "(SELECT MIN(id) FROM gateway_transition)"),
        ("gateway.delivery", "UPDATE gateway_delivery SET outcome = 'refused'"),
        ("gateway.report", "UPDATE gateway_report SET sha256 = '0' WHERE id IN "
                           "(SELECT MIN(id) FROM gateway_report)"),
        ("gateway.alert", "UPDATE gateway_alert SET probability = 0.5"),
        ("gateway.association", "UPDATE gateway_association SET calling_title = 'X'"),
    ],
)  # fmt: skip
def test_an_edited_row_is_found(whole: Instance, table: str, change: str) -> None:
    sql(change)
    assert places() == [(table, "the row was changed")]


def test_a_time_that_moved_by_a_second_is_found(whole: Instance) -> None:
    deed = Deed.objects.get(action="view")
    Deed.objects.filter(pk=deed.pk).update(at=deed.at - datetime.timedelta(seconds=1))
    assert places() == [("webadmin.deed", "the row was changed")]


def test_a_deleted_row_is_found(whole: Instance) -> None:
    sql("DELETE FROM webadmin_deed WHERE action = %s", "view")
    assert places() == [("webadmin.deed", "the row was deleted")]


def test_an_edited_link_is_found_and_so_is_one_made_to_fit_its_edited_row(whole: Instance) -> None:
    link = AuditLink.objects.get(table="webadmin.deed")
    sql("UPDATE webadmin_deed SET actor = 'eve'")
    deed = chained.BY_TABLE["webadmin.deed"]
    values = deed.rows().values_list(*deed.columns).get(pk=link.row)
    AuditLink.objects.filter(pk=link.pk).update(row_sha256=deed.sha256_of(link.row, values))
    assert places()[0] == ("webadmin.deed", "it was changed, or put here from elsewhere")
    link.row_sha256 = deed.sha256_of(link.row, values)
    before = AuditLink.objects.get(number=link.number - 1).sha256
    AuditLink.objects.filter(pk=link.pk).update(sha256=chain.link_sha256(link, before))
    audit.record(audit.Action.READ, actor="ada")
    chain.extend()
    faults = auditing.verify().faults
    assert [fault.number for fault in faults] == [link.number + 1], "the next one tells"


def test_a_removed_link_is_found(whole: Instance) -> None:
    sql("DELETE FROM webadmin_auditlink WHERE number = 3")
    verdict = auditing.verify()
    assert verdict.faults == [auditing.Fault(3, "links 3 to 3 are missing")]


def test_links_that_changed_places_are_found(whole: Instance) -> None:
    sql("UPDATE webadmin_auditlink SET number = 9999 WHERE number = 3")
    sql("UPDATE webadmin_auditlink SET number = 3 WHERE number = 4")
    sql("UPDATE webadmin_auditlink SET number = 4 WHERE number = 9999")
    assert [fault.number for fault in auditing.verify().faults][:2] == [3, 4]


def test_a_chain_made_anew_or_cut_off_does_not_go_through_a_head_noted_outside(
    whole: Instance,
) -> None:
    noted = chain.head()
    assert auditing.verify(noted=noted).is_whole
    audit.record(audit.Action.READ, actor="ada")
    chain.extend()
    assert auditing.verify(noted=noted).is_whole, "it may have grown since"

    AuditLink.objects.filter(number__gte=noted.number).delete()
    assert auditing.verify().is_whole, "nothing inside the database shows a missing end"
    (fault,) = auditing.verify(noted=noted).faults
    assert (fault.number, "ends before" in fault.what) == (noted.number, True)

    sql("UPDATE webadmin_deed SET actor = 'eve'")
    AuditLink.objects.all().delete()
    chain.extend()
    assert auditing.verify().is_whole
    (fault,) = auditing.verify(noted=noted).faults
    assert fault.what == "it is not the head that was noted"


def test_what_the_policy_removed_is_told_from_what_somebody_deleted(
    whole: Instance, settings: Settings
) -> None:
    old = timezone.now() - datetime.timedelta(days=40)
    ids = []
    for _number in range(3):
        row = make_association(outcome="released")
        Association.objects.filter(pk=row.pk).update(started_at=old, ended_at=old)
        ids.append(row.pk)
        make_association(outcome="released", ended_at=timezone.now())
    chain.extend()
    settings.ECG_KEEP_RECORDS_DAYS = 30
    retention.apply(actor="retention")
    chain.extend()
    told = Disposal.objects.get(kind="record")
    assert told.detail == f"3 associations: {','.join(map(str, ids))}"
    verdict = auditing.verify()
    assert (verdict.is_whole, verdict.removed_count) == (True, 3)

    Association.objects.filter(outcome="released").first().delete()  # type: ignore[union-attr]
    assert places() == [("gateway.association", "the row was deleted")]


def test_a_long_disposal_names_every_row_all_the_same(db: None, settings: Settings) -> None:
    old = timezone.now() - datetime.timedelta(days=40)
    for number in range(300):
        ended = old if number % 2 else timezone.now()
        Association.objects.create(uid=f"{number}", outcome="released", started_at=ended,
                                   ended_at=ended)  # fmt: skip
    chain.extend()
    settings.ECG_KEEP_RECORDS_DAYS = 30
    retention.apply(actor="retention")
    assert Disposal.objects.count() > 1
    verdict = auditing.verify()
    assert (verdict.is_whole, verdict.removed_count) == (True, 150)


def test_of_two_that_append_at_once_one_leaves_it_to_the_other(whole: Instance) -> None:
    audit.record(audit.Action.READ, actor="ada")
    mine, others = chain._unchained(False), chain._unchained(False)
    chain._append(others)
    with pytest.raises(IntegrityError):
        chain._append(mine)
    assert chain.extend() == 0
    assert auditing.verify().is_whole


def test_what_became_final_long_after_its_neighbours_is_found_by_the_thorough_sweep(
    whole: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "_LOOK_BACK", 2)
    late = make_association(outcome="accepted", ended_at=None)
    for _ in range(4):
        make_association(outcome="released", ended_at=timezone.now())
    chain.extend()
    Association.objects.filter(pk=late.pk).update(outcome="released", ended_at=timezone.now())
    assert chain.extend() == 0
    assert chain.extend(is_thorough=True) == 1


def test_a_backlog_is_chained_in_the_order_of_time(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    life()
    for number in range(9):
        audit.record(audit.Action.READ, actor="ada", subject=f"instance {number}")
        make_association()
    monkeypatch.setattr(chain, "_BATCH", 3)
    assert chain.extend(is_thorough=True) > 25
    times = list(AuditLink.objects.order_by("number").values_list("at", flat=True))
    assert times == sorted(times)
    assert auditing.verify().is_whole


def test_a_hash_is_the_same_on_every_database() -> None:
    noon = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC)
    east = noon.astimezone(datetime.timezone(datetime.timedelta(hours=8)))
    assert chained.sha256([noon, 1.0, {"b": 1e22, "a": "心"}]) == chained.sha256(
        [east, 1, {"a": "心", "b": 10**22}]
    )
    assert chained.sha256([0.1]) != chained.sha256([0.2])


def test_every_column_that_is_hashed_exists_and_none_of_an_appended_table_is_left_out(
    db: None,
) -> None:
    for source in chained.SOURCES:
        names = {field.attname for field in source.model._meta.concrete_fields} - {"id"}
        assert set(source.columns) <= names, source.table
        if source.model in (Transition, Delivery, Deed, Disposal, Promotion):
            assert set(source.columns) == names
    assert {"composed_at"} == {field.attname for field in Review._meta.concrete_fields} - {
        "id"
    } - set(chained.BY_TABLE["gateway.review"].columns)


def test_spans_are_read_as_they_were_written() -> None:
    numbers = [1, 2, 3, 7, 9, 10]
    assert spans.write(numbers) == "1-3,7,9-10"
    assert [n for span in spans.read("1-3,7,9-10") for n in span] == numbers
    with pytest.raises(ValueError, match="received 'x'"):
        list(spans.read("1,x"))


def test_the_command_says_where_it_broke_and_ends_with_1(
    whole: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("audit", "verify")
    said = capsys.readouterr().out
    assert said.startswith("whole: ")
    call_command("audit", "head")
    noted = capsys.readouterr().out.strip()
    assert chain.Head.parse(noted) == chain.head()
    sql("UPDATE gateway_delivery SET reason = 'nothing happened'")
    with pytest.raises(SystemExit) as ended:
        call_command("audit", "verify", "--head", noted)
    assert ended.value.code == 1
    link = AuditLink.objects.get(table="gateway.delivery")
    said = capsys.readouterr().out
    assert f"the first at link {link.number}" in said
    assert f"link {link.number} (gateway.delivery {link.row}): the row was changed" in said
    last = Deed.objects.filter(action=audit.Action.TRAIL_VERIFIED).latest("pk")
    assert last.detail["faults"] == 1
    with pytest.raises(CommandError, match="expected a head as NUMBER:HASH"):
        call_command("audit", "verify", "--head", "12")


def test_the_export_can_be_verified_without_us(whole: Instance, tmp_path: Path) -> None:
    call_command("audit", "export", str(tmp_path / "trail.jsonl"), stdout=io.StringIO())
    before = "0" * 64
    for text in (tmp_path / "trail.jsonl").read_text().splitlines():
        line = json.loads(text)
        values = [line["table"], line["row"], line["values"]]
        assert chained.sha256(values) == line["row_sha256"]
        link = [line[name] for name in ("number", "at", "table", "row", "row_sha256")]
        before = chained.sha256([*link, before])
        assert before == line["sha256"]
    assert before == chain.head().sha256
    assert json.loads(text)["values"]["action"] == "export"
