"""What several pages of one object say together, without a network: the readings are given."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.pages import PageOrReason
from gateway.reading import ObjectReading, read_objects
from models.calibrate import Verdict
from models.labels import KEYS
from models.page import Page
from models.predict import KIND_REASONS, Finding, PageReading

CORNERS = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))


def page(mark: int, *, rows: int = 3, columns: int = 400) -> Page:
    """A page whose ink tells it from the others."""
    return Page(np.full((60, columns), mark, np.uint8), CORNERS, {"rows": float(rows)})


def says(probabilities: dict[str, float]) -> PageReading:
    findings = tuple(
        Finding(key, probabilities.get(key, 0.0), 0.5, _verdict(probabilities.get(key, 0.0)))
        for key in KEYS
    )
    return PageReading(True, None, findings, {"rows": 3.0}, CORNERS)


def _verdict(probability: float) -> Verdict:
    return "present" if probability >= 0.5 else "absent"


def half(*kinds: str, rows: int = 6) -> PageReading:
    return PageReading(
        False, KIND_REASONS["six_leads"], (), {"rows": float(rows)}, CORNERS, ("six_leads", *kinds)
    )


class Reader:
    """Answers with what it was given for the darkness of a page, and remembers what it saw."""

    def __init__(self, by_mark: dict[int, PageReading], joined: PageReading | None = None) -> None:
        self.by_mark, self.joined = by_mark, joined
        self.seen: list[Page] = []

    def __call__(self, pages: Sequence[Page]) -> list[PageReading]:
        self.seen += pages
        return [self._of(page) for page in pages]

    def _of(self, page: Page) -> PageReading:
        marks = set(np.unique(page.grey).tolist())
        if len(marks) > 1:
            assert self.joined is not None
            return self.joined
        return self.by_mark[marks.pop()]


def probability(reading: ObjectReading, key: str) -> tuple[float, int]:
    (placed,) = [one for one in reading.findings if one.finding.key == key]
    return placed.finding.probability, placed.number


def test_each_finding_is_as_on_the_page_that_shows_it_best() -> None:
    reader = Reader(
        {1: says({"normal": 0.9, "pvc": 0.1}), 2: says({"normal": 0.2, "pvc": 0.8, "af": 0.3})}
    )
    (reading,) = read_objects(
        [[PageOrReason(1, page(1), None), PageOrReason(2, page(2), None)]], reader
    )
    assert probability(reading, "pvc") == (0.8, 2)
    assert probability(reading, "af") == (0.3, 2)
    assert probability(reading, "normal") == (0.2, 2), "as normal as its least normal page"
    assert probability(reading, "clbbb") == (0.0, 1), "equal pages: the first"
    assert reading.number == 1


def test_a_page_that_cannot_be_read_takes_nothing_from_the_others() -> None:
    reader = Reader({2: says({"af": 0.7})})
    (reading,) = read_objects(
        [[PageOrReason(1, None, "blank picture"), PageOrReason(2, page(2), None)]], reader
    )
    assert (reading.number, reading.reason) == (2, None)
    assert probability(reading, "af") == (0.7, 2)
    assert [one["reason"] for one in reading.pages] == ["blank picture", None]


def test_what_the_network_says_of_a_page_is_the_reason_rather_than_a_blank_one() -> None:
    unread = PageReading(False, "unlike every page", (), {"rows": 3.0}, CORNERS)
    (reading,) = read_objects(
        [[PageOrReason(1, None, "blank picture"), PageOrReason(2, page(2), None)]],
        Reader({2: unread}),
    )
    assert (reading.reason, reading.number, reading.findings) == ("unlike every page", 2, ())


def test_limb_leads_on_one_page_and_chest_leads_on_the_next_are_read_as_one() -> None:
    reader = Reader({1: half(), 2: half()}, says({"crbbb": 0.9}))
    (reading,) = read_objects(
        [[PageOrReason(1, page(1, rows=6), None), PageOrReason(2, page(2, rows=6), None)]], reader
    )
    whole = reader.seen[-1].grey
    assert whole.shape == (60, 400), "five seconds of each half"
    assert set(whole[:, :200].flat) == {1}
    assert set(whole[:, 200:].flat) == {2}
    assert probability(reading, "crbbb") == (0.9, 1)
    assert [one.get("joined_with") for one in reading.pages] == [2, 1]


def test_one_page_of_six_leads_stays_refused() -> None:
    for reader, pages in (
        (Reader({1: half()}), [PageOrReason(1, page(1), None)]),
        (
            Reader({1: half(rows=3), 2: half()}),
            [PageOrReason(1, page(1), None), PageOrReason(2, page(2), None)],
        ),
        (
            # At 50 mm/s twelve leads in two columns look much the same.
            Reader({1: half("fast_paper"), 2: half("fast_paper")}),
            [PageOrReason(1, page(1), None), PageOrReason(2, page(2), None)],
        ),
    ):
        (reading,) = read_objects([pages], reader)
        assert reading.reason == KIND_REASONS["six_leads"]
        assert reading.findings == ()


@given(
    st.lists(
        st.lists(
            st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()),
            min_size=1,
            max_size=5,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_page_is_read_for_another_object(
    objects: list[list[tuple[float, float, bool] | None]],
) -> None:
    by_mark: dict[int, PageReading] = {}
    given_pages: list[list[PageOrReason]] = []
    expected: list[list[PageReading]] = []
    for pages in objects:
        row, readings = [], []
        for number, one in enumerate(pages, start=1):
            if one is None:
                row.append(PageOrReason(number, None, "blank picture"))
                continue
            mark = len(by_mark)
            by_mark[mark] = says({"normal": one[0], "af": one[1]}) if one[2] else half()
            if one[2]:
                readings.append(by_mark[mark])
            row.append(PageOrReason(number, page(mark), None))
        given_pages.append(row)
        expected.append(readings)
    # Halves that are joined answer like an unreadable page here: only whole pages count.
    readings_of = read_objects(given_pages, Reader(by_mark, half()))
    for reading, whole in zip(readings_of, expected, strict=True):
        if not whole:
            assert reading.findings == ()
            assert reading.reason
            continue
        of = {key: [r.findings[KEYS.index(key)].probability for r in whole] for key in KEYS}
        assert probability(reading, "af")[0] == max(of["af"])
        assert probability(reading, "normal")[0] == min(of["normal"])
