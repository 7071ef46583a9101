"""P12: a tenant can never see, count or name another's data, and users of a tenant only what was granted."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engramos.cube import Grant
from engramos.errors import AccessDeniedError, CubeNotFoundError, EngramosError
from engramos.memory import VERBS, MemoryOS
from engramos.messages import Document, Message
from engramos.rows import Filter
from engramos.scope import Scope

A = Scope("alpha", "ana")
B = Scope("beta", "ana")
COLLEAGUE = Scope("alpha", "ben")
CANARY = "zanzibarquartz"
UNKNOWN = "0" * 26


@pytest.fixture
def shared(folder: Path) -> Iterator[MemoryOS]:
    """A memory in which tenant A has canaries everywhere, and B has one harmless cube."""
    with MemoryOS.open(folder, embedder="hashing") as memory:
        message = Message(f"the {CANARY} text", speaker=f"{CANARY}-speaker", labels=(f"{CANARY}-label",))
        memory.add(message, session=f"{CANARY}-session", idempotency_key=f"{CANARY}-key", scope=A)
        memory.add(Document(f"a {CANARY} document", f"{CANARY}-title", document_id=f"{CANARY}-ref"), scope=A)
        (cube_id,) = memory.add(f"old {CANARY} version", scope=A).cube_ids
        memory.update(cube_id, text="a new version", expected_version=1, scope=A)
        (gone,) = memory.add(f"{CANARY} to be erased", scope=A).cube_ids
        memory.forget(gone, act="erase", scope=A)
        memory.add("my own harmless text", scope=B)
        yield memory


def canary_ids(memory: MemoryOS) -> list[str]:
    """Return the ids of A's cubes, the erased one too."""
    erased = [one.cube_id for one in memory._parts.vault.tombstones(A)]
    return [cube.id for cube in memory.list(scope=A)] + erased


def asks(memory: MemoryOS, cube_id: str, tmp: Path) -> dict[str, Callable[[], Any]]:
    """Return one call of each verb as B, with a cube id where the verb takes one."""
    return {
        "add": lambda: memory.add(f"{CANARY} key", idempotency_key=f"{CANARY}-key", dry_run=True, scope=B),
        "import_file": lambda: memory.import_file(tmp, scope=B),
        "search": lambda: memory.search(f"the {CANARY} text document", limit=1_000, scope=B),
        "context": lambda: memory.context(f"the {CANARY} text", budget_tokens=10_000, scope=B),
        "get": lambda: memory.get(cube_id, scope=B),
        "list": lambda: memory.list(limit=10_000, scope=B),
        "history": lambda: memory.history(cube_id, scope=B),
        "update": lambda: memory.update(cube_id, text="mine now", force=True, scope=B),
        "forget": lambda: memory.forget(cube_id, act="erase", scope=B),
        "restore": lambda: memory.restore(cube_id, version=1, scope=B),
        "explain": lambda: memory.explain(cube_id, CANARY, scope=B),
        "stats": lambda: memory.stats(scope=B),
        "consolidate": lambda: memory.consolidate(scope=B),
    }


WITH_ID = ("get", "history", "update", "forget", "restore", "explain")
OF_THE_FOLDER = {"backup", "reembed", "run_jobs", "close", "verify", "journal", "dump", "load"}
"""Verbs of whoever owns the folder, with no scope or, as dump, tested in a file of their own."""

WITH_A_MODEL = {"kv", "parametric"}
"""Doors to verbs that need a model: what they show to whom is tested in test_kv_memory and test_parametric_tenants."""


def test_every_verb_is_asked(shared: MemoryOS, tmp_path: Path) -> None:
    assert set(VERBS) <= asks(shared, UNKNOWN, tmp_path).keys() | OF_THE_FOLDER | WITH_A_MODEL


