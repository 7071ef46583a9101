"""How the keys of a module are spread over general text, and what is made of it, kept in memory."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engramos.errors import ModelError
from engramos.parametric.editors._values import Watch, table
from engramos.parametric.model import BaseModel

TOKENS_A_PASS = 1024
"""Tokens that are read together."""
TOKENS_A_ROW = 128
"""Longer texts are cut."""
MOST_BYTES = 512 * 2**20
"""Of matrices that stay in memory: 28 of layers that read 1,536 features, 2 of 5,632, none of more than 8,192."""


@dataclass(slots=True, eq=False)
class Kept:
    """Matrices that stay in memory; beyond so many bytes, the least recently used goes first."""

    most_bytes: int = MOST_BYTES
    _found: dict[str, Tensor] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """Return the matrix of this key, made if it is not there; one that alone is too large is not kept."""
        with self._turn:
            found = self._found.get(key)
        # not made under the lock: it takes seconds, and two that make the same come to the same
        found = make() if found is None else found
        with self._turn:
            self._found.pop(key, None)
            self._found[key] = found
            while self._num_bytes() > self.most_bytes:
                self._found.pop(next(iter(self._found)))
        return found

    @property
    def num_bytes(self) -> int:
        """What is kept now."""
        with self._turn:
            return self._num_bytes()

    def _num_bytes(self) -> int:
        return sum(one.numel() * one.element_size() for one in self._found.values())


KEPT = Kept()
"""Shared by all editors: an edit after another of the same model need not read the texts anew."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The keys of a layer's last linear module over general text."""

    base: BaseModel
    layer: int
    texts: tuple[str, ...]
    kept: Kept = KEPT

    def moment(self) -> Tensor:
        """Return the mean outer product of the keys: (features, features) float64.

        Not kept: it is asked for only where something else is made of it.

        Source: ROME, https://arxiv.org/abs/2202.05262, section 3.1, `C`.
        """
        return moment(self.base, self.layer, self.texts)

    def inverse(self, ridge: float) -> Tensor:
        """Return the inverse of the moment, `ridge` times the median of its diagonal added to the diagonal."""

        def make() -> Tensor:
            found = self.moment()
            found.diagonal().add_(ridge * float(found.diagonal().median()))
            factor, problem = torch.linalg.cholesky_ex(found)
            if int(problem):
                raise ModelError(f"general texts use too few directions of layer {self.layer}: give more texts")
            return torch.cholesky_inverse(factor)

        return self.kept.get(f"{self._key()} inverse {ridge}", make)

    def null_space(self, threshold: float) -> Tensor:
        """Return the projection on the directions in which the moment is below `threshold` medians of its diagonal.

        Source: AlphaEdit, https://arxiv.org/abs/2410.02355, section 3.2.
        Differs: the threshold is in units of the diagonal's median, so that it fits models of any scale; the mean would
        be the size of the few features that mark the start of a text.
        """

        def make() -> Tensor:
            found = self.moment()
            sizes, directions = torch.linalg.eigh(found)
            free = directions[:, sizes < threshold * float(found.diagonal().median())]
            return free @ free.T

        return self.kept.get(f"{self._key()} null space {threshold}", make)

    def _key(self) -> str:
        """Return what tells the keys apart: model, module and texts."""
        name = self.base.linear(self.layer, "down_proj")
        weight = self.base.module(name).weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        told = json.dumps([dict(self.base.fingerprint), name, list(self.texts)], sort_keys=True)
        return hashlib.sha256(told.encode() + hashlib.sha256(weight.tobytes()).digest()).hexdigest()


@contextmanager
def bare(base: BaseModel) -> Iterator[None]:
    """Take all that is held away for a block: so statistics do not depend on what was edited before.

    Nobody else's pass runs in between: `using` keeps the model to itself.
    """
    held = base.held
    with base.using(()):
        for one in held:
            base.release(one)
        try:
            yield
        finally:
            for one in held:
                base.hold(one)


@torch.no_grad()
def moment(base: BaseModel, layer: int, texts: Sequence[str]) -> Tensor:
    """Return the mean outer product of what the layer's last linear module reads: (features, features) float64.

    As the base model alone reads it, without what is held.
    """
    name = base.linear(layer, "down_proj")
    rows = sorted((base.tokens(text)[:TOKENS_A_ROW] for text in texts), key=len)
    total, count = None, 0
    for batch in _batches([row for row in rows if row]):
        watch = Watch((name,))
        with bare(base), base.using(watch):
            base.run(base.embedded(table(batch, base)), 0, layer + 1)
        read = torch.cat([watch.inputs[name][number, : len(row)] for number, row in enumerate(batch)]).double()
        total = read.T @ read if total is None else total.addmm_(read.T, read)
        count += len(read)
    assert total is not None
    return total / count


def _batches(rows: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    made: list[list[Sequence[int]]] = []
    for row in rows:
        if not made or (len(made[-1]) + 1) * len(row) > TOKENS_A_PASS:
            made.append([])
        made[-1].append(row)
    return made
