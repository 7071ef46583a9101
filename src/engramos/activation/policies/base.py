"""The role of KV policies: which tokens of a cache stay.

A policy is a frozen dataclass of its parameters; what it remembers of a sequence lies in the notes beside the tokens.
At the end of a prefill, and whenever the cache is over its budget while tokens are produced, the engine asks `score`
of every layer, shares the budget out with `allot`, and keeps what `choose_all` returns.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.view import DECODE, PREFILL, LayerView

PROTECTED = float("inf")
"""The score of a token that must stay as long as the budget has room."""


class Policy(ABC):
    """Decides which tokens stay. Every method of the role passes `engramos.testing.kv_policies`."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """Notes that the engine must provide: `surprisal` (-log p of each token), `sentence` (the number of its sentence).
    """
    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL})
    """The phases in which it removes tokens: `prefill`, `decode`."""
    observes: ClassVar[bool] = False
    """Whether `observe` must be called after every forward pass, with the queries of that pass."""

    @property
    def num_queries(self) -> int:
        """How many of the newest queries `score` must see; 0 for none."""
        return 0

    def observe(self, view: LayerView) -> None:  # noqa: B027
        """Take note of one forward pass: write into `view.notes`.

        In the phase `probe` the queries are those of a text that is read after the cache and then dropped.
        """

    def probes(self, tokens: Sequence[int], encode: Callable[[str], list[int]]) -> Iterable[list[int]]:
        """Return texts, as tokens, that the model is to read after the prompt, only to be observed.

        Args:
            tokens: of the prompt.
            encode: from a text to tokens, without special ones.
        """
        return ()

    @abstractmethod
    def score(self, view: LayerView) -> Tensor:
        """Return how much each token is worth keeping.

        Returns:
            (kv_heads, tokens) float32; `PROTECTED` for what must stay. What padding gets does not matter.
        """

    def demand(self, view: LayerView, scores: Tensor) -> Tensor:
        """Return how large a share of the budget each head of this layer should have, in proportion.

        Args:
            view: the layer.
            scores: what `score` returned for it.

        Returns:
            (kv_heads,) float32, >= 0; equal numbers for equal shares, which is the default.
        """
        return torch.ones(view.kv_heads)

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return how many tokens each head of each layer keeps.

        Args:
            scores: of each layer: (kv_heads, tokens); padding is -inf.
            demands: of each layer: (kv_heads,).
            num_tokens: what a head may keep on average.

        Returns:
            (layers, kv_heads) int64, with a mean of at most `num_tokens`.
        """
        return torch.full((len(scores), scores[0].shape[0]), num_tokens, dtype=torch.int64)

    def choose(self, scores: Tensor, counts: Tensor) -> list[Tensor]:
        """Return the places of the tokens that stay, of each head, rising.

        Args:
            scores: (kv_heads, tokens); padding is -inf.
            counts: (kv_heads,): how many each head keeps; heads with fewer tokens keep all.

        Returns:
            For each head: int64 (kept,).
        """
        return [best(row, int(count)) for row, count in zip(scores, counts, strict=True)]

    def choose_all(self, scores: Sequence[Tensor], counts: Tensor) -> list[list[Tensor]]:
        """Return what `choose` returns for each layer; here layers may share their places.

        Args:
            scores: of each layer: (kv_heads, tokens); padding is -inf.
            counts: (layers, kv_heads), as `allot` returned them.
        """
        return [self.choose(layer, count) for layer, count in zip(scores, counts, strict=True)]


def best(scores: Tensor, num: int) -> Tensor:
    """Return the places of the `num` greatest scores, rising; of equal ones the first. Scores of -inf never.

    Args:
        scores: (tokens,).
        num: 0 or more.
    """
    num = min(num, int((scores > float("-inf")).sum()))
    order = torch.argsort(scores, descending=True, stable=True)
    return order[:num].sort().values


def is_newest(view: LayerView, num: int) -> Tensor:
    """Return which tokens are among the `num` newest positions of the sequence: (kv_heads, tokens) bool."""
    newest = int(view.positions.max())
    return view.positions > newest - num


def is_first(view: LayerView, num: int) -> Tensor:
    """Return which tokens are among each head's first `num`, its sink tokens: (kv_heads, tokens) bool."""
    places = torch.arange(view.num_tokens, device=view.positions.device)
    return (places < num)[None] & (view.positions >= 0)


__all__ = ["DECODE", "PREFILL", "PROTECTED", "LayerView", "Policy", "best", "is_first", "is_newest"]