def test_no_verb_shows_another_tenants_canary(shared: MemoryOS, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing special")
    for cube_id in canary_ids(shared):
        for name, ask in asks(shared, cube_id, tmp_path / "notes.txt").items():
            try:
                answer = repr(ask())
            except EngramosError as error:
                answer = str(error)
            own = answer.replace(f"idempotency key '{CANARY}-key'", "")
            assert CANARY not in own, name
            assert name in WITH_ID or cube_id not in answer, name


@pytest.mark.parametrize("name", WITH_ID)
def test_an_unknown_id_and_a_foreign_one_give_the_same_error(shared: MemoryOS, tmp_path: Path, name: str) -> None:
    def refusal(cube_id: str) -> tuple[type, str]:
        with pytest.raises(CubeNotFoundError) as refused:
            asks(shared, cube_id, tmp_path)[name]()
        return type(refused.value), str(refused.value).replace(cube_id, "ID")

    unknown = refusal(UNKNOWN)
    assert all(refusal(cube_id) == unknown for cube_id in canary_ids(shared))


def test_nothing_of_a_changed_after_all_that_b_tried(shared: MemoryOS, tmp_path: Path) -> None:
    before = [shared.history(cube_id, scope=A) for cube_id in canary_ids(shared)]
    numbers = shared.stats(scope=A)
    for cube_id in canary_ids(shared):
        for name in WITH_ID:
            with pytest.raises(CubeNotFoundError):
                asks(shared, cube_id, tmp_path)[name]()
    assert [shared.history(cube_id, scope=A) for cube_id in canary_ids(shared)] == before
    assert shared.stats(scope=A) == {**numbers, "folder_bytes": shared.stats(scope=A)["folder_bytes"]}


def test_b_counts_only_its_own(shared: MemoryOS) -> None:
    numbers = shared.stats(scope=B)
    assert (numbers["cubes"], numbers["versions"], numbers["searched"], numbers["journal_rows"]) == (1, 1, 1, 1)
    assert [cube.text for cube in shared.list(scope=B)] == ["my own harmless text"]


@pytest.mark.parametrize(
    "where",
    [
        Filter(match=CANARY),
        Filter(match=f"harmless) OR ({CANARY}"),
        Filter(match=f'"{CANARY}" OR harmless'),
        Filter(match=f"owner : o* OR {CANARY}"),
        Filter(match=f"{CANARY}*"),
        Filter(speaker=f"{CANARY}-speaker"),
        Filter(label=f"{CANARY}-label"),
        Filter(source_ref=f"{CANARY}-ref#0"),
    ],
)
def test_no_filter_reaches_another_tenant(shared: MemoryOS, where: Filter) -> None:
    for ask in (
        lambda: shared.list(where, scope=B),
        lambda: shared.search("text version document", where=where, scope=B),
    ):
        try:
            found = repr(ask())
        except EngramosError:
            continue
        assert CANARY not in found


def test_the_same_key_of_two_tenants_is_two_keys(shared: MemoryOS) -> None:
    receipt = shared.add("text of b", idempotency_key=f"{CANARY}-key", scope=B)
    assert not receipt.is_replay
    assert shared.get(receipt.cube_ids[0], scope=B).text == "text of b"


def test_uses_of_a_foreign_id_are_not_counted(shared: MemoryOS) -> None:
    (cube_id, *_) = canary_ids(shared)
    shared._parts.note_uses("beta", [cube_id])
    shared._parts.flush_uses()
    assert shared.explain(cube_id, scope=A).usage.uses == 0


def test_users_of_a_tenant_see_only_what_was_granted(shared: MemoryOS) -> None:
    (cube_id,) = shared.add("for a colleague", scope=A).cube_ids
    with pytest.raises(CubeNotFoundError):
        shared.get(cube_id, scope=COLLEAGUE)
    shared.update(cube_id, grants=(Grant("ben", "read"),), expected_version=1, scope=A)
    assert shared.get(cube_id, scope=COLLEAGUE).text == "for a colleague"
    with pytest.raises(CubeNotFoundError):
        shared.get(cube_id, version=1, scope=COLLEAGUE)
    with pytest.raises(AccessDeniedError):
        shared.update(cube_id, text="changed", expected_version=2, scope=COLLEAGUE)
    with pytest.raises(AccessDeniedError):
        shared.forget(cube_id, act="erase", scope=COLLEAGUE)
    shared.update(cube_id, grants=(Grant("ben", "write"),), expected_version=2, scope=A)
    assert shared.update(cube_id, text="changed", expected_version=3, scope=COLLEAGUE).header.actor == "ben"
    shared.update(cube_id, grants=(), expected_version=4, scope=A)
    with pytest.raises(CubeNotFoundError):
        shared.get(cube_id, scope=COLLEAGUE)
    assert shared.search("colleague changed", scope=COLLEAGUE) == []
