"""Embedding by any model of the package fastembed."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engramos.embedders._onnx import failures
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
from engramos.errors import ConfigError, ModelError, translate


@dataclass(frozen=True)
class Fastembed(Embedder):
    """Runs a model that fastembed knows; it is downloaded at first use, unless `folder` holds it.

    A query is embedded as the model asks (`query_embed`).
    """

    model: str = "BAAI/bge-small-en-v1.5"
    """A name from `fastembed.TextEmbedding.list_supported_models()`."""
    folder: str | None = None
    """A folder with the model's files, for a machine without a network; None downloads them."""
    batch: int = 1
    """Texts a run, 1 to 4,096. A larger one is faster, but lets the texts of a batch change each other's vectors when
    the model is quantised as it runs: raise it for full-precision models only."""
    _loaded: Lazy[Any] = field(init=False, repr=False, compare=False)
    _turn: threading.Lock = field(init=False, repr=False, compare=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        require_text("model", self.model)
        if self.folder is not None:
            require_text("folder", self.folder)
        require_between("batch", self.batch, 1, 4_096)
        object.__setattr__(self, "_loaded", Lazy(self._load))

    @property
    def fingerprint(self) -> str:
        """The method, its model and every parameter that changes the vectors."""
        return fingerprint("fastembed", model=self.model, folder=self.folder, batched=self.batch > 1)

    @property
    def dims(self) -> int:
        """The length of one vector, > 0.

        Raises:
            MissingExtraError: if fastembed is not installed.
            ConfigError: if it knows no such model.
        """
        require_package("fastembed", "fastembed", "fastembed")
        from fastembed import TextEmbedding

        for known in TextEmbedding.list_supported_models():
            if known["model"].lower() == self.model.lower():
                return int(known["dim"])
        raise ConfigError(
            f"fastembed has no model {self.model!r}: fastembed.TextEmbedding.list_supported_models() has the names"
        )

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return one vector a text: (texts, dims), float32, rows of length 1."""
        dims = self.dims
        if not texts:
            return np.zeros((0, dims), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        vectors = np.zeros((len(texts), dims), dtype=np.float32)
        vectors[order] = self._run("embed", [encodable(texts[row]) for row in order])
        return unit_rows(vectors, self.model)

    def embed_query(self, text: str) -> np.ndarray:
        """Return the vector to search with: (dims,), float32, of length 1."""
        return unit_rows(self._run("query_embed", [encodable(text)]), self.model)[0]

    def _run(self, method: str, texts: list[str]) -> np.ndarray:
        model = self._loaded.get()
        options = {"batch_size": self.batch} if method == "embed" else {}
        with self._turn, translate(failures(), f"running {self.model}"):
            return np.stack(list(getattr(model, method)(texts, **options)))

    def _load(self) -> Any:
        require_package("fastembed", "fastembed", "fastembed")
        from fastembed import TextEmbedding

        place = {"specific_model_path": self.folder} if self.folder is not None else {}
        with translate(
            failures() | {OSError: ModelError},
            f"loading the fastembed model {self.model!r}",
            next_step="check its name and the network, or give its folder",
        ):
            return TextEmbedding(self.model, **place)
