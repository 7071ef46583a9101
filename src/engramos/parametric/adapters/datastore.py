"""A datastore of hidden states and next tokens: near a key, its token becomes likely."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import isfinite, log, log1p
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapter import Adapter, Sizes, check_names, check_settings
from engramos.parametric.adapters._sources import check_rows, distances, kept_rows, text_list


@dataclass(frozen=True, slots=True, eq=False)
class Datastore(Adapter):
    """Mixes the next tokens of the nearest rows into the model's distribution, where a row lies within its reach.

    There scores become log probabilities, `log(share * p_rows + (1 - share) * p_model)` with `p_rows` the softmax of
    `-distance^2 / temperature`; everywhere else they stay as they are, bit for bit.

    Source: kNN-LM, https://arxiv.org/abs/1911.00172, section 2, equations 2 and 3.
    Differs: a row counts only within its own reach, and without one the model answers alone; exact search. With
    neither, a share that makes facts likely ruins every other text.
    """

    KIND: ClassVar[str] = "datastore"
    target: str
    """The module that makes scores of hidden states."""
    keys: Tensor
    """What that module reads: (rows, hidden)."""
    tokens: Tensor
    """The next token of each row: (rows,) int64."""
    reaches: Tensor
    """How far from its key a row counts: (rows,)."""
    owners: Tensor
    """The place in `sources` of the fact that a row belongs to: (rows,) int64."""
    sources: tuple[str, ...]
    """Ids of facts, or digests of texts."""
    share: float = 0.95
    """Of the rows in the mixture; over 0, under 1."""
    temperature: float = 10.0
    """In squared distances; over 0."""
    neighbours: int = 16
    """At most so many rows count; 1 or more."""
    invocation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InvalidInputError(f"share of a datastore is {self.share}: give a number over 0 and under 1")
        if not (isfinite(self.temperature) and self.temperature > 0):
            raise InvalidInputError(f"temperature of a datastore is {self.temperature}: give a number over 0")
        if self.neighbours < 1:
            raise InvalidInputError(f"neighbours of a datastore are {self.neighbours}: give 1 or more")
        columns = {"keys": self.keys, "tokens": self.tokens, "reaches": self.reaches}
        check_rows(self.KIND, self.sources, self.owners, columns)
        if self.keys.ndim != 2 or self.tokens.ndim != 1 or self.reaches.ndim != 1:
            raise InvalidInputError("keys, tokens, reaches of a datastore need shapes (n, hidden), (n,), (n,)")

    @property
    def targets(self) -> tuple[str, ...]:
        """The module that makes scores."""
        return (self.target,)

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return scores with the rows mixed in where some are near."""
        if not len(self.keys):
            return output
        weights = self._weights(inputs.flatten(0, -2))
        is_near = (weights > 0).any(dim=-1)
        if not bool(is_near.any()):
            return output
        scores = output.flatten(0, -2)
        mixed = self._mixed(weights[is_near], scores[is_near])
        return scores.index_put((is_near.nonzero()[:, 0],), mixed).view_as(output)

    def sources_of(self, state: Tensor) -> dict[str, float]:
        """Return which facts speak at a hidden state and how much, the strongest first; empty where none does.

        Args:
            state: what the module reads for one token: (hidden,).

        Returns:
            Weights by source; they sum to 1.
        """
        weights = self._weights(state[None])[0] if len(self.keys) else self.reaches
        total: dict[str, float] = {}
        for row in (weights > 0).nonzero()[:, 0].tolist() if len(self.keys) else []:
            source = self.sources[int(self.owners[row])]
            total[source] = total.get(source, 0.0) + float(weights[row])
        return dict(sorted(total.items(), key=lambda one: (-one[1], one[0])))

    def without(self, gone: Collection[str]) -> "Datastore":
        """Return the datastore as it would be had these sources never been written.

        Raises:
            InvalidInputError: if one of them is not in it.
        """
        sources, owners, stay = kept_rows(self.KIND, self.sources, self.owners, gone)
        keys, tokens, reaches = self.keys[stay], self.tokens[stay], self.reaches[stay]
        return replace(self, keys=keys, tokens=tokens, reaches=reaches, owners=owners, sources=sources)

    def joined(self, other: "Datastore") -> "Datastore":
        """Return both datastores as one, as if their sources had been written together.

        Raises:
            InvalidInputError: if their settings differ, or one source is in both.
        """
        mine, theirs = ({**one.settings(), "sources": []} for one in (self, other))
        if mine != theirs or self.keys.shape[1] != other.keys.shape[1]:
            raise InvalidInputError("two datastores of different settings cannot be joined: write them alike")
        twice = sorted(set(self.sources) & set(other.sources))
        if twice:
            raise InvalidInputError(f"source {twice[0][:80]!r} is in both datastores: take it out of one")
        return replace(
            self,
            keys=torch.cat([self.keys, other.keys]),
            tokens=torch.cat([self.tokens, other.tokens]),
            reaches=torch.cat([self.reaches, other.reaches]),
            owners=torch.cat([self.owners, other.owners + len(self.sources)]),
            sources=(*self.sources, *other.sources),
        )

    def misfits(self, sizes: Sizes) -> tuple[str, ...]:
        """Return the scoring module where it reads another size than that of the keys; and a vocabulary too small."""
        shape = sizes.weights[self.target]
        if len(shape) != 2 or shape[1] != self.keys.shape[1]:
            return (f"shape of {self.target}",)
        is_known = bool(((self.tokens >= 0) & (self.tokens < shape[0])).all())
        return () if is_known else ("vocabulary",)

    def tensors(self) -> dict[str, Tensor]:
        """Return keys, tokens, reaches and owners."""
        return {"keys": self.keys, "tokens": self.tokens, "reaches": self.reaches, "owners": self.owners}

    def settings(self) -> dict[str, Any]:
        """Return all else."""
        return {
            "target": self.target,
            "sources": list(self.sources),
            "share": self.share,
            "temperature": self.temperature,
            "neighbours": self.neighbours,
            "invocation": list(self.invocation),
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return the adapter of these tensors and settings; see `Adapter.restored`."""
        names = ("keys", "tokens", "reaches", "owners")
        check_names(cls.KIND, tensors, names)
        numbers = {"share": float, "temperature": float, "neighbours": int}
        check_settings(cls.KIND, settings, {"target": str, "sources": list, **numbers})
        return cls(
            str(settings["target"]),
            *(tensors[name] for name in names),
            text_list(settings, "sources"),
            float(settings["share"]),
            float(settings["temperature"]),
            int(settings["neighbours"]),
            tuple(settings.get("invocation", ())),
        )

    def _weights(self, states: Tensor) -> Tensor:
        """Return how much each row counts at each state, 0 where it is out of reach: (states, rows)."""
        far = distances(states, self.keys)
        score = (-far.square() / self.temperature).masked_fill(far > self.reaches, -torch.inf)
        if self.neighbours < len(self.keys):
            least = score.topk(self.neighbours, dim=-1).values[..., -1:]
            score = score.masked_fill(score < least, -torch.inf)
        # a state that no row reaches would be 0 / 0
        return torch.softmax(score, dim=-1).nan_to_num(0.0)

    def _mixed(self, weights: Tensor, scores: Tensor) -> Tensor:
        """Return log probabilities of tokens: (states, vocabulary)."""
        said = torch.zeros_like(scores, dtype=weights.dtype)
        said = said.index_add(1, self.tokens, weights)
        own = torch.log_softmax(scores.to(weights.dtype), dim=-1) + log1p(-self.share)
        # where no row says a token, the gradient of log(0) would be infinite, and times 0 it is NaN
        rows = said.clamp(min=torch.finfo(said.dtype).tiny).log() + log(self.share)
        return torch.where(said > 0, torch.logaddexp(rows, own), own).to(scores)
