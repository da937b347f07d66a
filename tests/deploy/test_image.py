"""deploy/Dockerfile: without an engine, what the image holds is put together here and tried."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from deployed import DEPLOY, ROOT, check_command

DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def copied() -> dict[str, str]:
    """Return what the last stage copies from this repository, and where to."""
    stage = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    pairs = re.findall(r"^COPY (?!--from)(\S+) (\S+)$", stage, re.MULTILINE)
    return dict(pairs)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with just the files that the image has."""
    folder = tmp_path_factory.mktemp("image")
    for source, target in copied().items():
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            (folder / target).mkdir(exist_ok=True, parents=True)
            shutil.copy(ROOT / source, folder / target)
    return folder


def run(image: Path, *arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in the image's folder with a clean environment."""
    environment = {
        "PATH": os.environ["PATH"],
        "ECG_DATA_DIR": str(data),
        "DATABASE_URL": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=image,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_files_of_the_image_are_enough_to_prepare_and_check(
    image: Path, tmp_path: Path
) -> None:
    for command in (
        ["migrate", "--no-input"],
        ["collectstatic", "--no-input", "--clear", "--verbosity", "0"],
        ["check", "--fail-level", "WARNING"],
    ):
        done = run(image, "manage.py", *command, data=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert any((image / "staticfiles").rglob("*.css"))


def test_its_code_belongs_to_root_and_its_processes_to_nobody_in_particular() -> None:
    (user,) = instructions("USER")
    assert user == "ecg"
    assert "--chown" not in "".join(instructions("COPY"))
    assert DOCKERFILE.index("USER ecg") > DOCKERFILE.rindex("COPY ")


def test_its_default_command_and_health_check_exist(image: Path) -> None:
    (command,) = instructions("CMD")
    check_command(json.loads(command))
    (check,) = re.findall(r"HEALTHCHECK .*CMD (\[.*\])", DOCKERFILE)
    program, script, *_ = json.loads(check)
    assert program == "python"
    assert (image / script).is_file()


def test_the_builder_sees_what_is_copied_and_nothing_secret() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in lines
    seen = {line[1:] for line in lines if line.startswith("!")}
    assert seen == {*copied(), "requirements/run.txt"}


def test_it_is_the_python_that_the_requirements_were_pinned_for() -> None:
    assert {line.split()[0] for line in instructions("FROM")} == {"python:3.11-slim"}


def test_health_is_told_from_illness(image: Path, tmp_path: Path) -> None:
    script = "deploy/healthcheck.py"
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = str(server.getsockname()[1])
        deaf = run(image, script, "listening", port, data=tmp_path)
        assert deaf.returncode == 1
        assert f"listens on port {port}, found none" in deaf.stderr
        server.listen()
        assert run(image, script, "listening", port, data=tmp_path).returncode == 0
        # Nobody called: a health check leaves no trace in the Listener's log.
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
    assert run(image, script, "icmp", "1", data=tmp_path).returncode == 2
    assert run(image, script, "listening", data=tmp_path).returncode == 2


def test_every_health_check_of_the_containers_is_one_the_script_knows() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    asked = [
        service["healthcheck"]["test"][3]
        for service in services.values()
        if "deploy/healthcheck.py" in service.get("healthcheck", {}).get("test", [])
    ]
    assert sorted(asked) == ["http", "listening"]
    text = (DEPLOY / "healthcheck.py").read_text()
    assert all(f'"{name}": check_{name}' in text for name in asked)
