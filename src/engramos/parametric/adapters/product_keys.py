"""Product-key memory beside a feed-forward module: each token reads a few rows of a table, found by fixed keys."""

import functools
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapter import Adapter, Sizes, check_names, check_settings, other_shapes

MAX_KEYS = 4096
PARTS = ("slots", "values", "means", "deviations", "owners")


@functools.lru_cache(maxsize=8)
def drawn_keys(seed: int, num_keys: int, features: int) -> Tensor:
    """Return the keys of both halves: (2 * num_keys, features) float32, each number +1 or -1.

    The bits are SHAKE-256's of seed and sizes: the same with every version of every library, so that an adapter need
    not store them.
    """
    count = 2 * num_keys * features
    stream = hashlib.shake_256(f"product keys {seed} {num_keys} {features}".encode()).digest((count + 7) // 8)
    words = torch.frombuffer(bytearray(stream), dtype=torch.uint8)
    bits = (words[:, None] >> torch.arange(8)) & 1
    return (bits.flatten()[:count].float() * 2 - 1).view(2 * num_keys, features)


@dataclass(frozen=True, slots=True, eq=False)
class ProductKeys(Adapter):
    """Adds to a module's output a weighted sum of the value rows that its input addresses.

    There are `num_keys` squared slots; a slot's key is a pair of half keys and its score the sum of theirs, so the
    best `num_reads` are found among the best of each half. Weights are the softmax of the scores. Only slots that
    something was written into are stored; all others hold zeros.

    Source: Large Memory Layers with Product Keys, https://arxiv.org/abs/1907.05242, sections 3.1 and 3.2.
    Differs: one head; the keys are random signs that are never trained; the query is the module's input, centred and
    scaled by feature, of length 1, and both half keys read all of it; addresses give no gradients.
    """

    KIND: ClassVar[str] = "product_keys"
    slots: Mapping[str, Tensor]
    """By module, the slots that are stored: (stored,) int64, rising."""
    values: Mapping[str, Tensor]
    """By module, what they hold: (stored, out_features)."""
    means: Mapping[str, Tensor]
    """By module, what is taken from its input: (in_features,)."""
    deviations: Mapping[str, Tensor]
    """By module, what its input is divided by: (in_features,), above 0."""
    owners: Mapping[str, Tensor]
    """By module, whether a fact's training has written into a slot: (stored, facts) bool."""
    facts: tuple[str, ...] = ()
    """Ids of the facts, as `owners` counts them."""
    num_keys: int = 128
    """Half keys a half, 1 to 4,096; their square is the number of slots."""
    num_reads: int = 16
    """Slots that a token reads, 1 to `num_keys`."""
    key_seed: int = 0
    invocation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.num_keys <= MAX_KEYS or not 1 <= self.num_reads <= self.num_keys:
            sizes = f"{self.num_keys} keys and {self.num_reads} reads"
            raise InvalidInputError(f"a memory has {sizes}: give 1 to {MAX_KEYS} keys, and at most as many reads")
        if not self.slots or any(getattr(self, part).keys() != self.slots.keys() for part in PARTS):
            raise InvalidInputError("a memory needs slots, values, means, deviations and owners of each module")
        for target in self.slots:
            self._check(target)

    def _check(self, target: str) -> None:
        slots, values, owners = self.slots[target], self.values[target], self.owners[target]
        means, deviations = self.means[target], self.deviations[target]
        is_sound = (
            slots.ndim == means.ndim == 1
            and values.ndim == 2
            and slots.dtype == torch.int64
            and owners.dtype == torch.bool
            and values.is_floating_point()
            and values.shape[0] == slots.shape[0]
            and tuple(owners.shape) == (slots.shape[0], len(self.facts))
            and means.shape == deviations.shape
        )
        if not is_sound:
            raise InvalidInputError(f"tensors of the memory at {target[:80]!r} do not fit each other: write it anew")
        is_rising = bool((slots[1:] > slots[:-1]).all())
        if slots.numel() and not (is_rising and int(slots[0]) >= 0 and int(slots[-1]) < self.num_keys**2):
            raise InvalidInputError(f"slots at {target[:80]!r} must rise from 0 to below {self.num_keys**2}")
        if not bool((deviations > 0).all()):
            raise InvalidInputError(f"deviations at {target[:80]!r} must be above 0: write the adapter anew")

    @property
    def targets(self) -> tuple[str, ...]:
        """The modules that it stands beside."""
        return tuple(self.slots)

    def addresses(self, target: str, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the slots that tokens read, and with which weights: both (..., num_reads).

        Args:
            target: the module's name.
            inputs: what it reads: (..., in_features).
        """
        means, deviations = self.means[target], self.deviations[target]
        query = (inputs.detach().to(means.dtype) - means) / deviations
        query = torch.nn.functional.normalize(query, dim=-1)
        keys = drawn_keys(self.key_seed, self.num_keys, means.shape[0]).to(query)
        first, second = (query @ keys.T).split(self.num_keys, dim=-1)
        (first_best, first_at), (second_best, second_at) = (one.topk(self.num_reads) for one in (first, second))
        sums = (first_best[..., :, None] + second_best[..., None, :]).flatten(-2)
        best, at = sums.topk(self.num_reads)
        rows, columns = at // self.num_reads, at % self.num_reads
        slots = first_at.gather(-1, rows) * self.num_keys + second_at.gather(-1, columns)
        return slots, best.softmax(dim=-1)

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the output with what the memory holds for the inputs added."""
        return self.read(target, *self.addresses(target, inputs), output)

    def read(self, target: str, slots: Tensor, weights: Tensor, output: Tensor) -> Tensor:
        """Return an output with slots' values added.

        Args:
            target: the module's name.
            slots: (rows, tokens, num_reads).
            weights: as `slots`.
            output: (rows, tokens, out_features).
        """
        stored, values = self.slots[target], self.values[target]
        if not stored.numel():
            return output
        at = torch.searchsorted(stored, slots).clamp(max=stored.numel() - 1)
        weights = (weights * (stored[at] == slots)).to(values.dtype)
        bags = at.flatten(0, -2), weights.flatten(0, -2)
        added = torch.nn.functional.embedding_bag(bags[0], values, per_sample_weights=bags[1], mode="sum")
        return output + added.view_as(output).to(output.dtype)

    def slots_of(self, fact_id: str) -> dict[str, Tensor]:
        """Return the slots that a fact's training has written into, by module; all empty for an unknown fact."""
        if fact_id not in self.facts:
            return {target: one[:0] for target, one in self.slots.items()}
        column = self.facts.index(fact_id)
        return {target: one[self.owners[target][:, column]] for target, one in self.slots.items()}

    def without(self, fact_ids: Collection[str]) -> Self:
        """Return the memory without the slots that only these facts have written into.

        Not exact: facts of one lesson share slots, and what stands in the shared ones was trained with all of them.
        """
        kept = [column for column, one in enumerate(self.facts) if one not in fact_ids]
        owners = {target: one[:, kept] for target, one in self.owners.items()}
        stays = {target: one.any(dim=1) for target, one in owners.items()}
        return replace(
            self,
            slots={target: one[stays[target]] for target, one in self.slots.items()},
            values={target: one[stays[target]] for target, one in self.values.items()},
            owners={target: one[stays[target]] for target, one in owners.items()},
            facts=tuple(self.facts[column] for column in kept),
        )

    def misfits(self, sizes: Sizes) -> tuple[str, ...]:
        """Return the modules that read or give another number of features."""
        shapes = {name: (self.values[name].shape[1], self.means[name].shape[0]) for name in self.targets}
        return other_shapes(self.targets, lambda target: sizes.features(target) == shapes[target])

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors of each module, as `<module>.slots`, `<module>.values` and so on."""
        return {f"{target}.{part}": one for part in PARTS for target, one in getattr(self, part).items()}

    def settings(self) -> dict[str, Any]:
        """Return the sizes, the keys' seed, the ids of the facts and the invocation."""
        return {
            "num_keys": self.num_keys,
            "num_reads": self.num_reads,
            "key_seed": self.key_seed,
            "facts": list(self.facts),
            "invocation": list(self.invocation),
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return the memory of these tensors and settings; see `Adapter.restored`."""
        targets = sorted({name.rpartition(".")[0] for name in tensors})
        check_names(cls.KIND, tensors, [f"{target}.{part}" for target in targets for part in PARTS])
        check_settings(cls.KIND, settings, {"num_keys": int, "num_reads": int, "key_seed": int, "facts": list})
        return cls(
            **{part: {target: tensors[f"{target}.{part}"] for target in targets} for part in PARTS},
            facts=tuple(settings["facts"]),
            num_keys=int(settings["num_keys"]),
            num_reads=int(settings["num_reads"]),
            key_seed=int(settings["key_seed"]),
            invocation=tuple(settings.get("invocation", ())),
        )
