"""Terms: the stems of a text, packed for the search index.

A term is the CRC-32 of a stem, so that no vocabulary has to be kept in step between processes; with 100,000 stems one
term in 43,000 shares its number with another, which costs a little precision and no recall.
"""

import re
import threading
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

import numpy as np

TERM = np.dtype([("term", "<u4"), ("count", "<u2")])
"""How packed terms are laid out: 6 bytes a term."""

STOP_WORDS = frozenset(
    """
    a about after again all also am an and any are as at be because been before being both but by can could did do
    does doing done for from had has have having he her hers him his how i if in into is it its itself just let like
    may me might more most must my no nor not of off on once only or other our ours out over own please said same
    say says she should so some such tell than that the their theirs them then there these they this those to too
    under until up us very was we were what whats when where which while who whom whose why will with would yes you
    your yours
    """.split()
)
"""Words that say nothing about which memory is meant, the question words among them."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_MONTHS = "january february march april may june july august september october november december".split()


_local = threading.local()


def _stem(word: str) -> str:
    """Return a word's stem; each thread has a stemmer of its own, since one keeps the word that it works on."""
    if not hasattr(_local, "stemmer"):
        import snowballstemmer

        _local.stemmer = snowballstemmer.stemmer("porter")
    return _local.stemmer.stemWord(word)


@lru_cache(maxsize=131_072)
def term_of(word: str) -> int | None:
    """Return the term of one lower-case word; None for a stop word.

    Source: Porter's stemmer (1980), by the snowballstemmer library.
    """
    bare = word.replace("’", "'").removesuffix("'s").replace("'", "")
    if not bare or bare in STOP_WORDS:
        return None
    if not bare.isascii():
        parts = unicodedata.normalize("NFKD", bare)
        bare = "".join(letter for letter in parts if not unicodedata.combining(letter))
    return zlib.crc32(_stem(bare).encode("utf-8", "surrogatepass"))


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, in their order."""
    return _WORD.findall(text.lower())


def terms(text: str) -> Counter[int]:
    """Return how often each term stands in a text."""
    found = Counter(map(term_of, words(text)))
    found.pop(None, None)
    return found


def date_words(at: datetime | None) -> str:
    """Return the words by which people name a day: `8 may 2023`."""
    return "" if at is None else f"{at.day} {_MONTHS[at.month - 1]} {at.year}"


@lru_cache(maxsize=1)
def date_terms() -> frozenset[int]:
    """Return the terms of `date_words`, for the years 1900 to 2100."""
    spoken = (*_MONTHS, *map(str, range(1, 32)), *map(str, range(1900, 2101)))
    return frozenset(term for word in spoken if (term := term_of(word)) is not None)


def pack(counts: Counter[int]) -> bytes:
    """Return terms and counts as bytes, 6 a term, sorted by term."""
    pairs = sorted(counts.items())
    return np.array([(term, min(count, 65_535)) for term, count in pairs], dtype=TERM).tobytes()


def unpack(rows: Iterable[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the terms (u4), counts (f4) and row numbers (i4) of many packed texts, one after another."""
    kept = list(rows)
    flat = np.frombuffer(b"".join(kept), dtype=TERM)
    lengths = np.fromiter((len(row) // TERM.itemsize for row in kept), dtype=np.int64, count=len(kept))
    numbers = np.repeat(np.arange(len(kept), dtype=np.int32), lengths)
    return flat["term"].copy(), flat["count"].astype(np.float32), numbers
