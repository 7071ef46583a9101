"""Txtai with content kept and keywords and vectors searched."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmarks.speed.peers.base import Peer


class Store(Peer):
    """One hybrid index; it is on the disk after `save` alone, which its documentation does once after indexing."""

    package = "txtai"
    searches = "keywords and vectors (faiss)"

    def __init__(self, folder: Path, known: Mapping[str, np.ndarray]) -> None:
        from txtai import Embeddings

        self._known = known
        self._embeddings = Embeddings(
            method="external", transform=lambda texts: self._rows(texts), content=True, hybrid=True
        )
        if self._embeddings.exists(str(folder)):
            self._embeddings.load(str(folder))

    def _rows(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self._known[text] for text in texts])

    def add(self, key: str, text: str) -> None:
        """Keep one text."""
        self._embeddings.upsert([(key, text, None)])

    def add_many(self, keys: Sequence[str], texts: Sequence[str]) -> None:
        """Keep many texts in one call."""
        self._embeddings.upsert([(key, text, None) for key, text in zip(keys, texts, strict=True)])

    def search(self, question: str) -> list[str]:
        """Return the 10 best texts."""
        if not self._embeddings.config or not self._embeddings.ann:
            return []
        return [one["text"] for one in self._embeddings.search(question, 10)]
