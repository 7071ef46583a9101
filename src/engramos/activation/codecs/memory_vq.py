"""Pieces of vectors replaced by the nearest of a few learned ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.codecs._parts import StoredParts
from engramos.activation.codecs._quantize import greatest_divisor
from engramos.activation.codecs._range import balanced, unchanged
from engramos.activation.codecs.base import Codec
from engramos.errors import ConfigError

PARTS = ("codes", "codebooks", "first", "means", "deviations")
MAX_DISTANCES = 1 << 23
"""How many distances are held at a time."""


@dataclass(frozen=True, slots=True)
class MemoryVQ(Codec):
    """Vectors are cut into pieces of some channels; each piece is the number of its codebook's nearest entry.

    Channels are first brought to a mean of 0 and a deviation of 1 in each head, so that all heads and all layers of a
    group share a codebook for each piece, and its bytes. 8 / `piece_size` bits a value, and the codebooks.

    Measured by `benchmarks.kv_codecs` on SmolLM2-135M, five books, 1,024 tokens of float32, with the defaults:
    2.50 bits a value, relative error 0.140 of keys and 0.299 of values, KL divergence 0.068.

    Source: MEMORY-VQ, https://arxiv.org/abs/2308.14903: product quantisation of memories.
    Differs: codebooks are learned from the tensors themselves, by k-means, and stored beside the codes; the paper
        trains them together with the model. Sink tokens stay as they are.
    """

    piece_size: int = 4
    """Channels of a piece; 1 or more. Where head_dim is no multiple, its greatest divisor below."""
    num_entries: int = 256
    """Entries of a codebook, 1 to 256."""
    num_sinks: int = 4
    """First tokens that stay in full precision; 0 or more. They are like no others, and all later ones look at them."""
    num_layers: int = 4
    """Adjacent layers that share codebooks; 1 or more."""
    num_iterations: int = 8
    """Steps of k-means, 0 or more."""
    num_samples: int = 4096
    """Vectors that k-means sees; 1 or more."""
    seed: int = 0
    """Of the choice of samples."""
    before_rope: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.num_entries <= 256:
            raise ConfigError(f"num_entries is {self.num_entries}: give 1 to 256")
        for name in ("piece_size", "num_layers", "num_samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: give 1 or more")
        for name in ("num_sinks", "num_iterations"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: give 0 or more")

    @property
    def group(self) -> int:
        """How many adjacent layers share codebooks."""
        return self.num_layers

    def encode(
        self,
        tensors: Sequence[Tensor],
        side: str,
        *,
        importance: Sequence[Tensor] | None = None,
        queries: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return codes (layers, kv_heads, tokens, pieces) and codebooks (pieces, entries, channels).

        And the means and deviations of channels (layers, kv_heads, head_dim), and the first tokens as they are.
        """
        whole, within = balanced([one[:, self.num_sinks :] for one in tensors])
        layers, kv_heads, num_tokens, head_dim = whole.shape
        if num_tokens:
            deviations, means = torch.std_mean(whole, dim=2, correction=0)
        else:
            deviations = means = whole.new_zeros((layers, kv_heads, head_dim))
        deviations = within.rounded_up(deviations)
        normal = (whole - means.unsqueeze(2)) / torch.where(deviations > 0, deviations, 1.0).unsqueeze(2)
        width = greatest_divisor(head_dim, self.piece_size)
        pieces = normal.flatten(0, 2).unflatten(1, (-1, width)).transpose(0, 1).contiguous()
        entries = self._learned(pieces).to(torch.float16)
        codes = _nearest(pieces, entries.float()).to(torch.uint8)
        return {
            "codes": codes.T.reshape(layers, kv_heads, num_tokens, head_dim // width).contiguous(),
            "codebooks": entries,
            "first": unchanged([one[:, : self.num_sinks] for one in tensors]),
            "means": within.stored(means),
            "deviations": within.stored(deviations),
        }

    def decode(self, parts: Mapping[str, Tensor], side: str, dtype: torch.dtype) -> list[Tensor]:
        """Return the layers."""
        stored = StoredParts("memory_vq", parts, PARTS)
        codes = stored.take("codes", (torch.uint8,), None, None, None, None)
        layers, kv_heads, num_tokens, num_pieces = codes.shape
        entries = stored.scales("codebooks", num_pieces, None, None, is_signed=True)
        head_dim = num_pieces * entries.shape[2]
        stored.require_head_dim(head_dim)
        stored.require_growth(layers * kv_heads * num_tokens * head_dim)
        first = stored.whole("first", layers, kv_heads, None, head_dim)
        means = stored.scales("means", layers, kv_heads, head_dim, is_signed=True).unsqueeze(2)
        deviations = stored.scales("deviations", layers, kv_heads, head_dim).unsqueeze(2)
        is_entry = not codes.numel() or int(codes.max()) < entries.shape[1]
        stored.require(is_entry, "codes", f"names entries that are not among {entries.shape[1]}")
        whole = means.new_empty((layers, kv_heads, num_tokens, num_pieces, entries.shape[2]))
        for piece in range(num_pieces):
            whole[..., piece, :] = entries[piece][codes[..., piece].int()]
        later = stored.cast(whole.flatten(3).mul_(deviations).add_(means), dtype)
        return list(torch.cat((stored.cast(first, dtype), later), dim=2).unbind(0))

    def _learned(self, pieces: Tensor) -> Tensor:
        """Return codebooks for (pieces, vectors, channels): (pieces, entries, channels)."""
        order = torch.randperm(pieces.shape[1], generator=torch.Generator().manual_seed(self.seed))
        samples = pieces[:, order[: self.num_samples].to(pieces.device)]
        entries = samples[:, : self.num_entries].clone()
        for _ in range(self.num_iterations if entries.numel() else 0):
            nearest = _nearest(samples, entries)
            sums = torch.zeros_like(entries).scatter_add_(1, nearest.unsqueeze(-1).expand_as(samples), samples)
            counts = torch.zeros_like(entries[..., 0]).scatter_add_(1, nearest, torch.ones_like(samples[..., 0]))
            # an entry that is nearest to nothing stays where it is
            entries = torch.where(counts.unsqueeze(-1) > 0, sums / counts.clamp(min=1).unsqueeze(-1), entries)
        return entries


def _nearest(pieces: Tensor, entries: Tensor) -> Tensor:
    """Return the nearest entry of each vector: (pieces, vectors) int64."""
    lengths = entries.square().sum(-1).unsqueeze(1)
    step = max(1, MAX_DISTANCES // max(1, entries.shape[0] * entries.shape[1]))
    runs = pieces.split(step, dim=1) if pieces.shape[1] else ()
    found = [torch.baddbmm(lengths, run, entries.mT, alpha=-2.0).argmin(-1) for run in runs]
    return torch.cat(found, dim=1) if found else pieces.new_zeros(pieces.shape[:2], dtype=torch.int64)
