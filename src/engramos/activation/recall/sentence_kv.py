"""Sentences come back by the mean of their keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.recall._choice import best_segments, nothing, pooled, probe, products
from engramos.activation.recall._filed import append, join_open, keep_open, open_tokens, rows
from engramos.activation.recall._segments import keep_lengths, kept_lengths, next_end
from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SentenceKV(Recall):
    """Each sentence is described by the mean key of each head; the best sentences come back whole.

    Resident: 8.2 bytes a token and head where its key and value take 256 (64 numbers each in bfloat16), with
    sentences of 18 tokens; at most 18.

    Source: SentenceKV, https://arxiv.org/abs/2504.00970, section 3.
    Differs: the queries of the pass choose, not the mean over the sentence that is being produced; very short
    sentences are joined with the next, very long ones are cut.
    """

    least: int = 8
    """Tokens in a sentence at least; 1 or more."""
    most: int = 128
    """Tokens in a sentence at most; `least` or more."""
    needs: ClassVar[frozenset[str]] = frozenset({"sentence"})

    def __post_init__(self) -> None:
        if self.least < 1:
            raise ConfigError(f"least is {self.least}: give 1 token or more")
        if self.most < self.least:
            raise ConfigError(f"most is {self.most}: give {self.least} or more, which is least")

    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the summaries with the means of the sentences that the stretch ends."""
        numbers = view.notes.get("sentence", torch.zeros(view.positions.shape, device=view.keys.device))[:1].float()
        tokens = join_open(filed, {"keys": view.keys, "sentence": numbers})
        number = tokens["sentence"][0]
        borders = ((number[1:] != number[:-1]).nonzero().flatten() + 1).tolist()
        lengths: list[int] = []
        start, num_tokens = 0, number.shape[0]
        while (end := next_end(borders, start, num_tokens, self.least, self.most)) is not None:
            lengths.append(end - start)
            start = end
        if lengths:
            append(filed, "means", means(tokens["keys"][:, :start], lengths))
            keep_lengths(filed, lengths, view.keys.device)
        keep_open(filed, tokens, start)
        filed.num_tokens += view.num_tokens
        return filed

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return the best sentences."""
        if not filed.num_tokens:
            return nothing(view)
        query, still_open = probe(view), open_tokens(filed, "keys")
        scores = [products(query, rows(filed, "means", still_open))]
        if still_open.shape[1]:
            scores.append(products(query, means(still_open, [still_open.shape[1]])))
        lengths = kept_lengths(filed, still_open.shape[1], view.keys.device)
        return best_segments(pooled(torch.cat(scores, dim=-1), view.scaling), lengths, num_tokens)


def means(keys: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the mean key of each segment: (kv_heads, segments, head_dim), in the dtype of the keys."""
    sizes = torch.tensor(lengths, device=keys.device)
    owners = torch.repeat_interleave(torch.arange(len(lengths), device=keys.device), sizes)
    sums = keys.new_zeros((keys.shape[0], len(lengths), keys.shape[2]), dtype=torch.float32)
    sums.index_add_(1, owners, keys.float())
    return (sums / sizes[:, None]).to(keys.dtype)
