"""How far two readers agree beyond chance, and how certain that is.

Sources: Cohen 1960, *A coefficient of agreement for nominal scales*; its large-sample standard
error by Fleiss, Cohen and Everitt 1969, *Large sample standard errors of kappa and weighted kappa*,
Psychological Bulletin 72; for words that belong together in groups (the ten findings of one ECG)
the delete-one jackknife over the groups, Efron 1982; intervals of shares by Wilson 1927.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.int64]

Z_95: Final = 1.959964

_NO_ERROR: Final = 1e-6


@dataclass(frozen=True)
class Kappa:
    """Agreement of two readers.

    Attributes
    ----------
    n
        How many words they both gave.
    agreement
        Share of words that are the same, 0..1; None without any.
    value
        Cohen's kappa, -1..1; None where chance alone would make them agree always, since both
        always said the same word.
    low, high
        95 % interval; None where there is no value, or where the words are so uniform that the
        formula would be certain of it (all are the same, or one reader says one word alone).
    """

    n: int
    agreement: float | None
    value: float | None
    low: float | None = None
    high: float | None = None


def table_of(pairs: Sequence[tuple[str, str]], words: Sequence[str]) -> Table:
    """Return how often the first reader said the word of a row, and the second that of a column."""
    return np.asarray(tables_of([pairs], words)[0])


def tables_of(
    groups: Sequence[Sequence[tuple[str, str]]], words: Sequence[str]
) -> NDArray[np.int64]:
    """Return a table as :func:`table_of` for each group of pairs: (groups, k, k)."""
    place = {word: number for number, word in enumerate(words)}
    tables = np.zeros((len(groups), len(words), len(words)), np.int64)
    cells = [
        (number, place[one], place[other])
        for number, pairs in enumerate(groups)
        for one, other in pairs
    ]
    if cells:
        np.add.at(tables, tuple(np.array(cells).T), 1)
    return tables


def kappa(table: Table) -> Kappa:
    """Return kappa of independent pairs of words, with its large-sample interval.

    Parameters
    ----------
    table
        (k, k) counts: rows are the first reader's words, columns the second's.
    """
    _check(table)
    n = int(table.sum())
    value = _value(table)
    if not n:
        return Kappa(0, None, None)
    agreement = float(np.trace(table)) / n
    if value is None:
        return Kappa(n, agreement, None)
    error = _standard_error(table / n, n, value)
    return Kappa(n, agreement, value, *_interval(value, error if n > 1 else None))


def grouped(tables: NDArray[np.int64]) -> Kappa:
    """Return kappa of words that come in groups, with an interval that knows of the groups.

    Parameters
    ----------
    tables
        (groups, k, k) counts of each group.
    """
    total = tables.sum(axis=0)
    simple = kappa(total)
    count = len(tables)
    if simple.value is None or count < 3:
        return Kappa(simple.n, simple.agreement, simple.value)
    without = _values(total - tables)
    if np.isnan(without).any():
        return Kappa(simple.n, simple.agreement, simple.value)
    error = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    return Kappa(simple.n, simple.agreement, simple.value, *_interval(simple.value, error))


def wilson(hits: int, of: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a share of independent cases (Wilson 1927); None without any."""
    if not of:
        return None
    share, z2 = hits / of, Z_95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z_95 / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _value(table: Table) -> float | None:
    value = float(_values(table[None])[0])
    return None if math.isnan(value) else value


def _values(tables: NDArray[np.int64]) -> NDArray[np.float64]:
    """Kappa of each table (n, k, k); NaN without words, or where chance alone always agrees."""
    shares = tables / np.maximum(1, tables.sum(axis=(1, 2)))[:, None, None]
    by_chance = np.einsum("ni,ni->n", shares.sum(axis=2), shares.sum(axis=1))
    agreement = np.trace(shares, axis1=1, axis2=2)
    is_told = (tables.sum(axis=(1, 2)) > 0) & (by_chance < 1.0 - 1e-12)
    room = np.where(is_told, 1.0 - by_chance, 1.0)
    return np.asarray(np.where(is_told, (agreement - by_chance) / room, np.nan))


def _standard_error(shares: NDArray[np.float64], n: int, value: float) -> float:
    """Return the standard error that does not suppose a kappa of zero (Fleiss et al. 1969)."""
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    by_chance = float(rows @ columns)
    own = np.diag(shares) @ (1.0 - (rows + columns) * (1.0 - value)) ** 2
    # Of a cell off the diagonal counts how often its column's word is the first reader's, and its
    # row's word the second's.
    crossed = shares * (columns[:, None] + rows[None, :]) ** 2
    other = (1.0 - value) ** 2 * float(crossed.sum() - np.trace(crossed))
    rest = (value - by_chance * (1.0 - value)) ** 2
    return math.sqrt(max(0.0, float(own) + other - rest) / n) / (1.0 - by_chance)


def _interval(value: float, error: float | None) -> tuple[float | None, float | None]:
    if error is None or error < _NO_ERROR:
        return None, None
    return max(-1.0, value - Z_95 * error), min(1.0, value + Z_95 * error)


def _check(table: Table) -> None:
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise ValueError(f"expected a square table of counts; received {table.shape}")
