"""The file of an adapter: safetensors, verified as a whole before anything of it is used.

The blob store takes it as a stream (`stream_of`); `open_adapter` reads it whole, because adapters are small.
"""

import hashlib
import importlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from engramos.errors import (
    ArchiveError,
    BlobError,
    CorruptPayloadError,
    InvalidInputError,
    MissingExtraError,
    UnknownMethodError,
    translate,
)
from engramos.parametric.adapter import Adapter
from engramos.parametric.adapters import ROLE
from engramos.vault.bounded_json import decode_object
from engramos.vault.durable import disk_errors
from engramos.vault.kv_file import DTYPES
from engramos.vault.tensors import BLOCK_BYTES, MAX_HEADER_BYTES, check_tensors

FORMAT = 1
METADATA_KEY = "engramos_adapter"
MAX_FILE_BYTES = 2**31
MAX_TOKEN = 2**31
MAX_INVOCATION = 1_000
"""Tokens of an invocation."""
_WHAT = "the file of an adapter"
_DTYPES: Mapping[str, torch.dtype] = {**DTYPES, "BOOL": torch.bool}
# what a method may raise when it is given settings of a wrong type or size; torch has no room: RuntimeError
_UNFIT = (InvalidInputError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError)


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """A verified file."""

    adapter: Adapter
    digest: str
    """SHA-256 of the whole file, in hexadecimal; the blob's digest, and not `Adapter.digest`."""
    num_bytes: int


def stream_of(adapter: Adapter) -> BinaryIO:
    """Return the file of an adapter as a stream to read once, such as `BlobStore.put` takes.

    Source: https://github.com/huggingface/safetensors#format.

    Raises:
        InvalidInputError: if it holds NaN or infinity, a dtype that files cannot hold, or settings that are no JSON.
    """
    settings = adapter.settings()
    with translate({TypeError: InvalidInputError, ValueError: InvalidInputError}, f"storing a {adapter.KIND}"):
        about = {"format": FORMAT, "kind": adapter.KIND, "settings": settings}
        text = json.dumps(about, sort_keys=True, separators=(",", ":"), allow_nan=False)
    if len(text) > MAX_HEADER_BYTES // 2:
        raise InvalidInputError(f"settings of a {adapter.KIND} have {len(text)} bytes: write smaller shards")
    return io.BytesIO(encoded(adapter.tensors(), {METADATA_KEY: text}))


def open_adapter(source: Path | bytes | BinaryIO, digest: str, *, max_bytes: int = MAX_FILE_BYTES) -> AdapterFile:
    """Return the adapter of a file, once every byte is verified, every number found finite, and all said of it true.

    Args:
        source: a path; a file that is open for reading, such as `BlobStore.open` returns; or the bytes.
        digest: SHA-256 of the whole file, in hexadecimal, from a place that the file cannot change.
        max_bytes: of the file.

    Raises:
        CorruptPayloadError: if the bytes are not those of the digest.
        ArchiveError: if the file is none of an adapter, or is longer, or something in it cannot be right.
        BlobError: if it cannot be read.
    """
    data = _read(source, max_bytes)
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise CorruptPayloadError(_WHAT, str(digest), found)
    tensors, metadata = decoded(data, _WHAT)
    kind, settings = _about(metadata)
    return AdapterFile(_restored(kind, tensors, settings), found, len(data))


def encoded(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return tensors as the bytes of a safetensors file; equal tensors give equal bytes.

    Raises:
        InvalidInputError: if one holds NaN or infinity, or is of a dtype that files cannot hold.
        MissingExtraError: if safetensors is not installed.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise MissingExtraError("safetensors", "local") from error
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES.values():
            raise InvalidInputError(f"tensor {name[:80]!r} of an adapter is {tensor.dtype}: files cannot hold it")
        if not bool(torch.isfinite(tensor.detach()).all()):
            raise InvalidInputError(
                f"tensor {name[:80]!r} of an adapter holds NaN or infinite numbers: do not store it"
            )
    # two modules may share one tensor, which safetensors refuses
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in sorted(tensors.items())}
    return save(copies, dict(metadata))


