"""Where the keys and values lie that have left a layer's window."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from engramos.activation.codecs import ROLE
from engramos.activation.codecs.base import KEYS, VALUES, Codec
from engramos.errors import ConfigError, InvalidInputError, UnsupportedError


class Archive(ABC):
    """The past of one layer of one sequence, from which tokens are fetched by their places.

    Places count from 0 in the order in which tokens were appended. Keys come back as they were given: rotated to the
    positions that they had then.
    """

    num_tokens: int
    """Tokens that were appended."""

    @property
    @abstractmethod
    def num_bytes(self) -> int:
        """Bytes of what is kept."""

    @abstractmethod
    def append(self, keys: Tensor, values: Tensor) -> None:
        """Keep a further stretch.

        Args:
            keys: (kv_heads, tokens, head_dim), always of one shape but for the tokens, of one dtype and device.
            values: (kv_heads, tokens, head_dim of values), as alike.

        Raises:
            InvalidInputError: if they do not fit each other or what was appended before.
        """

    @abstractmethod
    def gather(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of tokens.

        Args:
            places: (kv_heads, n) int64; zeros come back for -1.

        Returns:
            (kv_heads, n, head_dim) each, in the dtype and on the device of what was appended.

        Raises:
            InvalidInputError: if a place is not in the archive.
        """

    def close(self) -> None:  # noqa: B027
        """Give back what is held outside of memory; nothing may be called afterwards."""


class Shape:
    """What the tensors of an archive are like: fixed by the first stretch."""

    __slots__ = ("device", "dtype", "head_dims", "kv_heads")

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        """Take over what the first stretch is like."""
        self.kv_heads, self.head_dims = keys.shape[0], (keys.shape[-1], values.shape[-1])
        self.dtype, self.device = keys.dtype, keys.device

    def check(self, keys: Tensor, values: Tensor) -> None:
        """Refuse a stretch that is not like the first, or whose values are not as many as its keys."""
        num_tokens = keys.shape[1] if keys.dim() == 3 else -1
        for name, one, head_dim in zip((KEYS, VALUES), (keys, values), self.head_dims, strict=True):
            wanted = (self.kv_heads, num_tokens, head_dim)
            if tuple(one.shape) != wanted or one.dtype != self.dtype or one.device != self.device:
                raise InvalidInputError(
                    f"{name} of shape {tuple(one.shape)} and {one.dtype} do not fit an archive of {wanted} and "
                    f"{self.dtype}: give each layer of each sequence an archive of its own"
                )


def check_places(places: Tensor, kv_heads: int, num_tokens: int) -> None:
    """Refuse places that are not in an archive.

    Raises:
        InvalidInputError: with the place.
    """
    if places.dim() != 2 or places.shape[0] != kv_heads or places.dtype != torch.int64:
        raise InvalidInputError(
            f"places are {places.dtype} of shape {tuple(places.shape)}: give int64 of ({kv_heads}, n), one row a head"
        )
    if places.numel() and not -1 <= int(places.min()) <= int(places.max()) < num_tokens:
        wrong = int(places.max()) if int(places.max()) >= num_tokens else int(places.min())
        raise InvalidInputError(f"place {wrong} is not in an archive of {num_tokens} tokens: give -1 for none")


class MemoryArchive(Archive):
    """An archive in memory, as the tensors are or through a codec.

    Tokens lie in blocks, so that a further stretch costs its own length and nothing that lies there is copied. Without
    a codec `gather` reads the tokens alone; with one it decodes each block that a place falls into.
    """

    def __init__(self, codec: str = "", block_tokens: int = 512) -> None:
        """Begin empty.

        Args:
            codec: how whole blocks are kept: a method of the role `codecs`, as text; empty for as they are.
            block_tokens: tokens in a block, 1 or more. The newest, fewer than these, are kept as they are.

        Raises:
            ConfigError: if `block_tokens` is out of its range, or the codec's text is wrong.
            UnsupportedError: if the codec needs what an archive does not know.
        """
        if block_tokens < 1:
            raise ConfigError(f"block_tokens is {block_tokens}: give 1 token or more")
        self.num_tokens = 0
        self._block_tokens = block_tokens
        self._codec: Codec | None = None
        if codec:
            self._codec = _usable(codec)
        self._shape: Shape | None = None
        self._blocks: list[tuple[Tensor, Tensor]] = []
        self._encoded: list[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]] = []

    @property
    def num_bytes(self) -> int:
        """Bytes of what is kept, the room in the last block too."""
        parts = [part for pair in self._encoded for side in pair for part in side.values()]
        parts += [side for pair in self._blocks for side in pair]
        return sum(part.numel() * part.element_size() for part in parts)

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Keep a further stretch."""
        if self._shape is None:
            self._shape = Shape(keys, values)
        self._shape.check(keys, values)
        done = 0
        while done < keys.shape[1]:
            filled = self.num_tokens % self._block_tokens
            if not filled:
                self._blocks.append(tuple(self._empty_block(one) for one in (keys, values)))
            count = min(self._block_tokens - filled, keys.shape[1] - done)
            for kept, new in zip(self._blocks[-1], (keys, values), strict=True):
                kept[:, filled : filled + count] = new[:, done : done + count]
            done += count
            self.num_tokens += count
            if self._codec is not None and filled + count == self._block_tokens:
                block_keys, block_values = self._blocks.pop()
                self._encoded.append(
                    (self._codec.encode([block_keys], KEYS), self._codec.encode([block_values], VALUES))
                )

    def _empty_block(self, like: Tensor) -> Tensor:
        return like.new_empty((like.shape[0], self._block_tokens, like.shape[2]))

    def gather(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of tokens."""
        if self._shape is None:
            raise InvalidInputError("the archive is empty: append a stretch before fetching from it")
        check_places(places, self._shape.kv_heads, self.num_tokens)
        out = [
            torch.zeros((*places.shape, dims), dtype=self._shape.dtype, device=self._shape.device)
            for dims in self._shape.head_dims
        ]
        places = places.to(self._shape.device)
        blocks = torch.where(places < 0, -1, places // self._block_tokens)
        for number in blocks.unique().tolist():
            if number < 0:
                continue
            heads, at = (blocks == number).nonzero(as_tuple=True)
            within = places[heads, at] - number * self._block_tokens
            for side, kept in zip(out, self._block(number), strict=True):
                side[heads, at] = kept[heads, within]
        return out[0], out[1]

    def _block(self, number: int) -> tuple[Tensor, Tensor]:
        """Return keys and values of a block."""
        if number >= len(self._encoded):
            return self._blocks[number - len(self._encoded)]
        assert self._codec is not None
        assert self._shape is not None
        keys, values = self._encoded[number]
        return (
            self._codec.decode(keys, KEYS, self._shape.dtype)[0].to(self._shape.device),
            self._codec.decode(values, VALUES, self._shape.dtype)[0].to(self._shape.device),
        )


def _usable(text: str) -> Codec:
    """Return the codec of this text, or refuse it."""
    codec: Codec = ROLE.parse(text)
    if codec.before_rope:
        raise UnsupportedError(f"codec {text!r} encodes keys before rotation, which an archive has after: use int8")
    if codec.group != 1:
        raise UnsupportedError(f"codec {text!r} encodes {codec.group} layers together and an archive has one: use int8")
    if codec.needs:
        raise UnsupportedError(
            f"codec {text!r} needs {', '.join(sorted(codec.needs))}, unknown to an archive: use int8"
        )
    return codec


__all__ = ["Archive", "MemoryArchive", "Shape", "check_places"]
