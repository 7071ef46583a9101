"""The first and the newest tokens, which stay in full precision."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.codecs._parts import StoredParts
from engramos.activation.codecs._range import unchanged
from engramos.errors import ConfigError

END_PARTS = ("first", "newest")


@dataclass(frozen=True, slots=True)
class Ends:
    """How many tokens stay as they are; what lies between them is the middle."""

    num_sinks: int
    """First tokens."""
    residual: int
    """Newest tokens; more where the middle must fill groups."""

    def __post_init__(self) -> None:
        for name in ("num_sinks", "residual"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: give 0 or more")

    def split(self, tensors: Sequence[Tensor], group_size: int = 1) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the middle of each layer, and both ends as parts.

        Args:
            tensors: of each layer: (kv_heads, tokens, head_dim).
            group_size: the middle has a multiple of so many tokens.

        Raises:
            InvalidInputError: if a number of the ends is not finite.
        """
        num = max(0, tensors[0].shape[1] - self.residual - self.num_sinks)
        cut = self.num_sinks + num - num % group_size
        parts = {
            "first": unchanged([one[:, : self.num_sinks] for one in tensors]),
            "newest": unchanged([one[:, cut:] for one in tensors]),
        }
        return [one[:, self.num_sinks : cut] for one in tensors], parts


def ends_shape(stored: StoredParts) -> tuple[int, int, int]:
    """Return layers, kv_heads and head_dim, as the newest tokens have them, even where there are none.

    Raises:
        CorruptPayloadError: if no model has such a head_dim.
    """
    layers, kv_heads, _, head_dim = stored.whole("newest", None, None, None, None).shape
    stored.require_head_dim(head_dim)
    return layers, kv_heads, head_dim


def joined(stored: StoredParts, middle: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Return the layers, with the middle (layers, kv_heads, tokens, head_dim) between the ends.

    Raises:
        CorruptPayloadError: if the ends do not fit to it.
    """
    layers, kv_heads, _, head_dim = middle.shape
    first, newest = (stored.whole(name, layers, kv_heads, None, head_dim) for name in END_PARTS)
    return list(torch.cat([stored.cast(one, dtype) for one in (first, middle, newest)], dim=2).unbind(0))
