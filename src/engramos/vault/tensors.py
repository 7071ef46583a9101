"""A safetensors file, checked without any tensor library."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from engramos.errors import ArchiveError
from engramos.vault.bounded_json import decode_object
from engramos.vault.durable import disk_errors

MAX_HEADER_BYTES = 16 * 2**20
MAX_DIMENSIONS = 64
BLOCK_BYTES = 1 << 20
DTYPE_BITS = MappingProxyType(
    {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
    | dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8)
    | dict.fromkeys(("I16", "U16", "F16", "BF16"), 16)
    | dict.fromkeys(("I32", "U32", "F32"), 32)
    | dict.fromkeys(("I64", "U64", "F64", "C64"), 64)
)
# dtype -> bytes of one number and the exponent's bits: all of them set means NaN or infinite.
_EXPONENTS = MappingProxyType(
    {
        "F16": (2, 0x7C00),
        "BF16": (2, 0x7F80),
        "F32": (4, 0x7F800000),
        "C64": (4, 0x7F800000),
        "F64": (8, 0x7FF0000000000000),
    }
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file: `start` and `end` count bytes from the beginning of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """What a checked file holds: tensors in the order of their data, all data bytes, and the file's own notes."""

    tensors: tuple[Tensor, ...]
    num_bytes: int
    data_start: int
    metadata: Mapping[str, str]


def check_tensors(source: Path | BinaryIO, num_bytes: int, what: str = "") -> TensorSummary:
    """Return what a safetensors file holds, or refuse it; the tensors' values are not read.

    Every byte of the data belongs to exactly one tensor, and each tensor has as many bytes as its dtype and shape say.

    Source: https://github.com/huggingface/safetensors#format.
    Differs: a header of at most 16 MiB, not 100 MB, so that checking one stays below 256 MB of memory.

    Args:
        source: the file, or a binary stream that stands at its beginning.
        num_bytes: bytes in the whole file.
        what: names the file in messages.

    Raises:
        ArchiveError: if the file breaks the format, with the tensor at fault.
    """
    what = what or f"safetensors file {getattr(source, 'name', '') if not isinstance(source, Path) else source}".strip()
    with disk_errors(ArchiveError, f"reading {what}"), _opened(source) as file:
        header, data_start = _read_header(file, num_bytes, what)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _refusal(what, "its __metadata__ is not an object of texts")
    tensors = tuple(sorted((_tensor(*item, what) for item in header.items()), key=lambda one: (one.start, one.end)))
    _check_cover(tensors, num_bytes - data_start, what)
    return TensorSummary(tensors, num_bytes - data_start, data_start, MappingProxyType(metadata))


def has_only_finite(source: Path | BinaryIO, summary: TensorSummary) -> bool:
    """Return whether no number of dtype F16, BF16, F32, F64 or C64 is NaN or infinite; other dtypes are not looked at.

    Args:
        source: the file, or a binary stream that stands at its beginning.
        summary: what `check_tensors` returned for it.

    Raises:
        ArchiveError: if the file ends early or cannot be read.
    """
    with disk_errors(ArchiveError, "reading a safetensors file"), _opened(source) as file:
        _skip(file, summary.data_start)
        for tensor in summary.tensors:
            if tensor.dtype not in _EXPONENTS:
                _skip(file, tensor.end - tensor.start)
            elif not _is_finite(file, tensor):
                return False
    return True


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            yield file
    else:
        yield source


def _read_header(file: BinaryIO, num_bytes: int, what: str) -> tuple[dict, int]:
    length = int.from_bytes(_exactly(file, 8, what), "little")
    if length > MAX_HEADER_BYTES:
        raise _refusal(what, f"its header says to have {length} bytes and may have {MAX_HEADER_BYTES}")
    if 8 + length > num_bytes:
        raise _refusal(what, f"its header says to have {length} bytes and the file has {num_bytes}")
    text = _exactly(file, length, what)
    if not text.startswith(b"{"):
        raise _refusal(what, "its header does not begin with an opening brace")
    return decode_object(text, f"the header of {what}", has_unique_keys=True), 8 + length


def _tensor(name: str, fields: object, what: str) -> Tensor:
    shown = f"tensor {name[:80]!r}"
    if not name.isascii() and any(0xD800 <= ord(letter) <= 0xDFFF for letter in name):
        raise _refusal(what, f"the name of {shown} is no valid text")
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise _refusal(what, f"{shown} must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _refusal(what, f"{shown} has the unknown dtype {str(dtype)[:40]!r}")
    if not _is_counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise _refusal(what, f"{shown} has a shape that is no list of at most {MAX_DIMENSIONS} counts")
    if not _is_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _refusal(what, f"{shown} has data_offsets that are no start and end")
    # Zeros are left out: readers multiply in 64 bits and overflow before they meet the zero.
    if math.prod(size for size in shape if size) * DTYPE_BITS[dtype] >= 2**63:
        raise _refusal(what, f"{shown} has a shape that overflows 64 bits")
    if math.prod(shape) * DTYPE_BITS[dtype] != 8 * (offsets[1] - offsets[0]):
        raise _refusal(what, f"{shown} has {offsets[1] - offsets[0]} bytes, which its dtype and shape do not give")
    return Tensor(name, dtype, tuple(shape), *offsets)


def _is_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)


def _check_cover(tensors: tuple[Tensor, ...], num_bytes: int, what: str) -> None:
    position = 0
    for tensor in tensors:
        if tensor.start != position:
            problem = "overlaps another" if tensor.start < position else "leaves a hole before it"
            raise _refusal(what, f"tensor {tensor.name[:80]!r} {problem} at byte {tensor.start} of the data")
        position = tensor.end
    if position != num_bytes:
        raise _refusal(what, f"its tensors cover {position} bytes and the data has {num_bytes}")


def _is_finite(file: BinaryIO, tensor: Tensor) -> bool:
    import numpy

    width, mask = _EXPONENTS[tensor.dtype]
    left = tensor.end - tensor.start
    while left:
        block = _exactly(file, min(left, BLOCK_BYTES), f"tensor {tensor.name[:80]!r}")
        exponents = numpy.frombuffer(block, dtype=f"<u{width}") & mask
        if (exponents == mask).any():
            return False
        left -= len(block)
    return True


def _skip(file: BinaryIO, num_bytes: int) -> None:
    while num_bytes:
        num_bytes -= len(_exactly(file, min(num_bytes, BLOCK_BYTES), "a safetensors file"))


def _exactly(file: BinaryIO, num_bytes: int, what: str) -> bytes:
    parts = []
    while num_bytes:
        part = file.read(num_bytes)
        if not part:
            raise _refusal(what, f"it ends {num_bytes} bytes too early")
        parts.append(part)
        num_bytes -= len(part)
    return b"".join(parts)


def _refusal(what: str, problem: str) -> ArchiveError:
    return ArchiveError(f"{what} is damaged or hostile: {problem}; do not use it, make it again from its source")
