"""Kappa and its interval, against published examples and against resampling."""

from __future__ import annotations

import numpy as np
import pytest

from webadmin.kappa import grouped, kappa, table_of, wilson

FLEISS = np.array([[75, 1, 4], [5, 4, 1], [0, 0, 10]])
"""Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, Table 18.1."""


def test_the_published_example_has_its_published_value_and_error() -> None:
    found = kappa(FLEISS)
    assert found.n == 100
    assert found.agreement == pytest.approx(0.89)
    assert found.value == pytest.approx(0.676, abs=5e-4)
    assert found.low is not None
    assert found.high is not None
    error = (found.high - found.low) / (2 * 1.959964)
    assert error == pytest.approx(0.087, abs=1e-3)


def test_the_order_of_the_readers_does_not_matter() -> None:
    one, other = kappa(FLEISS), kappa(FLEISS.T)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_readers_who_always_agree_have_one_and_who_guess_have_none() -> None:
    agreed = kappa(np.diag([30, 20, 10]))
    assert agreed.value == pytest.approx(1.0)
    assert agreed.low is None, "sixty words that agree do not prove that all will"
    guessed = kappa(np.array([[25, 25], [25, 25]]))
    assert guessed.value == pytest.approx(0.0)
    assert guessed.low is not None
    assert guessed.low < 0 < (guessed.high or 0)


def test_what_both_always_call_absent_has_no_kappa() -> None:
    found = kappa(np.array([[0, 0], [0, 40]]))
    assert (found.n, found.agreement, found.value, found.low) == (40, 1.0, None, None)
    assert kappa(np.zeros((3, 3), np.int64)).agreement is None


def test_the_interval_of_kappa_holds_what_resampling_finds() -> None:
    rng = np.random.default_rng(3)
    shares = (FLEISS / 100).ravel()
    values = []
    for _ in range(2000):
        value = kappa(rng.multinomial(100, shares).reshape(3, 3)).value
        assert value is not None
        values.append(value)
    found = kappa(FLEISS)
    assert found.low == pytest.approx(np.quantile(values, 0.025), abs=0.04)
    assert found.high == pytest.approx(np.quantile(values, 0.975), abs=0.04)


def test_words_that_hang_together_make_the_interval_wider() -> None:
    rng = np.random.default_rng(7)
    singles = []
    for _ in range(60):
        agrees = rng.random() < 0.7
        row = int(rng.integers(2))
        one = np.zeros((2, 2), np.int64)
        one[row, row if agrees else 1 - row] = 10  # all ten words of an ECG the same way
        singles.append(one)
    tables = np.stack(singles)
    together, apart = grouped(tables), kappa(tables.sum(axis=0))
    assert together.value == apart.value
    assert together.low is not None
    assert together.high is not None
    assert apart.low is not None
    assert apart.high is not None
    assert together.high - together.low > 2.5 * (apart.high - apart.low)


def test_independent_groups_give_the_large_sample_interval() -> None:
    cells = [(r, c) for r in range(3) for c in range(3) for _ in range(FLEISS[r, c])]
    tables = np.zeros((100, 3, 3), np.int64)
    for number, (row, column) in enumerate(cells):
        tables[number, row, column] = 1
    assert grouped(tables).low == pytest.approx(kappa(FLEISS).low, abs=0.02)


def test_a_table_is_counted_and_a_wrong_one_refused() -> None:
    pairs = [("present", "present"), ("present", "absent"), ("absent", "absent")]
    assert table_of(pairs, ("present", "absent")).tolist() == [[1, 1], [0, 1]]
    with pytest.raises(ValueError, match="square"):
        kappa(np.zeros((2, 3), np.int64))


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert wilson(9, 10) == pytest.approx((0.596, 0.982), abs=1e-3)
    assert wilson(0, 20) == pytest.approx((0.0, 0.161), abs=1e-3)
    assert wilson(0, 0) is None
