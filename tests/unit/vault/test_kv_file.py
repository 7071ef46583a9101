"""Files of KV cubes: written as a stream, verified as a whole, mapped and never changed."""

import gc
import hashlib
import io
import json
import os
import resource
import struct
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from engramos.activation.kv_encoding import decode, encode
from engramos.activation.kv_layout import EncodedKV
from engramos.activation.kv_tensors import KVLayer, KVTensors
from engramos.errors import ArchiveError, BlobError, CorruptPayloadError, InvalidInputError
from engramos.vault.blobs import BlobStore
from engramos.vault.kv_file import METADATA_KEY, open_kv, stream_of, write

torch.set_num_threads(1)
MODEL = {"weights": "w", "rope": "r"}


def layer(num_tokens=50, seed=0, dtype=torch.float32):
    both = torch.randn(2, 3, num_tokens, 16, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return KVLayer(both[0], both[1])


def cached(num_tokens=50, num_layers=2, dtype=torch.float32):
    layers = tuple(layer(num_tokens, at, dtype) for at in range(num_layers))
    return KVTensors(tuple(range(num_tokens)), layers)


def ragged():
    one = layer()
    heads = [tuple(one.heads(name)[head][: 10 * head + 1] for head in range(3)) for name in ("keys", "values")]
    positions = tuple(torch.arange(10 * head + 1) + 5 for head in range(3))
    return KVTensors(tuple(range(50)), (layer(), KVLayer(heads[0], heads[1], positions, "sliding")))


KV = cached()
CUBE = encode(KV, "full", "int8", fingerprint=MODEL, policy="snapkv")
DATA = stream_of(CUBE).read()
DIGEST = hashlib.sha256(DATA).hexdigest()


def resealed(data):
    return open_kv(data, hashlib.sha256(data).hexdigest())


def equal(one, other):
    assert one.description == other.description
    assert one.parts.keys() == other.parts.keys()
    for name, part in one.parts.items():
        assert part.dtype == other.parts[name].dtype
        assert torch.equal(part, other.parts[name])


@pytest.mark.parametrize("kv", [KV, ragged(), cached(3, 1, torch.bfloat16), cached(3, 1, torch.float16)])
def test_a_file_comes_back_from_a_path_a_stream_and_bytes(tmp_path, kv):
    cube = encode(kv, "full", "int8", fingerprint=MODEL)
    path = tmp_path / "a.safetensors"
    digest, num_bytes = write(path, cube)
    data = path.read_bytes()
    assert (digest, num_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    with open(path, "rb") as file:
        opened = open_kv(file, digest)
    for one in (open_kv(path, digest), open_kv(data, digest), opened):
        assert (one.digest, one.num_bytes) == (digest, num_bytes)
        equal(one.cube, cube)
    assert os.listdir(tmp_path) == ["a.safetensors"]
    target = io.BytesIO()
    assert write(target, cube) == (digest, num_bytes)
    assert target.getvalue() == data


def test_the_package_reads_the_same_tensors_and_the_notes_are_json(tmp_path):
    theirs = load(DATA)
    assert theirs.keys() == CUBE.parts.keys()
    assert all(torch.equal(theirs[name], part) for name, part in CUBE.parts.items())
    path = tmp_path / "a"
    path.write_bytes(DATA)
    with safe_open(path, "pt") as file:
        notes = json.loads(file.metadata()[METADATA_KEY])
    assert notes == {
        "format": 1,
        "fingerprint": MODEL,
        "codec_keys": "full",
        "codec_values": "int8",
        "dtype": "float32",
        "layers": [[3, 16, "full"]] * 2,
        "num_tokens": 50,
        "kept_ratio": 1.0,
        "policy": "snapkv",
    }


def test_the_same_cube_gives_the_same_bytes():
    assert stream_of(encode(KV, "full", "int8", fingerprint=MODEL, policy="snapkv")).read() == DATA


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_a_stream_gives_full_blocks_of_any_size_until_its_end(size):
    stream, blocks = stream_of(CUBE), []
    while block := stream.read(size):
        blocks.append(block)
    assert b"".join(blocks) == DATA
    assert {len(block) for block in blocks[:-1]} <= {size}


def test_the_blob_store_takes_a_cube_and_what_it_opens_is_mapped(tmp_path):
    store = BlobStore(tmp_path / "blobs")
    digest, num_bytes = store.put("acme", stream_of(CUBE))
    assert (digest, num_bytes) == (DIGEST, len(DATA))
    with store.open("acme", digest) as file:
        opened = open_kv(file, digest)
    assert store.erase("acme", digest)
    equal(opened.cube, CUBE)


def test_exact_tensors_are_views_of_the_map_and_live_as_long_as_they_are_held(tmp_path):
    path = tmp_path / "a"
    digest, _ = write(path, CUBE)
    opened = open_kv(path, digest)
    part = opened.cube.parts["keys.1.full"]
    keys = decode(opened.cube).layers[1].keys
    assert keys.data_ptr() == part.data_ptr()
    del opened, part
    gc.collect()
    assert torch.equal(keys, KV.layers[1].keys)


def test_writing_to_a_tensor_changes_neither_the_file_nor_who_opens_it_next(tmp_path):
    path = tmp_path / "a"
    digest, _ = write(path, CUBE)
    keys = decode(open_kv(path, digest).cube).layers[0].keys
    keys.fill_(7.0)
    assert path.read_bytes() == DATA
    equal(open_kv(path, digest).cube, CUBE)


def test_opening_takes_no_memory_for_the_tensors(tmp_path):
    """Measured in a process of its own: what it holds for itself alone grows by less than a tenth of the file."""
    path = tmp_path / "a"
    digest, num_bytes = write(path, encode(cached(4096, 8), "full", "full", fingerprint=MODEL))
    code = f"""
import re, torch
from engramos.vault.kv_file import open_kv
def own():
    return 1024 * sum(int(one) for one in re.findall(r'Private_Dirty: +(\\d+)', open('/proc/self/smaps').read()))
open_kv({DATA!r}, {DIGEST!r})
before = own()
opened = open_kv({str(path)!r}, {digest!r})
print(own() - before, sum(part.nbytes for part in opened.cube.parts.values()))
"""
    if not os.path.exists("/proc/self/smaps"):
        pytest.skip("the system does not say what a process holds")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    grown, mapped = map(int, out.split())
    assert mapped > 10_000_000
    assert grown < num_bytes / 10


def test_a_path_that_is_taken_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"mine")
    with pytest.raises(BlobError, match="taken"):
        write(path, CUBE)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"mine", ["a"])


