"""Pages of tokens come back by the greatest score that any key within their bounds could have."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.recall._choice import best_segments, block_lengths, nothing, pooled, probe, products
from engramos.activation.recall._filed import append, open_tokens, rows, take_whole
from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Quest(Recall):
    """Each page keeps the least and the greatest value of every channel of its keys.

    The sum over channels of the greater of query times least and query times greatest bounds the score of every key
    of the page from above.

    Resident: 17.3 bytes a token and head where its key and value take 256 (64 numbers each in bfloat16).

    Source: Quest, https://arxiv.org/abs/2406.10774, section 3.3.
    Differs: the query heads of a key head choose together; many queries choose by their mean.
    """

    page_size: int = 16
    """Tokens in a page; 1 or more."""

    def __post_init__(self) -> None:
        if self.page_size < 1:
            raise ConfigError(f"page_size is {self.page_size}: give 1 token or more")

    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the summaries with the bounds of the pages that the stretch makes whole."""
        whole = take_whole(filed, {"keys": view.keys}, self.page_size)["keys"]
        if whole.shape[1]:
            append(filed, "least", whole.amin(2))
            append(filed, "greatest", whole.amax(2))
        filed.num_tokens += view.num_tokens
        return filed

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return the pages with the greatest bounds."""
        if not filed.num_tokens:
            return nothing(view)
        query, still_open = probe(view), open_tokens(filed, "keys")
        bounds = [upper_bound(query, rows(filed, "least", still_open), rows(filed, "greatest", still_open))]
        if still_open.shape[1]:
            bounds.append(upper_bound(query, still_open.amin(1, keepdim=True), still_open.amax(1, keepdim=True)))
        lengths = block_lengths(filed.num_tokens, self.page_size, view.keys.device)
        return best_segments(pooled(torch.cat(bounds, dim=-1), view.scaling), lengths, num_tokens)


def upper_bound(query: Tensor, least: Tensor, greatest: Tensor) -> Tensor:
    """Return the greatest product that a query can have with a key within bounds.

    Args:
        query: (kv_heads, groups, head_dim).
        least: (kv_heads, pages, head_dim).
        greatest: as `least`.

    Returns:
        (kv_heads, groups, pages) float32.
    """
    return products(query.clamp_min(0), greatest) + products(query.clamp_max(0), least)
