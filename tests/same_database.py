"""The database of the test that runs, for a process that it starts."""

from __future__ import annotations

import os

from django.db import connection


def database_url() -> str:
    """Return the DATABASE_URL of the test's own database; the test needs ``transaction=True``."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return f"{os.environ['DATABASE_URL'].rsplit('/', 1)[0]}/{name}"
