"""deploy/systemd, as systemd reads it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deployed import DEPLOY, ROOT, check_command, variables_explained
from programs import require

from gateway import supervisor

UNITS = DEPLOY / "systemd"
SERVICES = sorted(UNITS.glob("ecg-gateway-*.service"))
COMMON = UNITS / "ecg-gateway-.service.d" / "10-common.conf"
NAMES = [service.stem.removeprefix("ecg-gateway-") for service in SERVICES]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the units as the runbook installs them, but for this checkout and this Python."""
    folder = tmp_path_factory.mktemp("units") / "system"
    shutil.copytree(UNITS, folder)
    binaries = Path(sys.executable).parent
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_text().replace("/opt/ecg-gateway/.venv/bin", str(binaries))
            path.write_text(text.replace("/opt/ecg-gateway", str(ROOT)))
    return folder


def systemd_analyze(*arguments: str | Path, units: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require("systemd-analyze"), *arguments],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def command_of(service: Path) -> list[str]:
    """Return the command of a unit, with systemd's own escapes resolved."""
    (line,) = re.findall(
        r"^ExecStart=(.*)$", service.read_text().replace("\\\n", " "), re.MULTILINE
    )
    known = variables_explained()
    plain = re.sub(r"\$\{(\w+)\}", lambda name: known[name.group(1)], line).replace("%%", "%")
    return shlex.split(plain)


def test_there_is_a_unit_for_each_of_the_cast() -> None:
    assert NAMES == [
        "analyst",
        "courier",
        "desk",
        "herald",
        "listener",
        "steward",
        "sweeper",
        "trainer",
    ]


def test_systemd_finds_nothing_wrong_with_them(installed: Path) -> None:
    verified = systemd_analyze(
        "verify",
        "--man=no",
        *sorted(installed.glob("ecg-gateway-*.service")),
        installed / "ecg-gateway.target",
        units=installed,
    )
    # systemd-analyze speaks of other units on the machine too; those are not ours to judge.
    ours = [line for line in verified.stderr.splitlines() if "ecg-gateway" in line]
    assert ours == []
    assert verified.returncode == 0, verified.stderr


def test_verification_would_see_a_mistake(installed: Path, tmp_path: Path) -> None:
    broken = tmp_path / "system"
    shutil.copytree(installed, broken)
    common = broken / COMMON.relative_to(UNITS)
    common.write_text(common.read_text() + "ProtectSistem=strict\n")
    verified = systemd_analyze("verify", broken / "ecg-gateway-desk.service", units=broken)
    assert "ProtectSistem" in verified.stderr


def test_the_sandbox_leaves_little_exposed(installed: Path) -> None:
    for name in NAMES:
        unit = installed / f"ecg-gateway-{name}.service"
        # The threshold is in tenths: 2.0 of 10. A unit without any sandbox has 9.6.
        judged = systemd_analyze(
            "security", "--offline=true", "--no-pager", "--threshold=20", unit, units=installed
        )
        assert judged.returncode == 0, f"{judged.stdout[-300:]}{judged.stderr}"


@pytest.mark.parametrize("service", SERVICES, ids=NAMES)
def test_every_unit_command_exists_with_every_option(service: Path) -> None:
    program, *arguments = command_of(service)
    assert program.startswith("/opt/ecg-gateway/.venv/bin/")
    check_command([program, *arguments])


@pytest.mark.parametrize("service", SERVICES, ids=NAMES)
def test_each_unit_has_its_own_limits_and_belongs_to_the_target(service: Path) -> None:
    text = service.read_text()
    assert re.search(r"^MemoryMax=\d+[MG]$", text, re.MULTILINE)
    assert re.search(r"^TimeoutStopSec=\d+s$", text, re.MULTILINE)
    assert "PartOf=ecg-gateway.target" in text
    assert "WantedBy=ecg-gateway.target" in text
    assert service.name in (UNITS / "ecg-gateway.target").read_text()


def test_what_may_wait_stands_behind_the_listener() -> None:
    behind = {
        name: int(found.group(1))
        for name in NAMES
        if (
            found := re.search(
                r"^Nice=(\d+)$", (UNITS / f"ecg-gateway-{name}.service").read_text(), re.MULTILINE
            )
        )
    }
    by_itself = {program.name: program.niceness for program in supervisor.cast()}
    assert behind == {name: nice for name, nice in by_itself.items() if nice}


def test_the_units_run_what_the_containers_run() -> None:
    compose = (DEPLOY / "compose.yaml").read_text()
    for name in ("analyst", "courier", "herald", "steward", "trainer", "sweeper"):
        command = " ".join(["celery", *command_of(UNITS / f"ecg-gateway-{name}.service")[1:]])
        (line,) = re.findall(
            rf"^  {name}:.*?command: (?:>-\n)?(.*?)\n    \w", compose, re.MULTILINE | re.DOTALL
        )
        assert " ".join(line.split()) == command


def test_every_variable_of_the_units_is_one_the_gateway_reads() -> None:
    read = set(variables_explained(ROOT / ".env.example"))
    (line,) = re.findall(r"^Environment=(.*)$", COMMON.read_text(), re.MULTILINE)
    given = {item.split("=")[0] for item in line.split()} - {"PYTHONUNBUFFERED"}
    assert given <= read
    assert set(variables_explained(UNITS / "gateway.env.example")) <= read


def test_ecg_manage_runs_the_account_variables_and_folder_of_the_services() -> None:
    script = (UNITS / "ecg-manage").read_text()
    common = COMMON.read_text()
    shared = ("User=", "Group=", "EnvironmentFile=", "WorkingDirectory=", "StateDirectory=")
    for name in shared:
        (value,) = re.findall(rf"^{name}(.*)$", common, re.MULTILINE)
        assert f"--property={name}{value}" in script
    assert "ECG_DATA_DIR=/var/lib/ecg-gateway" in script
    # A name of the services' pattern would inherit Restart=always: a command would never end.
    assert '--unit="ecg-gateway-' not in script
    checked = subprocess.run(["sh", "-n", UNITS / "ecg-manage"], check=False)
    assert checked.returncode == 0
