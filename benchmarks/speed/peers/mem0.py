"""mem0 with `infer=False` and its default local store, qdrant in a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmarks.speed.peers.base import Peer


class Store(Peer):
    """Keeps messages word for word: no LLM is asked, so its key is never used."""

    package = "mem0ai"
    searches = "vectors (qdrant, local)"
    has_batch = False

    def __init__(self, folder: Path, known: Mapping[str, np.ndarray]) -> None:
        from mem0 import Memory
        from mem0.embeddings.base import EmbeddingBase

        lists = {text: row.tolist() for text, row in known.items()}

        class Known(EmbeddingBase):
            def embed(self, text: str, memory_action: str | None = None) -> list[float]:
                return lists[text]

            def embed_batch(self, texts: Sequence[str], memory_action: str | None = None) -> list[list[float]]:
                return [lists[text] for text in texts]

        place = {"path": str(folder / "qdrant"), "on_disk": True, "embedding_model_dims": 384}
        key = {"config": {"api_key": "unused"}}
        self._memory = Memory.from_config(
            {
                "vector_store": {"provider": "qdrant", "config": place},
                "llm": {"provider": "openai"} | key,
                "embedder": {"provider": "openai"} | key,
                "history_db_path": str(folder / "history.db"),
            }
        )
        self._memory.embedding_model = Known()

    def add(self, key: str, text: str) -> None:
        """Keep one text."""
        self._memory.add([{"role": "user", "content": text}], user_id="u0", infer=False)

    def search(self, question: str) -> list[str]:
        """Return the 10 best texts."""
        found = self._memory.search(question, filters={"user_id": "u0"}, top_k=10)
        return [one["memory"] for one in found["results"]]
