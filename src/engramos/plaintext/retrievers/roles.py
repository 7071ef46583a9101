"""Preference for what the user said, or for what the assistant said, as the question asks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.plaintext.index import SearchIndex
from engramos.plaintext.marks import ASSISTANT
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever

_SAID = (
    r"(?:said|told|suggested|recommended|advised|mentioned|gave|given|explained|shown|showed|provided|listed|described"
    r"|proposed|wrote|written|helped|offered|outlined|shared)"
)
_ASKS_ASSISTANT = re.compile(
    r"\bdid you (?:\w+ )?(?:say|tell|suggest|recommend|advise|mention|give|explain|show|provide|list|describe|propose"
    rf"|write|help|offer|outline|share)\b|\byou(?:['’]ve| have| had)? (?:\w+ )?{_SAID}\b"
    r"|\byour (?:\w+ )?(?:advice|suggestions?|recommendations?|answers?|explanations?|repl(?:y|ies)|responses?)\b",
    re.IGNORECASE,
)
_ASKS_BOTH = re.compile(r"\b(?:we|us)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Roles(Retriever):
    """1 for rows of the side that a question asks about, among the rows that an earlier step scored above 0.

    What a memory is asked for is mostly what the user said about themselves; an assistant's long answers repeat the
    words of many questions. "What did you recommend" asks for the assistant; "what have we discussed" for both.

    Source: ours, decision 0013.
    """

    of: tuple[str, ...] = ("dense", "lexical")
    """The first of these steps that scored says which rows count, so that no row is found for this alone."""

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return 1 or 0 a row; None where the question asks for both, or no assistant spoke."""
        base = next((found[name] for name in self.of if name in found), None)
        assistant, _ = index.postings.rows(ASSISTANT)
        if base is None or not len(assistant):
            return None
        if _ASKS_ASSISTANT.search(query.text):
            scores = np.zeros(len(base), dtype=np.float32)
            scores[assistant] = base[assistant] > 0
            return scores
        if _ASKS_BOTH.search(query.text):
            return None
        scores = (base > 0).astype(np.float32)
        scores[assistant] = 0.0
        return scores
