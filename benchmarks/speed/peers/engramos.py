"""engramos, measured just as its peers are."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmarks.speed.peers.base import Peer


class Store(Peer):
    """One user's memory, by the default plan."""

    package = "engramos"
    searches = "words, vectors, turns around, session, speaker, time (exact)"

    def __init__(self, folder: Path, known: Mapping[str, np.ndarray]) -> None:
        from benchmarks.speed.opened import Given, open_memory

        self._known = known
        self._given = Given(384)
        self._memory = open_memory(folder, self._given)

    def add(self, key: str, text: str) -> None:
        """Keep one text."""
        self._given.give(self._known[text][None])
        self._memory.add(text, session=f"session-{int(key) // 20}")

    def add_many(self, keys: Sequence[str], texts: Sequence[str]) -> None:
        """Keep many texts in one call."""
        from engramos.messages import Message

        self._given.give(np.stack([self._known[text] for text in texts]))
        self._memory.add(
            [Message(text, session=f"session-{int(key) // 20}") for key, text in zip(keys, texts, strict=True)]
        )

    def search(self, question: str) -> list[str]:
        """Return the 10 best texts."""
        self._given.asked = self._known[question]
        return [hit.text for hit in self._memory.search(question, limit=10)]
