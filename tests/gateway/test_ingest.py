"""One C-STORE becomes a file, a row and a status, whatever else is broken."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import uuid
from pathlib import Path

import pytest
from django.db import connection, connections
from pytest_django import Settings

from dicom_node.scp import AssociationRecord, Caller, ReceivedInstance, Refusal
from dicom_node.status import Status
from gateway import ingest, spool
from gateway.models import Association, Instance, Peer
from gateway.states import State


@pytest.fixture(autouse=True)
def _spool(settings: Settings, tmp_path: Path) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"


def arrive(
    uid: str = "1.2.3", content: bytes = b"data set", *, calling_title: str = "CART"
) -> ReceivedInstance:
    """Return an object as the Listener hands it over: complete, in ``incoming``."""
    path = spool.incoming() / f"{uuid.uuid4().hex}.part"
    path.write_bytes(b"\0" * 128 + b"DICM" + content)
    return ReceivedInstance(
        path=path,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        sop_instance_uid=uid,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        calling_title=calling_title,
        calling_address="127.0.0.1",
        association_id="association-1",
        sha256_dataset=hashlib.sha256(content).hexdigest(),
    )


def spooled() -> list[Path]:
    """Return every file below the spool, ``incoming`` included."""
    return [path for path in spool.root().rglob("*") if path.is_file()]


@pytest.mark.django_db(transaction=True)
def test_an_object_is_a_file_a_row_and_a_line_before_success_is_said() -> None:
    received = arrive()
    assert ingest.receive(received) == Status.SUCCESS
    row = Instance.objects.get()
    assert (row.state, row.calling_title, row.conflict_of) == (State.RECEIVED, "CART", None)
    assert spooled() == [spool.locate(row.spool_name)]
    assert row.size_bytes == spool.locate(row.spool_name).stat().st_size
    assert [t.to_state for t in row.transitions.all()] == [State.RECEIVED]
    assert row.association is not None
    assert row.association.uid == "association-1"


@pytest.mark.django_db(transaction=True)
def test_the_same_object_again_is_success_and_no_new_work() -> None:
    for _ in range(3):
        assert ingest.receive(arrive()) == Status.SUCCESS
    assert Instance.objects.count() == 1
    assert len(spooled()) == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_uid_with_other_bytes_is_kept_aside_and_overwrites_nothing() -> None:
    ingest.receive(arrive(content=b"first"))
    assert ingest.receive(arrive(content=b"second")) == Status.SUCCESS
    assert ingest.receive(arrive(content=b"second")) == Status.SUCCESS
    first, second = Instance.objects.order_by("pk")
    assert (second.state, second.conflict_of) == (State.SET_ASIDE, first)
    assert "other bytes" in second.reason
    assert spool.locate(first.spool_name).read_bytes().endswith(b"first")
    assert spool.locate(second.spool_name).read_bytes().endswith(b"second")


@pytest.mark.django_db(transaction=True)
def test_many_associations_storing_the_same_uid_at_once_make_one_row() -> None:
    arrivals = [arrive() for _ in range(8)]
    statuses: list[Status] = []

    def store(received: ReceivedInstance) -> None:
        statuses.append(ingest.receive(received))
        connections.close_all()

    threads = [threading.Thread(target=store, args=(received,)) for received in arrivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [Status.SUCCESS] * 8
    assert Instance.objects.count() == 1
    assert len(spooled()) == 1


@pytest.mark.django_db(transaction=True)
def test_a_prepared_spool_needs_no_folder_for_an_object() -> None:
    spool.prepare()
    folders = {path for path in spool.root().rglob("*") if path.is_dir()}
    assert len(folders) > 256
    assert ingest.receive(arrive()) == Status.SUCCESS
    assert {path for path in spool.root().rglob("*") if path.is_dir()} - folders == {
        spool.incoming()
    } - folders


@pytest.mark.django_db(transaction=True)
def test_an_association_whose_row_was_removed_while_it_is_open_goes_on() -> None:
    assert ingest.receive(arrive("1.2.3")) == Status.SUCCESS
    Association.objects.all().delete()
    assert ingest.receive(arrive("1.2.4")) == Status.SUCCESS
    assert Instance.objects.get(sop_instance_uid="1.2.4").association is not None


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_down_fails_no_c_store(settings: Settings) -> None:
    # No broker runs in this test: every object above and this one is received all the same.
    assert ingest.receive(arrive()) == Status.SUCCESS


@pytest.mark.django_db(transaction=True)
def test_a_spool_that_cannot_be_written_is_out_of_resources_and_leaves_nothing() -> None:
    received = arrive()
    (spool.root() / "instances").write_text("a file where a folder should be")
    assert ingest.receive(received) == Status.OUT_OF_RESOURCES
    assert not received.path.exists()
    assert Instance.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_database_that_cannot_be_written_is_out_of_resources_and_leaves_nothing() -> None:
    received = arrive()
    if connection.vendor == "sqlite":
        connection.close()
        connection.settings_dict["OPTIONS"]["timeout"] = 0.1
        other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            assert ingest.receive(received) == Status.OUT_OF_RESOURCES
        finally:
            other.close()
            connection.close()
            connection.settings_dict["OPTIONS"]["timeout"] = 20
    else:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE gateway_instance RENAME TO gateway_instance_away")
        try:
            assert ingest.receive(received) == Status.OUT_OF_RESOURCES
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE gateway_instance_away RENAME TO gateway_instance")
    assert Instance.objects.count() == 0
    assert spooled() == []


@pytest.mark.django_db(transaction=True)
def test_a_file_the_spool_has_lost_is_restored_by_the_sender_who_sends_it_again() -> None:
    ingest.receive(arrive())
    row = Instance.objects.get()
    spool.remove(row.spool_name)
    assert ingest.receive(arrive()) == Status.SUCCESS
    assert spool.locate(row.spool_name).read_bytes().endswith(b"data set")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("title", "address", "host", "admitted"),
    [
        ("CART", "127.0.0.1", "127.0.0.1", True),
        ("CART", "127.0.0.1", "localhost", True),
        ("CART", "::ffff:127.0.0.1", "127.0.0.1", True),
        ("CART", "10.9.9.9", "", True),
        ("CART", "10.9.9.9", "127.0.0.1", False),
        ("OTHER", "127.0.0.1", "127.0.0.1", False),
        ("CART", "127.0.0.1", "no-such-host.invalid", False),
    ],
)
def test_a_caller_is_known_by_title_and_by_address_where_one_is_given(
    title: str, address: str, host: str, admitted: bool
) -> None:
    Peer.objects.create(title="CART", host=host, port=104, is_sender=True)
    refusal = ingest.admit(Caller(title, address, "ECGGATEWAY"), title="ECGGATEWAY")
    assert refusal is (None if admitted else Refusal.CALLING_UNKNOWN)


@pytest.mark.django_db(transaction=True)
def test_a_peer_that_only_receives_reports_may_come_and_not_send() -> None:
    peer = Peer.objects.create(title="PACS", host="127.0.0.1", port=104, is_destination=True)
    caller = Caller("PACS", "127.0.0.1", "ECGGATEWAY")
    assert ingest.admit(caller, title="ECGGATEWAY") is None
    assert ingest.admit(caller, title="SOMEONE") is Refusal.CALLED_UNKNOWN
    elsewhere = Caller("PACS", "192.0.2.1", "ECGGATEWAY")
    assert ingest.admit(elsewhere, title="ECGGATEWAY") is Refusal.CALLING_UNKNOWN
    assert ingest.receive(arrive(calling_title="PACS")) == Status.NOT_AUTHORISED
    assert not list(spool.incoming().iterdir())
    peer.is_sender = True
    peer.save()
    assert ingest.receive(arrive(calling_title="PACS")) == Status.SUCCESS


@pytest.mark.django_db(transaction=True)
def test_a_refused_association_is_on_record_with_its_reason() -> None:
    from django.utils import timezone

    ingest.record(
        AssociationRecord(
            association_id="a",
            calling_title="STRANGER",
            called_title="ECGGATEWAY",
            address="127.0.0.1",
            started_at=timezone.now(),
            ended_at=timezone.now(),
            outcome="rejected",
            reason="CALLING_UNKNOWN",
            instances_count=0,
        )
    )
    row = Association.objects.get()
    assert (row.calling_title, row.outcome, row.reason) == (
        "STRANGER",
        "rejected",
        "CALLING_UNKNOWN",
    )


def test_a_name_never_leads_out_of_the_spool() -> None:
    for name in ("../secret", "instances/../../secret", "/etc/passwd"):
        with pytest.raises(spool.SpoolError):
            spool.locate(name)


def test_a_spooled_file_that_changed_is_noticed() -> None:
    kept = spool.write(b"report")
    assert spool.verified(kept.name, sha256=kept.sha256).read_bytes() == b"report"
    spool.locate(kept.name).write_bytes(b"forged")
    with pytest.raises(spool.SpoolError, match="expected SHA-256"):
        spool.verified(kept.name, sha256=kept.sha256)
