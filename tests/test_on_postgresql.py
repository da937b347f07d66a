"""The middle of the house and the Desk on PostgreSQL: the same tests, the other database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.life
@pytest.mark.timeout(900)
def test_the_same_tests_pass_on_postgresql(postgres_url: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests/gateway/test_leases.py",
            "tests/gateway/test_ingest.py",
            "tests/gateway/test_pipeline.py",
            "tests/gateway/test_custody.py::test_stewards_that_come_at_once_tell_each_sender_once",
            "tests/gateway/test_reviewing.py::test_orders_that_come_at_once_are_numbered_and_all_reported",
            "tests/gateway/test_reviewing.py::test_a_review_that_is_ordered_while_the_last_report_goes_out_is_not_lost",
            "tests/webadmin/test_curation.py",
            "tests/webadmin/test_instance_list.py",
            "tests/webadmin/test_audit_chain.py",
            "tests/webadmin/test_audit_screen.py::test_who_saw_a_patient_in_a_list_of_many_is_found",
            "tests/gateway/test_shared_commit.py",
            # Of pictures and answers, where no other rows are written than in the rest.
            "-k",
            "not what_cannot_be_read and not what_an_archive_answers",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "TEST_DATABASE_URL": postgres_url,
            "HYPOTHESIS_PROFILE": "again",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
