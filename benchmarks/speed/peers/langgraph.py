"""LangGraph's InMemoryStore with its vector index."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmarks.speed.peers.base import Peer


class Store(Peer):
    """One namespace; nothing is written to the disk."""

    package = "langgraph"
    searches = "vectors (exact, in memory)"

    def __init__(self, folder: Path, known: Mapping[str, np.ndarray]) -> None:
        from langgraph.store.memory import InMemoryStore

        lists = {text: row.tolist() for text, row in known.items()}
        index = {"dims": 384, "embed": lambda texts: [lists[text] for text in texts], "fields": ["text"]}
        self._store = InMemoryStore(index=index)

    def add(self, key: str, text: str) -> None:
        """Keep one text."""
        self._store.put(("u0",), key, {"text": text})

    def add_many(self, keys: Sequence[str], texts: Sequence[str]) -> None:
        """Keep many texts in one call."""
        from langgraph.store.base import PutOp

        self._store.batch([PutOp(("u0",), key, {"text": text}) for key, text in zip(keys, texts, strict=True)])

    def search(self, question: str) -> list[str]:
        """Return the 10 best texts."""
        return [item.value["text"] for item in self._store.search(("u0",), query=question, limit=10)]
