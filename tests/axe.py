"""What axe-core (Deque, MPL-2.0) finds wrong with a page for people who cannot see or use a mouse.

``make test`` installs it into tests/node; nothing of it is part of the gateway.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

AXE = Path(__file__).parent / "node" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")


def serious_faults(page: Page, *, within: str = "#content") -> list[str]:
    """Return the serious and critical faults in a part of a page, each with where it is."""
    if not AXE.is_file():
        pytest.fail("expected axe-core in tests/node/node_modules; `make test` installs it")
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("(within) => axe.run(within)", within)
    return [
        f"{fault['id']}: {fault['help']}: {node['html'][:200]}"
        for fault in found["violations"]
        if fault["impact"] in SERIOUS
        for node in fault["nodes"]
    ]
