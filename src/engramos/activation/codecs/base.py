"""The role of codecs: how the keys or values of a cache are stored.

A codec is a frozen dataclass of its parameters. It turns the tensors of some adjacent layers, all of one side (keys or
values), into named parts that safetensors can hold, and back.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

KEYS, VALUES = "keys", "values"
"""The sides of a cache."""
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""The dtypes that caches may have, by name."""


class Codec(ABC):
    """Encodes and decodes one side of adjacent layers. Every method of the role passes `engramos.testing.codecs`."""

    before_rope: ClassVar[bool] = False
    """Whether keys must be turned back to position 0 before they are encoded; the caller turns them forward again."""
    is_exact: ClassVar[bool] = False
    """Whether decoding gives back the very same bits, for the dtypes that it keeps."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """What `encode` is the better for beside the tensors: `importance`, `queries`."""

    @property
    def group(self) -> int:
        """How many adjacent layers are encoded together, 1 or more; the last group may be smaller."""
        return 1

    @abstractmethod
    def encode(
        self,
        tensors: Sequence[Tensor],
        side: str,
        *,
        importance: Sequence[Tensor] | None = None,
        queries: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return the parts that stand for the tensors.

        Args:
            tensors: of each layer of the group: (kv_heads, tokens, head_dim), of one shape and dtype, all finite;
                0 tokens are allowed.
            side: `keys` or `values`.
            importance: of each layer: (kv_heads, tokens) float32, the greater the more precise; None where unknown.
            queries: of each layer: (heads, queries, head_dim), the newest; None where unknown.

        Returns:
            Contiguous tensors by name. Together they hold all that `decode` needs, but for shapes' sake: the number of
            layers, heads, tokens and head_dim must follow from the parts' own shapes, or from small parts.
        """

    @abstractmethod
    def decode(self, parts: Mapping[str, Tensor], side: str, dtype: torch.dtype) -> list[Tensor]:
        """Return the tensors of each layer of the group, as `encode` took them, near to what they were.

        Args:
            parts: what `encode` returned, as it was stored.
            side: as at encoding.
            dtype: of the result.

        Raises:
            CorruptPayloadError: if the parts do not fit together.
        """


def bits_per_value(parts: Mapping[str, Tensor], num_values: int) -> float:
    """Return the stored bits for each number of the tensors that were encoded.

    Args:
        parts: what `encode` returned.
        num_values: numbers in the tensors that were encoded, 1 or more.
    """
    return 8.0 * sum(part.numel() * part.element_size() for part in parts.values()) / num_values


__all__ = ["DTYPES", "KEYS", "VALUES", "Codec", "bits_per_value"]
