"""Every leaf of the tree of errors is raised by something public; those that need a model are raised by its method."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engramos import errors
from engramos.changes import Freeze
from engramos.cube import Grant, State
from engramos.lifecycle import move
from engramos.memory import MemoryOS
from engramos.scope import Scope
from engramos.vault.archive import ArchiveReader
from engramos.vault.blobs import BlobStore

ELSEWHERE = {
    "MissingExtraError": "tests/contract/test_embedders.py",
    "ModelTimeoutError": "tests/unit/embedders/test_openai_endpoint.py",
    "ModelRateLimitError": "tests/unit/embedders/test_openai_endpoint.py",
    "JobFailedError": "scheduler/worker.py",
    "ModelMismatchError": "tests/integration/test_kv_bad_input.py",
    "ContextLengthError": "tests/integration/test_kv_bad_input.py",
}
"""Leaves that no verb of a memory without a model server reaches, and where they are raised or used."""


def leaves(kind: type = errors.EngramosError) -> Iterator[type]:
    """Yield the classes of the tree that have no subclass."""
    below = [one for one in kind.__subclasses__() if one.__module__ == "engramos.errors"]
    if not below:
        yield kind
    for one in below:
        yield from leaves(one)


def frozen(memory: MemoryOS) -> None:
    """Freeze the first cube, and update it."""
    cube = memory.list()[0]
    memory._parts.commit([Freeze(move(cube, State.FROZEN, cube.header.created_at, actor="me"))], memory.scope)
    memory.update(cube.id, text="other", force=True)


def corrupt(memory: MemoryOS) -> None:
    """Damage a stored text, and read it."""
    cube = memory.list()[0]
    memory._parts.vault._writer._connection.execute("UPDATE versions SET text = 'other'")
    memory.get(cube.id)


def denied(memory: MemoryOS) -> None:
    """Grant a reader, who then writes."""
    cube = memory.list()[0]
    memory.update(cube.id, grants=[Grant("ben", "read")], expected_version=1)
    memory.update(cube.id, text="mine", force=True, scope=Scope("local", "ben"))


def newer(memory: MemoryOS) -> None:
    """Open a memory of a later schema."""
    memory._parts.vault._writer._connection.execute("PRAGMA user_version = 99")
    MemoryOS.open(memory.settings.folder, embedder="hashing")


def foreign(memory: MemoryOS) -> None:
    """Open a folder with another file."""
    folder = Path(memory.settings.folder).with_name("foreign")
    folder.mkdir()
    (folder / "vault.db").write_text("no database at all, but a text")
    MemoryOS.open(folder, embedder="hashing")


def twice(memory: MemoryOS) -> None:
    """Use a key for two contents."""
    memory.add("one", idempotency_key="key")
    memory.add("two", idempotency_key="key")


EXERCISES: dict[str, Callable[[MemoryOS], object]] = {
    "ConfigError": lambda memory: MemoryOS.open(memory.settings.folder, durability="never"),
    "UnknownMethodError": lambda memory: MemoryOS.open(memory.settings.folder, embedder="nothing"),
    "InvalidInputError": lambda memory: memory.add(""),
    "CubeNotFoundError": lambda memory: memory.get("nothing"),
    "VersionConflictError": lambda memory: memory.update(memory.list()[0].id, text="other", expected_version=7),
    "IdempotencyConflictError": twice,
    "IllegalTransitionError": lambda memory: memory.restore(memory.list()[0].id),
    "FrozenError": frozen,
    "AccessDeniedError": denied,
    "QuotaExceededError": lambda memory: memory.add("x" * 2_000_000),
    "EmbedderMismatchError": lambda memory: MemoryOS.open(
        memory.settings.folder, embedder="{ method = 'hashing', dims = 8 }"
    ),
    "ImportFailedError": lambda memory: memory.import_file("/nowhere.json"),
    "NewerSchemaError": newer,
    "ForeignStoreError": foreign,
    "ArchiveError": lambda memory: ArchiveReader(Path(__file__)),
    "BlobError": lambda memory: BlobStore(Path(__file__)).put("tenant", b"bytes"),
    "CorruptPayloadError": corrupt,
}


def test_every_leaf_has_an_exercise_or_a_place() -> None:
    known = {kind.__name__ for kind in leaves()}
    assert known == EXERCISES.keys() | ELSEWHERE.keys() | UNREACHED


UNREACHED = {"UnsupportedError"}
"""Raised where a text is asked of a cube that is no plaintext: such cubes are made by promotion."""


@pytest.mark.parametrize("name", EXERCISES)
def test_the_error_is_raised_and_says_what_to_do(memory: MemoryOS, name: str) -> None:
    memory.add("the first text", at=datetime(2024, 5, 1, tzinfo=UTC))
    kind = getattr(errors, name)
    with pytest.raises(kind) as raised:
        EXERCISES[name](memory)
    assert type(raised.value) is kind
    assert len(str(raised.value)) > 20
    assert str(raised.value) != kind.__doc__
