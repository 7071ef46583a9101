"""Embedding by any model of the package sentence-transformers."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engramos.embedders.base import (
    Embedder,
    Lazy,
    encodable,
    fingerprint,
    require_between,
    require_package,
    require_text,
    unit_rows,
)
from engramos.errors import ModelError, translate


@dataclass(frozen=True)
class SentenceTransformers(Embedder):
    """Runs a model from a folder or from the hub, on the GPU where there is one; needs torch."""

    model: str = "BAAI/bge-small-en-v1.5"
    """A folder, or a name on the hub."""
    revision: str | None = None
    """The commit on the hub; None takes the newest, whose vectors may change under the same fingerprint."""
    query_prompt: str | None = None
    """Text before a query; None takes the model's own prompt for queries, if it has one."""
    batch: int = 32
    """Texts a run, 1 to 4,096."""
    _loaded: Lazy[Any] = field(init=False, repr=False, compare=False)
    _turn: threading.Lock = field(init=False, repr=False, compare=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        require_text("model", self.model)
        require_between("batch", self.batch, 1, 4_096)
        object.__setattr__(self, "_loaded", Lazy(self._load))

    @property
    def fingerprint(self) -> str:
        """The method, its model and every parameter that changes the vectors."""
        return fingerprint(
            "sentence_transformers", model=self.model, revision=self.revision, query_prompt=self.query_prompt
        )

    @property
    def dims(self) -> int:
        """The length of one vector, > 0; loads the model, which alone knows it."""
        return self._run("encode_document", ["x"]).shape[1]

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return one vector a text: (texts, dims), float32, rows of length 1."""
        if not texts:
            return np.zeros((0, self.dims), dtype=np.float32)
        return self._run("encode_document", [encodable(text) for text in texts])

    def embed_query(self, text: str) -> np.ndarray:
        """Return the vector to search with: (dims,), float32, of length 1."""
        if self.query_prompt is None:
            return self._run("encode_query", [encodable(text)])[0]
        return self._run("encode", [encodable(text)], prompt=self.query_prompt)[0]

    def _run(self, method: str, texts: list[str], **options: str) -> np.ndarray:
        encode = getattr(self._loaded.get(), method)
        # torch's errors are RuntimeErrors; the library sorts by length and restores the order itself.
        with self._turn, translate({RuntimeError: ModelError, ValueError: ModelError}, f"running {self.model}"):
            return unit_rows(encode(texts, batch_size=self.batch, show_progress_bar=False, **options), self.model)

    def _load(self) -> Any:
        require_package("sentence_transformers", "sentence-transformers", "sentence-transformers")
        from sentence_transformers import SentenceTransformer

        with translate(
            {ValueError: ModelError, OSError: ModelError, RuntimeError: ModelError},
            f"loading the sentence-transformers model {self.model!r}",
            next_step="check its name and the network, or give a folder",
        ):
            return SentenceTransformer(self.model, revision=self.revision)
