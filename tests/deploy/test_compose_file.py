"""deploy/compose.yaml, as docker-compose itself reads it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployed import DEPLOY, check_command, variables_explained
from programs import require

COMPOSE = DEPLOY / "compose.yaml"
OURS = ("listener", "analyst", "courier", "herald", "steward", "trainer", "sweeper", "web")


def config(file: Path = COMPOSE, /, **variables: str) -> dict[str, Any]:
    """Return the file with its variables filled in, as Compose would run it."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
    done = subprocess.run(
        [require("docker-compose"), "-f", file, "config"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parsed: dict[str, Any] = yaml.safe_load(done.stdout)
    return parsed


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = config(POSTGRES_PASSWORD="s3cret", DESK_HOST="ecg.example")["services"]
    return found


def test_it_parses_with_no_variable_set() -> None:
    assert set(config()["services"]) >= set(OURS)


def test_without_a_password_the_database_gets_none_rather_than_a_known_one() -> None:
    assert config()["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"] == ""


def test_the_whole_cast_is_there_with_database_broker_and_proxy(services: dict[str, Any]) -> None:
    assert set(services) == {*OURS, "prepare", "nginx", "postgres", "valkey"}


def test_memory_is_limited_for_every_service_that_stays(services: dict[str, Any]) -> None:
    limits = {name: service.get("mem_limit") for name, service in services.items()}
    assert [name for name, limit in limits.items() if not limit] == ["prepare"]
    assert (limits["listener"], limits["analyst"]) == ("300m", "2500m")


@pytest.mark.parametrize("name", [*OURS, "prepare"])
def test_our_services_run_without_privileges_on_a_read_only_file_system(
    name: str, services: dict[str, Any]
) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "data:/var/lib/ecg-gateway:rw" in service["volumes"]


@pytest.mark.parametrize("name", OURS)
def test_no_process_starts_before_the_tables_are_those_of_its_version(
    name: str, services: dict[str, Any]
) -> None:
    needs = services[name]["depends_on"]
    assert needs["prepare"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("name", OURS)
def test_every_command_exists_with_every_option(name: str, services: dict[str, Any]) -> None:
    command = services[name]["command"]
    check_command(shlex.split(command) if isinstance(command, str) else command)


def test_the_commands_of_prepare_exist(services: dict[str, Any]) -> None:
    shell, flag, script = services["prepare"]["command"]
    assert (shell, flag) == ("sh", "-c")
    commands = [part.split() for part in script.split("&&")]
    assert [command[2] for command in commands] == ["migrate", "collectstatic", "check"]
    for command in commands:
        check_command(command)


def test_only_dicom_and_the_proxy_are_published(services: dict[str, Any]) -> None:
    published = {name for name, service in services.items() if service.get("ports")}
    assert published == {"listener", "nginx"}


def test_database_and_broker_are_reached_from_inside_only(services: dict[str, Any]) -> None:
    assert config()["networks"]["inside"]["internal"] is True
    for name in ("postgres", "valkey", "analyst", "sweeper", "web"):
        assert set(services[name]["networks"]) == {"inside"}, name


def test_the_desk_knows_the_name_people_type_and_the_one_its_health_is_asked_by(
    services: dict[str, Any],
) -> None:
    environment = services["web"]["environment"]
    assert environment["ECG_ALLOWED_HOSTS"] == "localhost,ecg.example"
    assert environment["ECG_TRUSTED_ORIGINS"] == "https://ecg.example"
    assert environment["DATABASE_URL"] == "postgres://ecg:s3cret@postgres:5432/ecg"


def test_every_variable_it_asks_for_is_explained() -> None:
    asked = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    assert asked <= set(variables_explained())


def test_every_variable_it_hands_over_is_one_the_gateway_reads(services: dict[str, Any]) -> None:
    given = set(services["listener"]["environment"])
    read = set(variables_explained(DEPLOY.parent / ".env.example"))
    assert given <= read
    # Left out on purpose: fixed by the containers, or no business of production.
    fixed = {"ECG_DATA_DIR", "ECG_DICOM_HOST", "ECG_DICOM_PORT", "ECG_WEB_PORT"}
    of_up_alone = {"ECG_RESTART_PAUSE_S"}
    assert read - given == {*fixed, *of_up_alone, "ECG_CORPUS_DIR", "ECG_DEBUG"}


def test_every_file_it_mounts_is_there(services: dict[str, Any]) -> None:
    mounts = [v.split(":")[0] for v in services["nginx"]["volumes"] if v.startswith("/")]
    made_by_the_runbook = DEPLOY / "tls"
    assert [path for path in mounts if not Path(path).exists()] in ([], [str(made_by_the_runbook)])


@pytest.fixture
def workers(tmp_path: Path) -> dict[str, Any]:
    """Return the services of a further machine; its file lies beside a deploy/.env there."""
    file = tmp_path / "compose.workers.yaml"
    file.write_text((DEPLOY / "compose.workers.yaml").read_text())
    (tmp_path / ".env").write_text((DEPLOY / "compose.env.example").read_text())
    found: dict[str, Any] = config(file, DATABASE_URL="postgres://db/ecg")["services"]
    return found


def test_a_further_machine_runs_what_may_run_twice_with_the_same_commands(
    workers: dict[str, Any], services: dict[str, Any]
) -> None:
    assert set(workers) == {"listener", "analyst", "courier", "herald", "steward"}
    for name, service in workers.items():
        assert service["command"] == services[name]["command"]
        assert service["mem_limit"] == services[name]["mem_limit"]
        assert service["read_only"] is True
        assert service["environment"]["DATABASE_URL"] == "postgres://db/ecg"
        assert "data:/var/lib/ecg-gateway:rw" in service["volumes"]
