"""Keep the tokens whose keys differ most from the mean key."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from engramos.activation.policies.base import DECODE, PREFILL, LayerView, Policy


@dataclass(frozen=True, slots=True)
class KeyDiff(Policy):
    """Keys that point away from the mean direction of a head's keys are rare and stay; no attention is needed.

    Source: KeyDiff, https://arxiv.org/abs/2504.15364, section 3.
    Differs: no window of newest tokens is protected.
    """

    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL, DECODE})

    def score(self, view: LayerView) -> Tensor:
        """Return the negative cosine between each key and the mean of the keys' directions."""
        keys = view.keys.float()
        is_token = (view.positions >= 0).unsqueeze(-1)
        directions = functional.normalize(keys, dim=-1).masked_fill(~is_token, 0.0)
        anchor = directions.sum(dim=1, keepdim=True) / is_token.sum(dim=1, keepdim=True).clamp(min=1)
        return -functional.cosine_similarity(keys, anchor, dim=-1)
