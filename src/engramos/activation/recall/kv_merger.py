"""Neighbours with like keys are merged into one token; the best merged tokens come back."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.recall._blocks import importance
from engramos.activation.recall._choice import nothing, probe
from engramos.activation.recall._filed import append, join_open, keep_open, open_tokens, rows
from engramos.activation.recall._own import Merged, best_merged, recalled
from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.errors import ConfigError

NAMES = ("keys", "values", "positions", "weights")


@dataclass(frozen=True, slots=True)
class KVMerger(Recall):
    """Consecutive tokens whose keys have a cosine above `similarity` form a set, of each head for itself.

    The pivot of a set is its token that received most attention; the others are added to it with weights that fall
    off as a Gaussian of their keys' distance from it. The archive is not needed: what comes back is merged.

    Resident, in place of an archive: at most 292 bytes a token and head where its key and value take 256 (64 numbers
    each in bfloat16); on prose of a small model 57 in 100 of what keys and values take.

    Source: KVMerger, https://arxiv.org/abs/2407.08454, sections 4.2 and 4.3.
    Differs: each token is compared with the one before it, before rotation; the Gaussian's width is the root mean
    square of the distances in the set; a set has at most `most` tokens; merged tokens count as many tokens in the
    softmax. The paper's `similarity` of 0.75 merges nearly all neighbours of a small model (their median cosine there
    is 0.91), which is why more is asked here.
    """

    similarity: float = 0.9
    """The cosine above which neighbours are merged; in (-1, 1]. 1 merges none."""
    most: int = 32
    """Tokens in a set at most; 1 or more."""
    needs: ClassVar[frozenset[str]] = frozenset({"received"})
    keeps_archive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not -1.0 < self.similarity <= 1.0:
            raise ConfigError(f"similarity is {self.similarity}: give a cosine above -1, up to 1")
        if self.most < 1:
            raise ConfigError(f"most is {self.most}: give 1 token or more")

    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the merged tokens with those of the sets that the stretch ends."""
        plain = view.rope.unrotate(view.keys, view.positions)
        weight = importance(view)
        for head in range(view.kv_heads):
            at = slice(head, head + 1)
            stretch = {"keys": plain[at], "values": view.values[at], "positions": view.positions[at]}
            tokens = join_open(filed, {f"{name}.{head}": one for name, one in (stretch | {"rank": weight[at]}).items()})
            keys, values, positions, rank = tokens.values()
            owners = self._owners(keys[0])
            start = int((owners < owners[-1]).sum())
            if start:
                made = merged(keys[0, :start], values[0, :start], positions[0, :start], rank[0, :start], owners[:start])
                self._keep(view, filed, head, made)
            keep_open(filed, tokens, start)
        filed.num_tokens += view.num_tokens
        return filed

    def _owners(self, keys: Tensor) -> Tensor:
        """Return the set of each token, counted from 0: (tokens,) int64."""
        unit = torch.nn.functional.normalize(keys.float(), dim=-1)
        is_linked = (unit[1:] * unit[:-1]).sum(-1) > self.similarity
        begins = torch.nn.functional.pad(~is_linked, (1, 0), value=True)
        places = torch.arange(len(keys), device=keys.device)
        first = torch.where(begins, places, 0).cummax(0).values
        return (begins | ((places - first) % self.most == 0)).cumsum(0) - 1

    def _keep(self, view: LayerView, filed: Filed, head: int, made: Merged) -> None:
        turned = view.rope.rotate(made.keys, made.positions)
        parts = (turned, made.values, made.positions.to(torch.int32), made.weights.to(torch.int32))
        for name, part in zip(NAMES, parts, strict=True):
            append(filed, f"{name}.{head}", part[None])

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return the merged tokens with the best scores."""
        if not filed.num_tokens:
            return nothing(view)
        query = probe(view)
        heads = range(view.kv_heads)
        return recalled(
            [best_merged(self._all(view, filed, head), query[head], view.scaling, num_tokens) for head in heads]
        )

    def _all(self, view: LayerView, filed: Filed, head: int) -> Merged:
        """Return the merged tokens of a head, the open set as one more."""
        keys, values, positions, rank = (
            open_tokens(filed, f"{name}.{head}")[0] for name in ("keys", "values", "positions", "rank")
        )
        last = merged(keys, values, positions, rank, torch.zeros_like(positions))
        own = (view.rope.rotate(last.keys, last.positions), last.values, last.positions, last.weights)
        kept = [rows(filed, f"{name}.{head}", one[None])[0] for name, one in zip(NAMES, own, strict=True)]
        keys, values, positions, weights = (torch.cat(both) for both in zip(kept, own, strict=True))
        return Merged(keys, values, positions.long(), weights.float())


def merged(keys: Tensor, values: Tensor, positions: Tensor, rank: Tensor, owners: Tensor) -> Merged:
    """Return one token for each set.

    Args:
        keys: (tokens, head_dim), not rotated.
        values: (tokens, head_dim).
        positions: (tokens,) int64.
        rank: (tokens,): the greatest of a set is its pivot, the first of equal ones.
        owners: (tokens,) int64, rising: the set of each token, counted from 0 without gaps.

    Returns:
        Keys not rotated, positions of the pivots.
    """
    num, places = int(owners[-1]) + 1, torch.arange(len(owners), device=keys.device)
    best = rank.new_full((num,), float("-inf")).scatter_reduce(0, owners, rank, "amax")
    candidates = torch.where(rank == best[owners], places, len(owners))
    pivots = places.new_full((num,), len(owners)).scatter_reduce(0, owners, candidates, "amin")
    wide, wide_values = keys.float(), values.float()
    distance = (wide - wide[pivots][owners]).square().sum(-1)
    count = wide.new_zeros(num).index_add_(0, owners, torch.ones_like(distance))
    width = wide.new_zeros(num).index_add_(0, owners, distance) / count
    share = torch.exp(-distance / (2 * width[owners]).clamp_min(1e-12))
    share = share / wide.new_zeros(num).index_add_(0, owners, share)[owners]
    one_key = torch.zeros_like(wide[:num]).index_add_(0, owners, wide * share[:, None])
    one_value = torch.zeros_like(wide_values[:num]).index_add_(0, owners, wide_values * share[:, None])
    return Merged(one_key.to(keys.dtype), one_value.to(values.dtype), positions[pivots], count)
