"""Blocks of tokens come back for a probe in which the unusual queries weigh more."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.recall._blocks import file_blocks, score_blocks
from engramos.activation.recall._choice import asking, best_segments, nothing, pooled
from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.activation.view import DECODE
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ActQKV(Recall):
    """Each query weighs as much as it lies away from the mean of its window; the weighted sum probes the blocks.

    While tokens are produced, a layer whose scores point at few blocks takes few, and one whose scores say little
    takes all that it may: the perplexity of its scores, times `spread`, is the number of its blocks.

    Resident: 1.1 bytes a token and head where its key and value take 256 (64 numbers each in bfloat16).

    Source: ActQKV, https://arxiv.org/abs/2502.13542, sections on the probe query and on the dynamic cut-off.
    Differs: blocks are described as in `infllm`; a layer cannot hand what it does not take to other layers; the rule
    from the density of the scores to the number of blocks is ours.
    """

    block_size: int = 128
    """Tokens in a block; 1 or more."""
    num_representatives: int = 4
    """Tokens that stand for a block; 1 or more."""
    spread: float = 2.0
    """Blocks for each block that the scores point at; above 0."""
    least: float = 0.25
    """The share of the tokens that may come back which a layer takes at least; in (0, 1]."""
    needs: ClassVar[frozenset[str]] = frozenset({"received"})

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ConfigError(f"block_size is {self.block_size}: give 1 token or more")
        if self.num_representatives < 1:
            raise ConfigError(f"num_representatives is {self.num_representatives}: give 1 or more")
        if not self.spread > 0:
            raise ConfigError(f"spread is {self.spread}: give a number above 0")
        if not 0.0 < self.least <= 1.0:
            raise ConfigError(f"least is {self.least}: give a share above 0, up to 1")

    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the summaries with the blocks that the stretch makes whole."""
        return file_blocks(view, filed, self.block_size, self.num_representatives)

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return the best blocks, as many as the layer's scores call for."""
        if not filed.num_tokens:
            return nothing(view)
        scores, lengths = score_blocks(filed, weighted_probe(view), self.block_size, self.num_representatives)
        one = pooled(scores, view.scaling)
        if view.phase == DECODE:
            num_tokens = self._cut_off(one, num_tokens)
        return best_segments(one, lengths, num_tokens)

    def _cut_off(self, scores: Tensor, num_tokens: int) -> int:
        shares = torch.softmax(scores, dim=-1)
        entropy = -(shares * shares.clamp_min(1e-30).log()).sum(-1)
        wanted = float(entropy.exp().mean()) * self.spread * self.block_size
        return max(1, min(num_tokens, max(int(wanted), int(self.least * num_tokens))))


def weighted_probe(view: LayerView) -> Tensor:
    """Return the sum of the asking queries, each weighed by its squared distance from their mean.

    A channel's distance counts in units of its spread over the window, so that no loud channel decides alone.

    Returns:
        (kv_heads, groups, head_dim) float32.
    """
    queries = asking(view)
    if queries.shape[2] < 2:
        return queries.sum(2)
    spread = queries.std(dim=2, keepdim=True).clamp_min(1e-6)
    distance = ((queries - queries.mean(2, keepdim=True)) / spread).square().sum(-1, keepdim=True)
    return (queries * distance).sum(2) / distance.sum(2).clamp_min(1e-12)
