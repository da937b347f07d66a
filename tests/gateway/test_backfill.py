"""ECGs of the past from a real archive: nothing twice, nothing missed, nobody of today delayed."""

from __future__ import annotations

import datetime
import functools
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from desk_rows import analyse, compose, make_ecg
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from peers import Orthanc
from pydicom.uid import UID, generate_uid
from pytest_django import Settings

from dicom_node.capture import secondary_capture
from dicom_node.errors import AssociationAborted, DicomError, PeerTimeout, QueryFailed
from dicom_node.scp import StorageSCP
from gateway import backfill, ingest, spool
from gateway.archive import Archive, Candidate, NotBrought
from gateway.models import Backfill, Door, Instance, Peer
from gateway.states import State

FIRST, LAST = datetime.date(2024, 3, 1), datetime.date(2024, 3, 4)
A_DAY = 6
OTHERS = ("OT", "SC", "DOC", "HD", "XC")
FAST = backfill.Brakes(per_minute=60_000, waiting=1000)

pytestmark = pytest.mark.django_db(transaction=True)


class Hospital:
    """An archive with ECGs on the first three of four days, and with what is none."""

    def __init__(self, archive: Orthanc, folder: Path) -> None:
        self.archive = archive
        self._path = folder / "object.dcm"
        self.few = {self.put(number // 2, modality="ECG") for number in range(6)}
        self.ecgs = set(self.few)
        for number in range(3 * (A_DAY - 2)):
            self.ecgs.add(self.put(number // (A_DAY - 2), modality=OTHERS[number % 5]))
        # Two in one study; one beside CT slices; what is none; and one of another year.
        study = generate_uid()
        self.ecgs |= {self.put(1, study_instance_uid=study, modality="SC") for _ in range(2)}
        study = generate_uid()
        self.put(1, study_instance_uid=study, modality="CT", sop_class=UID(f"{CLASSES}.2"))
        self.ecgs.add(self.put(1, study_instance_uid=study, modality="OT"))
        self.put(2, modality="ECG", sop_class=UID(f"{CLASSES}.88.11"))
        self.put(2, modality="MR")
        self.put(400)

    def put(self, day: int, *, sop_class: UID | None = None, **values: Any) -> str:
        moment = datetime.datetime(2024, 3, 1, 12, tzinfo=datetime.UTC)
        ds = secondary_capture(
            np.zeros((8, 8), np.uint8),
            patient_id="P-1",
            acquired_at=moment + datetime.timedelta(days=day),
            **values,
        )
        if sop_class is not None:
            ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
        ds.save_as(self._path, enforce_file_format=True)
        self.archive.upload(self._path)
        return str(ds.SOPInstanceUID)


CLASSES = "1.2.840.10008.5.1.4.1.1"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    with Orthanc(title="PACS") as archive:
        yield Hospital(archive, tmp_path_factory.mktemp("hospital"))


@pytest.fixture
def peer(hospital: Hospital, settings: Settings, tmp_path: Path) -> Peer:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_DICOM_TIMEOUT_S = 5.0
    title, host, port = hospital.archive.entity_args
    return Peer.objects.create(title=title, host=host, port=port, is_archive=True)


def run(
    peer: Peer,
    archive: Archive | None = None,
    *,
    brakes: backfill.Brakes = FAST,
    tell: Callable[[backfill.Progress], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Backfill:
    """Run a backfill of the four days, or go on with it; of the few alone by default."""
    row = backfill.find_or_make(peer, FIRST, LAST)
    archive = archive or Archive(peer, modalities=["ECG"])
    backfill.Run(row, archive, brakes=brakes, stop=stop or threading.Event(), tell=tell).go()
    return row


def here() -> list[str]:
    return sorted(Instance.objects.values_list("sop_instance_uid", flat=True))


def stop_after(count: int, stop: threading.Event, _progress: backfill.Progress) -> None:
    if len(here()) == count:
        stop.set()


def command(*arguments: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    period = ("--from", str(FIRST), "--to", str(LAST))
    call_command("backfill", "--peer", "PACS", *period, *arguments, stdout=out, stderr=err)
    return out.getvalue()


def test_every_ecg_of_the_days_comes_once_and_nothing_else(peer: Peer, hospital: Hospital) -> None:
    said: list[backfill.Progress] = []
    archive = Archive(peer, modalities=backfill.DEFAULT_MODALITIES)
    row = run(peer, archive, tell=said.append)
    assert here() == sorted(hospital.ecgs)
    for instance in Instance.objects.all():
        assert (instance.door, instance.calling_title) == (Door.BACKFILL, "PACS")
        assert instance.state == State.RECEIVED
        assert spool.locate(instance.spool_name).stat().st_size == instance.size_bytes
    assert (row.done_through, row.failures_count) == (LAST, 0)
    assert row.ended_at is not None
    assert (row.instances_count, row.studies_count) == (3 * A_DAY + 3, 3 * A_DAY + 2)
    assert [p.days for p in said] == sorted(p.days for p in said)
    assert said[-1].days == 4
    assert not list(spool.incoming().iterdir())


def test_a_dry_run_counts_by_day_and_brings_nothing(peer: Peer, hospital: Hospital) -> None:
    said = command("--dry-run")
    assert "2024-03-01          6           6             0" in said
    assert "2024-03-02          8           9             0" in said
    assert "2024-03-04          0           0             0" in said
    assert "not looked into, by modality (--modality), in studies: CT 1, MR 1\n" in said
    assert not Instance.objects.exists()
    assert not Backfill.objects.exists()
    command("--pace", "60000", "--waiting", "1000", "--modality", "ecg")
    assert "2024-03-02          0           0             2" in command(
        "--dry-run", "--modality", "ecg"
    )
    finished = command()
    assert "finished on" in finished
    assert "--again" in finished


def test_what_was_interrupted_goes_on_where_it_was(peer: Peer, hospital: Hospital) -> None:
    archive = functools.partial(Archive, peer, modalities=backfill.DEFAULT_MODALITIES)
    for after in (1, 11):
        stop = threading.Event()

        tell = functools.partial(stop_after, after, stop)
        with pytest.raises(backfill.Stopped):
            run(peer, archive(stop=stop), tell=tell, stop=stop)
        assert len(here()) == after
        assert backfill.find_or_make(peer, FIRST, LAST).ended_at is None
    row = run(peer, archive())
    assert here() == sorted(hospital.ecgs)
    assert (row.instances_count, row.studies_count) == (3 * A_DAY + 3, 3 * A_DAY + 2)
    assert row.ended_at is not None


def test_what_ended_without_a_word_goes_on_too(peer: Peer, hospital: Hospital) -> None:
    def tell(progress: backfill.Progress) -> None:
        if progress.brought == 3:
            raise SystemExit  # as an end of the process at this line

    with pytest.raises(SystemExit):
        run(peer, tell=tell)
    assert run(peer).instances_count == len(hospital.few)
    assert here() == sorted(hospital.few)


def test_one_that_does_not_come_is_asked_for_again_and_holds_up_no_other(
    peer: Peer, hospital: Hospital
) -> None:
    refused: list[str] = []

    class Stubborn(Archive):
        def bring(self, one: Candidate) -> bool:
            if not refused:
                refused.append(one.sop_instance_uid)
                raise NotBrought("the object is on a shelf")
            return super().bring(one)

    row = run(peer, Stubborn(peer, modalities=["ECG"]))
    assert len(here()) == len(hospital.few) - 1
    assert (row.done_through, row.ended_at, row.failures_count) == (None, None, 1)
    assert row.last_error == "the object is on a shelf"
    row = run(peer)
    assert here() == sorted(hospital.few)
    assert (row.done_through, row.failures_count, row.last_error) == (LAST, 0, "")


class Guarded(Archive):
    """An archive that gives not everything."""

    def __init__(self, peer: Peer, error: DicomError, *, count: int) -> None:
        super().__init__(peer, modalities=backfill.DEFAULT_MODALITIES)
        self._error = error
        self._count = count
        self.kept_back: set[str] = set()

    def bring(self, one: Candidate) -> bool:
        if len(self.kept_back) < self._count:
            self.kept_back.add(one.sop_instance_uid)
        if one.sop_instance_uid in self.kept_back:
            raise self._error
        return super().bring(one)


@pytest.mark.parametrize(
    ("error", "count"),
    [
        (AssociationAborted("aborted"), backfill.FAILURES_IN_A_ROW),
        (NotBrought("the object is on a shelf"), 2 * A_DAY),
        (QueryFailed(0xC000, ""), A_DAY),
    ],
)
def test_whatever_number_that_cannot_come_holds_up_no_other(
    peer: Peer,
    hospital: Hospital,
    monkeypatch: pytest.MonkeyPatch,
    error: DicomError,
    count: int,
) -> None:
    monkeypatch.setattr(backfill, "FIRST_PAUSE_S", 0.0)
    archive = Guarded(peer, error, count=count)
    row = run(peer, archive)
    assert here() == sorted(hospital.ecgs - archive.kept_back)
    assert (row.failures_count, row.done_through, row.ended_at) == (count, None, None)
    row = run(peer, Archive(peer, modalities=backfill.DEFAULT_MODALITIES))
    assert here() == sorted(hospital.ecgs)
    assert (row.failures_count, row.done_through) == (0, LAST)


def test_an_archive_that_answers_no_retrieval_is_left_after_a_few(
    peer: Peer, hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "FIRST_PAUSE_S", 0.0)
    archive = Guarded(peer, PeerTimeout("no answer"), count=1000)
    with pytest.raises(backfill.ArchiveAway, match="6 ECGs in a row did not come"):
        run(peer, archive)
    assert len(archive.kept_back) == 6


def failing(statement: str, times: int) -> Callable[..., Any]:
    """Return what makes a database statement fail so many times, as in a restart."""
    left = times

    def execute(run: Callable[..., Any], sql: str, *rest: Any) -> Any:
        nonlocal left
        if left and sql.startswith(statement):
            left -= 1
            raise OperationalError("the database is starting up")
        return run(sql, *rest)

    return execute


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE "gateway_backfill"',
        'INSERT INTO "gateway_instance"',
        'SELECT COUNT(*) AS "__count" FROM "gateway_instance"',
        'SELECT "gateway_instance"."sop_instance_uid"',
    ],
)
def test_a_database_that_restarts_is_no_end_and_loses_nothing(
    peer: Peer, hospital: Hospital, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    monkeypatch.setattr(backfill, "FIRST_PAUSE_S", 0.0)
    with connection.execute_wrapper(failing(statement, 2)):
        row = run(peer)
    assert here() == sorted(hospital.few)
    assert (row.done_through, row.failures_count) == (LAST, 0)
    assert not list(spool.incoming().iterdir())


def test_a_database_that_stays_away_ends_the_run_in_good_order(
    peer: Peer, hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "FIRST_PAUSE_S", 0.0)
    with (
        connection.execute_wrapper(failing('UPDATE "gateway_backfill"', 1000)),
        pytest.raises(CommandError, match=r"database does not answer.*the same command goes on"),
    ):
        command()


def test_our_own_results_and_what_is_here_are_left_out(peer: Peer, hospital: Hospital) -> None:
    one, other, *rest = sorted(hospital.few)
    report = compose(analyse(make_ecg(sop_instance_uid=one), {}))[0]
    report.sop_instance_uid = other
    report.save()
    row = run(peer)
    assert row.instances_count == len(rest)
    assert other not in here()


def test_the_past_waits_while_the_present_waits(peer: Peer, hospital: Hospital) -> None:
    most = 0
    waits = 0

    def tell(progress: backfill.Progress) -> None:
        nonlocal most, waits
        most = max(most, backfill.waiting_count())
        if progress.waits:
            waits += 1
            Instance.objects.update(state=State.DELIVERED)  # the gateway has caught up

    run(peer, brakes=backfill.Brakes(per_minute=60_000, waiting=2), tell=tell)
    assert here() == sorted(hospital.few)
    assert (most, waits) == (2, 2)


def test_the_pace_is_kept(peer: Peer, hospital: Hospital) -> None:
    import time

    began = time.monotonic()
    stop = threading.Event()

    def tell(progress: backfill.Progress) -> None:
        if progress.brought == 4:
            stop.set()

    with pytest.raises(backfill.Stopped):
        run(peer, brakes=backfill.Brakes(per_minute=120, waiting=100), tell=tell, stop=stop)
    assert 1.5 <= time.monotonic() - began < 6


@pytest.fixture
def listener(peer: Peer, settings: Settings) -> Iterator[StorageSCP]:
    """Run our Listener, which takes what the archive sends."""
    Peer.objects.create(title="PACS", host="", is_sender=True)
    with StorageSCP(
        settings.ECG_AE_TITLE,
        "127.0.0.1",
        0,
        admit=functools.partial(ingest.admit, title=settings.ECG_AE_TITLE),
        on_instance=ingest.receive,
        incoming_folder=spool.incoming(),
    ) as listening:
        yield listening


def test_c_move_brings_them_by_way_of_our_listener(
    peer: Peer, hospital: Hospital, listener: StorageSCP
) -> None:
    hospital.archive.introduce(listener.title, "127.0.0.1", listener.port)
    row = run(peer, Archive(peer, modalities=["ECG"], way="move"))
    assert here() == sorted(hospital.few)
    assert {i.door for i in Instance.objects.all()} == {Door.BACKFILL}
    assert row.done_through == LAST


def test_an_archive_that_has_no_c_get_is_asked_by_c_move(
    peer: Peer, listener: StorageSCP, tmp_path: Path
) -> None:
    with Orthanc(title="PACS", DicomAlwaysAllowGet=False) as without:
        few = Hospital(without, tmp_path).few
        without.introduce(listener.title, "127.0.0.1", listener.port)
        Peer.objects.filter(pk=peer.pk).update(port=without.port)
        peer.refresh_from_db()
        row = run(peer)
    assert here() == sorted(few)
    assert (row.done_through, row.failures_count) == (LAST, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "2024-03-05"), "not before --from"),
        (("--to", "2999-01-01"), "not after today"),
        (("--peer", "NOBODY"), "received 'NOBODY'; known: PACS"),
        (("--move", "--modality", "ECG"), "6 did not come"),
    ],
)
def test_what_cannot_work_is_said(
    arguments: tuple[str, ...],
    said: str,
    peer: Peer,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.ECG_AE_TITLE = "NOTKNOWNTHERE"
    monkeypatch.setattr(backfill, "FIRST_PAUSE_S", 0.0)
    with pytest.raises(CommandError, match=said):
        command("--pace", "60000", "--waiting", "1000", *arguments)


def test_an_archive_that_is_away_ends_the_run_in_good_order(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "FIRST_PAUSE_S", 0.01)
    Peer.objects.filter(pk=peer.pk).update(port=1)
    with pytest.raises(CommandError, match=r"no connection.*the same command goes on"):
        command()
