"""What the README shows is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.states import diagram

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_states_in_the_readme_are_the_states_of_the_code() -> None:
    found = re.search(r"```mermaid\n(.+?)```", README, re.DOTALL)
    assert found
    assert found.group(1) == diagram()


def test_every_file_the_readme_points_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
