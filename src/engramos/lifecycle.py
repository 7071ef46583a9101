"""The lifecycle of a cube: its states, the one table of moves, and how a further version is made.

    generated -> activated <-> archived
    activated -> merged
    any -> expired (kept, hidden) -> activated
    activated, archived <-> frozen (may not change)
    any -> erased (gone; a tombstone stays): not a state, since nothing is left to have one

Source: MemOS, https://arxiv.org/abs/2507.03724 (memory lifecycle).
Differs: `expired` and erasure are ours, decision 0002.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from engramos.cube import MemCube, Payload, State
from engramos.errors import FrozenError, IllegalTransitionError

MOVES: dict[State, tuple[State, ...]] = {
    State.GENERATED: (State.ACTIVATED, State.ARCHIVED, State.EXPIRED),
    State.ACTIVATED: (State.ARCHIVED, State.MERGED, State.FROZEN, State.EXPIRED),
    State.ARCHIVED: (State.ACTIVATED, State.FROZEN, State.EXPIRED),
    State.MERGED: (State.ACTIVATED, State.EXPIRED),
    State.EXPIRED: (State.ACTIVATED,),
    State.FROZEN: (State.ACTIVATED,),
}


def may_move(state: State, wanted: State) -> bool:
    """Return whether a cube in `state` may go to `wanted`."""
    return wanted in MOVES[state]


def move(cube: MemCube, wanted: State, at: datetime, *, actor: str, **header: Any) -> MemCube:
    """Return the further version of `cube` that is in state `wanted`.

    Args:
        cube: the newest version.
        wanted: another state.
        at: now.
        actor: who asks.
        header: further fields of the header to set.

    Raises:
        FrozenError: if the cube is frozen and something else than its thaw is wanted.
        IllegalTransitionError: if the lifecycle has no such move.
    """
    if cube.header.state is State.FROZEN and wanted is not State.ACTIVATED:
        raise FrozenError(cube.id)
    if not may_move(cube.header.state, wanted):
        raise IllegalTransitionError(cube.id, cube.header.state, wanted)
    expired_at = at if wanted is State.EXPIRED else None
    return _next(cube, at, cube.payload, actor=actor, state=wanted, expired_at=expired_at, **header)


def revise(cube: MemCube, at: datetime, *, actor: str, payload: Payload | None = None, **header: Any) -> MemCube:
    """Return the further version of `cube` with another payload, or other fields of its header.

    Raises:
        FrozenError: if the cube is frozen.
        IllegalTransitionError: if the cube is hidden: merged or expired.
    """
    if cube.header.state is State.FROZEN:
        raise FrozenError(cube.id)
    if cube.header.state in (State.EXPIRED, State.MERGED):
        raise IllegalTransitionError(cube.id, cube.header.state, "changed")
    return _next(cube, at, payload or cube.payload, actor=actor, **header)


def _next(cube: MemCube, at: datetime, payload: Payload, **header: Any) -> MemCube:
    # two versions never share a time, so that known_at finds exactly one
    known_at = max(at, cube.header.created_at + timedelta(microseconds=1))
    return MemCube(replace(cube.header, version=cube.version + 1, created_at=known_at, **header), payload)
