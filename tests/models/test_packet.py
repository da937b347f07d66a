"""The packet is one function: its shape, its range, and that nothing but scaling happens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.packet import SIDE_PX, pack, unpack

PAGES = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 300), st.integers(3, 400)), elements=st.integers(0, 255)
)


@given(PAGES)
def test_any_page_becomes_one_packet_of_its_own_greys(page: np.ndarray) -> None:
    packet = pack(page)
    assert packet.shape == (SIDE_PX, SIDE_PX, 3)
    assert packet.dtype == np.uint8
    assert page.min() <= packet.min() <= packet.max() <= page.max()
    assert np.array_equal(packet, pack(page.copy()))


@given(st.integers(1, 900), st.integers(3, 900), st.integers(0, 255))
def test_one_grey_stays_that_grey(rows: int, columns: int, grey: int) -> None:
    assert (pack(np.full((rows, columns), grey, np.uint8)) == grey).all()


def test_a_page_of_the_set_size_is_only_cut() -> None:
    page = np.random.default_rng(1).integers(0, 256, (224, 672), dtype=np.uint8)
    packet = pack(page)
    for channel in range(3):
        assert np.array_equal(packet[..., channel], page[:, 224 * channel : 224 * (channel + 1)])
    assert np.array_equal(unpack(packet), page)


def test_time_runs_from_red_to_blue() -> None:
    page = np.full((300, 900), 255, np.uint8)
    page[:, 650:660] = 0  # a mark in the last third
    darkest = pack(page).reshape(-1, 3).min(axis=0)
    assert darkest[0] == darkest[1] == 255
    assert darkest[2] < 50


@pytest.mark.parametrize(
    "page",
    [np.zeros((10, 2), np.uint8), np.zeros((10, 30)), np.zeros((10, 30, 3), np.uint8)],
)
def test_what_is_no_grey_page_is_refused_by_name(page: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected a uint8 page"):
        pack(page)
