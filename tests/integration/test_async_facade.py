"""The asynchronous facade has the same verbs with the same signatures, and never blocks the event loop."""

import asyncio
import inspect
from pathlib import Path

import pytest

from engramos.async_memory import AsyncMemoryOS
from engramos.errors import CubeNotFoundError, StoreError
from engramos.memory import VERBS, MemoryOS


@pytest.mark.parametrize("name", VERBS)
def test_both_classes_have_the_verb_with_one_signature_and_one_docstring(name: str) -> None:
    plain, facade = getattr(MemoryOS, name), getattr(AsyncMemoryOS, name)
    assert inspect.signature(plain) == inspect.signature(facade)
    assert inspect.iscoroutinefunction(facade)
    assert facade.__doc__ == plain.__doc__


def test_the_verbs_are_those_that_are_public() -> None:
    public = {name for name, value in inspect.getmembers(MemoryOS, inspect.isfunction) if not name.startswith("_")}
    assert set(VERBS) == public
    assert inspect.signature(MemoryOS.open) == inspect.signature(AsyncMemoryOS.open)


def test_verbs_answer_as_their_plain_ones(folder: Path) -> None:
    async def use() -> tuple[list[str], list[str]]:
        async with await AsyncMemoryOS.open(folder, embedder="hashing") as memory:
            receipts = await asyncio.gather(*(memory.add(f"text number {n}") for n in range(50)))
            ids = [receipt.cube_ids[0] for receipt in receipts]
            await memory.update(ids[0], text="changed", expected_version=1)
            found = [hit.id for hit in await memory.search("changed")]
            assert (await memory.get(ids[0])).version == 2
            assert len(await memory.list()) == 50
            with pytest.raises(CubeNotFoundError):
                await memory.get("nothing")
            return ids, found

    ids, found = asyncio.run(use())
    assert found[0] == ids[0]
    with MemoryOS.open(folder, embedder="hashing") as memory:
        assert {cube.id for cube in memory.list()} == set(ids)


def test_the_event_loop_runs_on_while_a_verb_works(folder: Path) -> None:
    async def use() -> int:
        ticks = 0
        async with await AsyncMemoryOS.open(folder, embedder="hashing") as memory:
            working = asyncio.create_task(memory.add([f"text {n}" for n in range(3_000)]))
            while not working.done():
                ticks += 1
                await asyncio.sleep(0)
        return ticks

    assert asyncio.run(use()) > 10


def test_a_closed_memory_says_so(folder: Path) -> None:
    async def use() -> None:
        async with await AsyncMemoryOS.open(folder, embedder="none") as memory:
            await memory.add("text")
        with pytest.raises(StoreError, match="closed"):
            await memory.list()

    asyncio.run(use())
