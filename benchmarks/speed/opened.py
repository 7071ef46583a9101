"""A memory whose vectors are given, so that no embedder's time is in a number."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from benchmarks.speed.texts import Turn

from engramos import MemoryOS, config
from engramos.embedders.base import Embedder
from engramos.messages import Message
from engramos.scheduler.worker import run_due
from engramos.scope import Scope
from engramos.vault.sqlite.vault import SqliteVault
from engramos.verbs.parts import Parts


class Given(Embedder):
    """Gives the vectors that were set, in their order."""

    def __init__(self, dims: int) -> None:
        self._dims = dims
        self._rows = np.zeros((0, dims), dtype=np.float32)
        self._at = 0
        self.asked = np.zeros(dims, dtype=np.float32)
        """The next question's vector."""

    @property
    def fingerprint(self) -> str:
        """The same for all vectors of the benchmark."""
        return f"given(dims={self._dims})"

    @property
    def dims(self) -> int:
        """The length of one vector."""
        return self._dims

    def give(self, rows: np.ndarray) -> None:
        """Set the vectors of the next texts: (texts, dims), float32."""
        self._rows, self._at = rows, 0

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return the next vectors."""
        start, self._at = self._at, self._at + len(texts)
        return self._rows[start : self._at]

    def embed_query(self, text: str) -> np.ndarray:
        """Return the question's vector as it was set."""
        return self.asked


def open_memory(folder: Path, given: Given, tenant: str = "bench", user: str = "u0") -> MemoryOS:
    """Open a memory as `MemoryOS.open` does, with the given vectors in the place of an embedder."""
    settings = config.load({"folder": folder, "tenant": tenant, "user": user, "embedder": "hashing"}, environment={})
    parts = Parts(SqliteVault(folder, durability=settings.durability, driver=settings.driver), settings)
    parts.made_embedder = given
    parts.check_embedder()
    run_due(parts)
    return MemoryOS(parts)


def messages(turns: Sequence[Turn]) -> list[Message]:
    """Return turns as messages."""
    return [Message(turn.text, speaker=turn.speaker, session=turn.session, at=turn.at) for turn in turns]


def fill(memory: MemoryOS, given: Given, turns: Sequence[Turn], rows: np.ndarray, scope: Scope | None = None) -> None:
    """Add turns and their vectors in batches of 1,000."""
    for part in batches(len(turns)):
        given.give(rows[part])
        memory.add(messages(turns[part]), scope=scope)


def batches(num: int, size: int = 1_000) -> Iterator[slice]:
    """Yield the slices of `size` that `num` rows make."""
    for start in range(0, num, size):
        yield slice(start, min(num, start + size))