def with_little_room(act, num_bytes):
    """Run something while no file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        with pytest.raises(BlobError) as caught:
            act()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return str(caught.value)


@pytest.mark.parametrize("num_bytes", [0, 1, 500, len(DATA) // 2, len(DATA) - 1])
def test_a_disk_without_room_is_refused_and_leaves_nothing_behind(tmp_path, num_bytes):
    path, store = tmp_path / "a", BlobStore(tmp_path / "blobs")
    store.put("acme", b"")
    assert "writing" in with_little_room(lambda: write(path, CUBE), num_bytes)
    assert "writing" in with_little_room(lambda: store.put("acme", stream_of(CUBE)), num_bytes)
    assert [one.name for one in tmp_path.iterdir()] == ["blobs"]
    assert store.digests("acme") == [hashlib.sha256(b"").hexdigest()]
    assert store.leftovers(0) == []
    assert write(path, CUBE)[0] == store.put("acme", stream_of(CUBE))[0] == DIGEST


def test_a_full_disk_is_called_a_full_disk():
    if not os.path.exists("/dev/full"):
        pytest.skip("the system has no disk that is always full")
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(BlobError, match="the disk is full; free some"):
        write(full, CUBE)


def test_a_wrong_digest_is_refused_before_anything_else():
    for digest in ("0" * 64, DIGEST.upper(), "", None):
        with pytest.raises(CorruptPayloadError, match="file of a KV cube"):
            open_kv(DATA, digest)


def test_a_missing_file_and_an_empty_one_are_refused_by_name(tmp_path):
    with pytest.raises(BlobError, match="none"):
        open_kv(tmp_path / "none", DIGEST)
    (tmp_path / "empty").touch()
    with pytest.raises(CorruptPayloadError):
        open_kv(tmp_path / "empty", DIGEST)
    with pytest.raises(ArchiveError, match="too early"):
        resealed(b"")


def test_more_bytes_than_are_allowed_are_refused_before_they_are_read(tmp_path):
    with pytest.raises(ArchiveError, match="may have 100"):
        open_kv(DATA, "", max_bytes=100)
    big = tmp_path / "big"
    with open(big, "wb") as file:
        file.truncate(2**33)
    with pytest.raises(ArchiveError, match="may have"):
        open_kv(big, DIGEST, max_bytes=2**32)


def test_keys_that_would_take_too_much_once_decoded_are_refused():
    small = encode(KV, "int8", "int8", fingerprint=MODEL)
    data = stream_of(small).read()
    with pytest.raises(ArchiveError, match="would take more"):
        open_kv(data, hashlib.sha256(data).hexdigest(), max_bytes=len(data) + 10)


def test_a_part_of_a_dtype_that_files_cannot_hold_is_not_written():
    parts = {**CUBE.parts, "keys.0.more": torch.zeros(1, dtype=torch.complex64)}
    with pytest.raises(InvalidInputError, match="complex64"):
        stream_of(EncodedKV(CUBE.description, parts)).read()


def test_a_cube_that_is_not_what_it_says_is_not_written(tmp_path):
    parts = {name: part for name, part in CUBE.parts.items() if name != "token_ids"}
    with pytest.raises(ArchiveError, match="token ids"):
        write(tmp_path / "a", EncodedKV(CUBE.description, parts))
    parts = {**CUBE.parts, "keys.0.full": torch.full((1, 3, 50, 16), float("nan"))}
    with pytest.raises(InvalidInputError, match="NaN"):
        write(tmp_path / "a", EncodedKV(CUBE.description, parts))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["keys.1.full", "values.0.scales"])
def test_a_number_that_is_not_finite_is_refused_though_the_digest_is_right(bad, name):
    parts = {one: part.clone() for one, part in CUBE.parts.items()}
    parts[name].view(-1)[-1] = bad
    with pytest.raises(ArchiveError, match=f"{name}.*NaN"):
        resealed(save(parts, {METADATA_KEY: notes()}))


def notes(**fields):
    table = json.loads(json.loads(DATA[8 : 8 + struct.unpack("<Q", DATA[:8])[0]])["__metadata__"][METADATA_KEY])
    return json.dumps({name: value for name, value in (table | fields).items() if value != "gone"})


LIES = {
    "another format": {"format": 2},
    "a format that is no number": {"format": [1]},
    "a field more": {"colour": "red"},
    "a field less": {"policy": "gone"},
    "layers that are no list": {"layers": {"0": [3, 16, "full"]}},
    "a layer that is no list": {"layers": ["abc", "abc"]},
    "a layer of four": {"layers": [[3, 16, "full", 1]] * 2},
    "a layer less": {"layers": [[3, 16, "full"]]},
    "a layer more": {"layers": [[3, 16, "full"]] * 3},
    "a great many layers": {"layers": [[3, 16, "full"]] * 2000},
    "too many values": {"layers": [[3, 16, "full"]] * 20_000},
    "more heads": {"layers": [[4, 16, "full"]] * 2},
    "huge heads": {"layers": [[1024, 8192, "full"]] * 2},
    "heads that are no number": {"layers": [["3", 16, "full"]] * 2},
    "heads without end": {"layers": [[1e999, 16, "full"]] * 2},
    "another kind": {"layers": [[3, 16, "round"]] * 2},
    "a kind that is no text": {"layers": [[3, 16, ["full"]]] * 2},
    "more tokens": {"num_tokens": 51},
    "a great many tokens": {"num_tokens": 2**60},
    "tokens that are no number": {"num_tokens": "50"},
    "another kept ratio": {"kept_ratio": 0.5},
    "a kept ratio that is no fraction": {"kept_ratio": 1},
    "a dtype that no cache has": {"dtype": "float64"},
    "a dtype that is no text": {"dtype": ["float32"]},
    "a codec that is no text": {"codec_keys": 1},
    "a codec as long as a book": {"codec_keys": "x" * 10_000},
    "a fingerprint that is no object": {"fingerprint": "w"},
    "a fingerprint of numbers": {"fingerprint": {"weights": 1}},
    "half a surrogate pair": {"policy": "\ud800\udc00\ud800" * 200},
}


def test_the_notes_that_the_lies_are_made_from_are_true():
    equal(resealed(save(dict(CUBE.parts), {METADATA_KEY: notes()})).cube, CUBE)


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_refused_though_the_digest_is_right(name):
    with pytest.raises((ArchiveError, CorruptPayloadError)):
        decode(resealed(save(dict(CUBE.parts), {METADATA_KEY: notes(**LIES[name])})).cube)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format":NaN}', '{"format":1,"format":1}', "[" * 9999, "null"])
def test_notes_that_are_no_json_object_are_refused(text):
    with pytest.raises(ArchiveError):
        resealed(save(dict(CUBE.parts), {METADATA_KEY: text}))


@pytest.mark.parametrize("metadata", [None, {}, {"other": "x"}, {METADATA_KEY: notes(), "more": "x"}])
def test_other_notes_than_ours_are_refused(metadata):
    with pytest.raises(ArchiveError, match="notes"):
        resealed(save(dict(CUBE.parts), metadata))


def test_a_dtype_that_cannot_be_mapped_and_a_crooked_offset_are_refused():
    with pytest.raises(ArchiveError, match="dtype BOOL"):
        resealed(save({**CUBE.parts, "keys.0.mask": torch.tensor([True])}, {METADATA_KEY: notes()}))
    length = struct.unpack("<Q", DATA[:8])[0]
    crooked = struct.pack("<Q", length + 1) + DATA[8 : 8 + length] + b" " + DATA[8 + length :]
    with pytest.raises(ArchiveError, match="no multiple"):
        resealed(crooked)
