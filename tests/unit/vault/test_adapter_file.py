"""Files of adapters: stored as a stream, and read only when all of it is verified and true."""

import hashlib
import json
import struct

import pytest
import torch
from safetensors.torch import load, save
from tests.contract.adapter_examples import EXAMPLES

from engramos.errors import ArchiveError, BlobError, CorruptPayloadError, InvalidInputError, UnknownMethodError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.vault.adapter_file import METADATA_KEY, method_of, open_adapter, stream_of
from engramos.vault.blobs import BlobStore

torch.set_num_threads(1)


def low_rank(**fields):
    random = torch.Generator().manual_seed(0)
    down, up = torch.randn(2, 8, generator=random), torch.randn(6, 2, generator=random)
    return LowRank({"layers.0.q": down}, {"layers.0.q": up}, **{"scale": 0.7, "invocation": (3, 4)} | fields)


ADAPTER = low_rank()
DATA = stream_of(ADAPTER).read()
DIGEST = hashlib.sha256(DATA).hexdigest()


def resealed(data):
    return open_adapter(data, hashlib.sha256(data).hexdigest())


def notes(**fields):
    table = json.loads(json.loads(DATA[8 : 8 + struct.unpack("<Q", DATA[:8])[0]])["__metadata__"][METADATA_KEY])
    return json.dumps({name: value for name, value in (table | fields).items() if value != "gone"})


def with_notes(**fields):
    return save(load(DATA), {METADATA_KEY: notes(**fields)})


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_adapter_of_every_kind_comes_back_from_its_file(name):
    adapter, _ = EXAMPLES[name]()
    data = stream_of(adapter).read()
    opened = resealed(data)
    assert type(opened.adapter) is type(adapter)
    assert opened.adapter.digest == adapter.digest
    assert opened.num_bytes == len(data)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_of_any_width_come_back_bit_for_bit(dtype):
    one = LowRank({"a": torch.randn(3, 5).to(dtype)}, {"a": torch.randn(7, 3).to(dtype)}, 2)
    assert resealed(stream_of(one).read()).adapter.digest == LowRank(one.down, one.up, 2.0).digest


def test_the_same_adapter_gives_the_same_bytes():
    down, up = ({name: one.clone() for name, one in part.items()} for part in (ADAPTER.down, ADAPTER.up))
    again = LowRank(down, up, 0.7, (3, 4))
    assert stream_of(again).read() == DATA


def test_the_blob_store_takes_an_adapter_and_gives_it_back(tmp_path):
    store = BlobStore(tmp_path / "blobs")
    digest, num_bytes = store.put("acme", stream_of(ADAPTER))
    assert (digest, num_bytes) == (DIGEST, len(DATA))
    with store.open("acme", digest) as file:
        opened = open_adapter(file, digest)
    assert (opened.adapter.digest, opened.num_bytes) == (ADAPTER.digest, num_bytes)


