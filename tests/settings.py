"""The product's own settings, in a folder that only this test run knows.

pytest-django loads the settings before the first conftest, so this module, not a fixture, is what
keeps every test away from the data folder, the database and the broker of the person who runs
them. Programs that a test starts inherit the same environment.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_FOLDER = Path(tempfile.mkdtemp(prefix="ecg-tests-"))
_OWNER = os.getpid()


def _remove() -> None:
    """Remove the folder when the test run ends, but not when a forked child of it does."""
    if os.getpid() == _OWNER:
        shutil.rmtree(_FOLDER, ignore_errors=True)


atexit.register(_remove)
for _name in [name for name in os.environ if name.startswith("ECG_") and name != "ECG_CORPUS_DIR"]:
    del os.environ[_name]
os.environ["ECG_DATA_DIR"] = str(_FOLDER)
# TEST_DATABASE_URL is how tests/test_on_postgresql.py runs the same tests on the other database.
os.environ["DATABASE_URL"] = (
    os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{_FOLDER / 'gateway.sqlite3'}"
)
os.environ["BROKER_URL"] = ""  # the default: the embedded one, in the same folder

from gateway.settings import *  # noqa: E402, F403 (the environment has to be ready first)
