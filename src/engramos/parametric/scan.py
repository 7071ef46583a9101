"""What can be seen of an adapter without running it."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.errors import ConfigError, InvalidInputError
from engramos.parametric.adapter import Adapter
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.model import KINDS, BaseModel

_ITERATIONS = 16
_LEAST_MODULES = 6
_TIGHT = math.log(1.25)
"""Modules whose sizes differ less than this are alike: a smaller spread would make outliers of noise."""
_LEAST_RANK = 4
"""An update of fewer directions is concentrated by its nature."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about an adapter that speaks against attaching it."""

    rule: str
    """`not_finite`, `target`, `shape`, `rank`, `norm`, `spectral`, `concentration` or `outlier`."""
    target: str
    """The module or tensor."""
    value: float
    """What was found: a count, a ratio, a number of spreads."""
    reason: str
    """One line that names target, value and bound."""


@dataclass(frozen=True, slots=True)
class Update:
    """The size and shape of an update of one linear module."""

    target: str
    rank: int
    norm: float
    """Its Frobenius norm over that of the base model's weight."""
    spectral: float
    """Its greatest singular value over that of the base model's weight."""
    concentration: float
    """The share of its energy, the sum of squared singular values, that lies in the first; 1 / rank to 1."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Looks at tensors alone; no pass of the model is run.

    Every adapter's numbers and targets are looked at; ranks and sizes of low-rank adapters.

    Source: ours; backdoors in adapters show as few and strong directions, https://arxiv.org/abs/2602.15195.
    Differs: sizes are taken relative to the base model's weights, so that one bound serves models of all sizes.
    """

    allowed: tuple[str, ...] = KINDS
    """Last parts of the names of modules that a low-rank adapter may change."""
    max_rank: int = 256
    """Of an update, 1 or more."""
    max_norm: float = 1.0
    """Of an update's Frobenius norm relative to the weight's, above 0."""
    max_spectral: float = 2.0
    """Of an update's greatest singular value relative to the weight's, above 0."""
    max_concentration: float = 0.999
    """Of the share of energy in one direction, for updates of rank 4 or more, above 0, up to 1."""
    max_outlier: float = 8.0
    """By how many spreads an update's greatest singular value may lie above the others', above 0."""

    def __post_init__(self) -> None:
        for name in ("max_rank", "max_norm", "max_spectral", "max_concentration", "max_outlier"):
            value = getattr(self, name)
            if not value > 0:
                raise ConfigError(f"{name} is {value}: give a number above 0")
        if not self.allowed:
            raise ConfigError("allowed is empty: name the modules that an adapter may change, such as 'down_proj'")

    def run(self, adapter: Adapter, base: BaseModel) -> list[Finding]:
        """Return what speaks against attaching an adapter to a base model; nothing where nothing does."""
        findings = list(_not_finite(adapter))
        findings += self._wrong_targets(adapter, base)
        if not isinstance(adapter, LowRank):
            return findings
        findings += self._wrong_ranks(adapter)
        broken = {one.target for one in findings if one.rule in ("not_finite", "target", "shape")}
        sound = [target for target in adapter.targets if not {target, f"{target}.down", f"{target}.up"} & broken]
        found = [update_of(adapter, target, base) for target in sound]
        return findings + [one for update in found for one in self._too_large(update)] + self._outliers(found)

    def _wrong_targets(self, adapter: Adapter, base: BaseModel) -> Iterator[Finding]:
        """Yield targets that the base model has not, that may not be changed, or whose weight has another shape."""
        for target in adapter.targets:
            try:
                module = base.module(target)
            except InvalidInputError:
                yield Finding("target", target, 0.0, f"{target} is no module of the base model")
                continue
            if not isinstance(adapter, LowRank):
                continue
            if target.rpartition(".")[2] not in self.allowed:
                yield Finding("target", target, 0.0, f"{target} is none of the allowed {', '.join(self.allowed)}")
            wanted = (adapter.up[target].shape[0], adapter.down[target].shape[1])
            weight = getattr(module, "weight", None)
            if weight is None or tuple(weight.shape) != wanted:
                has = "no weight" if weight is None else f"a weight of {tuple(weight.shape)}"
                yield Finding("shape", target, 0.0, f"{target} has {has} and its update is {wanted}")

    def _wrong_ranks(self, adapter: LowRank) -> Iterator[Finding]:
        """Yield updates of too high a rank, or of one that the weight's own shape makes senseless."""
        for target in adapter.targets:
            rank = adapter.rank(target)
            most = min(self.max_rank, adapter.up[target].shape[0], adapter.down[target].shape[1])
            if rank > most:
                yield Finding("rank", target, rank, f"the update of {target} has rank {rank}, over {most}")

    def _too_large(self, update: Update) -> Iterator[Finding]:
        """Yield what of an update is over its bound."""
        limits = {"norm": self.max_norm, "spectral": self.max_spectral}
        if update.rank >= _LEAST_RANK:
            limits["concentration"] = self.max_concentration
        words = {"norm": "norm of the weight", "spectral": "greatest singular value of the weight"}
        for rule, limit in limits.items():
            value = getattr(update, rule)
            if value > limit:
                what = f"times the {words[rule]}" if rule in words else "of its energy in one direction"
                reason = f"the update of {update.target} has {value:.3g} {what}, over {limit:g}"
                yield Finding(rule, update.target, value, reason)

    def _outliers(self, updates: Sequence[Update]) -> list[Finding]:
        """Return updates that are far stronger than those of the other modules."""
        found = []
        for target, spreads in spreads_above({one.target: one.spectral for one in updates}).items():
            if spreads > self.max_outlier:
                reason = (
                    f"the update of {target} lies {spreads:.3g} spreads above the others, over {self.max_outlier:g}"
                )
                found.append(Finding("outlier", target, spreads, reason))
        return found


