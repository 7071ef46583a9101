"""An associative memory of a bounded number of modes, into which tokens are merged as they are written."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.recall._choice import nothing, probe
from engramos.activation.recall._filed import open_tokens, take_whole
from engramos.activation.recall._own import Merged, best_merged, recalled
from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.errors import ConfigError

FIRST_ROOM = 64
BATCH = 32
"""Tokens that are written together."""
WHOLE = ("keys", "values", "positions")


@dataclass(frozen=True, slots=True)
class Camelot(Recall):
    """A token joins the mode whose key is most like its own, or becomes a mode itself where none is like enough.

    A mode is the running average of its tokens' keys, values and positions. When all modes are taken, a new one takes
    the place of that which longest had no token. The archive is not needed: what comes back are modes, and memory and
    time have a bound however long the stream.

    Resident, in place of an archive: 528 bytes a mode and head of 64 numbers, however long the stream.

    Source: CAMELoT, https://arxiv.org/abs/2402.13449, section 3.
    Differs: keys are averaged before rotation and turned to the mean position of their tokens; each head of keys has
    its own modes; 32 tokens are written at once, and those of them that are like each other share a mode; a mode counts
    as many tokens in the softmax as it stands for.
    """

    num_modes: int = 4_096
    """Modes of each head; 32 or more."""
    similarity: float = 0.97
    """The cosine above which a token joins a mode; in (-1, 1]. 1 merges none."""
    keeps_archive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.num_modes < BATCH:
            raise ConfigError(f"num_modes is {self.num_modes}: give {BATCH} or more")
        if not -1.0 < self.similarity <= 1.0:
            raise ConfigError(f"similarity is {self.similarity}: give a cosine above -1, up to 1")

    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the modes with the stretch written into them."""
        plain = view.rope.unrotate(view.keys, view.positions)
        whole = take_whole(filed, dict(zip(WHOLE, (plain, view.values, view.positions), strict=True)), BATCH)
        if "mode.keys" not in filed.tensors:
            self._begin(view, filed)
        first = filed.num_tokens // BATCH * BATCH
        for at in range(whole["keys"].shape[1]):
            for head in range(view.kv_heads):
                token = [whole[name][head, at].float() for name in WHOLE]
                self._write(filed, head, *token, now=first + at * BATCH)
        filed.num_tokens += view.num_tokens
        return filed

    def _begin(self, view: LayerView, filed: Filed) -> None:
        heads, device = view.kv_heads, view.keys.device
        room = min(FIRST_ROOM, self.num_modes)
        filed.tensors["mode.keys"] = torch.zeros((heads, room, view.keys.shape[2]), device=device)
        filed.tensors["mode.values"] = torch.zeros((heads, room, view.values.shape[2]), device=device)
        for name in ("mode.positions", "mode.counts"):
            filed.tensors[name] = torch.zeros((heads, room), device=device)
        filed.tensors["mode.touched"] = torch.zeros((heads, room), dtype=torch.int64, device=device)
        filed.tensors["used"] = torch.zeros(heads, dtype=torch.int64)

    def _write(self, filed: Filed, head: int, keys: Tensor, values: Tensor, positions: Tensor, *, now: int) -> None:
        """Write a batch of tokens into the modes of a head."""
        used = int(filed.tensors["used"][head])
        unit = torch.nn.functional.normalize(keys, dim=-1)
        modes = filed.tensors["mode.keys"][head, :used]
        lengths = modes.norm(dim=-1).clamp_min(1e-12)
        likeness, owners = (unit @ modes.T / lengths).max(dim=1) if used else (unit.new_full((len(unit),), -1.0), None)
        is_new = likeness <= self.similarity
        target = torch.zeros(len(keys), dtype=torch.int64, device=keys.device) if owners is None else owners.clone()
        if bool(is_new.any()):
            leaders = leaders_of(unit[is_new], self.similarity)
            distinct, place = leaders.unique(return_inverse=True)
            taken = target[~is_new].unique()
            slots = self._slots(filed, head, len(distinct), taken)
            target[is_new] = slots[place]
        self._average(filed, head, target, (keys, values, positions))
        filed.tensors["mode.touched"][head, target] = now

    def _slots(self, filed: Filed, head: int, num: int, taken: Tensor) -> Tensor:
        """Return emptied modes for `num` new ones: free ones first, then those that longest had no token."""
        held = filed.tensors
        used = int(held["used"][head])
        fresh = min(num, self.num_modes - used)
        if used + fresh > held["mode.keys"].shape[1]:
            self._grow(filed, used + fresh)
        held["used"][head] = used + fresh
        slots = torch.arange(used, used + fresh, device=held["mode.keys"].device)
        if fresh < num:
            age = held["mode.touched"][head, :used].clone()
            age[taken] = torch.iinfo(torch.int64).max
            slots = torch.cat((slots, age.argsort(stable=True)[: num - fresh]))
        for name in ("mode.keys", "mode.values", "mode.positions", "mode.counts"):
            held[name][head, slots] = 0
        return slots

    def _grow(self, filed: Filed, needed: int) -> None:
        old = filed.tensors["mode.keys"].shape[1]
        room = min(self.num_modes, max(needed, old + old // 4))
        for name in ("mode.keys", "mode.values", "mode.positions", "mode.counts", "mode.touched"):
            held = filed.tensors[name]
            larger = held.new_zeros((held.shape[0], room, *held.shape[2:]))
            larger[:, :old] = held
            filed.tensors[name] = larger

    def _average(self, filed: Filed, head: int, target: Tensor, tokens: tuple[Tensor, Tensor, Tensor]) -> None:
        """Take tokens into the running averages of their modes."""
        counts = filed.tensors["mode.counts"][head]
        modes, place = target.unique(return_inverse=True)
        added = counts.new_zeros(len(modes)).index_add_(0, place, torch.ones_like(place, dtype=counts.dtype))
        total = counts[modes] + added
        for name, token in zip(("mode.keys", "mode.values", "mode.positions"), tokens, strict=True):
            held = filed.tensors[name][head]
            sums = held.new_zeros((len(modes), *held.shape[1:])).index_add_(0, place, token)
            wide = (slice(None), *([None] * (held.dim() - 1)))
            held[modes] = (held[modes] * counts[modes][wide] + sums) / total[wide]
        counts[modes] = total

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return the best modes; tokens that wait to be written count as modes."""
        if not filed.num_tokens:
            return nothing(view)
        query = probe(view)
        heads = range(view.kv_heads)
        return recalled(
            [best_merged(self._all(view, filed, head), query[head], view.scaling, num_tokens) for head in heads]
        )

    def _all(self, view: LayerView, filed: Filed, head: int) -> Merged:
        held, used = filed.tensors, int(filed.tensors["used"][head])
        waiting, values, positions = (open_tokens(filed, name)[head] for name in WHOLE)
        keys = torch.cat((held["mode.keys"][head, :used], waiting.float()))
        at = torch.cat((held["mode.positions"][head, :used].round().long(), positions))
        return Merged(
            view.rope.rotate(keys, at).to(waiting.dtype),
            torch.cat((held["mode.values"][head, :used].to(values.dtype), values)),
            at,
            torch.cat((held["mode.counts"][head, :used], torch.ones_like(positions, dtype=torch.float32))),
        )


def leaders_of(unit: Tensor, similarity: float) -> Tensor:
    """Return the token that each token follows: of the earliest that it is like, in turn, the leader.

    Args:
        unit: (tokens, head_dim), of length 1.
        similarity: the cosine above which tokens are like each other.

    Returns:
        (tokens,) int64; a leader follows itself.
    """
    is_like = unit @ unit.T > similarity
    is_like.fill_diagonal_(True)
    leaders = is_like.int().argmax(dim=1)
    while not torch.equal(leaders[leaders], leaders):
        leaders = leaders[leaders]
    return leaders
