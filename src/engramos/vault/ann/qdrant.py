"""A graph by qdrant-edge, Qdrant within the process."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from engramos.errors import ConfigError, EngramosError, MissingExtraError, StoreError, translate
from engramos.vault.ann.base import Ann, Opened

BATCH = 1_000
FAILURES: Mapping[type[Exception], type[EngramosError]] = {Exception: StoreError}
"""The library raises nothing more exact than Exception."""


@dataclass(frozen=True, slots=True)
class Qdrant(Ann):
    """HNSW graph in one segment, built by one thread; its write-ahead log is off, for the whole can be built anew.

    Source: Malkov and Yashunin, https://arxiv.org/abs/1603.09320, as in https://pypi.org/project/qdrant-edge-py/ 0.9.
    """

    m: int = 16
    """Edges a node, 2 or more."""
    ef_construct: int = 100
    """Candidates while building, 1 or more."""
    ef: int = 128
    """Candidates while searching, 1 or more."""

    def __post_init__(self) -> None:
        if self.m < 2 or min(self.ef_construct, self.ef) < 1:
            raise ConfigError(f"qdrant needs m of 2 or more, ef and ef_construct of 1 or more, not {self}")

    def build(self, folder: Path, vectors: np.ndarray) -> None:
        """Write a shard whose points are numbered by place."""
        edge = _library()
        config = edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(
                vectors.shape[1], edge.Distance.Dot, datatype=edge.VectorStorageDatatype.Float16
            ),
            hnsw_config=edge.HnswIndexConfig(self.m, self.ef_construct, 1, 1),
            optimizers=edge.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1),
            max_search_threads=1,
            wal_enabled=False,
        )
        with translate(FAILURES, f"writing a qdrant shard into {folder}"):
            shard = edge.EdgeShard.create(str(folder), config)
            for start in range(0, len(vectors), BATCH):
                rows = vectors[start : start + BATCH].astype(np.float32).tolist()
                points = [edge.Point(start + at, row) for at, row in enumerate(rows)]
                shard.update(edge.UpdateOperation.upsert_points(points))
            shard.optimize()
            shard.flush()
            shard.close()
            # the first loading completes the configuration on disk; from then on no file changes
            edge.EdgeShard.load(str(folder)).close()

    def open(self, folder: Path) -> Opened:
        """Load the shard."""
        edge = _library()
        with translate(FAILURES, f"opening the qdrant shard in {folder}"):
            return OpenQdrant(edge, edge.EdgeShard.load(str(folder)), self.ef)


class OpenQdrant(Opened):
    """A loaded shard."""

    def __init__(self, edge: ModuleType, shard: Any, ef: int) -> None:
        self._edge, self._shard, self._ef = edge, shard, ef

    def find(self, vector: np.ndarray, num: int) -> np.ndarray:
        """Return the places that the graph leads to."""
        edge = self._edge
        with translate(FAILURES, "searching a qdrant shard"):
            found = self._shard.search(
                edge.SearchRequest(
                    query=edge.Query.Nearest(vector.tolist()), limit=num, params=edge.SearchParams(hnsw_ef=self._ef)
                )
            )
        return np.array([point.id for point in found], dtype=np.int64)

    def close(self) -> None:
        """Close the shard."""
        with translate(FAILURES, "closing a qdrant shard"):
            self._shard.close()


def _library() -> ModuleType:
    try:
        import qdrant_edge
    except ImportError as error:
        raise MissingExtraError("qdrant-edge-py", "qdrant") from error
    return qdrant_edge
