"""P21 for KV cubes: what is erased leaves no number behind, on disk or in memory."""

import gc
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.integration.kv_models import TEXT, engine

from engramos.changes import Erase
from engramos.errors import AccessDeniedError, CubeNotFoundError
from engramos.kv import KVMemory
from engramos.memory import MemoryOS
from engramos.testing import FakeClock

CANARY = "quokkatext lives in the drawer"


def numbers_of(kv: KVMemory, cube_id: str) -> bytes:
    """Return 32 numbers in the middle of a cube's last keys, as a file of codec `full` holds them."""
    cache = kv.attach(cube_id)
    keys = cache.memory_layers[-1].stretches[0].keys[0, -3:].contiguous().numpy()
    return np.ascontiguousarray(keys).tobytes()[:128]


def files_with(folder: Path, wanted: bytes) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and wanted in path.read_bytes()]


@pytest.mark.parametrize("way", ["by id", "by subject"])
def test_erasing_a_source_erases_the_keys_and_values_made_of_it(folder: Path, way: str) -> None:
    with MemoryOS.open(folder, embedder="hashing") as memory, memory.kv(engine(), codec="full") as kv:
        kept = kv.build(TEXT)
        other = memory.add("another text").cube_ids
        (source,) = memory.add(CANARY).cube_ids
        built = kv.promote([*other, source])
        numbers, tokens = numbers_of(kv, built.id), built.cube.payload.token_ids
        gc.collect()
        assert files_with(folder, numbers), "the canary is not where it is looked for"
        assert kv.ram_bytes_used > 0
        done = (
            memory.forget(source, act="erase") if way == "by id" else memory.forget(subject="quokkatext", act="erase")
        )
        assert set(done.cube_ids) == {source, built.id}
        assert done.blobs == (built.cube.digest,)
        assert done.is_scrubbed
        assert kv.ram_bytes_used == 0, "the tensors in memory are gone with the commit"
        assert files_with(folder, numbers) == []
        assert files_with(folder, b"quokkatext") == []
        assert files_with(folder, str(list(tokens))[1:-1].replace(" ", "").encode()) == []
        assert kv.lookup(tokens) is None
        assert kv.explain(tokens).reason in ("absent", "partial")
        with pytest.raises(CubeNotFoundError):
            kv.attach(built.id)
        assert [one.cube.id for one in kv.list()] == [kept.id]
        assert memory.verify().findings == ()
    assert files_with(folder, numbers) == []


def test_an_erasure_elsewhere_empties_this_memory_at_its_next_use(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="hashing") as memory, memory.kv(engine(), codec="full") as kv:
        (source,) = memory.add(CANARY).cube_ids
        built = kv.promote([source])
        kv.attach(built.id)
        gc.collect()
        assert kv.ram_bytes_used > 0
        with MemoryOS.open(folder, embedder="hashing") as other:
            other.forget(source, act="erase")
        with pytest.raises(CubeNotFoundError):
            kv.attach(built.id)
        assert kv.ram_bytes_used == 0
        assert kv.list() == []


def test_dropping_a_cube_leaves_its_sources_and_gives_a_receipt(memory: MemoryOS, folder: Path) -> None:
    with memory.kv(engine(), codec="full") as kv:
        (source,) = memory.add(CANARY).cube_ids
        built = kv.promote([source])
        numbers = numbers_of(kv, built.id)
        planned = kv.drop(built.id, dry_run=True)
        assert planned.cube_ids == (built.id,)
        assert files_with(folder, numbers)
        done = kv.drop(built.id, reason="no longer wanted")
        assert (done.cube_ids, done.blobs) == ((built.id,), (built.cube.digest,))
        assert files_with(folder, numbers) == []
        assert memory.get(source).text == CANARY
        assert memory.history(built.id).journal[-1].reason == "no longer wanted"


def test_a_promoted_cube_ends_with_the_first_of_its_sources(folder: Path) -> None:
    with (
        FakeClock() as clock,
        MemoryOS.open(folder, embedder="hashing") as memory,
        memory.kv(engine(), codec="full") as kv,
    ):
        (source,) = memory.add(CANARY, keep_for=timedelta(days=2)).cube_ids
        built = kv.promote([source, *memory.add("kept for ever").cube_ids])
        numbers = numbers_of(kv, built.id)
        clock.advance(days=2, seconds=2)
        assert kv.lookup(built.cube.payload.token_ids) is None
        memory.run_jobs()
        assert files_with(folder, numbers) == []
        assert kv.list() == []


def test_a_cube_whose_source_is_erased_while_it_is_built_does_not_stay(
    folder: Path, memory: MemoryOS, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = memory.add(CANARY).cube_ids
    with memory.kv(engine(), codec="full") as kv:
        put = memory._parts.vault.blobs.put

        def erase_then_put(*given):
            monkeypatch.undo()
            memory.forget(source, act="erase")
            return put(*given)

        monkeypatch.setattr(memory._parts.vault.blobs, "put", erase_then_put)
        with pytest.raises(CubeNotFoundError):
            kv.promote([source])
        assert kv.list() == []
        assert not [path for path in (folder / "blobs").rglob("*") if path.is_file()]
    assert memory.verify().findings == ()


def test_a_cube_under_legal_hold_is_not_dropped(memory: MemoryOS) -> None:
    with memory.kv(engine()) as kv:
        built = kv.build(TEXT)
        memory.update(built.id, is_held=True, expected_version=1)
        with pytest.raises(AccessDeniedError):
            kv.drop(built.id)
        memory.update(built.id, is_held=False, expected_version=2)
        kv.drop(built.id)


def test_the_receipt_of_another_commit_empties_memory_too(memory: MemoryOS) -> None:
    with memory.kv(engine()) as kv:
        built = kv.build(TEXT)
        kv.attach(built.id)
        gc.collect()
        memory._parts.commit([Erase(built.id, 1)], memory.scope)
        assert kv.ram_bytes_used == 0
