"""Events come back: stretches of text between surprises."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.recall._blocks import IMPORTANCE, KEYS, SEGMENTS, importance, representative
from engramos.activation.recall._choice import nothing, places_of, pooled, probe, products
from engramos.activation.recall._filed import append, join_open, keep_open, open_tokens, rows
from engramos.activation.recall._segments import keep_lengths, kept_lengths, next_end
from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.errors import ConfigError

REFINEMENTS = ("none", "modularity", "conductance")


@dataclass(frozen=True, slots=True)
class EmLLM(Recall):
    """An event ends where the surprise passes mean + gamma * standard deviation of a running window.

    Its end is then moved to where the likeness of keys parts best. Events come back for the query's product with their
    representative keys; a share of the room is for the events just before and after those.

    Resident: 14.3 bytes a token and head where its key and value take 256 (64 numbers each in bfloat16), with events
    of 9 tokens on random surprises; at most 18.

    Source: EM-LLM, https://arxiv.org/abs/2407.09450, sections 3.2 to 3.4.
    Differs: the place of an end is judged over its own event and the next, by the cosine of keys, and is the same for
    all heads of a layer; representative keys and their scores are those of `infllm`; neighbours come from the archive
    alone and no queue of them is kept from pass to pass.
    """

    gamma: float = 1.0
    """Standard deviations above the mean that make a surprise."""
    window: int = 128
    """Tokens that mean and standard deviation are taken over; 2 or more."""
    least: int = 8
    """Tokens in an event at least; 1 or more."""
    most: int = 128
    """Tokens in an event at most; `least` or more."""
    refine: str = "modularity"
    """`modularity`, `conductance` or `none`."""
    contiguity: float = 0.3
    """The share of the room for neighbours; in [0, 1)."""
    num_representatives: int = 4
    """Tokens that stand for an event; 1 or more."""
    needs: ClassVar[frozenset[str]] = frozenset({"surprisal", "received"})

    def __post_init__(self) -> None:
        if self.gamma != self.gamma or abs(self.gamma) == float("inf"):
            raise ConfigError(f"gamma is {self.gamma}: give a finite number")
        if self.window < 2:
            raise ConfigError(f"window is {self.window}: give 2 tokens or more")
        if self.least < 1:
            raise ConfigError(f"least is {self.least}: give 1 token or more")
        if self.most < self.least:
            raise ConfigError(f"most is {self.most}: give {self.least} or more, which is least")
        if self.refine not in REFINEMENTS:
            raise ConfigError(f"refine is {self.refine!r}: use {', '.join(REFINEMENTS)}")
        if not 0.0 <= self.contiguity < 1.0:
            raise ConfigError(f"contiguity is {self.contiguity}: give a share from 0, below 1")
        if self.num_representatives < 1:
            raise ConfigError(f"num_representatives is {self.num_representatives}: give 1 or more")

    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the summaries with the events that the stretch ends."""
        surprisal = view.notes.get("surprisal", torch.zeros(view.positions.shape, device=view.keys.device))
        is_surprise = self._surprises(surprisal[0], filed)
        tokens = join_open(filed, {KEYS: view.keys, IMPORTANCE: importance(view), "border": is_surprise[None]})
        keys, weight = tokens[KEYS], tokens[IMPORTANCE]
        borders = tokens["border"][0].nonzero().flatten().tolist()
        ends, last = self._ends(keys, borders)
        start, described = 0, []
        for end in ends:
            described.append(representative(keys[:, start:end], weight[:, start:end], self.num_representatives))
            start = end
        if ends:
            append(filed, SEGMENTS, torch.stack(described, dim=1))
            keep_lengths(filed, [end - begin for begin, end in zip([0, *ends], ends, strict=False)], keys.device)
        tokens["border"] = tokens["border"].clone()
        tokens["border"][:, : last + 1] = False
        keep_open(filed, tokens, start)
        filed.num_tokens += view.num_tokens
        return filed

    def _surprises(self, surprisal: Tensor, filed: Filed) -> Tensor:
        """Return which tokens are surprises: (tokens,) bool."""
        before = filed.tensors.get("recent", surprisal[:0].float())
        joined = torch.cat((before, surprisal.float()))
        sums = torch.nn.functional.pad(joined.double().cumsum(0), (1, 0))
        squares = torch.nn.functional.pad(joined.double().square().cumsum(0), (1, 0))
        ends = torch.arange(len(before), len(joined), device=joined.device)
        starts = (ends - self.window).clamp_min(0)
        count = (ends - starts).clamp_min(1)
        mean = (sums[ends] - sums[starts]) / count
        deviation = ((squares[ends] - squares[starts]) / count - mean.square()).clamp_min(0).sqrt()
        filed.tensors["recent"] = joined[-self.window :].clone()
        return (surprisal.double() > mean + self.gamma * deviation) & (ends - starts >= 2)

    def _ends(self, keys: Tensor, borders: list[int]) -> tuple[list[int], int]:
        """Return the ends of the events that are certain, and the last surprise that was used up."""
        num_tokens, start, last = keys.shape[1], 0, -1
        ends: list[int] = []
        while True:
            first = next_end(borders, start, num_tokens, self.least, self.most, last)
            if first is None:
                return ends, last
            second = next_end(borders, first, num_tokens, self.least, self.most)
            if second is None:
                return ends, last
            if self.refine != "none" and first - start > self.least:
                least, most = self.least, first - start
                start += best_split(keys[:, start:second], least, most, by_conductance=self.refine == "conductance")
            else:
                start = first
            ends.append(start)
            last = first

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return the best events and their neighbours."""
        if not filed.num_tokens:
            return nothing(view)
        query, keys = probe(view), open_tokens(filed, KEYS)
        scores = [products(query, rows(filed, SEGMENTS, keys))]
        if keys.shape[1]:
            one = representative(keys, open_tokens(filed, IMPORTANCE), self.num_representatives)
            scores.append(products(query, one.unsqueeze(1)))
        lengths = kept_lengths(filed, keys.shape[1], keys.device)
        order = pooled(torch.cat(scores, dim=-1), view.scaling).argsort(dim=1, descending=True, stable=True)
        room = int(num_tokens * (1.0 - self.contiguity))
        order = torch.stack([with_neighbours(one, lengths, room) for one in order])
        return Recalled(places=places_of(order, lengths, num_tokens))


def with_neighbours(order: Tensor, lengths: Tensor, room: int) -> Tensor:
    """Return events in the order in which they are taken: the best, then their neighbours, then the rest.

    Args:
        order: (events,) int64, the best first.
        lengths: (events,) int64, tokens of each.
        room: tokens for the best events themselves.
    """
    num = len(order)
    num_best = max(1, int((lengths[order].cumsum(0) <= room).sum()))
    best = order[:num_best]
    beside = torch.stack((best - 1, best + 1), dim=1).flatten()
    beside = beside[(beside >= 0) & (beside < num)]
    turn = torch.empty(num, dtype=torch.int64, device=order.device)
    turn[order] = torch.arange(num, device=order.device) + 2 * num
    # written from the last to the first, so that a neighbour of two events takes the turn of the better one
    turn[beside.flip(0)] = torch.arange(len(beside), device=order.device).flip(0) + num_best
    turn[best] = torch.arange(num_best, device=order.device)
    return turn.argsort()


def best_split(keys: Tensor, least: int, most: int, *, by_conductance: bool) -> int:
    """Return where two events part best in the graph whose edges are the likeness of keys.

    Args:
        keys: (kv_heads, tokens, head_dim) of both events.
        least: the first place that may be chosen.
        most: the last place that may be chosen, below the number of tokens.
        by_conductance: whether the edges between the two, over those of the smaller, are to be least; else the
            modularity is to be greatest.
    """
    unit = torch.nn.functional.normalize(keys.float(), dim=-1)
    edges = (unit @ unit.transpose(1, 2)).mean(0).clamp_min(0).fill_diagonal_(0)
    total = edges.sum().clamp_min(1e-12)
    volume = edges.sum(1).cumsum(0) / total
    inside = edges.cumsum(0).cumsum(1).diagonal() / total
    crossing = volume - inside
    if by_conductance:
        worth = -crossing / torch.minimum(volume, 1 - volume).clamp_min(1e-12)
    else:
        worth = 1 - 2 * crossing - volume.square() - (1 - volume).square()
    # the place b parts the tokens up to b - 1 from the rest
    return least + int(worth[least - 1 : most].argmax())
