"""An embedder that remembers the questions of one run and, where asked, the vectors of earlier runs."""

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engramos.embedders.base import Embedder
from engramos.errors import StoreError, translate


class Remembering(Embedder):
    """Asks another embedder, so that all methods of a run share the questions' vectors.

    Args:
        embedder: the one that is asked.
        folder: keeps the vectors of texts too, for later runs, by fingerprint and the text's digest; None keeps none.

    Raises:
        StoreError: if the folder cannot be written.
    """

    def __init__(self, embedder: Embedder, folder: Path | None = None) -> None:
        self._embedder = embedder
        self._questions: dict[str, np.ndarray] = {}
        self._kept: sqlite3.Connection | None = None
        self.num_kept = 0
        """How many vectors came from earlier runs."""
        if folder is not None:
            name = hashlib.sha256(embedder.fingerprint.encode()).hexdigest()[:16]
            failures = {OSError: StoreError, sqlite3.Error: StoreError}
            with translate(failures, f"keeping vectors in {folder}", next_step="choose another folder"):
                folder.mkdir(parents=True, exist_ok=True)
                self._kept = sqlite3.connect(folder / f"{name}.db", check_same_thread=False, isolation_level=None)
                self._kept.execute("PRAGMA busy_timeout = 30000")
                self._kept.execute("CREATE TABLE IF NOT EXISTS vectors (digest BLOB PRIMARY KEY, vector BLOB)")

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
        if self._kept is None:
            return self._embedder.embed(texts)
        digests = [hashlib.sha256(text.encode()).digest() for text in texts]
        found = {digest: self._recall(digest) for digest in digests}
        self.num_kept += sum(found[digest] is not None for digest in digests)
        missing = [text for text, digest in zip(texts, digests, strict=True) if found[digest] is None]
        if missing:
            for text, vector in zip(missing, self._embedder.embed(missing), strict=True):
                digest = hashlib.sha256(text.encode()).digest()
                found[digest] = vector
                row = (digest, vector.astype("<f4").tobytes())
                self._kept.execute("INSERT OR IGNORE INTO vectors VALUES (?, ?)", row)
        return np.stack([found[digest] for digest in digests])

    def _recall(self, digest: bytes) -> np.ndarray | None:
        assert self._kept is not None
        row = self._kept.execute("SELECT vector FROM vectors WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else np.frombuffer(row[0], "<f4")

    def embed_query(self, text: str) -> np.ndarray:
        """Return a question's vector, made at its first use: (dims,), float32."""
        if text not in self._questions:
            self._questions[text] = self._embedder.embed_query(text)
        return self._questions[text]

    def close(self) -> None:
        """Close the file of kept vectors."""
        if self._kept is not None:
            self._kept.close()
