"""Keep the very bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.codecs.base import DTYPES, Codec
from engramos.errors import ConfigError, CorruptPayloadError


@dataclass(frozen=True, slots=True)
class Full(Codec):
    """Tensors as they are, or in another floating dtype.

    Source: ours; the floor that every other codec is compared with.
    """

    dtype: str = "same"
    """`same`, `float32`, `bfloat16` or `float16`."""
    is_exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.dtype != "same" and self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}: use same, {', '.join(DTYPES)}")

    def encode(
        self,
        tensors: Sequence[Tensor],
        side: str,
        *,
        importance: Sequence[Tensor] | None = None,
        queries: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return one part: (layers, kv_heads, tokens, head_dim)."""
        # one layer is not copied: a great cache would be held twice
        whole = tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(tuple(tensors))
        return {"full": whole.contiguous() if self.dtype == "same" else whole.to(DTYPES[self.dtype])}

    def decode(self, parts: Mapping[str, Tensor], side: str, dtype: torch.dtype) -> list[Tensor]:
        """Return the layers."""
        is_known = parts.keys() == {"full"} and parts["full"].dtype in DTYPES.values()
        if not is_known or parts["full"].dim() != 4:
            raise CorruptPayloadError("a KV cube's codec 'full'", "full", ", ".join(parts))
        return list(parts["full"].to(dtype).unbind(0))
