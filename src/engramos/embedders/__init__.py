"""Embedders turn texts into vectors of length 1, so that a dot product is a cosine.

One method a file; `base` says what all of them promise. A memory records the `fingerprint` of the embedder that made
its vectors, because vectors of two embedders cannot be compared.
"""

from engramos.roles import Role

ROLE = Role("embedders", "engramos.embedders", "Embedder")
"""The methods of this folder, by name."""

__all__ = ["ROLE"]
