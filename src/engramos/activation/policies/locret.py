"""Let a small network in each layer say what is important, from query, key and value."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from engramos.activation.policies._parameters import check_least
from engramos.activation.policies._votes import keep_newest
from engramos.activation.policies.base import PREFILL, LayerView, Policy
from engramos.errors import ConfigError

SCORE = "locret_score"
"""The note of a token's predicted importance."""
Matrix = Tensor | tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Locret(Policy):
    """A token's score is `silu([q, k, v] @ first) @ second` of its layer, one number for each kv head.

    The default is NOT the trained method: without weights a fixed read-out stands in for it, the norm of the value
    times how far the key points away from the mean key (1 - cosine).

    Source: Locret, https://arxiv.org/abs/2410.01805, section 3: retaining heads and stabilizers, the local tail.
    Differs: query and key are turned back to position 0 before they are read; tokens go once, at the end of the
    prompt, not after each chunk of it; the untrained default is ours.
    """

    weights: tuple[tuple[Matrix, Matrix], ...] = field(default=(), compare=False, repr=False)
    """Of each layer: first (heads * head_dim + 2 * kv_heads * head_dim, inner) and second (inner, kv_heads), trained
    for this model; empty for the fixed read-out."""
    window: int = 32
    """Newest tokens that always stay, the stabilizers; 1 or more."""
    observes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_least(1, window=self.window)
        for layer, pair in enumerate(self.weights):
            if len(pair) != 2:
                raise ConfigError(f"weights of layer {layer} are {len(pair)} matrices: give first and second")

    def observe(self, view: LayerView) -> None:
        """Note the importance of the tokens that this pass has added, where there are weights."""
        if not self.weights or view.phase != PREFILL:
            return
        first, second = self._matrices(view)
        is_own = view.positions[:, None] == view.query_positions[None, :, None]
        places = is_own.long().argmax(dim=-1)
        wide = places[..., None].expand(-1, -1, view.keys.shape[-1])
        queries = view.rope.unrotate(view.queries.float(), view.query_positions)
        keys = view.rope.unrotate(view.keys.gather(1, wide).float(), view.query_positions)
        read = torch.cat((queries, keys, view.values.gather(1, wide).float()))
        read = read.transpose(0, 1).flatten(1)
        scores = (functional.silu(read @ first) @ second).T
        found = is_own.any(dim=-1)
        noted = view.note(SCORE)
        view.notes[SCORE] = noted.scatter(1, places, torch.where(found, scores, noted.gather(1, places)))

    def score(self, view: LayerView) -> Tensor:
        """Return the predicted importance, or the fixed read-out; the newest tokens stay."""
        scores = view.note(SCORE) if self.weights else _read_out(view)
        return keep_newest(scores, view, self.window)

    def _matrices(self, view: LayerView) -> tuple[Tensor, Tensor]:
        if len(self.weights) != view.num_layers:
            raise ConfigError(
                f"weights are for {len(self.weights)} layers and the model has {view.num_layers}: "
                "give those that were trained for this model"
            )
        device = view.keys.device
        first, second = (torch.as_tensor(one, dtype=torch.float32, device=device) for one in self.weights[view.layer])
        read = (view.queries.shape[0] + 2 * view.kv_heads) * view.keys.shape[-1]
        if first.dim() != 2 or tuple(second.shape) != (first.shape[1], view.kv_heads) or first.shape[0] != read:
            raise ConfigError(
                f"weights of layer {view.layer} are {tuple(first.shape)} and {tuple(second.shape)}: "
                f"give ({read}, inner) and (inner, {view.kv_heads})"
            )
        return first, second


def _read_out(view: LayerView) -> Tensor:
    held = (view.positions >= 0).float()[..., None]
    keys = view.keys.float() * held
    mean = keys.sum(dim=1, keepdim=True) / held.sum(dim=1, keepdim=True).clamp(min=1)
    deviation = 1 - functional.cosine_similarity(keys, mean, dim=-1)
    return view.values.float().norm(dim=-1) * deviation
