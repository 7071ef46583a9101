"""One fact becomes a rank-one update of one layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from engramos.errors import ConfigError
from engramos.parametric.adapters.gated_low_rank import GatedLowRank
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.editors._covariance import Spread
from engramos.parametric.editors._locate import Located, Locating, adapter_of, directions, low_rank
from engramos.parametric.editors._values import keys
from engramos.parametric.model import BaseModel


@dataclass(frozen=True, slots=True)
class Rome(Locating):
    """Gives the value at the key exactly, by the update that changes least over general text.

    Source: ROME, https://arxiv.org/abs/2202.05262, section 3.1; the same key, averaged over prefixes, in both places
    as in r-ROME, https://arxiv.org/abs/2403.07175.
    Differs: prefixes are the first words of general texts instead of generated; several requests at a time are one
    update of their rank. The gate is ours: without it, what many updates read on other texts, each of them little, adds
    up. Related are the balls of GRACE, https://arxiv.org/abs/2211.11031, and the distance of WISE,
    https://arxiv.org/abs/2405.14768.

    The key is what a layer near the beginning reads at the subject's last token. Where that is a common word, as in
    `Timurid Empire`, other things that end so read as much of the key, and no gate tells them apart.
    """

    ridge: float = 0.1
    """Added to the diagonal of the keys' moment, in medians of it; > 0."""

    def __post_init__(self) -> None:
        Locating.__post_init__(self)
        if not 0.0 < self.ridge < float("inf"):
            raise ConfigError(f"ridge is {self.ridge}: give a number above 0")

    def _write(self, located: Sequence[Located], base: BaseModel, layer: int) -> LowRank | GatedLowRank:
        name = base.linear(layer, "down_proj")
        read = torch.stack([keys(one.rows, base, layer) for one in located])
        metric = Spread(base, layer, self.texts).inverse(self.ridge)
        values = torch.stack([one.change for one in located])
        return adapter_of({name: low_rank(name, directions(read, metric, 0.0), values, base)}, self.gate)
