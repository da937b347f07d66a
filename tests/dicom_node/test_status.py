"""What an answer to a C-STORE means for the object that was sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.status import Status, judge


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0x0000, "stored"),
        (0x0111, "stored"),
        (0x0001, "warning"),
        (0x0107, "warning"),
        (0x0116, "warning"),
        (0xB000, "warning"),
        (0xB006, "warning"),
        (0xB007, "warning"),
        (0xA700, "retry"),
        (0xA7FF, "retry"),
        (0x0110, "retry"),
        (0x0210, "retry"),
        (0x0213, "retry"),
        (0x0117, "refused"),
        (0x0122, "refused"),
        (0x0124, "refused"),
        (0x0211, "refused"),
        (0x0212, "refused"),
        (0xA900, "refused"),
        (0xA9FF, "refused"),
        (0xC000, "refused"),
        (0xCFFF, "refused"),
    ],
)
def test_each_status_of_the_standard_has_its_kind(status: int, kind: str) -> None:
    assert judge(status)[0] == kind


@given(st.integers(0, 0xFFFF))
def test_every_status_has_a_kind_and_words_and_none_but_success_and_duplicate_is_stored(
    status: int,
) -> None:
    kind, reason = judge(status)
    assert reason
    assert kind in ("stored", "warning", "retry", "refused")
    assert (kind == "stored") == (status in (Status.SUCCESS, Status.DUPLICATE_SOP_INSTANCE))


def test_a_failure_names_its_code_so_that_it_can_be_looked_up() -> None:
    assert "0xA701" in judge(0xA701)[1]
    assert "0xC123" in judge(0xC123)[1]