def decoded(data: bytes | bytearray, what: str) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """Return the tensors and notes of a safetensors file's bytes; all numbers are finite.

    Args:
        data: the whole file.
        what: names the file in messages.

    Raises:
        ArchiveError: if the bytes break the format, or a dtype is none of adapters, or a number is NaN or infinite.
    """
    header = io.BytesIO(memoryview(data)[: 8 + MAX_HEADER_BYTES])
    summary = check_tensors(header, len(data), what)
    found = {}
    for one in summary.tensors:
        dtype, shown = _DTYPES.get(one.dtype), f"its tensor {one.name[:80]!r}"
        if dtype is None:
            raise _refusal(what, f"{shown} has the dtype {one.dtype}")
        start = summary.data_start + one.start
        # a copy of its own: so no tensor keeps the whole file, and none begins at an odd byte
        raw = bytearray(memoryview(data)[start : start + one.end - one.start])
        if dtype == torch.bool and raw.translate(None, b"\0\1"):
            raise _refusal(what, f"{shown} holds a byte that is neither false nor true")
        tensor = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        tensor = tensor.reshape(one.shape)
        if not bool(torch.isfinite(tensor).all()):
            raise _refusal(what, f"{shown} holds NaN or infinite numbers")
        found[one.name] = tensor
    return found, summary.metadata


def method_of(kind: str) -> type[Adapter]:
    """Return the class of a kind of adapter.

    Raises:
        UnknownMethodError: with the known kinds.
    """
    if kind not in ROLE.names():
        raise UnknownMethodError(ROLE.name, kind, ROLE.names())
    module = importlib.import_module(f"{ROLE.package}.{kind}")
    classes = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    return next(one for one in classes if getattr(one, "KIND", None) == kind)


def check_invocation(invocation: object, what: str) -> tuple[int, ...]:
    """Return the tokens of an invocation that a file names.

    Raises:
        ArchiveError: if it is no list of so many tokens as an invocation may have.
    """
    tokens = list(invocation) if isinstance(invocation, list | tuple) else [None]
    if len(tokens) > MAX_INVOCATION or not all(type(one) is int and 0 <= one < MAX_TOKEN for one in tokens):
        raise _refusal(what, f"its invocation is no list of at most {MAX_INVOCATION} tokens")
    return tuple(tokens)


def _read(source: Path | bytes | BinaryIO, most: int) -> bytes | bytearray:
    if isinstance(source, bytes | bytearray):
        if len(source) > most:
            raise _refusal(_WHAT, f"it has {len(source)} bytes and may have {most}")
        return source
    with disk_errors(BlobError, f"reading {_WHAT} at {getattr(source, 'name', source)}"):
        if not isinstance(source, str | Path):
            return _blocks(source, most)
        with open(source, "rb") as file:
            return _blocks(file, most)


def _blocks(file: BinaryIO, most: int) -> bytearray:
    data = bytearray()
    while block := file.read(BLOCK_BYTES):
        data += block
        if len(data) > most:
            raise _refusal(_WHAT, f"it has more than {most} bytes")
    return data


def _about(metadata: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return kind and settings."""
    text = metadata.get(METADATA_KEY)
    if text is None or len(metadata) != 1:
        raise _refusal(_WHAT, f"its notes are not {METADATA_KEY} alone")
    # a lone surrogate can stand in JSON and has no UTF-8
    with translate({UnicodeError: ArchiveError}, f"reading {_WHAT}"):
        data = text.encode()
    table = decode_object(data, _WHAT, has_unique_keys=True)
    if table.keys() != {"format", "kind", "settings"} or table["format"] != FORMAT:
        raise _refusal(_WHAT, f"its format is not {FORMAT}")
    kind, settings = table["kind"], table["settings"]
    if not isinstance(kind, str) or not isinstance(settings, dict):
        raise _refusal(_WHAT, "its kind is no text, or its settings are no object")
    return kind, settings


def _restored(kind: str, tensors: dict[str, Tensor], settings: dict[str, Any]) -> Adapter:
    what = f"{_WHAT} of kind {kind[:40]!r}"
    try:
        adapter = method_of(kind).restored(tensors, settings)
        said = json.loads(json.dumps(adapter.settings(), allow_nan=False))
        is_same = said == settings and adapter.tensors().keys() == tensors.keys()
    except UnknownMethodError as error:
        raise _refusal(what, str(error)) from error
    except _UNFIT as error:
        raise _refusal(what, f"no adapter can be made of it ({error})") from error
    check_invocation(adapter.invocation, what)
    if not is_same:
        raise _refusal(what, "its settings are not those that an adapter of this kind has")
    return adapter


def _refusal(what: str, problem: str) -> ArchiveError:
    return ArchiveError(f"{what} is damaged or hostile: {problem}; do not use it, make it again from its sources")
