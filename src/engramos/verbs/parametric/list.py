"""list: the adapters of a user."""

from dataclasses import dataclass

from engramos.cube import MemCube
from engramos.rows import Filter
from engramos.scope import Scope
from engramos.verbs.parametric._cube import STATES, names_of, payload_of, refs_of
from engramos.verbs.parts import Parts
from engramos.verbs.sources import Stale, changed_sources


@dataclass(frozen=True, slots=True)
class Listed:
    """An adapter, told without a model."""

    cube: MemCube
    stale: tuple[Stale, ...]
    """Its sources that have changed: where there is one, it is not attached."""

    @property
    def state(self) -> str:
        """`generated`, `activated`, `archived`, `frozen`, or `stale`."""
        return "stale" if self.stale and self.cube.header.state == "activated" else self.cube.header.state.value

    @property
    def num_facts(self) -> int:
        """How many facts are in it."""
        return len(refs_of(self.cube))

    @property
    def names(self) -> tuple[str, ...]:
        """By which it is found."""
        return names_of(self.cube)

    @property
    def why(self) -> tuple[str, ...]:
        """Why it is not active: what its probes found."""
        return tuple(payload_of(self.cube).attributes.get("why", ()))


def list_adapters(parts: Parts, scope: Scope) -> tuple[Listed, ...]:
    """Return all adapters of a user, of every base model, in the order of their making; no model is loaded."""
    cubes = parts.vault.select(scope, Filter(forms=("parametric",), states=STATES), limit=-1)
    return tuple(Listed(cube, changed_sources(parts, scope, cube)) for cube in cubes)
