"""A small search index made of texts, for tests of single retrievers."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from engramos.plaintext.index import SearchIndex
from engramos.plaintext.marks import marks_of
from engramos.plaintext.query import Query
from engramos.plaintext.terms import pack, terms, words
from engramos.rows import IndexDelta, IndexRow

AT = datetime(2024, 5, 1, tzinfo=UTC)


def row_of(
    at: int,
    text: str,
    *,
    session: str | None = None,
    speaker: str | None = None,
    vector: Sequence[float] | None = None,
    kind: str = "episode",
) -> IndexRow:
    """Return one row; rows of a session stand in the order of `at`."""
    counts = terms(text)
    counts.update(marks_of(text, None))
    packed = None if vector is None else np.array(vector, dtype="<f2").tobytes()
    return IndexRow(
        f"{at:026d}", 1, None, session, at, kind, at, None, None, None, 1.0, speaker, "", pack(counts), packed, at
    )


def index_of(rows: Sequence[IndexRow], late: Sequence[IndexRow] = (), gone: Sequence[str] = ()) -> SearchIndex:
    """Return an index of rows, brought forward by late ones and by ids that are gone."""
    index = SearchIndex()
    index.apply(IndexDelta(1, True, tuple(rows)))
    if late or gone:
        index.apply(IndexDelta(2, False, tuple(late), tuple(gone)))
    return index


def query_of(text: str, vector: Sequence[float] | None = None) -> Query:
    """Return a question without times."""
    made = None if vector is None else np.array(vector, dtype=np.float32)
    return Query(text, dict(terms(text)), tuple(words(text)), made, AT)


def scores_of(*values: float) -> np.ndarray:
    """Return the scores of an earlier step."""
    return np.array(values, dtype=np.float32)
