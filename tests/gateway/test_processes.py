"""Which process loads what: only the Analyst's child pays for the network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    "imports",
    [
        "gateway.tasks, gateway.ingest, gateway.management.commands.listen",
        "gateway.wsgi, webadmin.urls",
        "gateway.management.commands.classify, gateway.management.commands.up",
    ],
)
def test_starting_a_process_loads_no_tensorflow(imports: str) -> None:
    code = (
        "import sys, django; django.setup(); "
        f"import {imports}; "
        "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "gateway.settings"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == "[]"
