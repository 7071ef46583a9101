"""The file of a KV cube: safetensors, verified as a whole before anything of it is used, read by memory map.

The blob store takes it as a stream (`stream_of`), and what it opens is mapped (`open_kv`): neither way holds the file
in memory.
"""

import hashlib
import io
import json
import math
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch

from engramos.activation.kv_layout import EncodedKV, KVDescription, LayerShape, is_finite, layout_of
from engramos.clock import new_id
from engramos.errors import ArchiveError, BlobError, CorruptPayloadError, InvalidInputError, translate
from engramos.vault.bounded_json import decode_object
from engramos.vault.durable import disk_errors, publish, sync_folder
from engramos.vault.tensors import BLOCK_BYTES, MAX_HEADER_BYTES, Tensor, TensorSummary, check_tensors

FORMAT = 1
METADATA_KEY = "engramos_kv"
MAX_FILE_BYTES = 2**40
MAX_METADATA_VALUES = 10_000
_ALIGNMENT = 64
DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
}
"""Numbers that blobs hold, as safetensors names them."""
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_WHAT = "the file of a KV cube"


@dataclass(frozen=True, slots=True)
class KVFile:
    """A verified file; its tensors are views of the map, and live as long as anybody holds one of them.

    The map is private: writing to a tensor changes that tensor for all who hold this `KVFile`, so nobody should, but
    never the file.
    """

    cube: EncodedKV
    digest: str
    """SHA-256 of the whole file, in hexadecimal; the blob's digest."""
    num_bytes: int


def stream_of(cube: EncodedKV) -> BinaryIO:
    """Return the file of an encoded KV cache as a stream to read once, such as `BlobStore.put` takes.

    Only one part at a time is copied, and only if it lies on another device.

    Source: https://github.com/huggingface/safetensors#format.

    Raises:
        InvalidInputError: if a part has a dtype that files cannot hold, or there are too many parts.
        ArchiveError: if the cube is not what its description says.
    """
    layout_of(cube)
    return _Stream(_blocks(cube))  # type: ignore[return-value]


def write(target: Path | BinaryIO, cube: EncodedKV) -> tuple[str, int]:
    """Write the file of an encoded KV cache; return its SHA-256 and its bytes.

    Args:
        target: a path that nobody has, durable when this returns; or a binary stream.
        cube: what `encode` returned.

    Raises:
        BlobError: if the path is taken, or the disk is full or refuses; at a path nothing is left behind then.
        InvalidInputError: as of `stream_of`.
        ArchiveError: as of `stream_of`.
    """
    source = stream_of(cube)
    with disk_errors(BlobError, f"writing {_WHAT} to {getattr(target, 'name', target)}"):
        if not isinstance(target, str | Path):
            return _copy(source, target)
        return _write_path(Path(target), source)


def open_kv(source: Path | bytes | BinaryIO, digest: str, *, max_bytes: int = MAX_FILE_BYTES) -> KVFile:
    """Return a file's contents, once every byte of it is verified and every number found finite.

    The blob store never changes a blob's bytes, and an erased blob stays readable to those who have it mapped. A file
    that something else cuts off while it is mapped ends the process, as with every memory map.

    Args:
        source: a path; a file that is open for reading, such as `BlobStore.open` returns, which may be closed
            afterwards; or the bytes.
        digest: SHA-256 of the whole file, in hexadecimal, from a place that the file cannot change.
        max_bytes: of the file, and of its keys and values once they are decoded.

    Raises:
        CorruptPayloadError: if the bytes are not those of the digest.
        ArchiveError: if the file is none of a KV cube, or its header or its numbers cannot be right.
        BlobError: if it cannot be read.
    """
    data = _mapped(source)
    if len(data) > max_bytes:
        raise _refusal(f"it has {len(data)} bytes and may have {max_bytes}")
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise CorruptPayloadError(_WHAT, str(digest), found)
    summary = check_tensors(data if isinstance(data, mmap.mmap) else io.BytesIO(data), len(data), _WHAT)  # type: ignore[arg-type]
    about = _description(summary)
    parts = {one.name: _view(data, summary, one) for one in summary.tensors}
    cube = EncodedKV(about, parts)
    if layout_of(cube).num_values * 4 > max_bytes:
        raise _refusal(f"its keys and values would take more than {max_bytes} bytes")
    return KVFile(cube, found, len(data))


