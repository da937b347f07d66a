"""Where the real ECGs are, which are no part of the repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest


def find_real_ecgs(environment: Mapping[str, str]) -> Path:
    """Return the folder that ECG_CORPUS_DIR names.

    Without it a test of real ECGs cannot run: a failure in CI, a skip that says so elsewhere.
    A name that leads nowhere is a failure everywhere.
    """
    named = environment.get("ECG_CORPUS_DIR", "")
    if not named:
        reason = "ECG_CORPUS_DIR is not set: it names the folder of real ECGs"
        if "CI" in environment:
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(named).resolve()
    if not folder.is_dir():
        pytest.fail(f"ECG_CORPUS_DIR must name a folder; {folder} is none")
    return folder