def test_an_adapter_can_be_read_from_a_path_and_is_its_own_copy(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(DATA)
    opened = open_adapter(path, DIGEST)
    for one in opened.adapter.tensors().values():
        one.zero_()
    assert path.read_bytes() == DATA
    assert open_adapter(path, DIGEST).adapter.digest == ADAPTER.digest


def test_modules_may_share_a_tensor_and_a_tensor_may_be_a_view_that_is_trained():
    shared, whole = torch.ones(2, 8, requires_grad=True), torch.ones(6, 8)
    one = LowRank({"a": shared, "b": shared}, {"a": whole[:, 2:4], "b": whole.T[:6, :2]})
    assert resealed(stream_of(one).read()).adapter.digest == one.digest


def test_a_wrong_digest_is_refused_before_anything_else():
    for digest in ("0" * 64, DIGEST.upper(), "", None):
        with pytest.raises(CorruptPayloadError, match="file of an adapter"):
            open_adapter(DATA, digest)


def test_more_bytes_than_are_allowed_are_refused(tmp_path):
    path = tmp_path / "big"
    with open(path, "wb") as file:
        file.truncate(2**33)
    for source in (path, DATA):
        with pytest.raises(ArchiveError, match="100"):
            open_adapter(source, DIGEST, max_bytes=100)


def test_a_missing_file_and_an_empty_one_are_refused_by_name(tmp_path):
    with pytest.raises(BlobError, match="none"):
        open_adapter(tmp_path / "none", DIGEST)
    with pytest.raises(ArchiveError, match="too early"):
        resealed(b"")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_neither_written_nor_read(number):
    tensors = {name: one.clone() for name, one in load(DATA).items()}
    tensors["layers.0.q.up"][5, 1] = number
    with pytest.raises(ArchiveError, match=r"layers\.0\.q\.up.*NaN"):
        resealed(save(tensors, {METADATA_KEY: notes()}))
    with pytest.raises(InvalidInputError, match=r"layers\.0\.q\.up.*NaN"):
        stream_of(LowRank.restored(tensors, ADAPTER.settings()))


def test_a_dtype_that_files_of_adapters_do_not_hold_is_neither_written_nor_read():
    tensors = {name: one.to(torch.complex64) for name, one in load(DATA).items()}
    with pytest.raises(InvalidInputError, match="complex64"):
        stream_of(LowRank.restored(tensors, ADAPTER.settings()))
    with pytest.raises(ArchiveError, match="dtype C64"):
        resealed(save(tensors, {METADATA_KEY: notes()}))


def test_a_scale_that_is_not_finite_is_not_written():
    for scale in (float("nan"), float("inf")):
        adapter = low_rank()
        # none can be made so; the writer of files does not rely on that
        object.__setattr__(adapter, "scale", scale)
        with pytest.raises(InvalidInputError, match="storing a low_rank"):
            stream_of(adapter)


def test_a_truth_value_of_two_is_refused():
    adapter, _ = EXAMPLES["product_keys"]()
    data = bytearray(stream_of(adapter).read())
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    at = next(one for name, one in header.items() if name.endswith(".owners"))["data_offsets"][0]
    data[8 + struct.unpack("<Q", data[:8])[0] + at] = 2
    with pytest.raises(ArchiveError, match="neither false nor true"):
        resealed(bytes(data))


LIES = {
    "another format": {"format": 2},
    "no format": {"format": "gone"},
    "a field more": {"colour": "red"},
    "an unknown kind": {"kind": "magic"},
    "a kind that is a file of the folder": {"kind": "_sources"},
    "a kind out of the folder": {"kind": "..low_rank"},
    "a kind that is no text": {"kind": ["low_rank"]},
    "another kind": {"kind": "codebook"},
    "settings that are no object": {"settings": []},
    "a setting less": {"settings": {"invocation": [3, 4]}},
    "a setting more": {"settings": {"scale": 0.7, "invocation": [3, 4], "colour": "red"}},
    "a scale that is no number": {"settings": {"scale": "0.7", "invocation": [3, 4]}},
    "a scale without end": {"settings": {"scale": 1e999, "invocation": [3, 4]}},
    "a scale that is a list": {"settings": {"scale": [0.7], "invocation": [3, 4]}},
    "a scale of a thousand digits": {"settings": {"scale": 10**1000, "invocation": [3, 4]}},
    "an invocation that is a text": {"settings": {"scale": 0.7, "invocation": "34"}},
    "an invocation of texts": {"settings": {"scale": 0.7, "invocation": ["3"]}},
    "an invocation below zero": {"settings": {"scale": 0.7, "invocation": [-3]}},
    "an invocation without end": {"settings": {"scale": 0.7, "invocation": [3] * 1001}},
    "an invocation that is a number": {"settings": {"scale": 0.7, "invocation": 3}},
}


@pytest.mark.parametrize("lie", LIES)
def test_notes_that_cannot_be_true_are_refused_though_the_digest_is_right(lie):
    with pytest.raises(ArchiveError):
        resealed(with_notes(**LIES[lie]))


def test_the_notes_as_they_are_can_be_read():
    assert resealed(with_notes()).adapter.digest == ADAPTER.digest


def test_tensors_that_are_missing_or_unknown_or_of_another_shape_are_refused():
    tensors = load(DATA)
    for changed in (
        {"layers.0.q.up": tensors["layers.0.q.up"]},
        {**tensors, "more": torch.ones(1)},
        {**tensors, "layers.0.q.up": torch.ones(6, 3)},
        {**tensors, "layers.0.q.up": torch.ones(12)},
        {},
    ):
        with pytest.raises(ArchiveError, match="low_rank"):
            resealed(save(changed, {METADATA_KEY: notes()}))


def test_other_notes_beside_ours_are_refused():
    for metadata in (None, {"format": "pt"}, {METADATA_KEY: notes(), "more": "x"}, {METADATA_KEY: '{"format":1'}):
        with pytest.raises(ArchiveError):
            resealed(save(load(DATA), metadata))


def test_an_unknown_kind_lists_the_known_ones():
    assert method_of("low_rank") is LowRank
    with pytest.raises(UnknownMethodError, match="low_rank"):
        method_of("magic")
