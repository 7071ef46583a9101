"""Retrieval by the speaker that a question names."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.plaintext.index import SearchIndex
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever


@dataclass(frozen=True, slots=True)
class Speakers(Retriever):
    """1 for turns of a speaker whose name, or first name, stands in the question.

    Source: ours, decision 0007.
    """

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return 1 or 0 a row; None where the question names no speaker."""
        asked = {word.replace("’", "'").removesuffix("'s") for word in query.words}
        named = [
            code
            for name, code in index.speakers.codes.items()
            if name in asked or (name.split() and name.split()[0] in asked)
        ]
        if not named:
            return None
        # the last place is for rows without a speaker, whose number is -1
        is_named = np.zeros(len(index.speakers.codes) + 1, dtype=np.float32)
        is_named[named] = 1.0
        return is_named.take(index.speaker, mode="wrap")
