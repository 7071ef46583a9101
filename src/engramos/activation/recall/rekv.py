"""Blocks of one size come back by the mean of their keys, the same ones for all heads of a layer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.recall._choice import best_segments, block_lengths, nothing, probe
from engramos.activation.recall._filed import append, open_tokens, rows, take_whole
from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ReKV(Recall):
    """What was a frame of a video is a block of text: the question's mean query finds it by cosine similarity.

    Resident: 2.2 bytes a token and head where its key and value take 256 (64 numbers each in bfloat16).

    Source: ReKV, https://arxiv.org/abs/2503.00540, the section on in-context retrieval.
    Differs: blocks of text for frames; keys as they are rotated, for the reason that `infllm` gives.
    """

    block_size: int = 64
    """Tokens in a block; 1 or more."""

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ConfigError(f"block_size is {self.block_size}: give 1 token or more")

    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the summaries with the means of the blocks that the stretch makes whole."""
        whole = take_whole(filed, {"keys": view.keys}, self.block_size)["keys"]
        if whole.shape[1]:
            append(filed, "means", whole.float().mean(2).to(view.keys.dtype))
        filed.num_tokens += view.num_tokens
        return filed

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return the blocks most similar to the question, in their order, the same for each head."""
        if not filed.num_tokens:
            return nothing(view)
        query = probe(view).sum(1)
        still_open = open_tokens(filed, "keys")
        scores = [similarity(query, rows(filed, "means", still_open))]
        if still_open.shape[1]:
            scores.append(similarity(query, still_open.float().mean(1, keepdim=True)))
        lengths = block_lengths(filed.num_tokens, self.block_size, view.keys.device)
        return best_segments(torch.cat(scores)[None].expand(view.kv_heads, -1), lengths, num_tokens)


def similarity(query: Tensor, means: Tensor) -> Tensor:
    """Return the cosine of a query and of keys, the heads of each joined to one vector; the query's length is left in.

    Args:
        query: (kv_heads, head_dim).
        means: (kv_heads, blocks, head_dim).

    Returns:
        (blocks,).
    """
    wide = means.float()
    lengths = wide.square().sum((0, 2)).sqrt().clamp_min(1e-12)
    return torch.einsum("hd,hbd->b", query, wide) / lengths
