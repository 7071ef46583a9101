"""Many facts become one update of several layers."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from engramos.errors import ConfigError
from engramos.parametric.adapters.gated_low_rank import GatedLowRank
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.editors._covariance import Spread
from engramos.parametric.editors._locate import Located, Locating, directions, over_layers
from engramos.parametric.model import BaseModel


@dataclass(frozen=True, slots=True)
class Memit(Locating):
    """Spreads the change over the layers up to the one where the values were found.

    Each layer takes an even share of what is still missing of the hidden states, by the least update of its own keys.

    Source: MEMIT, https://arxiv.org/abs/2210.07229, section 4.3, algorithm 1.
    Differs: the weight is in units of a usual key; prefixes are the first words of general texts instead of generated.
    The gate is ours, as in `Rome`, one for each layer; with `gate=0` the update is the paper's.
    """

    num_layers: int = 5
    """How many, ending with the one of `depth`; 1 or more, fewer where there are not so many."""
    weight: float = 0.01
    """How much general text counts against the edits, in squared lengths of a usual key; >= 0."""
    ridge: float = 0.1
    """Added to the diagonal of the keys' moment, in medians of it; > 0."""

    def __post_init__(self) -> None:
        Locating.__post_init__(self)
        if self.num_layers < 1:
            raise ConfigError(f"num_layers is {self.num_layers}: give 1 or more")
        if not 0.0 <= self.weight < float("inf"):
            raise ConfigError(f"weight is {self.weight}: give 0 or more")
        if not 0.0 < self.ridge < float("inf"):
            raise ConfigError(f"ridge is {self.ridge}: give a number above 0")

    def _write(self, located: Sequence[Located], base: BaseModel, layer: int) -> LowRank | GatedLowRank:
        def found(now: int, read: Tensor) -> Tensor:
            metric = Spread(base, now, self.texts).inverse(self.ridge)
            return directions(read, metric, self.weight * read.shape[1])

        return over_layers(located, base, layer, self.num_layers, self.gate, found)
