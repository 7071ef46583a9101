"""What is wrong with a KV cube is found before it is used: a named error, and the prompt is read instead (P18)."""

import hashlib
import io
import json
import resource
import signal
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.integration.kv_models import QUESTION, TEXT, Posing, engine

from engramos import failpoints
from engramos.changes import Create
from engramos.clock import new_id
from engramos.cube import MemCube
from engramos.engines.base import Sampling
from engramos.errors import (
    ArchiveError,
    BlobError,
    ConfigError,
    ContextLengthError,
    CorruptPayloadError,
    CubeNotFoundError,
    EngramosError,
    InvalidInputError,
    ModelError,
    ModelMismatchError,
    QuotaExceededError,
    UnknownMethodError,
)
from engramos.kv import KVMemory
from engramos.memory import MemoryOS
from engramos.vault.blobs import tenant_key
from engramos.verbs.kv._parts import memory_errors

GREEDY = Sampling(max_tokens=4)
FIELDS = ("weights", "config", "tokenizer", "template", "dtype", "rope", "adapters")


@pytest.fixture
def kv(memory: MemoryOS) -> Iterator[KVMemory]:
    with memory.kv(engine(), codec="full") as opened:
        yield opened


def path_of(folder: Path, cube: MemCube) -> Path:
    """Return the file of a cube's blob."""
    return folder / "blobs" / tenant_key(cube.header.scope.tenant) / cube.digest[:2] / cube.digest


def cold(kv: KVMemory) -> list[int]:
    return kv.answer(TEXT + QUESTION, GREEDY, uses_kv=False).finish().produced


def rewritten(memory: MemoryOS, kv: KVMemory, cube: MemCube, data: bytes) -> str:
    """Store other bytes as a blob, and a cube that names them rightly: what only a look inside can find."""
    digest, num_bytes = memory._parts.vault.blobs.put("local", data)
    payload = replace(cube.payload, digest=digest, num_bytes=num_bytes)
    made = MemCube(replace(cube.header, cube_id=new_id()), payload)
    memory._parts.commit([Create(made)], memory.scope)
    return made.id


@pytest.mark.parametrize("field", FIELDS)
def test_p18_a_cube_of_a_model_that_differs_in_one_field_is_refused(memory: MemoryOS, field: str) -> None:
    with memory.kv(engine()) as kv:
        built = kv.build(TEXT)
    other = ["adapter-1"] if field == "adapters" else "another"
    with memory.kv(Posing(engine(), **{field: other})) as kv:
        for act in (kv.attach, lambda one: kv.prefetch([one]), lambda one: kv.fuse([one])):
            with pytest.raises(ModelMismatchError) as refused:
                act(built.id)
            assert refused.value.differing == (field,)
        assert kv.lookup(TEXT) is None
        found = kv.explain(TEXT)
        assert (found.reason, found.differences) == ("other fingerprint", (field,))
        assert kv.list()[0].differences == (field,)
        assert kv.answer(TEXT + QUESTION, GREEDY).finish().cached_tokens == 0


def test_p18_a_cube_of_another_tenant_is_refused(memory: MemoryOS, folder: Path) -> None:
    with memory.kv(engine()) as kv:
        built = kv.build(TEXT)
    with (
        MemoryOS.open(folder, embedder="hashing", tenant="other") as other,
        other.kv(engine()) as kv,
        pytest.raises(CubeNotFoundError),
    ):
        kv.attach(built.id)


def test_a_model_that_lies_about_itself_is_found_by_its_layers(memory: MemoryOS) -> None:
    with memory.kv(engine()) as kv:
        built = kv.build(TEXT)
    with memory.kv(Posing(engine("llama_mqa"), **dict(engine().fingerprint))) as kv:
        with pytest.raises(ModelMismatchError, match="number of heads"):
            kv.attach(built.id)
        said = kv.answer(TEXT + QUESTION, GREEDY).finish()
        assert said.cached_tokens == 0
        assert "number of heads" in said.notes[0]


@pytest.mark.parametrize("place", [0.0, 0.01, 0.5, 0.999])
def test_p18_a_flipped_byte_is_found_and_the_prompt_is_read_instead(kv: KVMemory, folder: Path, place: float) -> None:
    built = kv.build(TEXT)
    path = path_of(folder, built.cube)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    with pytest.raises(CorruptPayloadError):
        kv.attach(built.id)
    said = kv.answer(TEXT + QUESTION, GREEDY).finish()
    assert (said.cached_tokens, said.produced) == (0, cold(kv))
    assert built.id in said.notes[0]
    assert "damaged" in said.notes[0]
    assert kv.explain(TEXT).reason == "damaged"
    assert kv.list()[0].problem
    again = kv.build(TEXT)
    assert again.is_new, "what is damaged is built anew"
    assert kv.answer(TEXT + QUESTION, GREEDY).finish().cached_tokens == again.num_tokens


