"""What one more ECG costs when few, many or very many came before: it should be the same.

The database is filled with rows that are done, or with reports that wait for an archive that is
away; then ECGs go through every step in this process, to an archive on this machine. Read the
ratios to the first line: a cost that grows with the rows shows there. Shown is the lower quartile:
what other work on the machine adds, it adds to the slower ones.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
import uuid

from tqdm import tqdm

SIZES = (10, 1_000, 100_000)

FILL = """
WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})
"""
"""Rows by number, in words that SQLite and PostgreSQL share."""


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--pictures", type=int, default=30, help="measured at each size (30)")
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="rows at most (100000)")
    parser.add_argument("--database", default="", help="a PostgreSQL URL; default SQLite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ecg-benchmark-") as name:
        os.environ |= {"ECG_DATA_DIR": name, "DATABASE_URL": given.database, "BROKER_URL": ""}
        os.environ["ECG_LOG_LEVEL"] = "WARNING"
        os.environ["DJANGO_SETTINGS_MODULE"] = "gateway.settings"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        sizes = [size for size in SIZES if size <= given.largest]
        lines = measure(sizes, given.pictures)
    print("\n| rows there | step | of a picture, lower quartile | beside the first |")
    print("|---|---|---|---|")
    first: dict[str, float] = {}
    for rows, step, seconds in lines:
        ratio = seconds / first.setdefault(step, seconds)
        print(f"| {rows} | {step} | {1000 * seconds:.1f} ms | {ratio:.2f} |")


def measure(sizes: list[int], pictures: int) -> list[tuple[str, str, float]]:
    """Return what was there, the step, and the seconds a picture took in it."""
    from scripted import ScriptedArchive

    from gateway import celery, doorbell
    from gateway.models import Peer

    # No broker runs here: a ring would wait for one.
    celery.app.conf.update(broker_url="memory://")
    doorbell.SILENCE_S = 1e9
    found = []
    there = 0
    with ScriptedArchive(0x0000) as archive:
        title, host, port = archive.entity_args
        peer = Peer.objects.create(title=title, host=host, port=port, is_destination=True)
        away = Peer.objects.create(title="AWAY", host="192.0.2.1", port=104)
        one_life("warm")
        for kind, target in (("done", peer), ("waiting", away)):
            for size in sizes:
                already = 0 if kind == "done" else there
                fill(there, already + size, kind, target.pk)
                there = already + size
                times = [
                    one_life(f"{kind}-{size}-{number}")
                    for number in tqdm(range(pictures), desc=f"{size} {kind}", unit="ECG")
                ]
                found += [
                    (f"{size:,} {kind}", step, statistics.quantiles(one[step] for one in times)[0])
                    for step in times[0]
                ]
    return found


def one_life(accession: str) -> dict[str, float]:
    """Take one ECG through every step; return the seconds each took."""
    from pictures import picture

    from dicom_node.scp import ReceivedInstance
    from gateway import ingest, pipeline, spool
    from gateway.models import Instance
    from gateway.states import State

    ds = picture(patient_id=accession, accession_number=accession)
    path = spool.incoming() / f"{uuid.uuid4().hex}.part"
    ds.save_as(path, enforce_file_format=True)
    received = ReceivedInstance(
        path=path,
        sop_class_uid=str(ds.SOPClassUID),
        sop_instance_uid=str(ds.SOPInstanceUID),
        transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
        calling_title="CART",
        calling_address="127.0.0.1",
        association_id=uuid.uuid4().hex,
        sha256_dataset=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    times = {}
    for step, work in (
        ("receive", lambda: ingest.receive(received)),
        ("analyse", pipeline.analyse_waiting),
        ("compose", pipeline.compose_waiting),
        ("deliver", pipeline.deliver_waiting),
    ):
        began = time.perf_counter()
        work()
        times[step] = time.perf_counter() - began
    row = Instance.objects.get(sop_instance_uid=ds.SOPInstanceUID)
    if row.state not in (State.DELIVERED, State.PROVEN):
        raise SystemExit(f"expected a delivered ECG, found {row.state}: {row.last_error}")
    return times


def fill(there: int, wanted: int, kind: str, peer: int) -> None:
    """Add rows of ECGs of the past: `wanted` in all, done or waiting for `peer`."""
    from django.db import connection, transaction

    if wanted <= there:
        return
    done = kind == "done"
    state, outcome = ("delivered", "stored") if done else ("reported", "waiting")
    # What waits for an archive that is away is held until it is tried again.
    not_before = "2020-01-01 00:00:00+00:00" if done else "2100-01-01 00:00:00+00:00"
    numbers = FILL.format(first=there + 1, last=wanted)
    then = "'2020-01-01 00:00:00+00:00'"
    statements = [
        rows_of(
            "gateway_study",
            id="-n",
            study_instance_uid="'1.2.'||n",
            patient_id="'P'||(n%1000)",
            patient_name="'A^B'",
            accession_number="'X'||n",
            created_at=then,
        ),
        rows_of(
            "gateway_instance",
            id="-n",
            sop_instance_uid="'1.3.'||n",
            sop_class_uid="'1.2.840.10008.5.1.4.1.1.7'",
            transfer_syntax_uid="'1.2.840.10008.1.2.1'",
            sha256="'h'||n",
            size_bytes="1",
            spool_name="'instances/x/'||n",
            calling_title="'CART'",
            modality="'OT'",
            study_id="-n",
            received_at=then,
            state=f"'{state}'",
            state_since=then,
            not_before=f"'{not_before}'",
            quality="'{}'",
            pages="'[]'",
        ),
        rows_of(
            "gateway_report",
            id="-n",
            instance_id="-n",
            kind="'basic_text'",
            language="'en'",
            sop_instance_uid="'1.4.'||n",
            sop_class_uid="'1.2.840.10008.5.1.4.1.1.88.11'",
            sha256="'r'||n",
            size_bytes="1",
            spool_name="'reports/x/'||n",
            composed_at=then,
        ),
        rows_of(
            "gateway_dispatch",
            id="-n",
            report_id="-n",
            peer_id=str(peer),
            outcome=f"'{outcome}'",
            decided_at=then,
        ),
        *(
            rows_of(
                "gateway_transition",
                id=f"-(10*n+{line})",
                instance_id="-n",
                at=then,
                from_state="''",
                to_state="'received'",
                event="'receive'",
                actor="'filler'",
            )
            for line in range(3)
        ),
    ]
    # Ids below nought never meet those of the ECGs that are measured.
    with transaction.atomic(), connection.cursor() as cursor:
        for table, columns, values in tqdm(statements, desc=f"{wanted:,} rows", unit="table"):
            into = f"INSERT INTO {table} ({columns})"
            cursor.execute(f"{into} {numbers} SELECT {values} FROM numbers")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def rows_of(table: str, **values: str) -> tuple[str, str, str]:
    """Return a table, its columns, and an expression of `n` for each, or what a new row has."""
    from django.apps import apps

    (model,) = (one for one in apps.get_models() if one._meta.db_table == table)
    for field in model._meta.concrete_fields:
        column = str(field.column)
        if column not in values and not field.null and field.has_default():
            default = field.get_default()
            values[column] = f"'{default}'" if isinstance(default, str) else str(default)
        elif column not in values and not field.null and field.blank:
            values[column] = "''"
    return table, ", ".join(values), ", ".join(values.values())


if __name__ == "__main__":
    main()
