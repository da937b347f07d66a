"""The web process: what it never loads, and what it says when the database is away."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from django.test import Client

LOADS = """
import sys, django
django.setup()
import webadmin.urls, webadmin.admin
from django.urls import reverse
reverse("admin:index")
heavy = ("tensorflow", "keras", "pynetdicom")
print(sorted(name for name in heavy if name in sys.modules))
"""

ASKS = """
import django
django.setup()
from django.test import Client
answer = Client().get("/healthz", headers={"host": "localhost"})
print(answer.status_code, answer.content.decode())
"""


def run(code: str, **environment: str) -> str:
    """Run `code` in a process of its own, as the web server would, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "gateway.settings", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_loads_no_network_and_opens_no_dicom_socket() -> None:
    assert run(LOADS) == "[]"


@pytest.mark.django_db
def test_health_is_told_to_anyone_when_the_database_answers(client: Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"database": True, "intake": True})
    assert "no-store" in answer["Cache-Control"]
    assert not answer.cookies
    assert client.post("/healthz").status_code == 405


def test_health_is_503_when_the_database_is_away() -> None:
    status, _, body = run(ASKS, DATABASE_URL="postgres://nobody@127.0.0.1:1/none").partition(" ")
    assert status == "503"
    assert json.loads(body) == {"database": False, "intake": True}
