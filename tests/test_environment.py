""".env.example stays true: every variable is read, every variable read is explained."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = (ROOT / "gateway" / "settings.py").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
ELSEWHERE = {"ECG_CORPUS_DIR"}
"""Read by training and tests, not by the running gateway."""

READ = set(re.findall(r'env\.\w+\(\s*"(\w+)"', SETTINGS)) | ELSEWHERE
EXPLAINED = dict(re.findall(r"^# (.+)\n([A-Z_]+)=.*$", EXAMPLE, re.MULTILINE))


def test_every_variable_is_explained_and_none_is_invented() -> None:
    named = set(re.findall(r"^([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    assert named == READ


def test_each_explanation_is_a_sentence() -> None:
    assert set(EXPLAINED.values()) == READ
    assert all(len(text) > 15 and text.rstrip()[-1] in ".)" for text in EXPLAINED)


def test_the_defaults_shown_are_the_defaults_used() -> None:
    shown = dict(re.findall(r"^([A-Z_]+)=(.+)$", EXAMPLE, re.MULTILINE))
    for name, value in shown.items():
        found = re.search(rf'"{name}", default=([^)]+)\)', SETTINGS)
        assert found, name
        default = found.group(1).strip('"').removesuffix(".0")
        if name != "ECG_DATA_DIR":
            assert default.lower() == value.removesuffix(".0").lower(), name