def update_of(adapter: LowRank, target: str, base: BaseModel) -> Update:
    """Return size and shape of an update; its tensors fit the module and are finite."""
    down, up = adapter.down[target].detach().double(), adapter.up[target].detach().double()
    weight = base.module(target).weight.detach()
    # the singular values of up @ down are those of the small product of both triangles
    core = torch.linalg.qr(up.cpu()).R @ torch.linalg.qr(down.cpu().T).R.T
    values = torch.linalg.svdvals(core) * abs(adapter.scale)
    energy = float((values**2).sum())
    size, strongest = float(weight.double().norm()), greatest_singular_value(weight)
    concentration = float(values[0] ** 2) / energy if energy else 1.0 / adapter.rank(target)
    return Update(
        target,
        adapter.rank(target),
        _ratio(math.sqrt(energy), size),
        _ratio(float(values[0]), strongest),
        concentration,
    )


def greatest_singular_value(weight: Tensor) -> float:
    """Return the greatest singular value of a matrix by power iteration: from below, near to it."""
    matrix = weight.detach().float()
    random = torch.Generator().manual_seed(0)
    vector = torch.randn(matrix.shape[1], generator=random).to(matrix.device)
    for _ in range(_ITERATIONS):
        vector = matrix.T @ (matrix @ vector)
        vector = vector / vector.norm().clamp(min=torch.finfo(torch.float32).tiny)
    return float((matrix @ vector).norm())


def spreads_above(sizes: Mapping[str, float]) -> dict[str, float]:
    """Return by how many spreads the logarithm of each size lies above the median; nothing where they are few.

    The spread is the median distance from the median, scaled to a normal distribution's standard deviation.
    """
    logs = {name: math.log(size) for name, size in sizes.items() if 0 < size < math.inf}
    if len(logs) < _LEAST_MODULES:
        return {}
    middle = statistics.median(logs.values())
    spread = max(1.4826 * statistics.median(abs(one - middle) for one in logs.values()), _TIGHT)
    return {name: (one - middle) / spread for name, one in logs.items()}


def _not_finite(adapter: Adapter) -> Iterator[Finding]:
    """Yield tensors with NaN or infinity, and a scale that is one."""
    for name, tensor in adapter.tensors().items():
        if tensor.is_floating_point():
            wrong = int((~torch.isfinite(tensor)).sum())
            if wrong:
                yield Finding("not_finite", name, wrong, f"{name} has {wrong} numbers that are NaN or infinite")
    for name, value in adapter.settings().items():
        if isinstance(value, float) and not math.isfinite(value):
            yield Finding("not_finite", name, 1, f"the setting {name} is {value}")


def _ratio(part: float, whole: float) -> float:
    """Return a quotient; infinity where something is added to nothing."""
    return part / whole if whole else (math.inf if part else 0.0)
