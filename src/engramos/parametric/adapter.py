"""The role of adapters: tensors, and what they do to a base model while they are attached.

A base model is never changed. What an adapter does happens at the modules that it names: their output is replaced by
what `change` returns, for the rows and tokens on which the adapter acts. An adapter keeps no state of a sequence.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from engramos.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of tokens that every row begins with, for some or all layers."""

    keys: Mapping[int, Tensor]
    """By layer: (kv_heads, tokens, head_dim), rotated to the positions from 0 on."""
    values: Mapping[int, Tensor]
    num_tokens: int
    lengths: Tensor | None = None
    """Where each row has a beginning of its own: its tokens, (rows,) int64. Keys and values are then
    (rows, kv_heads, tokens, head_dim), and what stands after a row's length is not looked at."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a base model, as far as an adapter must fit them."""

    hidden: int
    """Features of a hidden state."""
    weights: Mapping[str, tuple[int, ...]]
    """By module that the adapter names, the shape of its own weight, such as (out_features, in_features); () where it
    has none, as a whole layer has none."""
    caches: Sequence[tuple[int, int]]
    """By layer: (kv_heads, head_dim)."""

    def features(self, target: str) -> tuple[int, int]:
        """Return how many features a module gives, and how many it reads; a part of a layer has hidden states."""
        shape = self.weights[target]
        return (shape[0], shape[1]) if len(shape) == 2 else (self.hidden, self.hidden)


class Adapter(ABC):
    """Acts on a base model while it is attached. Every sort of adapter passes `engramos.testing.adapters`."""

    KIND: ClassVar[str]
    """The name of its file in `parametric/adapters/`."""
    invocation: tuple[int, ...] = ()
    """Tokens from whose last occurrence in the prompt on it acts; empty: on every token.

    What stands before is read as the base model reads it, so that stored KV caches of it stay right.
    Source: Activated LoRA, https://arxiv.org/abs/2504.12397.
    """

    @property
    def prefix(self) -> Prefix | None:
        """Keys and values that stand before every prompt while it is attached; None for most."""
        return None

    @property
    @abstractmethod
    def targets(self) -> tuple[str, ...]:
        """Names of the base model's modules at which it acts, such as `model.layers.4.mlp.down_proj`."""

    @abstractmethod
    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return what a module gives while this adapter is attached.

        Args:
            target: the module's name.
            inputs: what the module read: (rows, tokens, features).
            output: what the base model's module made of it: (rows, tokens, features); not to be changed in place.

        Returns:
            As `output`. Differentiable with respect to the adapter's own tensors.
        """

    def misfits(self, sizes: Sizes) -> tuple[str, ...]:
        """Return what of a model its tensors do not fit, such as `shape of <module>`; nothing where they all fit.

        A kind whose tensors have the shapes of a model says here which; by default there is nothing to fit.

        Args:
            sizes: of the model, with all of `targets` among its modules.
        """
        return ()

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return all its tensors by name: what is stored."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return all that is stored beside the tensors, as JSON values; `invocation` where it has one."""

    @classmethod
    @abstractmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return the adapter of these tensors and settings.

        Raises:
            InvalidInputError: if one is missing, unknown, or of a wrong shape.
        """

    @property
    def num_bytes(self) -> int:
        """Bytes of its tensors."""
        return sum(one.numel() * one.element_size() for one in self.tensors().values())

    @property
    def digest(self) -> str:
        """SHA-256 over kind, settings, and the names, shapes, dtypes and bytes of its tensors."""
        digest = hashlib.sha256(json.dumps([self.KIND, self.settings()], sort_keys=True).encode())
        for name, tensor in sorted(self.tensors().items()):
            digest.update(f"\n{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__


def starts_at(invocation: Sequence[int], token_ids: Sequence[int]) -> int:
    """Return from which token on an adapter acts: 0 without invocation; after the end where it does not occur."""
    wanted, ids = list(invocation), list(token_ids)
    if not wanted:
        return 0
    for at in range(len(ids) - len(wanted), -1, -1):
        if ids[at : at + len(wanted)] == wanted:
            return at
    return len(ids)


def other_shapes(targets: Iterable[str], fits: Callable[[str], bool]) -> tuple[str, ...]:
    """Return `shape of <module>` for each module that an adapter does not fit."""
    return tuple(f"shape of {target}" for target in targets if not fits(target))


def check_names(kind: str, tensors: Mapping[str, Tensor], wanted: Sequence[str]) -> None:
    """Refuse tensors of an adapter whose names are not the wanted ones.

    Raises:
        InvalidInputError: with the first that is missing or unknown.
    """
    wrong = sorted(set(tensors) ^ set(wanted))
    if wrong:
        problem = "lacks" if wrong[0] in wanted else "does not know"
        raise InvalidInputError(f"an adapter of kind {kind} {problem} the tensor {wrong[0][:80]!r}: write it anew")


def check_settings(kind: str, settings: Mapping[str, Any], wanted: Mapping[str, type]) -> None:
    """Refuse settings of an adapter that are not the wanted ones; `invocation` may be there or not.

    Args:
        kind: of the adapter, for the message.
        settings: as they were stored.
        wanted: what each must be; `float` takes whole numbers too, and nothing takes a truth value for a number.

    Raises:
        InvalidInputError: with the first that is missing, unknown or something else.
    """
    wrong = sorted((set(settings) ^ set(wanted)) - {"invocation"})
    if wrong:
        problem = "lacks" if wrong[0] in wanted else "does not know"
        raise InvalidInputError(f"an adapter of kind {kind} {problem} the setting {wrong[0][:80]!r}: write it anew")
    for name, due in wanted.items():
        value = settings[name]
        if not isinstance(value, (int, float) if due is float else due) or isinstance(value, bool) != (due is bool):
            raise InvalidInputError(
                f"the setting {name!r} of an adapter of kind {kind} is {type(value).__name__}, where {due.__name__} "
                f"is due: write it anew"
            )
    invocation = settings.get("invocation", ())
    if not isinstance(invocation, list | tuple) or not all(type(one) is int for one in invocation):
        raise InvalidInputError(f"the invocation of an adapter of kind {kind} is no list of tokens: write it anew")
