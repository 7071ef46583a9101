"""The terms of given rows, and the rows of given terms, many at a time."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from engramos.plaintext.index import SearchIndex
from engramos.plaintext.marks import MARKS
from engramos.plaintext.terms import date_terms, term_of, unpack


class Held(NamedTuple):
    """Which rows hold which terms, one entry a pair; arrays of shape (entries,)."""

    terms: np.ndarray
    """Numbers into `table`, i8."""
    counts: np.ndarray
    """How often the row has the term, f4."""
    rows: np.ndarray
    """Numbers into the rows that were asked for, i4."""
    table: np.ndarray
    """Each term once, sorted, u4; shape (terms,)."""
    spread: np.ndarray
    """How many rows of the whole index hold each term of the table, i8; shape (terms,)."""


@lru_cache(maxsize=1)
def _no_words() -> np.ndarray:
    return np.array(sorted({*MARKS, *date_terms()}), dtype=np.uint32)


def held(index: SearchIndex, rows: np.ndarray) -> Held:
    """Return the terms that these rows hold; marks and words of days, which every text of a day has, are none."""
    packed = index.postings._packed
    terms, counts, numbers = unpack(packed[row] for row in rows.tolist())
    is_word = ~np.isin(terms, _no_words())
    terms, counts, numbers = terms[is_word], counts[is_word], numbers[is_word]
    table, places = np.unique(terms, return_inverse=True)
    return Held(places, counts, numbers, table, spread(index, table))


def spread(index: SearchIndex, terms: np.ndarray) -> np.ndarray:
    """Return how many living rows hold each term, i8 (terms,).

    Of terms that more than an eighth of all rows hold, rows that are no longer alive count too: counting them apart
    would take long, and such terms lead nowhere.
    """
    _, sizes = _spans(index, terms)
    if late := index.postings._tail:
        sizes = sizes + np.fromiter((len(late.get(term, ())) for term in terms.tolist()), np.int64, len(terms))
    if index.num_alive < len(index):
        few = np.flatnonzero(sizes <= max(8, len(index) // 8))
        numbers, rows, _ = holders(index, terms[few])
        sizes[few] = np.bincount(numbers, index.alive[rows], len(few)).astype(np.int64)
    return sizes


def holders(index: SearchIndex, terms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows that hold these terms: number of the term (i8), row (i4), count (f4), one entry a pair."""
    starts, sizes = _spans(index, terms)
    numbers = np.repeat(np.arange(len(terms)), sizes)
    ends = np.cumsum(sizes)
    at = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes - starts, sizes)
    rows, counts = index.postings._rows[at], index.postings._counts[at]
    if late := index.postings._tail:
        more = [(n, row, count) for n, term in enumerate(terms.tolist()) for row, count in late.get(term, ())]
        if more:
            added = np.array(more, dtype=np.float64)
            numbers = np.concatenate([numbers, added[:, 0].astype(np.int64)])
            rows = np.concatenate([rows, added[:, 1].astype(np.int32)])
            counts = np.concatenate([counts, added[:, 2].astype(np.float32)])
    return numbers, rows, counts


def idf(index: SearchIndex, spreads: np.ndarray) -> np.ndarray:
    """Return how rare terms are that so many rows hold, as BM25 reads it: f4, above 0."""
    return np.log1p((max(index.num_alive, 1) - np.minimum(spreads, index.num_alive) + 0.5) / (spreads + 0.5)).astype(
        np.float32
    )


def speaker_terms(index: SearchIndex) -> set[int]:
    """Return the terms that are parts of speakers' names."""
    return set(words_to_terms(word for name in index.speakers.codes for word in name.split()))


def words_to_terms(words: Iterable[str]) -> list[int]:
    """Return the terms of lower-case words, stop words left out."""
    return [term for term in map(term_of, words) if term is not None]


def bm25(
    index: SearchIndex, terms: np.ndarray, weights: np.ndarray, k1: float, b: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what each weighted term adds to each row that holds it, by BM25 with idf: term's number, row, gain.

    Args:
        index: the rows.
        terms: u4 (terms,), each once.
        weights: how much each counts, f4 (terms,).
        k1: how soon further mentions stop counting, 0 or more.
        b: how much long texts are held back, in [0, 1].
    """
    numbers, rows, counts = holders(index, terms)
    lengths = index.postings.lengths[: len(index)]
    mean = float(lengths @ index.alive.astype(np.float32)) / max(index.num_alive, 1) or 1.0
    norms = np.float32(k1 * (1 - b)) + np.float32(k1 * b / mean) * lengths[rows]
    gains = (weights * idf(index, spread(index, terms)) * np.float32(k1 + 1))[numbers]
    return numbers, rows, gains * counts / (counts + norms)


def _spans(index: SearchIndex, terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each term's rows start in the base part, and how many they are."""
    postings = index.postings
    if not len(postings._terms):
        return np.zeros(len(terms), np.int64), np.zeros(len(terms), np.int64)
    at = np.minimum(np.searchsorted(postings._terms, terms), len(postings._terms) - 1)
    is_known = postings._terms[at] == terms
    return np.where(is_known, postings._starts[at], 0), np.where(
        is_known, postings._starts[at + 1] - postings._starts[at], 0
    )
