"""Tiny engines for tests of KV cubes: made once, never changed."""

from functools import cache
from typing import Any

import torch

from engramos.engines.transformers import Transformers
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
TEXT = "The roof of the harbour house was mended in March by Ana and her brother. " * 3
QUESTION = "When was it mended?"


@cache
def engine(architecture: str = "llama", weights: str = "weights-1", **more: Any) -> Transformers:
    """Return an engine over a tiny model."""
    return Transformers.of(tiny_model(architecture, **more), tiny_tokenizer(), weights=weights)


class Posing:
    """An engine whose model says to be another one in some field: for what must be refused."""

    def __init__(self, real: Transformers, **fields: Any) -> None:
        self._real = real
        self.fingerprint = {**real.fingerprint, **fields}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
