"""Keep the first tokens, the newest, and those that the model did not expect."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from engramos.activation.policies._newest import best_and_newest
from engramos.activation.policies.base import DECODE, PREFILL, PROTECTED, LayerView, Policy, is_first
from engramos.errors import ConfigError

SURPRISAL = "surprisal"
"""Note: -log p of the token, in nats."""


@dataclass(frozen=True, slots=True)
class SirLLM(Policy):
    """A token that surprised the model carries information; surprise fades with age where `decay` is below 1.

    Source: SirLLM, https://arxiv.org/abs/2405.12528, section 3.
    Differs: surprise fades with every hundred tokens that follow, where the paper's fades with every turn, for a cache
    knows no turns; the newest tokens get a share of the budget in place of a number.
    """

    num_sinks: int = 4
    """First tokens that always stay; 0 or more."""
    recent_share: float = 0.5
    """Share of the budget for the newest tokens, in [0, 1]; the paper's runs have 0.5 and 0."""
    decay: float = 1.0
    """What a surprise is multiplied by for every 100 tokens that came after it, in (0, 1]; 1.0 never forgets."""
    needs: ClassVar[frozenset[str]] = frozenset({SURPRISAL})
    acts_in: ClassVar[frozenset[str]] = frozenset({PREFILL, DECODE})

    def __post_init__(self) -> None:
        if self.num_sinks < 0:
            raise ConfigError(f"num_sinks is {self.num_sinks}: give 0 or more")
        if not 0.0 <= self.recent_share <= 1.0:
            raise ConfigError(f"recent_share is {self.recent_share}: give a number from 0 to 1")
        if not 0.0 < self.decay <= 1.0:
            raise ConfigError(f"decay is {self.decay}: give a number above 0, up to 1")

    def score(self, view: LayerView) -> Tensor:
        """Return each token's surprisal, faded by its age."""
        age = view.positions.max() - view.positions
        faded = view.note(SURPRISAL) * self.decay ** (age.float() / 100)
        return faded.masked_fill(is_first(view, self.num_sinks), PROTECTED)

    def choose(self, scores: Tensor, counts: Tensor) -> list[Tensor]:
        """Return the places of the sinks, of the newest tokens, and of the most surprising of the rest."""
        return [best_and_newest(row, int(count), self.recent_share) for row, count in zip(scores, counts, strict=True)]
