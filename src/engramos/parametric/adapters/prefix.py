"""Keys and values of virtual tokens that stand before every prompt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor

from engramos.errors import InvalidInputError
from engramos.parametric.adapter import Adapter, Sizes, check_names
from engramos.parametric.model import Prefix


@dataclass(frozen=True, slots=True, eq=False)
class VirtualTokens(Adapter):
    """Lets every sequence begin with keys and values that no text has made.

    It changes no module: an engine starts the KV cache of a sequence with `prefix`, and the prompt's first token stands
    right after it. So it acts on every token, and caches made without it do not fit.

    Source: Prefix-Tuning, https://arxiv.org/abs/2101.00190, section 4.
    """

    KIND: ClassVar[str] = "prefix"
    keys: Mapping[int, Tensor]
    """By layer: (kv_heads, tokens, head_dim), rotated to the positions from 0 on."""
    values: Mapping[int, Tensor]
    """As `keys`."""

    def __post_init__(self) -> None:
        if not self.keys or self.keys.keys() != self.values.keys():
            raise InvalidInputError("a prefix needs keys and values of at least one layer: write it anew")
        counts = {one.shape[1] if one.ndim == 3 else 0 for pair in (self.keys, self.values) for one in pair.values()}
        if len(counts) != 1 or 0 in counts:
            raise InvalidInputError(
                "keys and values of a prefix must be (kv_heads, tokens, head_dim), 1 or more tokens"
            )
        for layer, one in self.keys.items():
            other = self.values[layer]
            if one.shape[0] != other.shape[0] or not (one.is_floating_point() and other.is_floating_point()):
                raise InvalidInputError(
                    f"keys and values of layer {layer} do not fit each other: write the prefix anew"
                )

    @property
    def targets(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def prefix(self) -> Prefix:
        """What stands before every prompt."""
        return Prefix(self.keys, self.values, next(iter(self.keys.values())).shape[1])

    def change(self, target: str, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the output as it is."""
        return output

    def misfits(self, sizes: Sizes) -> tuple[str, ...]:
        """Return what of the model's KV cache has another shape than keys and values here."""
        if not all(0 <= layer < len(sizes.caches) for layer in self.keys):
            return ("number of layers",)
        shapes = [(sizes.caches[layer], part[layer].shape) for layer in self.keys for part in (self.keys, self.values)]
        heads = () if all(cache[0] == shape[0] for cache, shape in shapes) else ("number of heads",)
        return heads + (() if all(cache[1] == shape[2] for cache, shape in shapes) else ("head_dim",))

    def tensors(self) -> dict[str, Tensor]:
        """Return keys and values of each layer, as `keys.<layer>` and `values.<layer>`."""
        named = {f"keys.{layer}": one for layer, one in self.keys.items()}
        return named | {f"values.{layer}": one for layer, one in self.values.items()}

    def settings(self) -> dict[str, Any]:
        """Return nothing: the tensors say all."""
        return {}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return the prefix of these tensors; see `Adapter.restored`."""
        layers = sorted(int(name[5:]) for name in tensors if name.startswith("keys.") and name[5:].isdecimal())
        check_names(cls.KIND, tensors, [f"{part}.{layer}" for part in ("keys", "values") for layer in layers])
        keys, values = ({layer: tensors[f"{part}.{layer}"] for layer in layers} for part in ("keys", "values"))
        return cls(keys, values)
