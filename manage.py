#!/usr/bin/env python3
"""Every command of the gateway: ``./manage.py help`` lists them."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    if sys.argv[1:2] == ["demo"]:
        # The demo's made-up patients never share a folder, a database or a broker with a
        # hospital's real ones, whatever the environment or .env say.
        os.environ.setdefault("ECG_DATA_DIR", os.path.join("var", "demo"))  # noqa: PTH118
        os.environ["DATABASE_URL"] = os.environ["BROKER_URL"] = ""
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            "Django is not installed in this Python; `make run` makes .venv with all that is "
            "needed, then use .venv/bin/python manage.py"
        ) from error
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
