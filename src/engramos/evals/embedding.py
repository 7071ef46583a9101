"""An embedder that remembers the questions of one run, so that all methods share their vectors."""

from collections.abc import Sequence

import numpy as np

from engramos.embedders.base import Embedder


class Remembering(Embedder):
    """Asks another embedder, and keeps the vectors of questions in memory; nothing goes to disk."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._questions: dict[str, np.ndarray] = {}

    @property
    def fingerprint(self) -> str:
        """That of the embedder that is asked."""
        return self._embedder.fingerprint

    @property
    def dims(self) -> int:
        """The length of one vector."""
        return self._embedder.dims

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return one vector a text: (texts, dims), float32."""
        return self._embedder.embed(texts)

    def embed_query(self, text: str) -> np.ndarray:
        """Return a question's vector, made at its first use: (dims,), float32."""
        if text not in self._questions:
            self._questions[text] = self._embedder.embed_query(text)
        return self._questions[text]
