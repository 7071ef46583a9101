"""Retrieval of what a user prefers or always wants, when help is asked for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.index import SearchIndex
from engramos.plaintext.marks import ORDERS, WISHES
from engramos.plaintext.query import Query
from engramos.plaintext.retrievers.base import Retriever

_ASKS_HELP = re.compile(
    r"\b(?:recommend|suggest|advi[cs]e|help me|should i|can i|could i|(?:could|can|would|will) you"
    r"|how (?:do|can|might) i|what are (?:some|the best|good)|ideas?|tips|options|best way"
    r"|looking (?:for|to)|planning|thinking (?:of|about)|trying to"
    r"|i(?:['’]d| would) like|i (?:want|need) (?:to|a|an|some)|what (?:do|would) you|show me|tell me about)\b",
    re.IGNORECASE,
)
_ASKS_MEMORY = re.compile(
    r"\b(?:did|have|had|was|were|do) (?:i|we)\b|\b(?:i|we) (?:said|told|mentioned|talked|discussed)\b|\bremind\b"
    r"|\b(?:did|have) you\b|\bsummar\w+|\bhow many\b|\bwhen (?:is|was|did|do)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Wishes(Retriever):
    """An earlier step's scores, above its mean over all rows, of rows that say what their speaker likes or wants.

    Who asks for hotels does not say again that they cannot stand crowds: the words differ, and the row that matters is
    recognised by what it is. A question about the past has no use for it.

    Source: ours, decision 0013.
    """

    of: str = "dense"
    """The step whose scores are read."""
    kind: str = "wish"
    """`wish` for what people like or need, where help is asked for; `order` for how they want to be answered."""

    def __post_init__(self) -> None:
        if self.kind not in ("wish", "order"):
            raise ConfigError(f"kind is {self.kind!r}: use wish or order")

    def score(self, query: Query, index: SearchIndex, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return scores of 0 or more; None where the question asks for no help, or nobody has wished for anything."""
        base = found.get(self.of)
        if base is None or (self.kind == "wish" and not asks_help(query.text)):
            return None
        rows, _ = index.postings.rows(WISHES if self.kind == "wish" else ORDERS)
        rows = rows[index.alive[rows]]
        if not len(rows):
            return None
        scores = np.zeros(len(base), dtype=np.float32)
        scores[rows] = np.maximum(base[rows] - base[rows].min(), 0.0) + np.float32(1e-3)
        return scores


def asks_help(text: str) -> bool:
    """Return whether a text asks for help with something to come, not for what was said."""
    return _ASKS_HELP.search(text) is not None and _ASKS_MEMORY.search(text) is None
