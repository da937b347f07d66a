"""What a batch costs the database: few statements a picture, and one transaction for all of them.

SQLite lets one writer in at a time, and each commit is a flush to disk: what one picture costs here
is what all other processes wait for.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desk_rows import content, make_ecg
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pictures import page, picture
from pytest_django import Settings

from gateway import composition, leases, network, pipeline, spool
from gateway.models import (
    Dispatch,
    Finding,
    Installation,
    Instance,
    Peer,
    Report,
    Study,
    Transition,
)
from gateway.states import State

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 8


sqlite = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="PostgreSQL has no one write lock, and other statements"
)


@pytest.fixture(autouse=True)
def _apart(settings: Settings, tmp_path: Path) -> Iterator[None]:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    yield
    # The row of the network goes with the test's database.
    network.model_version.cache_clear()


def received(count: int, **values: str) -> list[Instance]:
    """Return received rows of pictures that a network can read."""
    raster = page("3x4+1", "pink", 1)
    rows = []
    for number in range(count):
        ds = picture(raster, **{"patient_id": f"P-{number}", **values})
        row = make_ecg(
            data=content(ds), sop_instance_uid=ds.SOPInstanceUID, sop_class_uid=ds.SOPClassUID
        )
        Instance.objects.filter(pk=row.pk).update(study=None)
        rows.append(row)
    Study.objects.all().delete()
    return rows


def statements(step: Callable[[], int]) -> list[str]:
    """Return the statements of a step, without what opens and closes transactions within others."""
    with CaptureQueriesContext(connection) as captured:
        assert step() == MANY
    said = [query["sql"] for query in captured]
    return [sql for sql in said if "SAVEPOINT" not in sql]


def commits(said: list[str]) -> int:
    return sum(sql == "COMMIT" for sql in said)


@sqlite
def test_a_batch_is_written_in_one_transaction_with_few_statements_a_picture() -> None:
    Peer.objects.create(title="PACS", host="127.0.0.1", port=104, is_destination=True)
    # Made once in the life of a gateway.
    network.model_version()
    Installation.load()
    received(MANY)
    analysed = statements(pipeline.analyse_waiting)
    composed = statements(pipeline.compose_waiting)
    # One transaction claims the batch (on SQLite one statement that commits itself), one writes
    # what became of it.
    assert max(commits(analysed), commits(composed)) <= 2
    # Of each picture: is it one of ours, its row; of each of its reports nothing more.
    assert len(analysed) <= 2 * MANY + 20, "\n".join(analysed)
    assert len(composed) <= 2 * MANY + 25, "\n".join(composed)
    assert Finding.objects.count() == 10 * MANY
    assert Report.objects.count() == Dispatch.objects.count() == 2 * MANY
    for row in Instance.objects.all():
        events = list(row.transitions.values_list("event", flat=True))
        assert events[-2:] == ["analyse", "compose"]


@sqlite
def test_a_claim_that_finds_nothing_takes_no_write_lock() -> None:
    with CaptureQueriesContext(connection) as captured:
        assert leases.claim(State.RECEIVED, limit=16) == []
    assert [query["sql"].split()[0] for query in captured] == ["SELECT"]


def test_pictures_of_one_study_share_its_row_which_keeps_what_the_first_says() -> None:
    uid = str(picture().StudyInstanceUID)
    received(2, study_instance_uid=uid, patient_id="P-1", accession_number="first")
    received(1, study_instance_uid=uid, patient_id="P-1", accession_number="second")
    received(1, study_instance_uid=uid, patient_id="P-2", accession_number="third")
    pipeline.analyse_waiting()
    rows = Study.objects.order_by("patient_id")
    found = list(rows.values_list("patient_id", "accession_number"))
    assert found == [("P-1", "first"), ("P-2", "third")]
    assert [row.instances.count() for row in rows] == [3, 1]


def test_a_row_whose_lease_ran_out_is_left_out_and_the_others_are_written() -> None:
    received(3)
    pipeline.analyse_waiting()
    batch = leases.claim(State.ANALYSED, limit=3)
    past = timezone.now() - datetime.timedelta(seconds=1)
    Instance.objects.filter(pk=batch[1].pk).update(lease_expires_at=past)
    composition.compose(batch)
    assert [row.state for row in Instance.objects.order_by("pk")] == [
        State.REPORTED,
        State.ANALYSED,
        State.REPORTED,
    ]
    assert set(Report.objects.values_list("instance", flat=True)) == {batch[0].pk, batch[2].pk}
    files = [path for path in (spool.root() / "reports").rglob("*") if path.is_file()]
    assert len(files) == Report.objects.count() == 4
    assert not Transition.objects.filter(instance=batch[1], event="compose").exists()


def test_reports_that_somebody_else_has_written_meanwhile_spoil_no_batch() -> None:
    received(3)
    pipeline.analyse_waiting()
    batch = leases.claim(State.ANALYSED, limit=3)
    Report.objects.create(
        instance=batch[1],
        kind="basic_text",
        language="en",
        sop_instance_uid="1.2.3",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.11",
        sha256="0" * 64,
        size_bytes=1,
        spool_name="reports/00/other.dcm",
    )
    composition.compose(batch)
    states = [row.state for row in Instance.objects.order_by("pk")]
    assert states == [State.REPORTED, State.ANALYSED, State.REPORTED]
    assert [row.reports.count() for row in batch] == [2, 1, 2]
