"""A copy made as the runbook says, of a gateway in the middle of its work, goes on without loss."""

from __future__ import annotations

import collections
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from peers import Orthanc
from programs import require
from pydicom import dcmread

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "deploy" / "RUNBOOK.md").read_text()

BEGIN = """
import hashlib, json, sys, uuid
from pathlib import Path
import numpy as np
from django.utils import timezone
from pydicom import dcmread
from dicom_node.scp import ReceivedInstance
from gateway import ingest, leases, pipeline, spool
from gateway.models import Instance, Peer
from gateway.states import State
from pictures import page, picture

FOLDER = Path(sys.argv[1])

def behind_meta(data):
    return 144 + int.from_bytes(data[140:144], "little")  # (0002,0000) is the first element

def receive(path, content=None, uid=None):
    data = path.read_bytes() if content is None else content
    ds = dcmread(path, stop_before_pixels=True)
    part = spool.incoming() / f"{uuid.uuid4().hex}.part"
    part.write_bytes(data)
    status = ingest.receive(ReceivedInstance(
        path=part, sop_class_uid=str(ds.SOPClassUID), sop_instance_uid=str(ds.SOPInstanceUID),
        transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID), calling_title="CART",
        calling_address="127.0.0.1", association_id="1",
        sha256_dataset=hashlib.sha256(data[behind_meta(data):]).hexdigest()))
    assert status == 0, status

def send(name, raster=None):
    path = FOLDER / f"{name}.dcm"
    if not path.exists():
        picture(page()[::2, ::2] if raster is None else raster).save_as(
            path, enforce_file_format=True)
    receive(path)
    return Instance.objects.order_by("pk").last()

def all_now():
    Instance.objects.update(not_before=timezone.now())
    Instance.objects.filter(lease_token__isnull=False).update(lease_expires_at=timezone.now())

def go_on():
    all_now()
    pipeline.analyse_waiting()
    pipeline.report_waiting()

def states():
    rows = Instance.objects.order_by("pk").values_list("sop_instance_uid", "state")
    print("STATES", json.dumps(list(rows)))
"""

BUILD = """
Peer.objects.create(
    title=sys.argv[2], host=sys.argv[3], port=int(sys.argv[4]), is_destination=True, proof="none")
delivered = send("delivered")
rejected = send("rejected", np.full((600, 800, 3), 255, np.uint8))
go_on()
reported, failed = send("reported"), send("failed")
pipeline.analyse_waiting()
pipeline.compose_waiting()
(row,) = leases.claim(State.REPORTED, ids=[failed.pk])
leases.give_up(row, "no answer", actor="test")
send("analysed")
pipeline.analyse_waiting()
receive(FOLDER / "delivered.dcm", (FOLDER / "delivered.dcm").read_bytes() + bytes(2))
claimed, received = send("claimed"), send("received")
assert leases.claim(State.RECEIVED, ids=[claimed.pk])
assert set(Instance.objects.values_list("state", flat=True)) == {
    "delivered", "rejected", "reported", "failed", "analysed", "set_aside", "received"}, (
    list(Instance.objects.values_list("state", "last_error")))
states()
"""

LATER = 'send("later")'

CHECK = """
for row in Instance.objects.all():
    spool.locate(row.spool_name)
    for report in row.reports.all():
        spool.verified(report.spool_name, sha256=report.sha256)
known = set(Instance.objects.values_list("spool_name", flat=True))
found = (str(p.relative_to(spool.root())) for p in (spool.root() / "instances").rglob("*.dcm"))
print("STRANGERS", json.dumps(sorted(set(found) - known)))
"""

GO_ON = """
go_on()
states()
"""

AGAIN = """
for row in Instance.objects.filter(state="failed"):
    assert leases.resume(row, actor="user:test")
for path in sorted(FOLDER.glob("*.dcm")):
    receive(path)
go_on()
states()
"""


