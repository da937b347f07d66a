"""deploy/RUNBOOK.md and the Makefile say what is so."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import yaml
from deployed import DEPLOY, ROOT, check_command, variables_explained
from programs import PACKAGES, require

RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text()
CODE = "\n".join(re.findall(r"^    (.*)$", RUNBOOK, re.MULTILINE)).replace("\\\n", " ")
MANAGE = sorted(
    {
        line.split("#")[0].strip()
        for line in re.findall(r"^(?:.*&& )?(?:ecg-manage|manage\.py) (.*)$", CODE, re.MULTILINE)
        if "&&" not in line
    }
)


@pytest.mark.parametrize("arguments", MANAGE)
def test_every_manage_command_it_tells_exists(arguments: str) -> None:
    check_command(["python", "manage.py", *shlex.split(arguments)])


def test_the_commands_were_found() -> None:
    names = {line.split()[0] for line in MANAGE}
    assert names >= {"peer", "signin", "check"}


def test_every_file_it_names_is_there() -> None:
    named = set(re.findall(r"(?:/opt/ecg-gateway/|(?<![\w/]))(deploy/[\w./-]+)", RUNBOOK))
    made_later = {"deploy/.env", "deploy/tls", "deploy/tls/desk.key", "deploy/tls/desk.crt"}
    missing = {
        name
        for name in {name.rstrip("./") for name in named} - made_later
        if not list(ROOT.glob(f"{name}*"))
    }
    assert missing == set()


def test_every_variable_it_names_is_explained() -> None:
    named = set(re.findall(r"`?\b((?:ECG|GATEWAY|DESK|POSTGRES)_[A-Z_]+)\b", RUNBOOK))
    not_ours = {"DESK_UPSTREAM"}  # a name of the proxy's template, explained there
    assert named - not_ours <= set(variables_explained())


def test_every_service_it_names_is_in_the_compose_file() -> None:
    services = set(yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"])
    named = set(re.findall(r"compose\.yaml exec (?:-T )?(\w+)", RUNBOOK))
    for line in re.findall(r"compose\.yaml stop (.*)", RUNBOOK):
        named |= set(line.split())
    assert named <= services


def test_make_alone_lists_every_target_that_has_a_sentence() -> None:
    makefile = (ROOT / "Makefile").read_text()
    said = dict(re.findall(r"^([a-z]+):.*## (.*)$", makefile, re.MULTILINE))
    assert set(said) == {
        "help",
        "demo",
        "run",
        "test",
        "torture",
        "bench",
        "viewers",
        "screenshots",
        "check",
        "requirements",
        "clean",
    }
    assert all(sentence.endswith(".") or "ARGS" in sentence for sentence in said.values())
    listed = subprocess.run(
        [require("make"), "-C", ROOT], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    assert all(f"make {name}" in listed for name in said)


def test_the_list_of_debian_packages_has_every_program_the_tests_ask_for() -> None:
    text = (ROOT / "requirements" / "debian.txt").read_text()
    listed = {
        name for line in text.splitlines() for name in line.split("#")[0].replace("|", " ").split()
    }
    present_anyway = {"make"}
    assert set(PACKAGES.values()) - present_anyway <= listed


@pytest.mark.parametrize("script", [".ci/run", "requirements/debian.sh"])
def test_the_scripts_are_sound_bash_and_stop_at_the_first_error(script: str) -> None:
    path = ROOT / script
    assert "set -euo pipefail" in path.read_text()
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


def test_the_hooks_before_a_commit_are_the_programs_of_the_virtual_environment() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    pinned = (ROOT / "requirements" / "test.txt").read_text()
    packages = {"ruff": "ruff", "mypy": "mypy", "lint-imports": "import-linter"}
    for hook in hooks[0]["hooks"]:
        program = hook["entry"].split()[0]
        assert program.startswith(".venv/bin/")
        assert f"\n{packages[program.removeprefix('.venv/bin/')]}==" in pinned
