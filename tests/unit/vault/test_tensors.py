"""Safetensors files: ours to check, theirs to write and to agree."""

import io
import json
import struct

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save, save_file

from engramos.errors import ArchiveError
from engramos.vault.tensors import DTYPE_BITS, MAX_HEADER_BYTES, check_tensors, has_only_finite

TENSORS = {
    "keys": numpy.arange(24, dtype=numpy.float16).reshape(2, 3, 4),
    "values": numpy.ones((5,), dtype=numpy.float64),
    "scalar": numpy.array(3, dtype=numpy.int64),
    "empty": numpy.zeros((0, 7), dtype=numpy.float32),
    "mask": numpy.array([True, False]),
}


def built(header, num_data, *, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(num_data)


def checked(data):
    return check_tensors(io.BytesIO(data), len(data))


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_a_file_of_the_package_is_described(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(TENSORS, path, metadata={"base": "tiny"})
    summary = check_tensors(path, path.stat().st_size)
    assert {one.name: one.shape for one in summary.tensors} == {name: one.shape for name, one in TENSORS.items()}
    assert {one.name: one.dtype for one in summary.tensors}["keys"] == "F16"
    assert summary.num_bytes == sum(one.nbytes for one in TENSORS.values())
    assert summary.metadata == {"base": "tiny"}
    assert has_only_finite(path, summary)


def test_the_smallest_file_is_accepted():
    assert checked(built({}, 0)).tensors == ()


def test_a_low_bit_dtype_counts_bits():
    assert checked(built({"a": tensor("F4", (3, 2), (0, 3))}, 3)).num_bytes == 3
    with pytest.raises(ArchiveError, match="not give"):
        checked(built({"a": tensor("F4", (3,), (0, 2))}, 2))


REFUSED = {
    "a header longer than the limit": (built({}, 0, length=200_000_000), "header says"),
    "a header longer than the file": (built({}, 0, length=50), "header says"),
    "no bytes": (b"", "too early"),
    "half a length": (b"\2\0", "too early"),
    "a list": (built([], 0), "opening brace"),
    "leading space": (built(b" {}", 0), "opening brace"),
    "bad JSON": (built(b"{]", 0), "header"),
    "bad UTF-8": (built(b'{"\xff":1}', 0), "header"),
    "a key twice": (built(b'{"__metadata__":{},"__metadata__":{}}', 0), "stands twice"),
    "notes that are no text": (built({"__metadata__": {"a": 1}}, 0), "__metadata__"),
    "an unknown dtype": (built({"a": tensor("PICKLE")}, 8), "unknown dtype"),
    "a dtype that is no text": (built({"a": tensor(["F32"])}, 8), "unknown dtype"),
    "a negative size": (built({"a": tensor(shape=(-2,))}, 8), "shape"),
    "a fraction as size": (built({"a": tensor(shape=(2.0,))}, 8), "shape"),
    "a truth value as size": (built({"a": tensor(shape=(True, 2))}, 8), "shape"),
    "a shape that overflows": (built({"a": tensor(shape=(2**62, 4))}, 8), "overflows"),
    "a shape that overflows before its zero": (built({"a": tensor(shape=(2**62, 4, 0), offsets=(0, 0))}, 0), "overfl"),
    "a huge number": (built({"a": tensor(shape=(10**30,))}, 8), "shape"),
    "too many dimensions": (built({"a": tensor(shape=[1] * 65, offsets=(0, 4))}, 4), "shape"),
    "offsets turned round": (built({"a": tensor(offsets=(8, 0))}, 8), "data_offsets"),
    "three offsets": (built({"a": tensor(offsets=(0, 4, 8))}, 8), "data_offsets"),
    "a wrong byte size": (built({"a": tensor(offsets=(0, 7))}, 7), "not give"),
    "offsets outside the file": (built({"a": tensor()}, 4), "cover"),
    "bytes of no tensor": (built({"a": tensor()}, 9), "cover"),
    "overlap": (built({"a": tensor(), "b": tensor(offsets=(4, 12))}, 12), "overlaps"),
    "the same bytes twice": (built({"a": tensor(), "b": tensor()}, 8), "overlaps"),
    "a hole": (built({"a": tensor(), "b": tensor(offsets=(9, 17))}, 17), "hole"),
    "a surplus field": (built({"a": tensor() | {"code": "x"}}, 8), "nothing else"),
    "a tensor that is no object": (built({"a": 1}, 0), "nothing else"),
    "half a surrogate pair as name": (built({"\ud800": tensor()}, 8), "no valid text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_breaks_the_format_is_refused(name):
    data, words = REFUSED[name]
    with pytest.raises(ArchiveError, match=words):
        checked(data)


def test_a_truncated_header_is_refused_though_the_caller_believes_in_more():
    data = built({"a": tensor()}, 8)
    with pytest.raises(ArchiveError, match="too early"):
        check_tensors(io.BytesIO(data[:20]), len(data))


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ArchiveError, match=r"none\.safetensors"):
        check_tensors(tmp_path / "none.safetensors", 10)


@pytest.mark.parametrize("bad", [numpy.nan, numpy.inf, -numpy.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("place", [0, 700_000, -1])
def test_one_bad_number_among_many_is_found(tmp_path, bad, dtype, place):
    numbers = numpy.ones(1_000_001, dtype=dtype)
    path = tmp_path / "a.safetensors"
    for number, finite in ((1.5, True), (bad, False)):
        numbers[place] = number
        save_file({"first": numpy.array([7], dtype="uint8"), "a": numbers}, path)
        assert has_only_finite(path, check_tensors(path, path.stat().st_size)) is finite


@pytest.mark.parametrize(("bits", "finite"), [(0x3F80, True), (0x7F7F, True), (0x7F80, False), (0xFFC0, False)])
def test_bfloat16_is_looked_at(bits, finite):
    data = built({"a": tensor("BF16", (1,), (0, 2))}, 0) + struct.pack("<H", bits)
    assert has_only_finite(io.BytesIO(data), checked(data)) is finite


def test_integers_are_not_taken_for_numbers_with_exponents():
    data = save({"a": numpy.full(9, -1, dtype="int32")})
    assert has_only_finite(io.BytesIO(data), checked(data))


def test_a_file_that_ends_early_is_refused_when_its_numbers_are_read():
    data = save({"a": numpy.ones(9)})
    with pytest.raises(ArchiveError, match="too early"):
        has_only_finite(io.BytesIO(data[:-1]), checked(data))


counts = st.integers(-1, 5) | st.sampled_from([2**31, 2**61, 2**63, 2**64, 1.0, None, True])
fields = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPE_BITS, "X", None]),
        "shape": st.lists(counts, max_size=3) | counts,
        "data_offsets": st.lists(counts, min_size=1, max_size=3),
    }
)


def agrees(data):
    """Whatever we accept, the package accepts with the same tensors."""
    try:
        summary = checked(data)
    except ArchiveError:
        return
    theirs = {name: (one["dtype"], one["shape"]) for name, one in deserialize(data)}
    assert {one.name: one.shape for one in summary.tensors} == {name: tuple(one[1]) for name, one in theirs.items()}


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.text(max_size=3), fields, max_size=3), st.integers(0, 40))
def test_made_up_headers_are_refused_or_read_like_the_package_does(header, num_data):
    agrees(built(header, num_data))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4), st.integers(0, 12))
def test_mutated_files_are_refused_or_read_like_the_package_does(changes, num_cut):
    data = bytearray(save({"k": numpy.ones((2, 3), dtype="float32"), "v": numpy.ones(4, dtype="int8")}))
    for place, value in changes:
        data[place % len(data)] = value
    agrees(bytes(data[: len(data) - num_cut]))


def test_what_the_package_refuses_is_refused_here_too():
    with pytest.raises(SafetensorError):
        deserialize(REFUSED["overlap"][0])


def test_the_longest_header_is_parsed_and_one_byte_more_is_not():
    text = b"{}" + b" " * (MAX_HEADER_BYTES - 2)
    assert checked(built(text, 0)).tensors == ()
    with pytest.raises(ArchiveError, match="header says"):
        checked(built(text + b" ", 0))
