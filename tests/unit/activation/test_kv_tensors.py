"""KV caches as tensors, encoded and decoded."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engramos.activation.kv_encoding import codec_of, decode, encode
from engramos.activation.kv_layout import EncodedKV, KVDescription, LayerShape, is_finite, layout_of
from engramos.activation.kv_tensors import SLIDING, KVLayer, KVTensors
from engramos.activation.rope import Rope
from engramos.errors import ArchiveError, ConfigError, CorruptPayloadError, InvalidInputError, UnknownMethodError

torch.set_num_threads(1)
MODEL = {"weights": "w"}
ROPES = [Rope.plain(8)] * 9


def random(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def whole(num_tokens=10, kv_heads=2, kind="full", dtype=torch.float32, seed=0):
    return KVLayer(
        random(kv_heads, num_tokens, 8, dtype=dtype, seed=seed),
        random(kv_heads, num_tokens, 8, dtype=dtype, seed=seed + 1),
        None,
        kind,
    )


def cut(*rows, kind="full", dtype=torch.float32, seed=0, num_tokens=10):
    """A layer whose heads keep the positions of the rows, equally many or not."""
    longest = max(map(len, rows))
    positions = torch.tensor([[*row, *([-1] * (longest - len(row)))] for row in rows], dtype=torch.int64)
    shape = (len(rows), longest, 8)
    return KVLayer.of_padded(
        random(*shape, dtype=dtype, seed=seed), random(*shape, dtype=dtype, seed=seed + 1), positions, num_tokens, kind
    )


def cache(*layers, num_tokens=10):
    return KVTensors(tuple(range(100, 100 + num_tokens)), layers)


def same(one, other):
    assert one.token_ids == other.token_ids
    assert len(one.layers) == len(other.layers)
    for mine, theirs in zip(one.layers, other.layers, strict=True):
        assert (mine.kind, mine.is_ragged, mine.counts) == (theirs.kind, theirs.is_ragged, theirs.counts)
        assert (mine.positions is None) == (theirs.positions is None)
        for name in ("keys", "values", "positions"):
            for left, right in zip(mine.heads(name), theirs.heads(name), strict=True):
                assert left.dtype == right.dtype
                assert torch.equal(left, right)


MIXED = cache(
    whole(seed=1),
    whole(seed=3),
    cut([6, 7, 8, 9], [6, 7, 8, 9], kind=SLIDING, seed=5),
    cut([0, 4, 9], [0, 5, 9], seed=7),
    cut([0, 1, 2, 3, 9], [9], seed=9),
    cut([], [2, 3], seed=11),
    whole(seed=13),
)


def test_every_kind_of_layer_comes_back_to_the_bit():
    same(decode(encode(MIXED, "full", "full", fingerprint=MODEL)), MIXED)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_dtype_comes_back(dtype):
    kv = cache(whole(dtype=dtype))
    encoded = encode(kv, "full", "full", fingerprint=MODEL)
    assert encoded.description.dtype == str(dtype).removeprefix("torch.")
    same(decode(encoded), kv)
    assert decode(encoded, dtype=torch.float32).dtype == torch.float32


def test_parts_are_named_by_side_layer_and_head():
    assert sorted(encode(MIXED, "full", "int8", fingerprint=MODEL).parts) == sorted(
        ["token_ids", "positions.2", "positions.3", "counts.4", "positions.4", "counts.5", "positions.5"]
        + [f"keys.{at}.full" for at in (0, 1, 2, 3, 6)]
        + [f"values.{at}.{part}" for at in (0, 1, 2, 3, 6) for part in ("codes", "scales")]
        + [f"keys.{at}.h{head}.full" for at in (4, 5) for head in (0, 1)]
        + [f"values.{at}.h{head}.{part}" for at in (4, 5) for head in (0, 1) for part in ("codes", "scales")]
    )


def test_equal_positions_of_all_heads_are_stored_once():
    parts = encode(MIXED, "full", "full", fingerprint=MODEL).parts
    assert parts["positions.2"].tolist() == [[6, 7, 8, 9]]
    assert parts["positions.3"].tolist() == [[0, 4, 9], [0, 5, 9]]
    assert parts["positions.4"].tolist() == [0, 1, 2, 3, 9, 9]
    assert parts["counts.4"].tolist() == [5, 1]


def test_ragged_heads_take_the_bytes_of_their_own_tokens_alone():
    ragged = encode(cache(cut([0, 1, 2, 3, 4, 5, 6, 7], [9])), "full", "full", fingerprint=MODEL)
    payload = sum(part.nbytes for name, part in ragged.parts.items() if name.startswith(("keys", "values")))
    assert payload == 2 * 9 * 8 * 4


def test_keys_before_the_rotation_come_back_rotated():
    """A codec that keeps full rank in groups of three layers; ropes differ by layer."""
    ropes = [Rope.plain(8, theta) for theta in (10_000.0, 500.0, 10_000.0, 77.0, 10_000.0, 10_000.0, 10_000.0)]
    kv = cache(*(whole(seed=at) for at in range(4)), cut([0, 4, 9], [0, 5, 9], seed=8), cut([0, 1, 7, 9], [8], seed=9))
    text = '{ method = "xkv", num_layers = 3, key_rank_ratio = 1.0, value_rank_ratio = 1.0 }'
    encoded = encode(kv, text, "full", ropes, fingerprint=MODEL)
    firsts = sorted({int(name.split(".")[1]) for name in encoded.parts if name.startswith("keys")})
    assert firsts == [0, 3, 4, 5]
    found = decode(encoded, ropes)
    for mine, theirs in zip(kv.layers, found.layers, strict=True):
        for left, right in zip(mine.heads("keys"), theirs.heads("keys"), strict=True):
            assert (left - right).abs().max() < 0.05
    wrong = decode(encoded, [Rope.plain(8, 3.0)] * 7)
    assert (wrong.layers[3].keys - kv.layers[3].keys).abs().max() > 0.5
    for act in (lambda: encode(kv, text, "full", fingerprint=MODEL), lambda: decode(encoded)):
        with pytest.raises(ConfigError, match="ropes of all layers"):
            act()


def test_a_codec_is_given_the_importance_and_the_queries_of_its_own_head():
    kv = cache(cut([0, 1, 2, 3], [8, 9]))
    importance = [torch.tensor([[0.0, 0.0, 0.0, 9.0], [9.0, 0.0, 0.0, 0.0]])]
    queries = [torch.ones(4, 3, 8)]
    text = '{ method = "mikv", important_ratio = 0.5, num_sinks = 0 }'
    encoded = encode(kv, text, text, fingerprint=MODEL, importance=importance, queries=queries)
    found = decode(encoded).layers[0]
    for head, dear in ((0, 3), (1, 0)):
        errors = (found.values[head] - kv.layers[0].values[head]).abs().amax(-1)
        assert errors[dear] < 0.02 < errors.max()


def test_keys_and_values_have_codecs_of_their_own():
    kv = cache(whole())
    found = decode(encode(kv, "int8", "full", fingerprint=MODEL))
    assert torch.equal(found.layers[0].values, kv.layers[0].values)
    assert 0 < (found.layers[0].keys - kv.layers[0].keys).abs().max() < 0.05


def test_the_description_says_what_it_is():
    about = encode(MIXED, "int8", "full", fingerprint=MODEL, policy="snapkv").description
    kept = (10 + 10 + 10 + 10 + 3 + 3 + 5 + 1 + 0 + 2 + 10 + 10) / (6 * 2 * 10)
    assert (about.codec_keys, about.codec_values, about.policy, about.fingerprint) == ("int8", "full", "snapkv", MODEL)
    assert (about.num_tokens, about.layers[2]) == (10, LayerShape(2, 8, "sliding"))
    assert about.kept_ratio == MIXED.kept_ratio == kept


def test_sliding_layers_count_for_the_kept_ratio_only_where_there_are_no_others():
    window = cut([6, 7], [6, 7], kind=SLIDING)
    assert cache(whole(), window).kept_ratio == 1.0
    assert cache(window).kept_ratio == 0.2


def test_padded_heads_become_ragged_and_back():
    layer = cut([0, 1, 2, 9], [4])
    assert (layer.is_ragged, layer.counts) == (True, (4, 1))
    keys, values, positions = layer.padded()
    assert positions.tolist() == [[0, 1, 2, 9], [4, -1, -1, -1]]
    assert (keys.shape, values.shape) == ((2, 4, 8), (2, 4, 8))
    assert not keys[1, 1:].any()
    same(cache(KVLayer.of_padded(keys, values, positions, 10)), cache(layer))


def test_padding_that_no_head_needs_is_cut_and_whole_layers_need_no_positions():
    layer = KVLayer.of_padded(random(2, 4, 8), random(2, 4, 8), torch.tensor([[0, 1, 2, -1]] * 2), 3)
    assert (layer.is_ragged, layer.counts, layer.positions) == (False, (3, 3), None)
    cropped = KVLayer.of_padded(random(2, 4, 8), random(2, 4, 8), torch.tensor([[0, 1, 2, -1]] * 2), 5)
    assert cropped.positions.tolist() == [[0, 1, 2]] * 2


def test_a_whole_layer_is_padded_without_a_copy():
    layer = whole()
    assert layer.padded()[0] is layer.keys
    assert layer.padded()[2].tolist() == [list(range(10))] * 2


ROW = torch.arange(10).expand(2, -1)
LAYERS = {
    "an unknown kind": (lambda: whole(kind="round"), "kind"),
    "keys without heads": (lambda: KVLayer(random(10, 8), random(10, 8)), "kv_heads"),
    "a scalar": (lambda: KVLayer(torch.tensor(1.0), torch.tensor(1.0)), "kv_heads"),
    "no head": (lambda: KVLayer((), (), ()), "kv_heads"),
    "values of another shape": (lambda: KVLayer(random(2, 10, 8), random(2, 9, 8)), "differ"),
    "values of another form": (lambda: KVLayer(random(2, 10, 8), tuple(random(2, 10, 8))), "differ"),
    "another dtype": (lambda: KVLayer(random(2, 10, 8), random(2, 10, 8).half()), "dtype"),
    "a dtype that no cache has": (lambda: KVLayer(random(2, 10, 8).double(), random(2, 10, 8).double()), "dtype"),
    "too few positions": (lambda: KVLayer(random(2, 10, 8), random(2, 10, 8), ROW[:, :9]), "one for each"),
    "positions for one head": (lambda: KVLayer(random(2, 10, 8), random(2, 10, 8), ROW[:1]), "one for each"),
    "short positions": (lambda: KVLayer(random(2, 10, 8), random(2, 10, 8), ROW.int()), "int64"),
    "falling positions": (lambda: KVLayer(random(2, 10, 8), random(2, 10, 8), ROW.flip(1)), "rise"),
    "a position twice": (lambda: KVLayer(random(2, 10, 8), random(2, 10, 8), ROW // 2), "rise"),
    "a negative position": (lambda: KVLayer(random(2, 10, 8), random(2, 10, 8), ROW - 1), "rise"),
    "ragged heads without positions": (lambda: KVLayer((random(1, 8),) * 2, (random(1, 8),) * 2), "needs positions"),
    "no token": (lambda: KVTensors((), (whole(),)), "a token and a layer"),
    "no layer": (lambda: KVTensors((1,), ()), "a token and a layer"),
    "a negative token": (lambda: KVTensors((-1,) * 10, (whole(),)), "token ids"),
    "a token beyond 32 bits": (lambda: KVTensors((2**31,) * 10, (whole(),)), "token ids"),
    "two dtypes": (lambda: cache(whole(), whole(dtype=torch.float16)), "one dtype"),
    "tokens missing without positions": (lambda: cache(whole(9)), "no positions"),
    "a position beyond the tokens": (lambda: cache(cut([10], [10])), "position 10"),
    "nothing left": (lambda: cache(cut([], [])), "no token is left"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_tensors_that_do_not_fit_together_are_refused(name):
    act, words = LAYERS[name]
    with pytest.raises(InvalidInputError, match=words):
        act()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_number_that_is_not_finite_is_not_encoded(bad, dtype):
    for side in ("keys", "values"):
        kv = cache(whole(dtype=dtype))
        getattr(kv.layers[0], side)[1, 9, 7] = bad
        with pytest.raises(InvalidInputError, match=f"{side} of a KV cache hold NaN"):
            encode(kv, "full", "full", fingerprint=MODEL)


def test_a_number_that_becomes_infinite_is_named():
    kv = cache(whole())
    kv.layers[0].keys[0, 0, 0] = 1e6
    with pytest.raises(InvalidInputError, match=r"keys\.0\.full became infinite"):
        encode(kv, '{ method = "full", dtype = "float16" }', "full", fingerprint=MODEL)


def test_a_number_that_becomes_infinite_when_decoded_is_refused():
    kv = cache(whole())
    kv.layers[0].keys[0, 0, 0] = 1e6
    with pytest.raises(ArchiveError, match="infinite"):
        decode(encode(kv, "full", "full", fingerprint=MODEL), dtype=torch.float16)


def test_a_codec_that_is_unknown_is_refused_at_encoding_and_at_decoding():
    with pytest.raises(UnknownMethodError, match="none_such"):
        encode(cache(whole()), "none_such", "full", fingerprint=MODEL)
    for text in ("none_such", '{ method = "int4", bits = "x" }', '{ method = "int4", bots = 3 }', "{", "{ a = 1 }", ""):
        with pytest.raises(ArchiveError, match="codec"):
            codec_of(text)
    with pytest.raises(ArchiveError, match="too long"):
        codec_of("{ a = " * 1000)
    with pytest.raises(ArchiveError, match="codec"):
        codec_of("{a=" * 99)


def test_finite_numbers_are_told_from_others_without_looking_at_integers():
    assert is_finite(torch.tensor([]))
    assert is_finite(torch.tensor([1, 2]))
    assert is_finite(torch.tensor([3.4e38, -3.4e38]))
    assert not is_finite(torch.tensor([0.0, float("nan"), 1.0]))


def changed(**fields):
    good = encode(MIXED, "full", "int8", fingerprint=MODEL)
    about = {name: getattr(good.description, name) for name in KVDescription.__dataclass_fields__} | fields
    return EncodedKV(KVDescription(**about), good.parts)


def replaced(drop=(), **parts):
    good = encode(MIXED, "full", "int8", fingerprint=MODEL)
    table = good.parts | {name.replace("__", "."): part for name, part in parts.items()}
    return EncodedKV(good.description, {name: part for name, part in table.items() if name not in drop})


def int32(*numbers):
    return torch.tensor(numbers, dtype=torch.int32)


SHAPES = encode(MIXED, "full", "full", fingerprint=MODEL).description.layers
LIES = {
    "more tokens": lambda: changed(num_tokens=11),
    "fewer tokens": lambda: changed(num_tokens=9),
    "another kept ratio": lambda: changed(kept_ratio=0.5),
    "a layer less": lambda: changed(layers=SHAPES[:-1]),
    "a layer more": lambda: changed(layers=(*SHAPES, SHAPES[-1])),
    "more heads": lambda: changed(layers=(LayerShape(3, 8), *SHAPES[1:])),
    "more channels": lambda: changed(layers=(LayerShape(2, 9), *SHAPES[1:])),
    "more channels everywhere": lambda: changed(layers=tuple(LayerShape(2, 16, one.kind) for one in SHAPES)),
    "other kinds": lambda: changed(layers=tuple(LayerShape(2, 8, "full") for _ in SHAPES)),
    "another codec": lambda: changed(codec_keys="int8"),
    "a codec that nobody knows": lambda: changed(codec_values="none_such"),
    "no token ids": lambda: replaced(drop=["token_ids"]),
    "token ids of another dtype": lambda: replaced(token_ids=torch.arange(10)),
    "a negative token id": lambda: replaced(token_ids=int32(*range(-1, 9))),
    "falling positions": lambda: replaced(positions__2=int32(6, 8, 7, 9)[None]),
    "a position twice": lambda: replaced(positions__2=int32(6, 7, 7, 9)[None]),
    "a position beyond the end": lambda: replaced(positions__2=int32(6, 7, 8, 10)[None]),
    "a negative position": lambda: replaced(positions__2=int32(-6, 7, 8, 9)[None]),
    "fewer positions": lambda: replaced(positions__2=int32(6, 7, 8)[None]),
    "positions for more heads": lambda: replaced(positions__2=int32(6, 7, 8, 9).expand(3, 4)),
    "positions in one row": lambda: replaced(positions__2=int32(6, 7, 8, 9)),
    "long positions": lambda: replaced(positions__2=torch.tensor([[6, 7, 8, 9]])),
    "no positions for ragged heads": lambda: replaced(drop=["positions.4"]),
    "no counts for ragged heads": lambda: replaced(drop=["counts.4"]),
    "a negative count": lambda: replaced(counts__4=int32(7, -1)),
    "counts beyond the tokens": lambda: replaced(counts__4=int32(11, -5)),
    "counts exchanged": lambda: replaced(counts__4=int32(1, 5)),
    "counts for whole heads": lambda: replaced(counts__0=int32(10, 10), positions__0=int32(*range(10), *range(10))),
    "an unknown part": lambda: replaced(colour=int32(1)),
    "an unknown side": lambda: replaced(queries__0__full=int32(1)),
    "a layer with a leading zero": lambda: replaced(keys__00__full=int32(1)),
    "a layer beyond the last": lambda: replaced(keys__7__full=int32(1)),
    "a part more": lambda: replaced(keys__0__extra=int32(1)),
    "no first layer": lambda: replaced(drop=["keys.0.full"]),
    "no last layer": lambda: replaced(drop=["keys.6.full"]),
    "a scale missing": lambda: replaced(drop=["values.0.scales"]),
    "a head missing": lambda: replaced(drop=["keys.4.h1.full"]),
    "a head too many": lambda: replaced(keys__4__h2__full=torch.zeros(1, 1, 1, 8)),
    "a head without a number": lambda: replaced(keys__4__hx__full=torch.zeros(1, 1, 1, 8)),
    "a ragged part without a head": lambda: replaced(keys__4__full=torch.zeros(1, 1, 1, 8)),
    "tensors of another shape": lambda: replaced(keys__0__full=torch.zeros(1, 2, 10, 9)),
    "two layers in one part": lambda: replaced(keys__0__full=torch.zeros(2, 2, 10, 8)),
    "scales of another dtype": lambda: replaced(values__0__scales=torch.zeros(1, 2, 10, dtype=torch.int64)),
    "codes of another shape": lambda: replaced(values__0__codes=torch.zeros(3, dtype=torch.int8)),
    "keys that are not finite": lambda: replaced(keys__0__full=torch.full((1, 2, 10, 8), float("nan"))),
}


def test_what_the_lies_are_made_from_is_true():
    same(decode(replaced()), decode(changed()))
    assert layout_of(replaced()).num_values == 2 * 8 * sum(sum(one.counts) for one in MIXED.layers)


@pytest.mark.parametrize("name", LIES)
def test_a_description_that_lies_is_refused(name):
    with pytest.raises((ArchiveError, CorruptPayloadError)):
        decode(LIES[name]())


@pytest.mark.parametrize(
    "fields",
    [
        {"fingerprint": {"a": 1}},
        {"fingerprint": dict.fromkeys(map(str, range(33)), "x")},
        {"codec_keys": "x" * 301},
        {"codec_values": 7},
        {"policy": None},
        {"dtype": "int8"},
        {"dtype": "float64"},
        {"layers": ()},
        {"layers": (LayerShape(0, 8),)},
        {"layers": (LayerShape(2, 10**9),)},
        {"layers": (LayerShape(True, 8),)},
        {"layers": (LayerShape(2, 8, "round"),)},
        {"num_tokens": 0},
        {"num_tokens": 2**40},
        {"num_tokens": 1.0},
        {"kept_ratio": 0.0},
        {"kept_ratio": 1.5},
        {"kept_ratio": float("nan")},
        {"kept_ratio": 1},
    ],
)
def test_a_description_that_cannot_be_is_refused(fields):
    with pytest.raises(InvalidInputError):
        changed(**fields)


@st.composite
def caches(draw):
    num_tokens = draw(st.integers(1, 12))
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
    kept = st.lists(st.integers(0, num_tokens - 1), unique=True).map(sorted)
    layers = [whole(num_tokens, dtype=dtype, seed=99)]
    for at in range(draw(st.integers(0, 4))):
        rows = draw(st.lists(kept, min_size=1, max_size=3))
        kind = draw(st.sampled_from(["full", "sliding"]))
        layers.append(cut(*rows, kind=kind, dtype=dtype, seed=at, num_tokens=num_tokens))
    return cache(*layers, num_tokens=num_tokens)


@settings(max_examples=60, deadline=None)
@given(caches(), st.sampled_from(["full", "int8"]))
def test_any_cache_comes_back(kv, codec):
    encoded = encode(kv, codec, "full", fingerprint=MODEL)
    found = decode(encoded)
    assert encoded.description.kept_ratio == kv.kept_ratio
    if codec == "full":
        same(found, kv)
    for mine, theirs in zip(kv.layers, found.layers, strict=True):
        for left, right in zip(mine.heads("keys"), theirs.heads("keys"), strict=True):
            assert left.shape == right.shape
            assert not left.numel() or (left.float() - right.float()).abs().max() < 0.1
