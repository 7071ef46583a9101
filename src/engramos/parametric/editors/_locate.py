"""What locating editors share: keys and values of requests, and the update that takes one to the other."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engramos.errors import ConfigError, InvalidInputError, ModelError
from engramos.parametric.adapters.gated_low_rank import GatedLowRank
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.editors._requests import Row, distinct, row_of
from engramos.parametric.editors._texts import TEXTS
from engramos.parametric.editors._values import Search, changed_states, keys, states, wanted_change
from engramos.parametric.editors.base import Editor, Request
from engramos.parametric.model import BaseModel

PREFIX_WORDS = 4
"""Of a text, before a prompt."""
SEARCHED = 2
"""Of a request's rows, these are searched for a value, the prompt alone and after one prefix: each costs passes through
all layers above. Keys cost little, and are averaged over all."""
EARLIER_SHARE = 0.05
"""Below it, what earlier edits leave of a key is too little to be edited."""


@dataclass(frozen=True, slots=True)
class Located:
    """A request, ready to be edited."""

    rows: tuple[Row, ...]
    """The prompt alone and after prefixes."""
    change: Tensor
    """What the module must give more at the subject: (features,) float64."""


@dataclass(frozen=True, slots=True)
class Locating(Editor):
    """Writes facts where a layer's last linear module reads the end of a subject.

    The module is seen as a memory of keys and values: the key is what it reads at the subject's last token, the value
    what it must give for the target to follow. A subject may not end with the first token of its prompt: there a model
    reads little but that a text begins, so its key would be the key of every text.
    """

    depth: float = 0.2
    """Which layer is edited: the share of all layers that stand before it, in [0, 1)."""
    steps: int = 20
    """At most so many in the search for a value, 1 or more."""
    rate: float = 0.25
    """How far a step goes, as a share of the clamp; > 0."""
    clamp: float = 2.0
    """The longest change of what the module gives at the subject, in lengths of it; > 0."""
    enough: float = 0.5
    """Probability of the target at which the search ends, in (0, 1)."""
    kl_weight: float = 0.0625
    """Of what follows on `<subject> is a`, which must stay; >= 0."""
    decay: float = 0.05
    """Of the change's squared length; >= 0."""
    num_prefixes: int = 2
    """Texts that stand before the prompt, so that the edit holds in other contexts; >= 0."""
    texts: tuple[str, ...] = TEXTS
    """General text in which nothing shall change, 1 or more; the more the better. Prefixes are their first words."""
    gate: float = 0.5
    """The update acts only on tokens that read at least so much of a key, which itself reads 1; in [0, 1), 0 for the
    plain update of the paper, which can be merged and exported. The higher, the less other texts change, and the fewer
    other wordings are reached."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.depth < 1.0:
            raise ConfigError(f"depth is {self.depth}: give a share of the layers, from 0 to below 1")
        if not 0.0 < self.enough < 1.0:
            raise ConfigError(f"enough is {self.enough}: give a probability between 0 and 1")
        for name in ("rate", "clamp"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}: give a number above 0")
        for name in ("kl_weight", "decay", "num_prefixes"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}: give 0 or more")
        if not 0.0 <= self.gate < 1.0:
            raise ConfigError(f"gate is {self.gate}: give a reading from 0 to below 1, or 0 for the plain update")
        if self.steps < 1:
            raise ConfigError(f"steps is {self.steps}: give 1 or more")
        if isinstance(self.texts, str) or not any(text.strip() for text in self.texts):
            raise ConfigError("texts are empty: give a list of general texts, or leave them out")
        object.__setattr__(self, "texts", tuple(self.texts))

    def edit(self, requests: Sequence[Request], base: BaseModel, *, seed: int = 0) -> LowRank | GatedLowRank:
        """Return the update; see `Editor.edit`.

        Raises:
            InvalidInputError: if there are no requests, two contradict each other, or a subject is the first token of
                its prompt.
            UnsupportedError: if the model has not the module.
            ModelError: if a number became NaN or infinite.
        """
        wanted = distinct(requests)
        prefixes = self._prefixes(seed)
        layer = min(round(self.depth * base.num_layers), base.num_layers - 1)
        search = Search(self.steps, self.rate, self.clamp, self.enough, self.kl_weight, self.decay)
        located = []
        for request in wanted:
            rows = tuple(_placed(request, row_of(request, base, prefix)) for prefix in ("", *prefixes))
            change = wanted_change(rows[:SEARCHED], _essence(request, base), base, layer, search)
            located.append(Located(rows, change))
        return self._write(located, base, layer)

    @abstractmethod
    def _write(self, located: Sequence[Located], base: BaseModel, layer: int) -> LowRank | GatedLowRank:
        """Return the adapter that gives each request its value at its key, the values found at `layer`."""

    def _prefixes(self, seed: int) -> list[str]:
        order = torch.randperm(len(self.texts), generator=torch.Generator().manual_seed(seed)).tolist()
        return [" ".join(self.texts[one].split()[:PREFIX_WORDS]) for one in order[: self.num_prefixes]]


def _placed(request: Request, row: Row) -> Row:
    """Return the row.

    Raises:
        InvalidInputError: if the subject ends with its first token.
    """
    if row.at:
        return row
    raise InvalidInputError(
        f"the subject {request.subject[:60]!r} is the first token of its prompt, where no update tells it from other "
        f"beginnings: put words before it, ask in the chat template, or use the editor 'grace'"
    )


def _essence(request: Request, base: BaseModel) -> Row:
    """Return what is asked to see whether the subject stays what it is."""
    if request.is_chat:
        return row_of(replace(request, prompt=f"What is {request.subject}?", target="."), base)
    return row_of(replace(request, prompt=f"{request.subject} is a", target="thing"), base)


def over_layers(
    located: Sequence[Located],
    base: BaseModel,
    layer: int,
    num_layers: int,
    gate: float,
    found: Callable[[int, Tensor], Tensor],
) -> LowRank | GatedLowRank:
    """Return the adapter that moves hidden states after `layer` to where the changes want them, in equal steps.

    What general text reads of an edit by chance differs from layer to layer, so that it adds up to less than one
    update of one layer does. Where a layer's gate stays shut at a prompt, the layers after it make up for that.

    Source: MEMIT, https://arxiv.org/abs/2210.07229, section 4.3, algorithm 1.
    Differs: directions are scaled so that each reads 1 at its key, and values with them, so that one gate fits all.

    Args:
        located: the requests; their changes belong to `layer`.
        base: the model.
        layer: the last that is written.
        num_layers: how many are written; fewer where there are not so many.
        gate: of all layers; 0 for none.
        found: from a layer and the requests' keys there, (keys, features), to directions, as `directions` gives them.
    """
    plain = [one.rows[0] for one in located]
    wanted = changed_states(plain, [one.change for one in located], base, layer)
    made: dict[str, tuple[Tensor, Tensor]] = {}
    for now in range(max(0, layer + 1 - num_layers), layer + 1):
        name = base.linear(now, "down_proj")
        attached = [adapter_of(made, gate)] if made else []
        read = torch.stack([keys(one.rows, base, now, attached) for one in located])
        missing = (wanted - states(plain, base, layer, attached)) / (layer + 1 - now)
        rows = found(now, read)
        strength = (rows * read).sum(dim=1, keepdim=True)
        made[name] = low_rank(name, rows / strength, missing * strength, base)
    return adapter_of(made, gate)


def adapter_of(made: Mapping[str, tuple[Tensor, Tensor]], gate: float) -> LowRank | GatedLowRank:
    """Return the adapter of both factors by module; a plain one where the gate is 0."""
    downs, ups = ({name: pair[part] for name, pair in made.items()} for part in (0, 1))
    return GatedLowRank(downs, ups, gate) if gate else LowRank(downs, ups)


def directions(read: Tensor, metric: Tensor, weight: float) -> Tensor:
    """Return how strongly each key is read, the others being told apart: (keys, features) float64.

    Of all updates that give the values at the keys, `values.T @ directions` is the least in the metric; with a weight
    above 0, values are given up as far as the least update asks.

    Source: MEMIT, https://arxiv.org/abs/2210.07229, equation 14, with the inverse moved to the side of the keys.

    Args:
        read: the keys: (keys, features) float64.
        metric: the inverse of what an update costs, symmetric: (features, features) float64.
        weight: >= 0, in the units of `read @ metric @ read.T`.

    Raises:
        ModelError: if two keys are the same, or one cannot be reached in this metric.
    """
    reached = read @ metric
    inner = reached @ read.T
    inner.diagonal().add_(weight)
    found, problem = torch.linalg.inv_ex(inner)
    if int(problem) or not bool(torch.isfinite(found).all()):
        raise ModelError("the keys of these edits cannot be told apart: edit their subjects one after the other")
    return found @ reached


def sparing(metric: Tensor, cost: Tensor, name: str, base: BaseModel, read: Tensor) -> Tensor:
    """Return the metric in which keys of the edits that are held already cannot be reached.

    With G the metric and F the directions of the held updates, whose span is that of G times their keys, it is
    G - F (F' G+ F)^-1 F'. Where a key is nearly one of theirs, because its subject is edited again, G stays.

    Args:
        metric: (features, features) float64.
        cost: its inverse on its range.
        name: the module.
        base: the model, with what it holds.
        read: keys that are to be edited now: (keys, features) float64.
    """
    updates = [one for one in base.held if isinstance(one, LowRank | GatedLowRank)]
    held = [one.down[name].to(metric) for one in updates if name in one.down]
    if not held:
        return metric
    known = torch.linalg.qr(torch.cat(held).T)[0]
    found = metric - known @ torch.linalg.pinv(known.T @ cost @ known, hermitian=True) @ known.T
    left, whole = ((read @ one * read).sum(dim=1) for one in (found, metric))
    return found if bool((left > EARLIER_SHARE * whole).all()) else metric


def low_rank(name: str, found: Tensor, values: Tensor, base: BaseModel) -> tuple[Tensor, Tensor]:
    """Return both factors of an update, in the dtype and at the place of the module.

    Args:
        name: the module.
        found: directions: (keys, in_features).
        values: (keys, out_features).
        base: the model.

    Raises:
        ModelError: if a number is NaN or infinite.
    """
    weight = base.module(name).weight
    down, up = (one.to(weight.device, weight.dtype).contiguous() for one in (found, values.T))
    if not bool(torch.isfinite(down).all() and torch.isfinite(up).all()):
        raise ModelError(f"the edit of {name!r} has numbers that are not finite: use a lower clamp")
    return down, up
