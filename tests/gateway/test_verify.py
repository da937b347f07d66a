"""`manage.py verify` finds what is missing, changed, doubled or without an owner, and only that."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from pictures import picture
from pytest_django import Settings

from dicom_node.reception import Reception
from dicom_node.scp import ReceivedInstance
from dicom_node.status import Status
from gateway import ingest, inspection, spool
from gateway.inspection import Fault
from gateway.models import Delivery, Dispatch, Instance, Peer, Report, Transition
from gateway.states import State

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _spool(settings: Settings, tmp_path: Path) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"


def take() -> Instance:
    """Receive an object byte for byte as the Listener does."""
    ds = picture()
    path = spool.incoming() / f"{uuid.uuid4().hex}.dcm"
    ds.save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    path.unlink()
    start = 132 + 12 + int.from_bytes(content[140:144], "little")
    reception = Reception(
        spool.incoming(),
        sop_class_uid=str(ds.SOPClassUID),
        sop_instance_uid=str(ds.SOPInstanceUID),
        transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
        calling_title="CART",
        max_bytes=1 << 30,
    )
    reception.write(memoryview(content)[start:])
    sha256 = reception.complete()
    assert sha256 == hashlib.sha256(content[start:]).hexdigest()
    received = ReceivedInstance(
        path=reception.path,
        sop_class_uid=str(ds.SOPClassUID),
        sop_instance_uid=str(ds.SOPInstanceUID),
        transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
        calling_title="CART",
        calling_address="127.0.0.1",
        association_id=uuid.uuid4().hex,
        sha256_dataset=sha256,
    )
    assert ingest.receive(received) == Status.SUCCESS
    return Instance.objects.get(sop_instance_uid=ds.SOPInstanceUID)


def report_of(instance: Instance) -> Report:
    spooled = spool.write(b"a report")
    return Report.objects.create(
        instance=instance,
        kind="basic_text",
        sop_instance_uid=f"2.25.{instance.pk}",
        sop_class_uid="1.2",
        sha256=spooled.sha256,
        size_bytes=spooled.size_bytes,
        spool_name=spooled.name,
    )


def faults(**options: Any) -> dict[str, int]:
    """Return what is wrong, and how often."""
    options.setdefault("grace_s", 0.0)
    found = inspection.summary(list(inspection.inspect(**options)))
    return {name: number for name, number in found.items() if number}


def test_what_was_received_and_composed_is_clean() -> None:
    report_of(take())
    assert faults() == {}
    said = StringIO()
    call_command("verify", "--grace-s=0", stdout=said)
    assert "0  row without its file" in said.getvalue()


@pytest.mark.parametrize("whose", ["instance", "report"])
def test_a_file_that_is_gone_and_one_that_changed_are_told_apart(whose: str) -> None:
    row: Any = take()
    if whose == "report":
        row = report_of(row)
    path = spool.locate(row.spool_name)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert faults() == {Fault.CHANGED: 1}
    path.write_bytes(b"")
    assert faults() == {Fault.CHANGED: 1}
    path.unlink()
    assert faults() == {Fault.LOST: 1}
    with pytest.raises(CommandError, match="1 things"):
        call_command("verify", stdout=StringIO())


def test_bytes_that_aged_out_are_not_missed() -> None:
    row = take()
    spool.locate(row.spool_name).unlink()
    Instance.objects.update(aged_out_at=F("received_at"))
    assert faults() == {}


def test_a_file_without_a_row_is_wrong_only_after_a_while_and_is_set_aside_never_deleted() -> None:
    take()
    name = spool.write(b"nobody's", kind="instances").name
    assert faults(grace_s=60.0) == {}
    old = time.time() - 120
    os.utime(spool.locate(name), (old, old))
    assert faults(grace_s=60.0) == {Fault.ORPHAN: 1}
    said = StringIO()
    call_command("verify", "--repair", "--grace-s=60", "--json", stdout=said)
    assert json.loads(said.getvalue())["set_aside"] == 1
    assert faults() == {}
    (kept,) = (spool.root() / "orphans").iterdir()
    assert kept.read_bytes() == b"nobody's"


def test_a_file_whose_row_has_come_meanwhile_is_left_where_it_is() -> None:
    row = take()
    assert not inspection.set_aside(inspection.Found(Fault.ORPHAN, row.spool_name))
    assert spool.locate(row.spool_name).is_file()


def test_a_reception_that_never_ended_is_found() -> None:
    part = spool.incoming() / f"{uuid.uuid4().hex}.part"
    part.write_bytes(b"half")
    assert faults() == {Fault.UNFINISHED: 1}
    assert faults(grace_s=60.0) == {}


def test_a_trail_that_does_not_lead_to_the_state_is_found() -> None:
    moved, forged, good = take(), take(), take()
    Instance.objects.filter(pk=moved.pk).update(state=State.DELIVERED)
    Transition.objects.filter(instance=forged).update(from_state=State.ANALYSED)
    found = [one for one in inspection.inspect() if one.fault is Fault.TRAIL]
    assert {one.number for one in found} == {moved.pk, forged.pk}
    assert good.pk not in {one.number for one in found}


def test_what_is_said_to_be_stored_without_an_answer_is_found() -> None:
    report = report_of(take())
    peer = Peer.objects.create(title="PACS", host="127.0.0.1")
    Dispatch.objects.create(report=report, peer=peer, outcome=Dispatch.Outcome.STORED)
    assert faults() == {Fault.UNSENT: 1}
    Delivery.objects.create(report=report, peer=peer, outcome=Delivery.Outcome.WARNING)
    assert faults() == {}


def test_nothing_that_is_printed_names_a_patient() -> None:
    row = take()
    spool.locate(row.spool_name).unlink()
    said = StringIO()
    with pytest.raises(CommandError):
        call_command("verify", stdout=said)
    assert row.sop_instance_uid in said.getvalue()
    assert "TEST" not in said.getvalue().upper().replace("LATEST", "")
