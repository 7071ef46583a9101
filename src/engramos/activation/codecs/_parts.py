"""Stored parts, read with suspicion: whatever does not fit together is refused before it is used."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from engramos.activation.codecs._packing import pack, packed_length, unpack
from engramos.activation.codecs._range import is_finite
from engramos.activation.codecs.base import DTYPES
from engramos.errors import CorruptPayloadError

FLOATS = tuple(DTYPES.values())
"""Dtypes of parts that keep full precision."""
SCALES = (torch.float16, torch.float32)
"""Dtypes of scales, and of other numbers that are kept in half precision as long as its range holds them."""
MAX_LAYERS = 4096
"""Parts of more layers than this are no parts of a cache."""
MAX_HEAD_DIM = 4096
"""Parts of more channels than this are no parts of a cache; some tables have the square of head_dim."""
MAX_GROWTH = 4096
"""Parts that would decode to more numbers than this for each stored byte are no parts of a cache."""


class StoredParts:
    """The parts of one encoding, with checks that name the codec and the part."""

    def __init__(self, method: str, parts: Mapping[str, Tensor], names: Collection[str]) -> None:
        """Take the parts.

        Args:
            method: the codec's name.
            parts: as they were stored.
            names: of the parts that there must be.

        Raises:
            CorruptPayloadError: if a part is missing, or there is one that does not belong here.
        """
        self.method = method
        self.parts = parts
        if parts.keys() != set(names):
            wrong = sorted(parts.keys() ^ set(names))
            raise self.corrupt("names", f"the parts {', '.join(wrong)} are missing or do not belong here")
        for name, part in parts.items():
            # a part without numbers may claim any length for nothing
            self.require(part.dim() > 0 and part.shape[0] <= MAX_LAYERS, name, "has too many layers")

    def corrupt(self, name: str, problem: str) -> CorruptPayloadError:
        """Return the error that says what is wrong with a part."""
        return CorruptPayloadError(
            f"a KV cube's codec {self.method!r}", name, "other parts", f"{problem}; drop the cube and build it anew"
        )

    def take(self, name: str, dtypes: Collection[torch.dtype], *shape: int | None) -> Tensor:
        """Return a part.

        Args:
            name: of the part.
            dtypes: those that it may have.
            shape: its axes; None where any length will do.

        Raises:
            CorruptPayloadError: if it has another dtype or shape.
        """
        part = self.parts[name]
        if part.dtype not in dtypes:
            raise self.corrupt(name, f"part {name!r} has the dtype {part.dtype}")
        fits = part.dim() == len(shape) and all(
            wanted in (None, found) for wanted, found in zip(shape, part.shape, strict=True)
        )
        if not fits:
            raise self.corrupt(name, f"part {name!r} has the shape {tuple(part.shape)} and not {shape}")
        return part

    def scales(self, name: str, *shape: int | None, is_signed: bool = False) -> Tensor:
        """Return a part of scales in float32: finite, and none below 0 unless `is_signed`.

        Raises:
            CorruptPayloadError: if it is anything else.
        """
        part = self.take(name, SCALES, *shape).float()
        self.require(is_finite(part), name, "holds numbers that are not finite")
        self.require(is_signed or not bool((part < 0).any()), name, "holds numbers below 0")
        return part

    def whole(self, name: str, *shape: int | None) -> Tensor:
        """Return a part that is in full precision, finite.

        Raises:
            CorruptPayloadError: if it is anything else.
        """
        part = self.take(name, FLOATS, *shape)
        self.require(is_finite(part), name, "holds numbers that are not finite")
        return part

    def cast(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        """Return decoded values in a dtype; what lies outside of its range becomes its greatest number.

        Raises:
            CorruptPayloadError: if one is no number, as the parts' products were endless.
        """
        if values.dtype == dtype != torch.float32:
            return values
        limit = torch.finfo(dtype).max
        limited = values.float().clamp(-limit, limit)
        if not is_finite(limited):
            raise self.corrupt("numbers", "the parts make no numbers")
        return limited.to(dtype)

    def mask(self, name: str, num: int, num_set: int, *shape: int) -> Tensor:
        """Return a packed mask as bool, with `num_set` of `num` set in each row.

        Raises:
            CorruptPayloadError: if a row has another number, or the filling is not 0.
        """
        packed = self.take(name, (torch.uint8,), *shape, packed_length(num, 1))
        mask = unpack(packed, 1, num)
        self.require(bool((mask.sum(-1) == num_set).all()), name, f"does not name {num_set} of {num} in each row")
        self.require(torch.equal(pack(mask, 1), packed), name, "is filled up with something else than 0")
        return mask.bool()

    def require(self, holds: bool, name: str, problem: str) -> None:
        """Refuse the parts unless something holds of one of them.

        Raises:
            CorruptPayloadError: if it does not.
        """
        if not holds:
            raise self.corrupt(name, f"part {name!r} {problem}")

    def require_head_dim(self, head_dim: int) -> None:
        """Refuse a head_dim that no model has.

        Raises:
            CorruptPayloadError: unless it is 1 to `MAX_HEAD_DIM`.
        """
        if not 1 <= head_dim <= MAX_HEAD_DIM:
            raise self.corrupt("sizes", f"head_dim would be {head_dim}")

    def require_growth(self, num_values: int) -> None:
        """Refuse parts that would decode to far more numbers than were ever encoded.

        Raises:
            CorruptPayloadError: if there are more than `MAX_GROWTH` for each stored byte.
        """
        stored = sum(part.numel() * part.element_size() for part in self.parts.values())
        if num_values > MAX_GROWTH * stored:
            raise self.corrupt("sizes", f"{stored} bytes would become {num_values} numbers")
