"""The tokens that would change most are computed again."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.fusion.base import Fusion
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Blend(Fusion):
    """At the check layer fresh keys and values are compared with stored ones; those that deviate most are renewed.

    Source: CacheBlend, https://arxiv.org/abs/2405.16444, section 4.3.
    Differs: one comparison, after which the share stays the same, as in its authors' code. It is made at layer 3
    instead of 1: two more layers for all tokens, and on a small model a tenth to a fifth less divergence.
    """

    ratio: float = 0.15
    """The share of all tokens that is computed again, in (0, 1]; 1.0 is a full prefill."""
    compared_at: int = 3
    """The layer of the comparison, 1 or more; at layer 0 nothing has changed yet."""

    def __post_init__(self) -> None:
        if not 0.0 < self.ratio <= 1.0:
            raise ConfigError(f"ratio is {self.ratio}: give a number above 0, up to 1, or use the method rerotate")
        if self.compared_at < 1:
            raise ConfigError(f"compared_at is {self.compared_at}: give 1 or more, a token's own keys tell nothing")

    @property
    def check_layer(self) -> int:
        """See `Fusion.check_layer`."""
        return self.compared_at

    def choose(self, lengths: Sequence[int], deviation: Tensor | None) -> Tensor:
        """Return the places of largest deviation; see `Fusion.choose`."""
        num = sum(lengths)
        assert deviation is not None
        order = torch.argsort(deviation.cpu(), descending=True, stable=True)
        return order[: max(1, round(num * self.ratio))].sort().values
