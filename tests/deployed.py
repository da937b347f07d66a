"""Reading deploy/: where it is, which variables are explained, whether a command line is true."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath

from celery.bin.celery import celery as celery_program
from click import Context
from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
EXAMPLES = (
    ROOT / ".env.example",
    DEPLOY / "compose.env.example",
    DEPLOY / "systemd" / "gateway.env.example",
)


def variables_explained(*examples: Path) -> dict[str, str]:
    """Return the variables and values of the example files (all, unless some are named)."""
    text = "\n".join(path.read_text() for path in examples or EXAMPLES)
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))


def check_command(command: Sequence[str]) -> None:
    """Fail unless this command line is one that its program takes: names and options alike."""
    program, *arguments = command
    match PurePath(program).name:
        case "python" if arguments[0] == "manage.py":
            _check_manage(arguments[1:])
        case "celery":
            _check_celery(arguments)
        case "gunicorn":
            _check_gunicorn(arguments)
        case other:
            raise AssertionError(f"no way to check a command of {other!r}")


def _check_manage(arguments: Sequence[str]) -> None:
    name, *options = arguments
    apps = get_commands()
    assert name in apps, f"manage.py has no command {name!r}"
    app = apps[name]
    command = load_command_class(app, name) if isinstance(app, str) else app
    command.create_parser("manage.py", name).parse_args(options)  # SystemExit for an unknown one


def _check_celery(arguments: Sequence[str]) -> None:
    flag, app, name, *options = arguments
    assert (flag, app) == ("-A", "gateway")
    command = celery_program.get_command(Context(celery_program), name)
    assert command is not None, f"celery has no command {name!r}"
    # NoSuchOption for an unknown one; nothing is started.
    _, rest, _ = command.make_parser(Context(command)).parse_args(list(options))
    assert rest == [], f"celery {name} takes no {rest}"


def _check_gunicorn(arguments: Sequence[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--check-config", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
