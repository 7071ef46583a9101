"""Chroma, persistent."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmarks.speed.peers.base import Peer


class Store(Peer):
    """One collection with the cosine distance."""

    package = "chromadb"
    searches = "vectors (HNSW)"

    def __init__(self, folder: Path, known: Mapping[str, np.ndarray]) -> None:
        import chromadb
        from chromadb.config import Settings

        self._known = known
        client = chromadb.PersistentClient(path=str(folder), settings=Settings(anonymized_telemetry=False))
        self._collection = client.get_or_create_collection(
            "memories", embedding_function=None, metadata={"hnsw:space": "cosine"}
        )

    def add(self, key: str, text: str) -> None:
        """Keep one text."""
        self.add_many([key], [text])

    def add_many(self, keys: Sequence[str], texts: Sequence[str]) -> None:
        """Keep many texts in one call."""
        self._collection.add(
            ids=list(keys),
            documents=list(texts),
            embeddings=[self._known[text] for text in texts],
            metadatas=[{"user": "u0"}] * len(keys),
        )

    def search(self, question: str) -> list[str]:
        """Return the 10 best texts."""
        found = self._collection.query(
            query_embeddings=[self._known[question]], n_results=10, where={"user": "u0"}, include=["documents"]
        )
        return found["documents"][0]
