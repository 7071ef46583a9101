"""Facts become an update in directions that general text does not use."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from engramos.errors import ConfigError, UnsupportedError
from engramos.parametric.adapters.gated_low_rank import GatedLowRank
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.editors._covariance import Spread
from engramos.parametric.editors._locate import Located, Locating, directions, over_layers, sparing
from engramos.parametric.model import BaseModel


@dataclass(frozen=True, slots=True)
class AlphaEdit(Locating):
    """Projects the update on the null space of what must be preserved, and spares the keys of earlier edits.

    Source: AlphaEdit, https://arxiv.org/abs/2410.02355, section 3, equation 14.
    Differs: keys of earlier edits are not kept beside the model but found in the held adapters' factors, and
    are spared exactly instead of by a penalty, unless the same subject is edited again. The gate is ours, as in
    `Rome`, one for each layer; with `gate=0` the update is the paper's.
    """

    num_layers: int = 5
    """How many, ending with the one of `depth`; 1 or more, fewer where there are not so many."""
    threshold: float = 5.0
    """Directions count as unused where general keys have less than so many medians of their moment's diagonal; > 0."""
    weight: float = 0.01
    """Of the update's own length, as a share of the mean squared length of the keys that are edited; >= 0."""

    def __post_init__(self) -> None:
        Locating.__post_init__(self)
        if self.num_layers < 1:
            raise ConfigError(f"num_layers is {self.num_layers}: give 1 or more")
        if not 0.0 < self.threshold < float("inf"):
            raise ConfigError(f"threshold is {self.threshold}: give a number above 0")
        if not 0.0 <= self.weight < float("inf"):
            raise ConfigError(f"weight is {self.weight}: give 0 or more")

    def _write(self, located: Sequence[Located], base: BaseModel, layer: int) -> LowRank | GatedLowRank:
        def found(now: int, read: Tensor) -> Tensor:
            name = base.linear(now, "down_proj")
            free = Spread(base, now, self.texts).null_space(self.threshold)
            if not bool(((read @ free) * read).sum(dim=1).gt(0.0).all()):
                raise UnsupportedError(f"general text uses every direction of {name!r}: raise the threshold")
            metric = sparing(free, free, name, base, read)
            weight = self.weight * float(((read @ metric) * read).sum(dim=1).mean())
            return directions(read, metric, weight)

        return over_layers(located, base, layer, self.num_layers, self.gate, found)
