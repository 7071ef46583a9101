"""Keep the first tokens and the newest."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from engramos.activation.policies.base import DECODE, PREFILL, PROTECTED, LayerView, Policy, is_first
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class StreamingLLM(Policy):
    """Sink tokens stay, and of the rest the newest.

    Source: StreamingLLM, https://arxiv.org/abs/2309.17453, section 3.2.
    Differs: positions stay as they were, unless the cache moves them up (`is_compact`), which the paper always does.
    """

    num_sinks: int = 4
    """First tokens that always stay; 0 or more."""
    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL, DECODE})

    def __post_init__(self) -> None:
        if self.num_sinks < 0:
            raise ConfigError(f"num_sinks is {self.num_sinks}: give 0 or more")

    def score(self, view: LayerView) -> Tensor:
        """Return positions: the newer, the better."""
        return view.positions.float().masked_fill(is_first(view, self.num_sinks), PROTECTED)
