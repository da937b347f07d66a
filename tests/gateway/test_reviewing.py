"""What a person verified of an ECG becomes reports of its own, delivered like the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from desk_rows import analyse, make_ecg
from pytest_django import Settings

from gateway import reviewing
from gateway.models import Instance, Review
from gateway.states import State
from models.labels import KEYS

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "Wang^Li=王^丽"


@pytest.fixture(autouse=True)
def _apart(settings: Settings, tmp_path: Path) -> None:
    settings.ECG_SPOOL_DIR = tmp_path / "spool"
    settings.ECG_BACKOFF_S = 0.0
    settings.ECG_PROOF_DELAY_S = 0.0


def analysed() -> Instance:
    return analyse(make_ecg(), {"af": 0.93})


def order(row: Instance, *present: str, **values: Any) -> Review:
    findings = {key: "present" if key in present else "absent" for key in KEYS}
    given = {"findings": findings, "verifier_name": NAME, "organization": "County Hospital"}
    return reviewing.order(row, **{**given, **values})


# --- what can be ordered --------------------------------------------------------------------------


def test_what_was_never_analysed_is_not_reviewable() -> None:
    for state in (State.RECEIVED, State.REJECTED, State.SET_ASIDE):
        row = make_ecg()
        Instance.objects.filter(pk=row.pk).update(state=state)
        with pytest.raises(reviewing.NotReviewable, match=f"it is {state.label.lower()[:8]}"):
            order(row, "af")
    Instance.objects.filter(pk=row.pk).update(state=State.FAILED, failed_in=State.RECEIVED)
    with pytest.raises(reviewing.NotReviewable, match="it is failed as received"):
        order(row, "af")
    assert Review.objects.count() == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"findings": {"af": "present"}}, "expected normal, pvc"),
        ({"findings": dict.fromkeys(KEYS, "perhaps")}, "received 'perhaps'"),
        ({"verifier_name": " ^"}, "verifier_name: expected a text"),
        ({"organization": ""}, "organization: expected a text"),
        ({"organization": "A\\B"}, "no backslash"),
        ({"verifier_id": "1\r2"}, "no control character"),
        ({"verifier_name": "a" * 65}, "groups of at most 64"),
        ({"verifier_name": "A=B=C=D"}, "up to three groups"),
        ({"comment": "x" * 1001}, "at most 1000"),
    ],
)
def test_what_no_report_could_say_is_refused(values: dict[str, Any], said: str) -> None:
    row = analysed()
    with pytest.raises(ValueError, match=said):
        order(row, "af", **values)
    assert Review.objects.count() == 0


def test_reviews_of_an_ecg_are_numbered() -> None:
    row, other = analysed(), analysed()
    assert [order(each, "af").number for each in (row, row, other)] == [1, 2, 1]
