"""A seeded share of what `make torture` does at length."""

from __future__ import annotations

from pathlib import Path

import pytest
from torture import torture

pytestmark = [pytest.mark.life, pytest.mark.timeout(500)]


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    found = torture(tmp_path, kills=4, seed=20, faults=1.0)
    assert sum(found.kills.values()) == 4
    assert found.faults_seen
    assert found.sent > 3
    assert found.is_clean, found
