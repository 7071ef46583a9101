"""Files of adapters: any adapter comes back, and no damage is missed or crashes the reader."""

import hashlib
import json
import random
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.adapter_examples import EXAMPLES

from engramos.errors import ArchiveError, CorruptPayloadError, EngramosError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.vault.adapter_file import METADATA_KEY, open_adapter, stream_of
from engramos.vault.adapter_manifest import read_manifest
from engramos.vault.peft_config import read_config

torch.set_num_threads(1)
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
FILES = {name: stream_of(make()[0]).read() for name, make in EXAMPLES.items() if name != "side_memory"}
"""A side memory makes a matrix of the size that its settings name, whatever that is."""


def resealed(data):
    return open_adapter(bytes(data), hashlib.sha256(data).hexdigest()).adapter


@st.composite
def low_ranks(draw):
    down, up = {}, {}
    chance = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    names = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=12)
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        rank, one, other = (draw(st.integers(1, 5)) for _ in range(3))
        dtype = draw(st.sampled_from(DTYPES))
        down[name] = torch.randn(rank, one, generator=chance).to(dtype)
        up[name] = torch.randn(other, rank, generator=chance).to(dtype)
    scale = draw(st.floats(-1e6, 1e6))
    invocation = draw(st.lists(st.integers(0, 2**31 - 1), max_size=5))
    return LowRank(down, up, scale, tuple(invocation))


@settings(max_examples=100, deadline=None)
@given(low_ranks())
def test_any_adapter_comes_back_from_its_file(adapter):
    found = resealed(stream_of(adapter).read())
    assert found.digest == adapter.digest
    assert found.invocation == adapter.invocation


def test_flipped_bits_and_cuts_are_each_refused():
    data = FILES["low_rank"]
    chance, digest = random.Random(1), hashlib.sha256(data).hexdigest()
    for at in range(1000):
        damaged = bytearray(data)
        if at % 2:
            damaged = damaged[: chance.randrange(len(data))]
        else:
            damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        with pytest.raises(CorruptPayloadError):
            open_adapter(bytes(damaged), digest)


@pytest.mark.parametrize("name", sorted(FILES))
def test_damage_with_a_digest_that_fits_is_refused_by_name_or_gives_finite_tensors(name):
    data, chance, num_refused = FILES[name], random.Random(2), 0
    header = 8 + struct.unpack("<Q", data[:8])[0]
    for at in range(400):
        damaged = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(data) if at % 4 == 0 else header)] = chance.randrange(256)
        try:
            adapter = resealed(damaged)
        except ArchiveError:
            num_refused += 1
            continue
        assert all(bool(torch.isfinite(one).all()) for one in adapter.tensors().values())
        assert resealed(stream_of(adapter).read()).digest == adapter.digest
    assert num_refused > 200


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_file_are_refused_by_name(data):
    with pytest.raises(EngramosError):
        resealed(data)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
SETTINGS = ("scale", "invocation", "target", "sources", "epsilon", "share", "temperature", "neighbours", "heads")
SETTINGS += ("num_keys", "num_reads", "key_seed", "facts")


def sealed(data, kind, found):
    """Return a file whose notes are others, its header's length put right."""
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    header["__metadata__"] = {METADATA_KEY: json.dumps({"format": 1, "kind": kind, "settings": found})}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + struct.unpack("<Q", data[:8])[0] :]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.dictionaries(st.sampled_from(SETTINGS), values, max_size=3), st.booleans())
def test_settings_of_any_sort_are_refused_by_name_or_kept(name, changed, is_whole):
    given_settings = EXAMPLES[name]()[0].settings() if is_whole else {}
    wanted = {**given_settings, **changed}
    try:
        adapter = resealed(sealed(FILES[name], name, wanted))
    except ArchiveError:
        assert wanted != EXAMPLES[name]()[0].settings()
        return
    assert adapter.settings() == wanted


CONFIG_FIELDS = ("peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "bias", "use_dora")
CONFIG_FIELDS += ("init_lora_weights", "alora_invocation_tokens", "modules_to_save", "base_model_name_or_path")


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(CONFIG_FIELDS), values, max_size=4))
def test_any_configuration_is_read_or_refused_by_name(changed):
    table = {"peft_type": "LORA", "r": 4, "lora_alpha": 8} | changed
    try:
        config = read_config(json.dumps(table).encode())
    except EngramosError:
        assert changed
        return
    assert config.rank == table["r"]
    assert config.alpha == table["lora_alpha"]


MANIFEST = {
    "format": 1,
    "id": "a",
    "adapter": {"kind": "low_rank", "digest": "d", "settings": {}},
    "base": {},
    "writer": "lora",
    "parameters": {},
    "lineage": [["derived_from", "b", 1]],
    "probes": {"recall": 1.0},
    "files": {},
}


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(MANIFEST)), values, max_size=3))
def test_any_manifest_is_read_or_refused_by_name(changed):
    table = MANIFEST | changed
    try:
        manifest, _ = read_manifest(json.dumps(table).encode())
    except EngramosError:
        assert changed
        return
    assert (manifest.id, manifest.writer) == (table["id"], table["writer"])
    assert len(manifest.lineage) == len(table["lineage"])