def test_every_flip_of_a_bit_is_found(kv: KVMemory, memory: MemoryOS) -> None:
    cube = kv.build("a short text").cube
    data = memory._parts.vault.blobs.read("local", cube.digest)
    blobs = memory._parts.vault.blobs
    path = path_of(memory.settings.folder, cube)
    for at in range(0, len(data), max(1, len(data) // 60)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        with pytest.raises(CorruptPayloadError):
            kv.attach(cube.id)
    path.write_bytes(data)
    assert kv.attach(cube.id).num_tokens == 12
    assert blobs.read("local", cube.digest) == data


@pytest.mark.parametrize("damage", ["truncated", "empty", "gone"])
def test_a_blob_that_is_cut_off_or_gone_is_found(kv: KVMemory, folder: Path, damage: str) -> None:
    built = kv.build(TEXT)
    path = path_of(folder, built.cube)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else -100])
    with pytest.raises((CorruptPayloadError, BlobError)):
        kv.attach(built.id)
    said = kv.answer(TEXT + QUESTION, GREEDY).finish()
    assert (said.cached_tokens, said.produced) == (0, cold(kv))
    assert len(said.notes) == 1


def with_header(data: bytes, change) -> bytes:
    """Return a safetensors file with another header."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _more_tokens(header: dict) -> None:
    about = json.loads(header["__metadata__"]["engramos_kv"])
    header["__metadata__"]["engramos_kv"] = json.dumps(about | {"num_tokens": about["num_tokens"] + 1})


def _other_cube(header: dict) -> None:
    about = json.loads(header["__metadata__"]["engramos_kv"])
    about["fingerprint"]["cube"] = "0" * 26
    header["__metadata__"]["engramos_kv"] = json.dumps(about)


def _overlap(header: dict) -> None:
    names = [name for name in header if name != "__metadata__"]
    header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]


LIES = {
    "more tokens than there are": _more_tokens,
    "another cube's": _other_cube,
    "tensors that overlap": _overlap,
    "an unknown dtype": lambda header: header["token_ids"].update(dtype="F4"),
    "a shape that overflows": lambda header: header["token_ids"].update(shape=[2**62, 2**62]),
    "no notes": lambda header: header.pop("__metadata__"),
}


@pytest.mark.parametrize("lie", LIES)
def test_p18_a_header_that_lies_is_refused(kv: KVMemory, memory: MemoryOS, lie: str) -> None:
    cube = kv.build(TEXT).cube
    data = memory._parts.vault.blobs.read("local", cube.digest)
    kv.drop(cube.id)
    forged = rewritten(memory, kv, cube, with_header(data, LIES[lie]))
    with pytest.raises((ArchiveError, CorruptPayloadError)):
        kv.attach(forged)
    said = kv.answer(TEXT + QUESTION, GREEDY).finish()
    assert (said.cached_tokens, said.produced) == (0, cold(kv))


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_p18_numbers_that_are_none_are_refused(kv: KVMemory, memory: MemoryOS, number: str) -> None:
    cube = kv.build(TEXT).cube
    data = bytearray(memory._parts.vault.blobs.read("local", cube.digest))
    kv.drop(cube.id)
    (length,) = struct.unpack("<Q", data[:8])
    start, _ = json.loads(data[8 : 8 + length])["values.1.full"]["data_offsets"]
    at = 8 + length + start
    data[at : at + 4] = struct.pack("<f", float(number))
    forged = rewritten(memory, kv, cube, bytes(data))
    with pytest.raises(ArchiveError, match="NaN or infinite"):
        kv.attach(forged)
    assert kv.answer(TEXT + QUESTION, GREEDY).finish().cached_tokens == 0


def test_a_blob_that_is_no_safetensors_file_is_refused(kv: KVMemory, memory: MemoryOS) -> None:
    cube = kv.build(TEXT).cube
    forged = rewritten(memory, kv, cube, b"not a safetensors file at all")
    with pytest.raises(ArchiveError):
        kv.attach(forged)


@pytest.mark.parametrize("name", ["ram_bytes", "disk_bytes"])
@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_of_zero_or_less_is_refused(memory: MemoryOS, name: str, budget: int) -> None:
    with pytest.raises(ConfigError, match=r"give 1 or more"):
        memory.kv(engine(), **{name: budget})


def test_a_budget_larger_than_anything_is_no_limit(memory: MemoryOS) -> None:
    with memory.kv(engine(), ram_bytes=2**60, disk_bytes=2**60) as kv:
        kv.attach(kv.build(TEXT).id)


def test_a_cube_larger_than_the_disk_budget_is_refused_and_the_answer_comes(memory: MemoryOS, folder: Path) -> None:
    with memory.kv(engine(), codec="full", disk_bytes=1_000) as kv:
        with pytest.raises(QuotaExceededError):
            kv.build(TEXT)
        said = kv.answer(TEXT + QUESTION, GREEDY, stores=True).finish()
        assert said.produced == cold(kv)
        assert "not stored" in said.notes[0]
        assert kv.list() == []
    assert not [path for path in (folder / "blobs").rglob("*") if path.is_file()]


def test_a_cube_larger_than_memory_is_served_and_not_kept(memory: MemoryOS) -> None:
    with memory.kv(engine(), ram_bytes=1_000) as kv:
        built = kv.build(TEXT)
        assert kv.answer(TEXT + QUESTION, GREEDY).finish().cached_tokens == built.num_tokens
        assert kv.ram_bytes_used == 0


def test_a_prompt_longer_than_the_window_is_refused_before_anything_is_read(kv: KVMemory) -> None:
    ids = [1] * (kv.engine.max_tokens + 1)
    for act in (kv.answer, lambda one: kv.build(token_ids=one), kv.conversation().answer):
        with pytest.raises(ContextLengthError):
            act(ids)
    assert kv.list() == []


@pytest.mark.parametrize("prompt", ["", [], [-1], [1.5], [True], [2**40], [{}]])
def test_a_prompt_that_holds_no_tokens_is_refused(kv: KVMemory, prompt) -> None:
    for act in (kv.answer, kv.lookup, kv.explain):
        with pytest.raises(EngramosError):
            act(prompt)


def test_what_is_asked_wrongly_is_refused_with_a_next_step(kv: KVMemory, memory: MemoryOS) -> None:
    (text,) = memory.add("a text").cube_ids
    cube = kv.build(TEXT)
    for act in (
        kv.build,
        kv.promote,
        lambda: kv.build("a", token_ids=[1]),
        lambda: kv.promote([text], question="a text"),
        lambda: kv.promote([cube.id]),
        lambda: kv.promote(question="nothing like it at all zzz", budget_tokens=0),
        lambda: kv.attach(text),
        lambda: kv.drop(text),
        lambda: kv.fuse([]),
        lambda: kv.context("a text", form="weights"),
    ):
        with pytest.raises(InvalidInputError):
            act()
    for act in (
        lambda: kv.build("b", codec="zip"),
        lambda: kv.answer("b", fusion="glue"),
        lambda: kv.fuse(["x"], fusion=""),
    ):
        with pytest.raises((UnknownMethodError, ConfigError)):
            act()
    with pytest.raises(UnknownMethodError):
        memory.kv(engine(), codec="zip")


def test_a_full_disk_while_storing_leaves_the_answer_and_a_sound_store(kv: KVMemory, memory: MemoryOS) -> None:
    kept = kv.build("kept " + TEXT)
    wanted = cold(kv)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        with pytest.raises(BlobError):
            kv.build(TEXT)
        said = kv.answer(TEXT + QUESTION, GREEDY, stores=True).finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert said.produced == wanted
    assert said.stored_id is None
    assert "not stored" in said.notes[0]
    assert [one.cube.id for one in kv.list()] == [kept.id]
    assert memory.verify().findings == ()
    assert not list((memory.settings.folder / "blobs").rglob(".new-*"))
    assert kv.build(TEXT).is_new


def test_a_database_that_refuses_leaves_no_blob_behind(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="hashing") as memory, memory.kv(engine()) as kv:
        kv.build("kept " + TEXT)
        failpoints.arm("before_commit:raise")
        with pytest.raises(EngramosError, match="before_commit"):
            kv.build(TEXT)
        failpoints.arm(None)
        assert len([path for path in (folder / "blobs").rglob("*") if path.is_file()]) == 1
        assert len(kv.list()) == 1
        assert memory.verify().findings == ()


def test_memory_that_runs_out_is_a_named_error() -> None:
    with pytest.raises(ModelError, match="no memory is left"), memory_errors("reading a book"):
        torch.empty(2**55, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="size"), memory_errors("reading a book"):
        _ = torch.zeros(2) + torch.zeros(3)


def test_the_stored_file_is_verified_as_a_whole(kv: KVMemory, memory: MemoryOS) -> None:
    cube = kv.build(TEXT).cube
    data = memory._parts.vault.blobs.read("local", cube.digest)
    assert hashlib.file_digest(io.BytesIO(data), "sha256").hexdigest() == cube.digest
    assert cube.payload.num_bytes == len(data)