class Machine:
    """A gateway's folder and database, without its processes: each script is one of them."""

    def __init__(self, folder: Path, sent: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._sent = sent
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "gateway.settings",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            "ECG_DATA_DIR": str(folder),
            "ECG_SPOOL_DIR": "",
            "DATABASE_URL": "",
            "ECG_BACKOFF_S": "0",
            "ECG_DICOM_TIMEOUT_S": "5",
            "ECG_LOG_LEVEL": "ERROR",
        }

    def manage(self, *arguments: str) -> str:
        return self._run([ROOT / "manage.py", *arguments])

    def do(self, *scripts: str, arguments: tuple[str, ...] = ()) -> dict[str, Any]:
        """Run a script as a process of this gateway, and return what it printed."""
        head = "import django; django.setup()\n" + BEGIN
        printed = self._run(["-c", "\n".join((head, *scripts)), self._sent, *arguments])
        found = re.findall(r"^(STATES|STRANGERS) (.*)$", printed, re.MULTILINE)
        return {name: json.loads(value) for name, value in found}

    def _run(self, command: list[Any]) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def steps() -> list[list[str]]:
    """Return the runbook's commands for SQLite: those of the copy, and those of the restore."""
    section = RUNBOOK.split("\n## Backup and restore\n")[1].split("\n### After a restore\n")[0]
    blocks = re.findall(r"(?:^    .*\n)+", section.replace("\\\n", " "), re.MULTILINE)
    assert len(blocks) == 2
    return [[line.strip() for line in block.splitlines()] for block in blocks]


def shell(command: str, *, data: Path, copy: Path) -> None:
    require(command.split()[0])
    done = subprocess.run(
        ["bash", "-euc", command],
        env={**os.environ, "DATA": str(data), "COPY": str(copy)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_copy_of_a_gateway_at_work_goes_on_without_loss_and_doubles_nothing_it_had_read(
    tmp_path: Path, orthanc: Orthanc
) -> None:
    sent, copy = tmp_path / "sent", tmp_path / "copy"
    sent.mkdir()
    copy.mkdir()
    at_work = Machine(tmp_path / "at-work", sent)
    restored = Machine(tmp_path / "restored", sent)
    at_work.manage("migrate", "--verbosity=0")
    before = at_work.do(BUILD, arguments=tuple(map(str, orthanc.entity_args)))["STATES"]

    (copy_database, *copy_files), (restore_files, restore_database) = steps()
    shell(copy_database, data=at_work.folder, copy=copy)
    # Between the two copies the gateway goes on: one ECG more comes.
    at_work.do(LATER)
    for command in copy_files:
        shell(command, data=at_work.folder, copy=copy)
    # And after them: everything that can be delivered is.
    after = dict(at_work.do(GO_ON)["STATES"])
    assert "delivered" in after.values()

    shell(restore_files, data=restored.folder, copy=copy)
    shell(restore_database, data=restored.folder, copy=copy)
    found = restored.do(CHECK)
    (stranger,) = found["STRANGERS"]
    restored.manage("submit", str(restored.folder / "spool" / stranger))
    done = restored.do(AGAIN)["STATES"]

    assert collections.Counter(uid for uid, _ in done) == collections.Counter(
        [*(uid for uid, _ in before), *(set(after) - {uid for uid, _ in before})]
    )
    assert collections.Counter(state for _, state in done) == {
        "delivered": 7,
        "rejected": 1,
        "set_aside": 1,
    }
    # What was read before the copy has its one pair. What was read after it is read again: that is
    # another document of a later time, and no two documents share a UID.
    read_before = {uid for uid, state in before if state in ("delivered", "reported", "analysed")}
    read_before |= {uid for uid, state in before if state == "failed"}
    pairs = reports_by_ecg(orthanc)
    assert {uid for uid, _ in done} - set(pairs) == {
        uid for uid, state in before if state == "rejected"
    }
    assert pairs == {uid: 2 if uid in read_before else 4 for uid in pairs}
    assert sum(count == 4 for count in pairs.values()) == 3


def reports_by_ecg(archive: Orthanc) -> dict[str, int]:
    """Return how many reports the archive has of each ECG, by its UID."""
    found: collections.Counter[str] = collections.Counter()
    for one in archive.instances():
        ds = dcmread(io.BytesIO(archive.file(one)))
        evidence = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
        found[str(evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)] += 1
    return dict(found)
