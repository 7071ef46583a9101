"""Few bits after a rotation that makes every channel alike."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.codecs._ends import END_PARTS, Ends, ends_shape, joined
from engramos.activation.codecs._packing import pack, packed_length, unpack
from engramos.activation.codecs._parts import StoredParts
from engramos.activation.codecs._range import balanced
from engramos.activation.codecs._rotation import codebook, rotation
from engramos.activation.codecs.base import Codec
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Rotated(Codec):
    """Vectors are turned at random, so that their channels are near to normal, and coded by the best codebook for that.

    Nothing is learned and nothing is kept for groups: `bits` + 16 / head_dim bits a value.

    Measured by `benchmarks.kv_codecs` on SmolLM2-135M, five books, 1,024 tokens of float32, with the defaults:
    3.25 bits a value, relative error 0.176 of keys and 0.180 of values, KL divergence 0.027;
    with 4 bits 4.25, 0.092, 0.094 and 0.0084; with 2 bits 2.25, 0.325, 0.335 and 0.19.

    Source: TurboQuant, https://arxiv.org/abs/2504.19874, the stage for the least squared error.
    Differs: the rotation is Hadamard's with random signs, the codebook is that of the normal distribution, and the
        stored norm is the factor that brings the codes nearest to the vector, not the vector's own length; the second
        stage, a sketch of the error in one bit, is left out.
    """

    bits: int = 3
    """Bits of a code: 2, 3 or 4."""
    seed: int = 0
    """Of the rotation's signs."""
    num_sinks: int = 0
    """First tokens that stay in full precision; 0 or more."""
    residual: int = 0
    """Newest tokens that stay in full precision; 0 or more."""

    def __post_init__(self) -> None:
        if self.bits not in (2, 3, 4):
            raise ConfigError(f"bits is {self.bits}: use 2, 3 or 4")
        Ends(self.num_sinks, self.residual)

    def encode(
        self,
        tensors: Sequence[Tensor],
        side: str,
        *,
        importance: Sequence[Tensor] | None = None,
        queries: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return packed codes, the norm of each token and head, and the newest tokens as they are."""
        middle, ends = Ends(self.num_sinks, self.residual).split(tensors)
        whole, within = balanced(middle)
        head_dim = whole.shape[3]
        centres, bounds = codebook(self.bits)
        turn, values = rotation(head_dim, self.seed).to(whole.device), torch.tensor(centres, device=whole.device)
        codes = torch.zeros(whole.shape, dtype=torch.uint8, device=whole.device)
        norms = whole.new_zeros(whole.shape[:3])
        # layer by layer, so that what is read stays in the processor's cache
        for layer, one in enumerate(whole):
            turned = one @ turn
            lengths = torch.linalg.vector_norm(turned, dim=-1, keepdim=True)
            normal = turned * (math.sqrt(head_dim) / torch.where(lengths > 0, lengths, math.inf))
            for bound in bounds:
                codes[layer] += normal > bound
            near = values[codes[layer].int()]
            norms[layer] = (turned * near).sum(-1) / (near * near).sum(-1)
        return {
            "codes": pack(codes, self.bits),
            "norms": within.stored(norms),
            **ends,
        }

    def decode(self, parts: Mapping[str, Tensor], side: str, dtype: torch.dtype) -> list[Tensor]:
        """Return the layers."""
        stored = StoredParts("rotated", parts, ("codes", "norms", *END_PARTS))
        layers, kv_heads, head_dim = ends_shape(stored)
        width = packed_length(head_dim, self.bits)
        packed = stored.take("codes", (torch.uint8,), layers, kv_heads, None, width)
        norms = stored.scales("norms", layers, kv_heads, packed.shape[2]).unsqueeze(-1)
        values = torch.tensor(codebook(self.bits)[0], device=packed.device)
        back = rotation(head_dim, self.seed).to(packed.device).mT
        whole = torch.empty((layers, kv_heads, packed.shape[2], head_dim), device=packed.device)
        for layer in range(layers):
            near = values[unpack(packed[layer], self.bits, head_dim).int()]
            whole[layer] = near.mul_(norms[layer]) @ back
        return joined(stored, whole, dtype)
