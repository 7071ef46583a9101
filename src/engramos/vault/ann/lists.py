"""Posting lists: the vectors around each of many centres lie together on disk, and a search reads the nearest lists."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engramos.errors import ConfigError, StoreError, translate
from engramos.plaintext.codes.int8 import Int8, products
from engramos.vault.ann.base import Ann, Opened

SEED = 7
ROUNDS = 8
SAMPLED = 40
"""Vectors a list from which its centre is found."""
BLOCK = 4_096
INT8 = Int8()


@dataclass(frozen=True, slots=True)
class Lists(Ann):
    """Centres in memory, lists on disk; vectors at a border stand in several lists; far lists are not read.

    Source: SPANN, https://arxiv.org/abs/2111.08566, sections 3.1 to 3.3.
    Differs: centres by k-means of a sample on the sphere, not by balanced hierarchical clustering, and found by a plain
    product; a vector's copies are not thinned by the relative neighbourhood rule; vectors in lists are int8.
    """

    lists_per_root: float = 2.0
    """Number of lists over the square root of the number of vectors, above 0."""
    most_copies: int = 4
    """In how many lists a vector may stand, 1 or more."""
    border: float = 0.05
    """A vector stands in every list whose centre is at most this share farther than the nearest, 0 or more."""
    most_read: int = 128
    """How many lists a search reads at most, 1 or more."""
    reach: float = 0.5
    """Lists whose centre is this share farther from the question than the nearest are not read, 0 or more."""

    def __post_init__(self) -> None:
        if self.lists_per_root <= 0 or self.most_copies < 1 or self.most_read < 1 or min(self.border, self.reach) < 0:
            raise ConfigError(
                f"lists needs lists_per_root above 0, counts of 1 or more, shares of 0 or more, not {self}"
            )

    def build(self, folder: Path, vectors: np.ndarray) -> None:
        """Write `centres`, `ends`, `places`, `scales` and `codes`, each a `.npy` file."""
        centres = _centres(vectors, max(1, min(len(vectors), int(self.lists_per_root * len(vectors) ** 0.5))))
        members, lists = self._members(vectors, centres)
        order = np.lexsort((members, lists))
        members, lists = members[order], lists[order]
        ends = np.cumsum(np.bincount(lists, minlength=len(centres)))
        with translate({OSError: StoreError}, f"writing posting lists into {folder}"):
            codes = np.lib.format.open_memmap(
                folder / "codes.npy", "w+", dtype=np.int8, shape=(len(members), vectors.shape[1])
            )
            scales = np.empty(len(members), dtype=np.float32)
            for start in range(0, len(members), BLOCK):
                part = slice(start, start + BLOCK)
                rows = vectors[members[part]].astype(np.float32)
                codes[part], scales[part] = INT8.encode(rows)
            codes.flush()
            for name, array in (("centres", centres), ("ends", ends), ("places", members), ("scales", scales)):
                np.save(folder / f"{name}.npy", array)

    def _members(self, vectors: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return places and the lists they stand in, both int32 and in step."""
        copies = min(self.most_copies, len(centres))
        places, lists = [], []
        for start in range(0, len(vectors), BLOCK):
            distances = _distances(vectors[start : start + BLOCK].astype(np.float32), centres)
            nearest = np.argpartition(distances, copies - 1, axis=1)[:, :copies]
            near = np.take_along_axis(distances, nearest, axis=1)
            row, column = np.nonzero(near <= (1 + self.border) ** 2 * near.min(axis=1, keepdims=True))
            places.append(row + start)
            lists.append(nearest[row, column])
        return np.concatenate(places).astype(np.int32), np.concatenate(lists).astype(np.int32)

    def open(self, folder: Path) -> Opened:
        """Map the lists; centres and places are read."""
        with translate({OSError: StoreError, ValueError: StoreError}, f"reading posting lists in {folder}"):
            arrays = {name: np.load(folder / f"{name}.npy") for name in ("centres", "ends", "places", "scales")}
            codes = np.load(folder / "codes.npy", mmap_mode="r")
        return OpenLists(self, codes, **arrays)


class OpenLists(Opened):
    """The lists of a folder."""

    def __init__(
        self,
        method: Lists,
        codes: np.ndarray,
        centres: np.ndarray,
        ends: np.ndarray,
        places: np.ndarray,
        scales: np.ndarray,
    ) -> None:
        self._method, self._codes, self._centres = method, codes, centres
        self._ends, self._places, self._scales = ends, places, scales
        self._squares = np.einsum("ij,ij->i", centres, centres)

    def find(self, vector: np.ndarray, num: int) -> np.ndarray:
        """Return the places with the greatest products among the lists that are read."""
        distances = 1 + self._squares - 2 * (self._centres @ vector)
        nearest = np.argsort(distances, kind="stable")[: self._method.most_read]
        reach = (1 + self._method.reach) ** 2 * distances[nearest[0]]
        starts = self._ends - np.diff(self._ends, prepend=0)
        places, scores, count = [], [], 0
        asked = INT8.encode(vector[None])[0][0] if INT8.is_ready else None
        for one in nearest:
            # the reach prunes only once there are enough to choose from
            if distances[one] > reach and count >= num:
                break
            part = slice(int(starts[one]), int(self._ends[one]))
            places.append(self._places[part])
            scores.append(self._score(part, vector, asked))
            count += part.stop - part.start
        found, best = np.concatenate(places), np.concatenate(scores)
        # a place stands in so many lists at most, so that enough are left when each is counted once
        most = num * self._method.most_copies
        if most < len(found):
            kept = np.argpartition(best, len(best) - most)[len(best) - most :]
            found, best = found[kept], best[kept]
        found, first = np.unique(found, return_index=True)
        if num < len(found):
            best = best[first]
            found = found[np.argpartition(best, len(best) - num)[len(best) - num :]]
        return found.astype(np.int64)

    def _score(self, part: slice, vector: np.ndarray, asked: np.ndarray | None) -> np.ndarray:
        """Return what is proportional to the products of a list's rows with the question; bytes where they are fast."""
        codes, scales = self._codes[part], self._scales[part]
        if asked is None:
            return (codes.astype(np.float32) @ vector) * scales
        return products(codes, asked) * scales

    def close(self) -> None:
        """Let go of the mapped file."""
        self._codes = np.zeros((0, 0), dtype=np.int8)


def _centres(vectors: np.ndarray, num: int) -> np.ndarray:
    """Return the means of `num` clusters of a sample, float32, shape (num, dims)."""
    random = np.random.default_rng(SEED)
    size = min(len(vectors), SAMPLED * num)
    sample = vectors[np.sort(random.choice(len(vectors), size, replace=False))].astype(np.float32)
    centres = sample[random.choice(size, num, replace=False)]
    for _ in range(ROUNDS):
        nearest = np.concatenate(
            [_distances(sample[start : start + BLOCK], centres).argmin(axis=1) for start in range(0, size, BLOCK)]
        )
        order = np.argsort(nearest, kind="stable")
        counts = np.bincount(nearest, minlength=num)
        kept = np.flatnonzero(counts)
        starts = (np.cumsum(counts) - counts)[kept]
        centres[kept] = np.add.reduceat(sample[order], starts, axis=0) / counts[kept, None].astype(np.float32)
    return centres


def _distances(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return squared distances, 0 or more, shape (rows, centres); rows have length 1."""
    found = rows @ centres.T
    found *= -2
    found += 1 + np.einsum("ij,ij->i", centres, centres)
    return np.maximum(found, 0, out=found)
