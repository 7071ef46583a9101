"""The past of a layer on disk: a scratch file of keys and values, read by memory map."""

import os
import tempfile
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from engramos.activation.archive import Archive, Shape, check_places
from engramos.activation.codecs.base import DTYPES
from engramos.errors import BlobError, ConfigError, InvalidInputError
from engramos.vault.durable import disk_errors, make_folder

SAME, INT8 = "same", "int8"
FORMS = MappingProxyType({SAME: "the bits as they are", INT8: "8 bits a number, a float32 step a token, head and side"})
"""How a file may hold keys and values."""
STEP_BYTES = 4
NEXT_STEP = "free some space, or use another folder"


class DiskArchive(Archive):
    """An archive in a file of its own, which is removed when the archive is closed.

    The file holds, for each token and head, its key and its value side by side. Nothing is written to it but at its
    end; tokens count once all of their bytes are written, and a stretch that failed leaves no trace. What the file
    holds is worth nothing without the model's own state, so it is not synced.
    """

    def __init__(self, folder: Path, form: str = SAME) -> None:
        """Begin with an empty file.

        Args:
            folder: where the file is made, readable by its owner only; made where it does not exist.
            form: one of `FORMS`.

        Raises:
            ConfigError: if the form is unknown.
            BlobError: if the file cannot be made.
        """
        if form not in FORMS:
            raise ConfigError(f"form is {form!r}: use {', '.join(FORMS)}")
        self.num_tokens = 0
        self._form = form
        self._shape: Shape | None = None
        self._map: np.memmap | None = None
        with disk_errors(BlobError, f"making an archive in {folder}"):
            make_folder(folder)
            descriptor, name = tempfile.mkstemp(prefix="layer-", suffix=".kv", dir=folder)
            self._path = Path(name)
            # unbuffered: a write that fails must fail in `append`, not later
            self._file = os.fdopen(descriptor, "r+b", buffering=0)

    def __enter__(self) -> "DiskArchive":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def num_bytes(self) -> int:
        """Bytes of the tokens in the file."""
        return self.num_tokens * self._token_bytes

    @property
    def _token_bytes(self) -> int:
        return 0 if self._shape is None else self._shape.kv_heads * sum(self._side_bytes)

    @property
    def _side_bytes(self) -> list[int]:
        """Bytes of the key and of the value of one token of one head."""
        assert self._shape is not None
        if self._form == INT8:
            return [dims + STEP_BYTES for dims in self._shape.head_dims]
        size = torch.empty(0, dtype=self._shape.dtype).element_size()
        return [dims * size for dims in self._shape.head_dims]

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Keep a further stretch.

        Raises:
            InvalidInputError: if it does not fit what was appended before.
            BlobError: if it cannot be written, the disk being full for one; the archive is as before.
        """
        self._check_open()
        if keys.dtype not in DTYPES.values():
            raise InvalidInputError(f"keys are {keys.dtype}: an archive on disk keeps {', '.join(DTYPES)}")
        shape = self._shape or Shape(keys, values)
        shape.check(keys, values)
        self._shape = shape
        sides = [self._bytes_of(side).transpose(0, 1) for side in (keys, values)]
        block = memoryview(torch.cat(sides, dim=-1).contiguous().numpy()).cast("B")
        end = self.num_tokens * self._token_bytes
        with disk_errors(BlobError, f"writing {len(block)} bytes to {self._path}"):
            try:
                self._file.seek(end)
                while block:
                    block = block[self._file.write(block) :]
            except OSError:
                self._file.truncate(end)
                raise
        self.num_tokens += keys.shape[1]

    def _bytes_of(self, side: Tensor) -> Tensor:
        """Return a side as bytes: (kv_heads, tokens, bytes) uint8."""
        side = side.detach().cpu().contiguous()
        if self._form == SAME:
            return side.view(torch.uint8)
        wide = side.float()
        step = wide.abs().amax(-1, keepdim=True) / 127
        codes = (wide / step.clamp_min(torch.finfo(torch.float32).tiny)).round().clamp(-127, 127).to(torch.int8)
        return torch.cat((codes.view(torch.uint8), step.contiguous().view(torch.uint8)), dim=-1)

    def gather(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of tokens.

        Raises:
            InvalidInputError: if a place is not in the archive.
            BlobError: if the file cannot be read, or is shorter than what was written to it.
        """
        self._check_open()
        if self._shape is None:
            raise InvalidInputError("the archive is empty: append a stretch before fetching from it")
        check_places(places, self._shape.kv_heads, self.num_tokens)
        places = places.cpu()
        heads = np.arange(self._shape.kv_heads)[:, None]
        found = torch.from_numpy(self._mapped()[places.clamp_min(0).numpy(), heads])
        found[places < 0] = 0
        keys, values = found.split(self._side_bytes, dim=-1)
        return self._tensor_of(keys), self._tensor_of(values)

    def _tensor_of(self, held: Tensor) -> Tensor:
        assert self._shape is not None
        held = held.contiguous()
        if self._form == SAME:
            return held.view(self._shape.dtype).to(self._shape.device)
        codes, step = held[..., :-STEP_BYTES].contiguous(), held[..., -STEP_BYTES:].contiguous()
        wide = codes.view(torch.int8).float() * step.view(torch.float32)
        return wide.to(self._shape.dtype).to(self._shape.device)

    def _mapped(self) -> np.memmap:
        """Return the file as (tokens, kv_heads, bytes), mapped anew where it has grown."""
        assert self._shape is not None
        wanted = (self.num_tokens, self._shape.kv_heads, sum(self._side_bytes))
        if self._map is None or self._map.shape != wanted:
            with disk_errors(BlobError, f"reading {self._path}"):
                found = os.fstat(self._file.fileno()).st_size
                if found < self.num_bytes:
                    raise BlobError(f"{self._path} has {found} bytes and had {self.num_bytes}: {NEXT_STEP}")
                self._map = np.memmap(self._file, dtype=np.uint8, mode="r", shape=wanted)
        return self._map

    def _check_open(self) -> None:
        if self._file.closed:
            raise InvalidInputError(f"the archive {self._path} is closed: make a new one")

    def close(self) -> None:
        """Close the file and remove it; a second call does nothing."""
        if self._file.closed:
            return
        self._map = None
        self._file.close()
        with disk_errors(BlobError, f"removing {self._path}"):
            self._path.unlink(missing_ok=True)


__all__ = ["FORMS", "DiskArchive"]
