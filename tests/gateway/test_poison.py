"""A picture that crashes or hangs the Analyst ends as Failed, and the others go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import poisoned
import pytest
from desk_rows import drawn, make_ecg
from django.conf import settings as configured
from peers import Program, Valkey, eventually
from pytest_django import Settings
from rows import make_instance
from same_database import database_url

from gateway import leases
from gateway.models import Instance
from gateway.states import State

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.django_db(transaction=True)
def test_a_picture_that_hangs_or_crashes_ends_as_failed_and_the_others_are_read(
    settings: Settings, tmp_path: Path, valkey: Valkey
) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    small = drawn()[::3, ::3]
    before = make_ecg(small)
    hangs = make_ecg(small, patient_id=poisoned.HANGS.decode())
    crashes = make_ecg(small, patient_id=poisoned.CRASHES.decode())
    behind = make_ecg(small)
    environment = {
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
        "PYTHONPATH": f"{TESTS.parent}:{TESTS}",
        "ECG_DATA_DIR": str(tmp_path),
        "ECG_SPOOL_DIR": str(configured.ECG_SPOOL_DIR),
        "DATABASE_URL": database_url(),
        "BROKER_URL": valkey.url,
        "ECG_ATTEMPTS": "2",
        "ECG_LEASE_S": "1",
        "ECG_SWEEP_S": "0.5",
        "ECG_BACKOFF_S": "0.2",
        "ECG_PICTURE_LIMIT_S": "3",
    }
    command = [sys.executable, "-m", "celery", "-A", "poisoned", "worker", "-B"]
    command += [
        "-Q",
        "analysis",
        "--concurrency=1",
        "--loglevel=WARNING",
        "-s",
        str(tmp_path / "beat"),
    ]
    worker = Program(command, folder=tmp_path, name="analyst", environment=environment)

    def states() -> list[str]:
        rows = (before, hangs, crashes, behind)
        for row in rows:
            row.refresh_from_db()
        return [row.state for row in rows]

    worker.start(ready=lambda: True)
    try:
        eventually(
            lambda: State.RECEIVED not in states(), timeout_s=90, what="all four to come to rest"
        )
    finally:
        worker.stop()
    assert states() == [State.ANALYSED, State.FAILED, State.FAILED, State.ANALYSED], worker.log()
    for row in (hangs, crashes):
        assert row.failed_in == State.RECEIVED
        assert "2 attempts ended without an answer" in row.reason
        assert "longer than 3 s" in row.reason
    # The log says where it hung.
    assert "poisoned.py" in worker.log(last_lines=2000)


def test_the_process_ends_even_where_foreign_code_holds_the_interpreter() -> None:
    code = (
        "import ctypes\nfrom gateway.watchdog import watched\n"
        "with watched(0): pass\nwith watched(5): pass\n"
        "with watched(0.2): ctypes.PyDLL(None).sleep(60)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "Timeout" in done.stderr


@pytest.mark.django_db
def test_an_attempt_that_may_end_its_process_puts_off_the_next_one_before_it_begins(
    settings: Settings,
) -> None:
    settings.ECG_LEASE_S = 0.0
    row = make_instance(attempts=3)
    (claimed,) = leases.claim(State.RECEIVED, lease_s=60.0)
    leases.space(claimed)
    Instance.objects.filter(pk=row.pk).update(lease_expires_at=None)
    assert leases.claim(State.RECEIVED) == []
    row.refresh_from_db()
    assert row.not_before > row.state_since
