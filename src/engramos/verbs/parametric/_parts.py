"""What the verbs on parametric memory share."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from engramos.cube import MemCube
from engramos.embedders.base import Embedder
from engramos.errors import ModelError, ModelMismatchError
from engramos.parametric.adapter import Adapter
from engramos.parametric.adapters.gated_low_rank import GatedLowRank
from engramos.parametric.extractors import ROLE as EXTRACTORS
from engramos.parametric.facts import Fact
from engramos.parametric.model import BaseModel
from engramos.parametric.routers.base import Embed, Taught
from engramos.parametric.scan import Scan
from engramos.scope import Scope
from engramos.verbs.parametric._cube import payload_of, refs_of
from engramos.verbs.parametric._lessons import prepared
from engramos.verbs.parametric._shelf import AdapterShelf
from engramos.verbs.parts import Parts

if TYPE_CHECKING:
    from engramos.engines.transformers import Transformers

MOST_REASONS = 4
MOST_VECTORS = 20_000
"""Of questions, that are remembered."""
EXTRACTED_BY = ("statements", "exchanges")


@dataclass(frozen=True, slots=True)
class Ways:
    """How a parametric memory writes, chooses and judges; each method as `Role.parse` reads it."""

    writer: str = "lora"
    router: str = "cascade"
    profile: str = "gated"
    limits: Mapping[str, float] = field(default_factory=dict)
    """Bounds of the profile that are replaced, by metric."""
    trust_from: float = 0.5
    """Sources that are trusted less never train."""
    seed: int = 0
    scan: Scan = field(default_factory=Scan)
    """Bounds of the static scan."""


class QuestionVectors:
    """Vectors of questions, made once each while the adapters stay the same."""

    def __init__(self, embedder: Embedder, shelf: AdapterShelf) -> None:
        """Take the memory's embedder, and the shelf that remembers its vectors."""
        self._embedder, self._shelf = embedder, shelf

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts, 1 or more, each of length 1: (texts, dimensions) float32."""
        known = self._shelf.vectors
        if len(known) > MOST_VECTORS:
            known.clear()
        new = [text for text in dict.fromkeys(texts) if text not in known]
        made = dict(zip(new, np.asarray(self._embedder.embed(new), dtype=np.float32), strict=True)) if new else {}
        known |= made
        return np.stack([known[text] if text in known else made[text] for text in texts])


@dataclass(slots=True, eq=False)
class WeightParts:
    """An open memory, a base model, and the adapters that they have together."""

    parts: Parts
    engine: "Transformers"
    base: BaseModel
    scope: Scope
    ways: Ways
    shelf: AdapterShelf
    digest: str
    """Of the base model's weights in memory, when the memory was opened on it."""
    held: list[Adapter] = field(default_factory=list)
    """Edits of this memory that act on the model."""
    writing: threading.RLock = field(default_factory=threading.RLock)
    """Held while adapters are written: two threads must not both write the same facts."""
    _embed: "QuestionVectors | None" = None

    @property
    def table(self) -> dict[str, str]:
        """The base model's fingerprint, as cubes hold it."""
        return dict(self.base.fingerprint)

    def facts_in(self, cubes: Sequence[MemCube], *, takes_newest: bool = True) -> list[Fact]:
        """Return the facts that plaintext cubes state; of different answers the newest alone, or all."""
        made = [EXTRACTORS.make(name, takes_newest=takes_newest) for name in EXTRACTED_BY]
        return [fact for one in made for fact in one.extract(cubes)]

    def facts_of(self, cube: MemCube) -> tuple[Fact, ...]:
        """Return the facts that are in an adapter, read back from the sources that are still as they were."""
        wanted = {ref.fact_id for ref in refs_of(cube)}
        # in the order of their making, as an answer is read after its question
        versions = sorted({pair for ref in refs_of(cube) for pair in ref.sources})
        tenant = cube.header.scope.tenant
        found = [self.parts.vault.get(tenant, cube_id, version=version) for cube_id, version in versions]
        facts = self.facts_in([one for one in found if one is not None], takes_newest=False)
        return tuple({fact.id: fact for fact in facts if fact.id in wanted}.values())

    def questions_of(self, cube: MemCube) -> tuple[Taught, ...]:
        """Return what the facts in an adapter answer, in the wordings that were trained."""
        return taught_by(prepared(self.facts_of(cube)))

    @property
    def embed(self) -> Embed | None:
        """Makes vectors of questions by the memory's embedder; None where it has none."""
        if self.parts.embedder is None:
            return None
        if self._embed is None:
            self._embed = QuestionVectors(self.parts.embedder, self.shelf)
        return self._embed

    def scanned(self, adapter: Adapter) -> list[str]:
        """Return why an adapter's numbers speak against attaching it; the first few reasons, and how many more."""
        whole = adapter.ungated if isinstance(adapter, GatedLowRank) else adapter
        found = [f"static scan: {one.reason}" for one in self.ways.scan.run(whole, self.base)]
        return found if len(found) <= MOST_REASONS else [*found[:MOST_REASONS], f"and {len(found) - MOST_REASONS} more"]

    def read(self, cube_id: str, right: str = "read") -> MemCube:
        """Return a parametric cube that was made for this base model.

        Raises:
            CubeNotFoundError, AccessDeniedError: as `Parts.read`.
            InvalidInputError: if it is no parametric cube.
            ModelMismatchError: if it was made for another base model.
        """
        cube = self.parts.read(self.scope, cube_id, right)
        payload = payload_of(cube)
        check_base(f"adapter {cube_id!r}", payload.base_fingerprint, self.table)
        return cube


def taught_by(facts: Sequence[Fact]) -> tuple[Taught, ...]:
    """Return the questions by which a router finds facts."""
    return tuple(Taught(text, fact.names) for fact in facts for text in fact.questions)


def check_base(what: str, stored: Mapping[str, Any], table: Mapping[str, str]) -> None:
    """Refuse an adapter of another base model.

    Raises:
        ModelMismatchError: with the parts that differ.
    """
    differing = tuple(name for name in table if stored.get(name) != table[name])
    if differing:
        raise ModelMismatchError(what, differing)


@contextmanager
def untouched(weights: WeightParts, what: str) -> Iterator[None]:
    """Check after a block that not one bit of the base model has changed.

    Raises:
        ModelError: if one has.
    """
    yield
    if weights.base.digest() != weights.digest:
        raise ModelError(f"the base model's weights have changed during {what}: load the model anew, and report this")
