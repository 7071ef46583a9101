"""The role of recall: which tokens of a long past come back for a query.

A layer under recall keeps its first tokens and its newest ones at hand. Every stretch of tokens that leaves the newest
is put away in an archive (in memory, or on disk) and described by `file` in a few numbers that stay at hand; at each
forward pass `select` chooses, by the queries of that pass, what comes back. Nothing is lost unless the method merges.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from engramos.activation.view import LayerView


@dataclass(slots=True)
class Filed:
    """What a method keeps at hand of the archive of one layer."""

    num_tokens: int = 0
    """Tokens in the archive; the next stretch begins at this place."""
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """Summaries, of any shape; their bytes count as resident."""

    @property
    def num_bytes(self) -> int:
        """Bytes of the summaries."""
        return sum(one.numel() * one.element_size() for one in self.tensors.values())


@dataclass(frozen=True, slots=True)
class Recalled:
    """What comes back: places in the archive, or keys and values of the method's own making."""

    places: Tensor | None = None
    """(kv_heads, recalled) int64, places in the archive, rising, no place twice in a row; -1 fills up shorter heads at
    the end."""
    keys: Tensor | None = None
    """(kv_heads, recalled, head_dim), rotated to `positions`; where there are no places."""
    values: Tensor | None = None
    positions: Tensor | None = None
    """(kv_heads, recalled) int64; needed with `keys`; -1 for filling."""
    weights: Tensor | None = None
    """(kv_heads, recalled) float32, > 0: how many tokens each of the method's own keys stands for: its logarithm is
    added to the score. None for 1."""


class Recall(ABC):
    """Chooses what comes back. Every method of the role passes `engramos.testing.recall`."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """Notes that the engine must provide: `surprisal`, `sentence`, `received` (the attention that a token got from the
    queries that came while it was at hand)."""

    keeps_archive: ClassVar[bool] = True
    """Whether tokens come back out of the archive; False for a method that brings back keys of its own making."""

    @abstractmethod
    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the summaries with a further stretch of tokens.

        Args:
            view: the stretch alone, in its order: keys, values, positions, notes; queries are those of the stretch's
                own tokens where the engine still has them, else none. In an endless stream all positions are 0.
            filed: what was at hand before; it may be changed and returned.

        Returns:
            Its `num_tokens` has grown by the stretch's tokens, which stand at those places of the archive; a stretch
            may have any number of tokens from 1.
        """

    @abstractmethod
    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return what comes back for this forward pass.

        Args:
            view: what is at hand beside the archive, with the queries of this pass (one or many).
            filed: the summaries.
            num_tokens: how many tokens may come back for each head, 1 or more.
        """


__all__ = ["Filed", "LayerView", "Recall", "Recalled"]
