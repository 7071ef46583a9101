"""Embedding by hashed words: no model, for tests and for machines where nothing else runs."""

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engramos.embedders.base import Embedder, fingerprint, require_between, unit_rows

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Hashing(Embedder):
    """Counts words and pairs of neighbouring words in `dims` cells, each with a sign, both chosen by a hash.

    Texts that share words are near; meaning is not seen.

    Source: feature hashing with a sign hash, https://arxiv.org/abs/0902.2206.
    """

    dims: int = 256
    """Length of a vector, 2 to 65,536."""

    def __post_init__(self) -> None:
        require_between("dims", self.dims, 2, 65_536)

    @property
    def fingerprint(self) -> str:
        """The method, its model and every parameter that changes the vectors."""
        return fingerprint("hashing", dims=self.dims)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return one vector a text: (texts, dims), float32, rows of length 1."""
        vectors = np.zeros((len(texts), self.dims), dtype=np.float64)
        for row, text in enumerate(texts):
            for feature in _features(text):
                digest = hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest()
                number = int.from_bytes(digest, "little")
                vectors[row, (number >> 1) % self.dims] += 1.0 if number & 1 else -1.0
        return unit_rows(vectors, "hashing")


def _features(text: str) -> Iterator[str]:
    words = _WORD.findall(text.lower())
    yield from words
    for first, second in itertools.pairwise(words):
        yield f"{first} {second}"
