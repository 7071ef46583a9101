"""Files of KV cubes: any cube comes back, and no damage is missed."""

import hashlib
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engramos.activation.kv_encoding import decode, encode
from engramos.activation.kv_tensors import KVLayer, KVTensors
from engramos.errors import ArchiveError, CorruptPayloadError, EngramosError
from engramos.vault.kv_file import open_kv, stream_of

torch.set_num_threads(1)
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@st.composite
def caches(draw):
    num_tokens, head_dim = draw(st.integers(1, 12)), draw(st.sampled_from([2, 8]))
    dtype, seed = draw(st.sampled_from(DTYPES)), draw(st.integers(0, 1000))
    kept = st.lists(st.integers(0, num_tokens - 1), unique=True, min_size=1).map(sorted)
    layers = []
    for _ in range(draw(st.integers(1, 4))):
        rows = draw(st.lists(kept, min_size=1, max_size=3))
        longest = max(map(len, rows))
        positions = torch.tensor([row + [-1] * (longest - len(row)) for row in rows])
        chance = torch.Generator().manual_seed(seed)
        both = torch.randn(2, len(rows), longest, head_dim, generator=chance).to(dtype)
        kind = draw(st.sampled_from(["full", "sliding"]))
        layers.append(KVLayer.of_padded(both[0], both[1], positions, num_tokens, kind))
    tokens = draw(st.lists(st.integers(0, 2**31 - 1), min_size=num_tokens, max_size=num_tokens))
    return KVTensors(tuple(tokens), tuple(layers))


texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


@settings(max_examples=80, deadline=None)
@given(caches(), st.sampled_from(["full", "int8"]), st.dictionaries(texts, texts, max_size=3), texts)
def test_any_cube_comes_back_from_its_file(kv, codec, fingerprint, policy):
    cube = encode(kv, codec, "full", fingerprint=fingerprint, policy=policy)
    data = stream_of(cube).read()
    opened = open_kv(data, hashlib.sha256(data).hexdigest())
    assert opened.cube.description == cube.description
    assert opened.num_bytes == len(data)
    wanted, found = decode(cube), decode(opened.cube)
    assert found.token_ids == kv.token_ids
    for mine, theirs in zip(wanted.layers, found.layers, strict=True):
        assert (mine.kind, mine.counts, mine.is_ragged) == (theirs.kind, theirs.counts, theirs.is_ragged)
        for name in ("keys", "values", "positions"):
            assert all(map(torch.equal, mine.heads(name), theirs.heads(name)))


def example():
    positions = torch.tensor([[0, 1, 5, 9], [0, 2, -1, -1]])
    ragged = KVLayer.of_padded(torch.ones(2, 4, 8), torch.ones(2, 4, 8), positions, 10)
    chance = torch.Generator().manual_seed(0)
    whole = KVLayer(torch.randn(2, 10, 8, generator=chance), torch.randn(2, 10, 8, generator=chance))
    return encode(KVTensors(tuple(range(10)), (whole, ragged)), "full", "int8", fingerprint={"weights": "w"})


DATA = stream_of(example()).read()
DIGEST = hashlib.sha256(DATA).hexdigest()


def test_a_thousand_flipped_bits_and_cuts_are_each_refused(tmp_path):
    chance, path = random.Random(1), tmp_path / "blob"
    for at in range(1000):
        data = bytearray(DATA)
        if at % 2:
            data = data[: chance.randrange(len(data))]
        else:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        with pytest.raises((CorruptPayloadError, ArchiveError)):
            open_kv(path, DIGEST)
    path.write_bytes(DATA)
    assert open_kv(path, DIGEST).num_bytes == len(DATA)


def test_damage_with_a_digest_that_fits_is_refused_by_name_or_harmless():
    """Whoever makes both file and digest gets a named error, or finite tensors of the shapes that the header says."""
    chance, num_refused = random.Random(2), 0
    for at in range(1000):
        data = bytearray(DATA)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data) if at % 3 else 1500)] = chance.randrange(256)
        try:
            cube = open_kv(bytes(data), hashlib.sha256(data).hexdigest()).cube
            found = decode(cube)
        except (ArchiveError, CorruptPayloadError):
            num_refused += 1
            continue
        assert found.kept_ratio == cube.description.kept_ratio
        for layer, shape in zip(found.layers, cube.description.layers, strict=True):
            assert (layer.kv_heads, layer.head_dim) == (shape.kv_heads, shape.head_dim)
            for tensor in (*layer.heads("keys"), *layer.heads("values")):
                assert torch.isfinite(tensor).all()
    assert 300 < num_refused < 1000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_file_are_refused_by_name(data):
    with pytest.raises(EngramosError):
        open_kv(data, hashlib.sha256(data).hexdigest())