class _Stream(io.RawIOBase):
    """Blocks one after the other; no block is empty."""

    def __init__(self, blocks: Iterator[memoryview]) -> None:
        self._blocks = blocks
        self._block = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer; return how much of it is filled, less than all only at the end."""
        wanted, done = memoryview(buffer).cast("B"), 0
        while done < len(wanted):
            if not self._block:
                self._block = next(self._blocks, memoryview(b""))
                if not self._block:
                    break
            num = min(len(wanted) - done, len(self._block))
            wanted[done : done + num] = self._block[:num]
            self._block = self._block[num:]
            done += num
        return done


def _blocks(cube: EncodedKV) -> Iterator[memoryview]:
    # wider numbers first: so each tensor begins at a multiple of its own width
    names = sorted(cube.parts, key=lambda name: (-cube.parts[name].element_size(), name))
    yield memoryview(_header(cube, names))
    for name in names:
        part = cube.parts[name]
        if not is_finite(part):
            raise InvalidInputError(f"{name} of a KV cube holds NaN or infinite numbers: do not store it")
        if part.numel():
            yield memoryview(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def _header(cube: EncodedKV, names: list[str]) -> bytes:
    table: dict[str, object] = {"__metadata__": {METADATA_KEY: _metadata(cube.description)}}
    at = 0
    for name in names:
        part = cube.parts[name]
        if part.dtype not in _NAMES:
            raise InvalidInputError(f"{name} of a KV cube is {part.dtype}: its codec must give another dtype")
        end = at + part.numel() * part.element_size()
        table[name] = {"dtype": _NAMES[part.dtype], "shape": list(part.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    if len(text) > MAX_HEADER_BYTES:
        raise InvalidInputError(f"a KV cube of {len(names)} parts: its header would exceed {MAX_HEADER_BYTES} bytes")
    return struct.pack("<Q", len(text)) + text


def _metadata(about: KVDescription) -> str:
    table = {
        "format": FORMAT,
        "fingerprint": dict(about.fingerprint),
        "codec_keys": about.codec_keys,
        "codec_values": about.codec_values,
        "dtype": about.dtype,
        "layers": [[one.kv_heads, one.head_dim, one.kind] for one in about.layers],
        "num_tokens": about.num_tokens,
        "kept_ratio": about.kept_ratio,
        "policy": about.policy,
    }
    return json.dumps(table, sort_keys=True, separators=(",", ":"))


def _description(summary: TensorSummary) -> KVDescription:
    text = summary.metadata.get(METADATA_KEY)
    if text is None or len(summary.metadata) != 1:
        raise _refusal(f"its notes are not {METADATA_KEY} alone")
    # a lone surrogate can stand in JSON and has no UTF-8
    with translate({UnicodeError: ArchiveError}, f"reading {_WHAT}"):
        data = text.encode()
    table = decode_object(data, _WHAT, max_values=MAX_METADATA_VALUES, has_unique_keys=True)
    if table.pop("format", None) != FORMAT:
        raise _refusal(f"its format is not {FORMAT}")
    fields = set(KVDescription.__dataclass_fields__)
    if table.keys() != fields:
        raise _refusal(f"its fields are not {', '.join(sorted(fields))}")
    layers, fingerprint = table.pop("layers"), table.pop("fingerprint")
    if not isinstance(layers, list) or not all(isinstance(one, list) and len(one) == 3 for one in layers):
        raise _refusal("its layers are no list of kv_heads, head_dim and kind")
    if not isinstance(fingerprint, dict):
        raise _refusal("its fingerprint is no object")
    with translate({InvalidInputError: ArchiveError, TypeError: ArchiveError}, f"reading {_WHAT}"):
        try:
            shapes = tuple(LayerShape(*one) for one in layers)
            return KVDescription(fingerprint=fingerprint, layers=shapes, **table)
        except InvalidInputError as error:
            raise _refusal(str(error)) from error


def _view(data: mmap.mmap | bytearray, summary: TensorSummary, one: Tensor) -> torch.Tensor:
    """Return a tensor of the file, not copied."""
    dtype = DTYPES.get(one.dtype)
    if dtype is None:
        raise _refusal(f"its part {one.name[:80]!r} has the dtype {one.dtype}")
    start, count = summary.data_start + one.start, math.prod(one.shape)
    if start % dtype.itemsize:
        raise _refusal(f"its part {one.name[:80]!r} begins at byte {start}, no multiple of {dtype.itemsize}")
    if not count:
        return torch.empty(one.shape, dtype=dtype)
    whole = torch.frombuffer(data, dtype=dtype, count=count, offset=start).reshape(one.shape)
    if not is_finite(whole):
        raise _refusal(f"its part {one.name[:80]!r} holds NaN or infinite numbers")
    return whole


def _mapped(source: Path | bytes | BinaryIO) -> mmap.mmap | bytearray:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytearray(source)
    with disk_errors(BlobError, f"opening {_WHAT} at {getattr(source, 'name', source)}"):
        if not isinstance(source, str | Path):
            return _map(source.fileno())
        with open(source, "rb") as file:
            return _map(file.fileno())


def _map(descriptor: int) -> mmap.mmap | bytearray:
    # an empty file cannot be mapped; it is refused like any other that is too short
    if not os.fstat(descriptor).st_size:
        return bytearray()
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)


def _copy(source: BinaryIO, target: BinaryIO) -> tuple[str, int]:
    digest, num_bytes = hashlib.sha256(), 0
    while block := source.read(BLOCK_BYTES):
        digest.update(block)
        num_bytes += len(block)
        target.write(block)
    return digest.hexdigest(), num_bytes


def _write_path(path: Path, source: BinaryIO) -> tuple[str, int]:
    temporary = path.with_name(f".new-{new_id()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with open(descriptor, "wb") as file:
            written = _copy(source, file)
            file.flush()
            os.fsync(descriptor)
        if not publish(temporary, path):
            raise BlobError(f"{path} is taken: a KV cube is never changed; write to another path")
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
    sync_folder(path.parent)
    return written


def _refusal(problem: str) -> ArchiveError:
    return ArchiveError(f"{_WHAT} is damaged or hostile: {problem}; do not use it, build it again from its source")
