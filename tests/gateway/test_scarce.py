"""A Listener short of file descriptors or database connections says so and recovers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from peers import Postgres, Program, eventually, free_port, is_listening
from pictures import page, save_picture
from same_database import database_url

from dicom_node import scu
from dicom_node.entity import ApplicationEntity
from dicom_node.errors import DicomError
from dicom_node.timeouts import Timeouts
from gateway.models import Peer

ROOT = Path(__file__).resolve().parents[2]
FILES = 64
"""So many descriptors has the Listener; it needs about twenty for itself."""

PREPARE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from gateway.models import Peer
Peer.objects.create(title="CART", host="", is_sender=True)
"""


FREEZE = """
import time
import django
django.setup()
from django.db import OperationalError, transaction
from gateway.models import Peer
try:
    with transaction.atomic():
        Peer.objects.select_for_update().get(title="CART")
        print("holds", flush=True)
        time.sleep(600)
except OperationalError:
    print("lost")
"""


@contextmanager
def listener(folder: Path, *, database_url: str, files: int = 1024) -> Iterator[int]:
    """Run ``manage.py listen`` and yield its port."""
    folder.mkdir()
    port = free_port()
    environment = {
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
        "ECG_DATA_DIR": str(folder),
        "ECG_SPOOL_DIR": "",
        "DATABASE_URL": database_url,
        "ECG_DICOM_HOST": "127.0.0.1",
        "ECG_DICOM_PORT": str(port),
        "ECG_MAX_ASSOCIATIONS": "200",
        "BROKER_URL": "redis://127.0.0.1:1/0",
    }
    limited = f'ulimit -n {files}; exec "$0" "$@"'
    program = Program(
        ["bash", "-c", limited, sys.executable, ROOT / "manage.py", "listen"],
        folder=folder,
        name="listener",
        environment=environment,
    )
    program.start(ready=lambda: is_listening(port), timeout_s=30)
    try:
        yield port
    finally:
        program.stop()


def send(port: int, path: Path, *, wait_s: float = 10.0) -> int | str:
    """Return the status of one C-STORE, or what kept it from being answered."""
    entity = ApplicationEntity("ECGGATEWAY", "127.0.0.1", port)
    hurried = Timeouts(connect_s=2.0, association_s=3.0, response_s=wait_s, network_s=wait_s)
    try:
        (outcome,) = scu.store(entity, [path], calling_title="CART", timeouts=hurried)
    except DicomError as error:
        return type(error).__name__
    return -1 if outcome.status is None else outcome.status


@pytest.mark.django_db(transaction=True)
def test_a_listener_out_of_file_descriptors_takes_ecgs_again_when_callers_have_gone(
    tmp_path: Path,
) -> None:
    save_picture(tmp_path / "ecg.dcm", page()[::4, ::4])
    Peer.objects.create(title="CART", host="", is_sender=True)
    with listener(tmp_path / "gateway", database_url=database_url(), files=FILES) as port:
        with ExitStack() as stack:
            for _ in range(2 * FILES):
                caller = socket.create_connection(("127.0.0.1", port), timeout=5)
                stack.callback(caller.close)
            assert send(port, tmp_path / "ecg.dcm") != 0x0000
        eventually(
            lambda: send(port, tmp_path / "ecg.dcm") == 0x0000,
            timeout_s=20,
            what="an ECG to be taken again",
        )


def test_a_database_out_of_connections_turns_senders_away_for_now_and_then_takes_them(
    tmp_path: Path, postgres_cluster: Postgres
) -> None:
    save_picture(tmp_path / "ecg.dcm", page()[::4, ::4])
    role = f"clerk_{os.getpid()}"
    with postgres_cluster.database() as owned:
        name = owned.rsplit("/", 1)[1]
        postgres_cluster.execute(f"CREATE ROLE {role} LOGIN")
        postgres_cluster.execute(f"ALTER DATABASE {name} OWNER TO {role}")
        url = owned.replace("//ecg@", f"//{role}@")
        _prepare(url)
        with listener(tmp_path / "gateway", database_url=url) as port:
            postgres_cluster.execute(f"ALTER ROLE {role} CONNECTION LIMIT 1")
            with ExitStack() as stack:
                eventually(lambda: _connects(url, stack), timeout_s=10, what="the last connection")
                assert send(port, tmp_path / "ecg.dcm") != 0x0000
            assert send(port, tmp_path / "ecg.dcm") == 0x0000
    postgres_cluster.execute(f"DROP ROLE {role}")


def test_a_slow_database_makes_senders_wait_and_who_gave_up_may_send_again(
    tmp_path: Path, postgres_url: str
) -> None:
    pictures = []
    for number in range(4):
        save_picture(tmp_path / f"{number}.dcm", page()[::4, ::4], accession_number=f"S{number}")
        pictures.append(tmp_path / f"{number}.dcm")
    _prepare(postgres_url)
    with listener(tmp_path / "gateway", database_url=postgres_url) as port:
        with psycopg.connect(postgres_url) as other, ThreadPoolExecutor() as senders:
            other.execute("LOCK TABLE gateway_instance IN EXCLUSIVE MODE")
            patient = [senders.submit(send, port, path, wait_s=30) for path in pictures[:3]]
            assert send(port, pictures[3], wait_s=1) == -1
            assert not any(one.done() for one in patient)
            other.rollback()
            assert [one.result() for one in patient] == [0x0000] * 3
        assert send(port, pictures[3]) == 0x0000
    with psycopg.connect(postgres_url) as other:
        rows = other.execute("SELECT sop_instance_uid FROM gateway_instance").fetchall()
    assert len(rows) == len(set(rows)) == len(pictures)


def test_the_locks_of_a_machine_that_freezes_inside_a_transaction_are_let_go(
    postgres_url: str,
) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
        "DATABASE_URL": postgres_url,
        "ECG_LEASE_S": "1",
    }
    _prepare(postgres_url)
    holder = subprocess.Popen(
        [sys.executable, "-c", FREEZE],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == "holds\n"
            with psycopg.connect(postgres_url) as other:
                other.execute("SET lock_timeout = '20s'")
                rows = other.execute("SELECT title FROM gateway_peer FOR UPDATE").fetchall()
        finally:
            holder.kill()
    assert rows == [("CART",)]


def _prepare(url: str) -> None:
    """Make the tables and a sender."""
    subprocess.run(
        [sys.executable, "-c", PREPARE],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "gateway.settings", "DATABASE_URL": url},
        check=True,
        capture_output=True,
        timeout=60,
    )


def _connects(url: str, stack: ExitStack) -> bool:
    try:
        stack.enter_context(psycopg.connect(url))
    except psycopg.OperationalError:
        return False
    return True
