"""The cost of one ECG does not grow with those that came before: no query reads a whole table."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from pictures import picture
from pytest_django import Settings
from scripted import ScriptedArchive

from benchmarks.growth import fill
from dicom_node.scp import ReceivedInstance
from dicom_node.status import Status
from gateway import alerts, ingest, leases, network, pipeline, spool, tasks
from gateway.models import AlertRule, Instance, Peer
from gateway.states import WAITING, State

pytestmark = pytest.mark.django_db(transaction=True)

#: Tables that people or the network fill with a few rows may be read whole.
GROWING = (
    "gateway_alert",
    "gateway_association",
    "gateway_commitment",
    "gateway_custodyrequest",
    "gateway_delivery",
    "gateway_dispatch",
    "gateway_disposal",
    "gateway_finding",
    "gateway_instance",
    "gateway_report",
    "gateway_study",
    "gateway_transition",
)


@pytest.fixture(autouse=True)
def _quick(settings: Settings, tmp_path: Path) -> Iterator[None]:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_DICOM_TIMEOUT_S = 3.0
    yield
    network.model_version.cache_clear()


@pytest.fixture
def _counted() -> Iterator[None]:
    """Fill the tables with what was done before, and let the database count it (ANALYZE).

    A planner that has counted passes by an index whose values are nearly all alike.
    """
    fill(0, 3_000, "done", Peer.objects.create(title="EARLIER", host="127.0.0.1").pk)
    yield
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sqlite_stat1")
        cursor.execute("ANALYZE sqlite_schema")


@contextmanager
def asked() -> Iterator[dict[str, Any]]:
    """Collect every statement that is executed, each once, with one set of its parameters."""
    seen: dict[str, Any] = {}

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not many:
            seen.setdefault(sql, params)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield seen


def whole_tables_read(statements: dict[str, Any]) -> dict[str, list[str]]:
    """Return the statements that go through a growing table from end to end, and how."""
    found: dict[str, list[str]] = {}
    with connection.cursor() as cursor:
        for sql, params in statements.items():
            if not sql.startswith(("SELECT", "UPDATE", "DELETE")):
                continue
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            scans = [
                detail
                for *_, detail in cursor.fetchall()
                if detail.startswith("SCAN") and detail.split()[1] in GROWING
            ]
            if scans:
                found[sql] = scans
    return found


def take(number: int) -> None:
    path = spool.incoming() / f"{uuid.uuid4().hex}.part"
    ds = picture(accession_number=f"G-{number}")
    ds.save_as(path, enforce_file_format=True)
    received = ReceivedInstance(
        path=path,
        sop_class_uid=str(ds.SOPClassUID),
        sop_instance_uid=str(ds.SOPInstanceUID),
        transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
        calling_title="CART",
        calling_address="127.0.0.1",
        association_id="1",
        sha256_dataset=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    assert ingest.receive(received) == Status.SUCCESS


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the plans are told in SQLite's words")
@pytest.mark.usefixtures("_counted")
def test_no_step_of_a_life_reads_a_whole_table() -> None:
    AlertRule.objects.create(
        name="all", finding="af", channel=AlertRule.Channel.WEBHOOK, target="http://127.0.0.1:9/"
    )
    with ScriptedArchive(0x0000) as archive:
        title, host, port = archive.entity_args
        Peer.objects.create(title=title, host=host, port=port, is_destination=True)
        with asked() as statements:
            take(1)
            pipeline.analyse_waiting()
            pipeline.report_waiting()
            leases.overdue(WAITING)
            leases.look_again()
            alerts.send_waiting()
            tasks.sweep(WAITING)
    assert Instance.objects.get(pk__gt=0).state == State.DELIVERED
    assert sum(sql.startswith(("SELECT", "UPDATE")) for sql in statements) > 20
    assert whole_tables_read(statements) == {}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the plans are told in SQLite's words")
def test_a_query_without_an_index_would_be_found() -> None:
    with asked() as statements:
        list(Instance.objects.filter(size_bytes=1))
    ((scan,),) = whole_tables_read(statements).values()
    assert scan.startswith("SCAN gateway_instance")
