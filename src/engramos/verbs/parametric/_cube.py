"""What a parametric cube says of itself, told without any tensor library."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engramos.cube import Form, MemCube, ParametricPayload, State
from engramos.errors import InvalidInputError

STATES = ("generated", "activated", "archived", "frozen")
ACTIVE = (State.ACTIVATED, State.FROZEN)


@dataclass(frozen=True, slots=True)
class FactRef:
    """A fact that is in an adapter: told by its digest and its sources, never by its words."""

    fact_id: str
    sources: tuple[tuple[str, int], ...]
    """Cube ids and versions that state it."""
    exposures: int = 1
    """How many times it was written."""
    written_at: int = 0
    """The number of writes of this memory when it was written last."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        sources = [list(pair) for pair in self.sources]
        return {"id": self.fact_id, "sources": sources, "exposures": self.exposures, "written_at": self.written_at}

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> "FactRef":
        """Return what `to_json` wrote."""
        sources = tuple((str(cube_id), int(version)) for cube_id, version in table["sources"])
        return cls(str(table["id"]), sources, int(table.get("exposures", 1)), int(table.get("written_at", 0)))


def payload_of(cube: MemCube) -> ParametricPayload:
    """Return the payload of a parametric cube.

    Raises:
        InvalidInputError: if the cube is none.
    """
    if cube.header.form is not Form.PARAMETRIC or not isinstance(cube.payload, ParametricPayload):
        raise InvalidInputError(f"cube {cube.id!r} is {cube.header.form}: give the id of an adapter, see 'adapters'")
    return cube.payload


def refs_of(cube: MemCube) -> tuple[FactRef, ...]:
    """Return the facts that are in a parametric cube."""
    return tuple(FactRef.of(one) for one in payload_of(cube).attributes.get("facts", ()))


def names_of(cube: MemCube) -> tuple[str, ...]:
    """Return the subjects and aliases by which a parametric cube is found."""
    return tuple(payload_of(cube).attributes.get("names", ()))


def is_always_on(cube: MemCube) -> bool:
    """Return whether a parametric cube acts on everything, and is not chosen by a router."""
    return bool(payload_of(cube).attributes.get("is_always_on", False))


def is_learnt(cube: MemCube) -> bool:
    """Return whether `learn` has written a parametric cube; its header tells of its newest version alone."""
    return payload_of(cube).attributes.get("verb") == "learn"


def replaced_by(cube: MemCube) -> tuple[str, ...]:
    """Return the ids of the cubes that a parametric cube has taken the place of."""
    return tuple(payload_of(cube).attributes.get("replaces", ()))
