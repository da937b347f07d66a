"""A test of real ECGs is never silently left out in CI."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_ecgs import find_real_ecgs


def test_the_named_folder_is_used(tmp_path: Path) -> None:
    assert find_real_ecgs({"ECG_CORPUS_DIR": str(tmp_path), "CI": "true"}) == tmp_path.resolve()


def test_without_a_name_it_is_a_skip_at_home_and_a_failure_in_ci() -> None:
    with pytest.raises(pytest.skip.Exception, match="ECG_CORPUS_DIR is not set"):
        find_real_ecgs({})
    with pytest.raises(pytest.fail.Exception, match="ECG_CORPUS_DIR is not set"):
        find_real_ecgs({"CI": "true"})


def test_a_name_that_leads_nowhere_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="must name a folder"):
        find_real_ecgs({"ECG_CORPUS_DIR": str(tmp_path / "nowhere")})
