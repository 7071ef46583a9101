"""A stretch of tokens of some heads: keys, values, positions and notes that grow at the end."""

from collections.abc import Iterable

import torch
from torch import Tensor

SLACK_TOKENS = 256
"""How far a full buffer grows at least."""


class Stretch:
    """The tokens that some heads of one layer keep, all heads the same number.

    A stretch may begin with tensors that belong to somebody else, such as a stored cube: they are read in place and
    never written. The first token that is added copies them.
    """

    def __init__(self, keys: Tensor, values: Tensor, positions: Tensor) -> None:
        """Begin with tensors that are not changed.

        Args:
            keys: (kv_heads, tokens, head_dim), rotated to `positions`.
            values: of the shape of `keys`.
            positions: (kv_heads, tokens) int64, rising.
        """
        self._keys, self._values, self._positions = keys, values, positions
        self._num = keys.shape[1]
        self._is_own = False
        self._is_alike = _is_alike(positions)
        self.notes: dict[str, Tensor] = {}

    @classmethod
    def empty(cls, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> "Stretch":
        """Return a stretch without tokens."""
        tensor = torch.empty((kv_heads, 0, head_dim), dtype=dtype, device=device)
        return cls(tensor, tensor, torch.empty((kv_heads, 0), dtype=torch.int64, device=device))

    def __len__(self) -> int:
        return self._num

    @property
    def keys(self) -> Tensor:
        """(kv_heads, tokens, head_dim): a view, to be read only."""
        return self._keys[:, : self._num]

    @property
    def values(self) -> Tensor:
        """(kv_heads, tokens, head_dim): a view, to be read only."""
        return self._values[:, : self._num]

    @property
    def positions(self) -> Tensor:
        """(kv_heads, tokens): a view, to be read only."""
        return self._positions[:, : self._num]

    @property
    def seen_positions(self) -> Tensor:
        """The positions for a mask: (1, tokens) where heads do not differ, else (kv_heads, tokens)."""
        return self.positions[:1] if self._is_alike else self.positions

    @property
    def kv_heads(self) -> int:
        """How many heads."""
        return self._keys.shape[0]

    @property
    def num_bytes(self) -> int:
        """Bytes that the keys and values of these tokens take; room for further ones does not count."""
        return 2 * self._num * self.kv_heads * self._keys.shape[2] * self._keys.element_size()

    def append(self, keys: Tensor, values: Tensor, positions: Tensor) -> None:
        """Add tokens at the end; their notes are 0.

        Args:
            keys: (kv_heads, new, head_dim).
            values: as keys.
            positions: (new,), the same for all heads.
        """
        new = keys.shape[1]
        end = self._num + new
        if not self._is_own or end > self._keys.shape[1]:
            self._grow(end)
        self._keys[:, self._num : end] = keys
        self._values[:, self._num : end] = values
        self._positions[:, self._num : end] = positions
        for name, note in self.notes.items():
            self.notes[name] = torch.nn.functional.pad(note, (0, new))
        self._num = end

    def drop_last(self, num: int) -> None:
        """Remove the newest `num` tokens."""
        self._num -= num
        self.notes = {name: note[:, : self._num] for name, note in self.notes.items()}

    def keep(self, places: Tensor) -> None:
        """Keep these tokens alone.

        Args:
            places: (kv_heads, kept) int64, rising.
        """
        wide = places.unsqueeze(-1).expand(-1, -1, self._keys.shape[2])
        self._keys = self.keys.gather(1, wide)
        self._values = self.values.gather(1, wide)
        self._positions = self.positions.gather(1, places)
        self.notes = {name: note.gather(1, places) for name, note in self.notes.items()}
        self._num, self._is_own = places.shape[1], True
        self._is_alike = _is_alike(self._positions)

    def replace_keys(self, keys: Tensor, positions: Tensor) -> None:
        """Put other keys and positions in place of all: those moved to other places.

        Args:
            keys: of the shape of `keys`.
            positions: of the shape of `positions`.
        """
        self._keys, self._positions = keys, positions.contiguous()
        self._values = self.values
        self._is_own = False
        self._is_alike = _is_alike(self._positions)

    def write(self, places: Tensor, keys: Tensor, values: Tensor) -> None:
        """Overwrite the keys and values of some tokens.

        Args:
            places: (written,) int64, the same for all heads.
            keys: (kv_heads, written, head_dim).
            values: as keys.
        """
        if not self._is_own:
            self._grow(self._num)
        self._keys[:, places] = keys
        self._values[:, places] = values

    def split(self) -> list["Stretch"]:
        """Return one stretch for each head, with the same tokens."""
        out = []
        for head in range(self.kv_heads):
            at = slice(head, head + 1)
            one = Stretch(self.keys[at], self.values[at], self.positions[at])
            one.notes = {name: note[at] for name, note in self.notes.items()}
            out.append(one)
        return out

    def copy(self) -> "Stretch":
        """Return a stretch with the same tokens; what is added to one is not in the other."""
        one = Stretch(self.keys, self.values, self.positions)
        one.notes = {name: note.clone() for name, note in self.notes.items()}
        # both must copy before they write into the room behind the shared tokens
        self._is_own = False
        return one

    def _grow(self, end: int) -> None:
        capacity = max(end, self._num + SLACK_TOKENS, self._num + self._num // 4)
        for name in ("_keys", "_values", "_positions"):
            old = getattr(self, name)
            new = old.new_empty((old.shape[0], capacity, *old.shape[2:]))
            new[:, : self._num] = old[:, : self._num]
            setattr(self, name, new)
        self._is_own = True


def _is_alike(positions: Tensor) -> bool:
    return bool((positions == positions[:1]).all())


def padded(stretches: Iterable[Stretch]) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Return stretches side by side as keys, values, positions and notes, shorter ones filled up at the end.

    Returns:
        Keys and values (kv_heads, tokens, head_dim), positions (kv_heads, tokens) with -1 in the filling, and notes
        (kv_heads, tokens) by name.
    """
    parts = list(stretches)
    if len(parts) == 1:
        one = parts[0]
        return one.keys, one.values, one.positions, one.notes
    longest = max(len(part) for part in parts)

    def filled(tensors: list[Tensor], value: float) -> Tensor:
        out = tensors[0].new_full((len(tensors), longest, *tensors[0].shape[2:]), value)
        for row, tensor in zip(out, tensors, strict=True):
            row[: tensor.shape[1]] = tensor[0]
        return out

    nothing = [torch.zeros(part.positions.shape, device=part.keys.device) for part in parts]
    names = {name for part in parts for name in part.notes}
    notes = {
        name: filled([part.notes.get(name, none) for part, none in zip(parts, nothing, strict=True)], 0.0)
        for name in names
    }
    return (
        filled([part.keys for part in parts], 0.0),
        filled([part.values for part in parts], 0.0),
        filled([part.positions for part in parts], -1),
        notes,
    )
