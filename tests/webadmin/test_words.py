"""Every state, outcome, verdict and finding has its word; every name and duration is readable."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.models import Association, Delivery, Finding
from gateway.states import RESUME, Event, State
from models.labels import KEYS
from webadmin import trail, words
from webadmin.templatetags.desk import kilobytes, person, status_code


def test_every_finding_has_a_short_word_and_a_meaning() -> None:
    assert tuple(words.SHORT) == KEYS
    assert tuple(words.MEANINGS) == KEYS
    assert len(set(words.SHORT.values())) == len(KEYS)


def test_every_badge_has_a_word_and_a_shape_beside_its_colour() -> None:
    badges = [words.state(value) for value in State.values]
    badges += [words.delivery(value) for value in Delivery.Outcome.values]
    badges += [words.association(value) for value in Association.Outcome.values]
    badges += [words.verdict("af", value) for value in Finding.Verdict.values]
    assert all(badge.text and badge.icon and badge.tone for badge in badges)
    assert len({words.state(value).text for value in State.values}) == len(State)


def test_every_state_an_instance_can_fail_in_is_explained() -> None:
    assert set(words.FAILED_IN) == set(RESUME)


def test_a_normal_ecg_is_good_news_and_a_finding_is_not() -> None:
    assert words.verdict("normal", "present").tone == "good"
    assert words.verdict("af", "present").tone == "bad"


def test_every_event_is_told_in_words() -> None:
    assert all(trail.describe(event) == str(event.label) for event in Event)
    assert trail.describe("receive") == "arrived by C-STORE"
    assert trail.describe("some_later_event") == "some later event"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("", ""),
        ("Okafor^Ngozi^A", "Okafor, Ngozi A"),
        ("Okafor", "Okafor"),
        ("^Ngozi", "Ngozi"),
        ("Wang^XiaoDong=王^小東", "Wang, XiaoDong (王, 小東)"),
        ("=山田^太郎", "山田, 太郎"),
    ],
)
def test_a_person_name_is_written_as_people_write_it(name: str, written: str) -> None:
    assert person(name) == written


@given(st.text(max_size=80))
def test_no_person_name_is_an_error_or_loses_a_letter(name: str) -> None:
    kept = [letter for letter in name if letter.isalpha()]
    assert [letter for letter in person(name) if letter.isalpha()] == kept


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0 s"), (0.84, "0.8 s"), (59.9, "59.9 s"), (26 * 60, "26 min"), (9000, "2.5 h"),
     (200_000, "2 days")],
)  # fmt: skip
def test_a_duration_is_told_in_the_unit_a_person_would_use(seconds: float, text: str) -> None:
    assert trail.span(datetime.timedelta(seconds=seconds)) == text


def test_statuses_and_sizes_read_as_dicom_and_people_write_them() -> None:
    assert (status_code(0xA700), status_code(0), status_code(None)) == ("0xA700", "0x0000", "")
    assert (kilobytes(10), kilobytes(812_400), kilobytes(10_400_000)) == (
        "1 kB",
        "812 kB",
        "10.4 MB",
    )
