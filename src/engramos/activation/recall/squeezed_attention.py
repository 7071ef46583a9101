"""Tokens come back whose cluster of like keys answers the query."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.recall._choice import nothing, pooled, probe, products
from engramos.activation.recall._clusters import clustered, means_of
from engramos.activation.recall._filed import append, num_rows, open_tokens, rows, take_whole
from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.errors import ConfigError

MOST_CLUSTERS = 32_767
"""A token keeps its cluster's number within its segment in 16 bits."""


@dataclass(frozen=True, slots=True)
class SqueezedAttention(Recall):
    """Keys that point the same way share a cluster; the best clusters' tokens come back, wherever they stand.

    Resident: 15.2 bytes a token and head where its key and value take 256 (64 numbers each in bfloat16), and up to a
    segment of keys.

    Source: Squeezed Attention, https://arxiv.org/abs/2411.09688, section 4.
    Differs: the text is not fixed but grows, so that each segment of it is clustered for itself; the number of tokens
    is given and no threshold calibrated; one level of centroids, not two; clusters for a tenth of the tokens, not a
    twentieth, because a segment is short.
    """

    segment: int = 512
    """Tokens that are clustered together; 1 or more. Till then they are kept whole."""
    share: float = 0.1
    """Clusters for each token; in (0, 1]."""
    rounds: int = 10
    """How often centroids move; 0 or more."""

    def __post_init__(self) -> None:
        if self.segment < 1:
            raise ConfigError(f"segment is {self.segment}: give 1 token or more")
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"share is {self.share}: give a number above 0, up to 1")
        if self.clusters > MOST_CLUSTERS:
            raise ConfigError(f"segment * share is {self.clusters}: give at most {MOST_CLUSTERS} clusters")
        if self.rounds < 0:
            raise ConfigError(f"rounds is {self.rounds}: give 0 or more")

    @property
    def clusters(self) -> int:
        """Clusters of a segment."""
        return max(1, int(self.segment * self.share))

    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the summaries with the clusters of the segments that the stretch makes whole."""
        whole = take_whole(filed, {"keys": view.keys}, self.segment)["keys"]
        for at in range(whole.shape[1]):
            keys = whole[:, at].float()
            _, owners = clustered(torch.nn.functional.normalize(keys, dim=-1), self.clusters, self.rounds)
            means, sizes = means_of(keys, owners, self.clusters)
            append(filed, "centroids", means.to(view.keys.dtype))
            append(filed, "sizes", sizes.to(torch.int32))
            append(filed, "owners", owners.to(torch.int16))
        filed.num_tokens += view.num_tokens
        return filed

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return the tokens of the best clusters, of the last one its first tokens."""
        if not filed.num_tokens:
            return nothing(view)
        query, still_open = probe(view), open_tokens(filed, "keys")
        # a token that is in no cluster yet is one of its own
        scores = torch.cat((products(query, rows(filed, "centroids", still_open)), products(query, still_open)), dim=-1)
        ones = torch.ones(still_open.shape[:2], dtype=torch.int32, device=still_open.device)
        sizes = torch.cat((rows(filed, "sizes", ones), ones), dim=1)
        order = pooled(scores, view.scaling).argsort(dim=1, descending=True, stable=True)
        owners = self._owners(filed, still_open)
        num = min(num_tokens, filed.num_tokens)
        return Recalled(places=torch.stack([first_of(*one, num) for one in zip(owners, order, sizes, strict=True)]))

    def _owners(self, filed: Filed, still_open: Tensor) -> Tensor:
        """Return the cluster of every token, counted over all segments: (kv_heads, tokens) int64."""
        heads, num_open = still_open.shape[:2]
        none = torch.zeros((heads, 0), dtype=torch.int16, device=still_open.device)
        within = rows(filed, "owners", none).long().unflatten(1, (-1, self.segment))
        first = torch.arange(within.shape[1], device=still_open.device) * self.clusters
        own = torch.arange(num_open, device=still_open.device) + num_rows(filed, "centroids")
        return torch.cat(((within + first[:, None]).flatten(1), own.expand(heads, -1)), dim=1)


def first_of(owners: Tensor, order: Tensor, sizes: Tensor, num: int) -> Tensor:
    """Return the places of the tokens of the first clusters, rising.

    Args:
        owners: (tokens,) int64: the cluster of each token.
        order: (clusters,) int64: the best cluster first.
        sizes: (clusters,): tokens of each.
        num: how many tokens, at most all.
    """
    full = int((sizes[order].cumsum(0) <= num).sum())
    is_chosen = torch.zeros(len(order), dtype=torch.bool, device=owners.device)
    is_chosen[order[:full]] = True
    places = is_chosen[owners].nonzero().flatten()
    if len(places) < num:
        last = (owners == order[full]).nonzero().flatten()
        places = torch.cat((places, last[: num - len(places)])).sort().values
    return places
