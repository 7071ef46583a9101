"""Role: reconcilers. They decide and return changes; the verb `consolidate` commits them."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from engramos.changes import Supersede, Write
from engramos.cube import CubeType, Edge, Form, MemCube, Relation, State

_EARLIEST = datetime.min.replace(tzinfo=UTC)
Revise = Callable[..., MemCube]
"""`revise(cube, **header)` returns the further version of a cube, with these fields of its header set."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One cube that another one supersedes, and why."""

    cube_id: str
    by_id: str
    reason: str
    """It holds no content, since it may outlive an erasure."""


@dataclass(frozen=True, slots=True)
class Link:
    """One cube speaks of what another one speaks of."""

    from_id: str
    to_id: str
    weight: float
    """Above 0; the rarer what they share, the greater."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a reconciler decided."""

    changes: tuple[Write, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    links: tuple[Link, ...] = ()


class Reconciler:
    """Decides which cubes stand no longer; subclasses are frozen dataclasses, one a file.

    Whatever `judge` says, a cube that was brought back stays (whoever restores a cube has the last word), and no cube
    gives way to one that is trusted less or kept for a shorter time.
    """

    def judge(self, cubes: Sequence[MemCube]) -> list[Verdict]:
        """Return which of the cubes others supersede, each cube at most once.

        Args:
            cubes: valid plaintext cubes of one user, in order of time.
        """
        raise NotImplementedError

    def reconcile(self, cubes: Sequence[MemCube], at: datetime, revise: Revise) -> Reconciled:
        """Return the changes that carry out what `judge` decides.

        Args:
            cubes: the newest versions of cubes of one user, in any order.
            at: now, aware.
            revise: makes the new versions.
        """
        valid = in_order(cubes, at)
        kept = _brought_back(valid)
        by_id = {cube.id: cube for cube in valid}
        verdicts = tuple(
            one
            for one in self.judge(valid)
            if one.cube_id not in kept and _may_stand_for(by_id[one.by_id], by_id[one.cube_id])
        )
        return Reconciled(superseding(valid, verdicts, revise), verdicts)


def time_of(cube: MemCube) -> datetime:
    """Return since when a cube is true; for one that does not say so, when it was made."""
    return cube.header.valid_at or cube.header.created_at


def in_order(cubes: Sequence[MemCube], at: datetime) -> list[MemCube]:
    """Return the cubes that reconcilers may judge: active, valid at a time, plaintext, no secrets; oldest first."""
    fit = [
        cube
        for cube in cubes
        if cube.header.form is Form.PLAINTEXT
        and cube.header.state is State.ACTIVATED
        and cube.header.type is not CubeType.SECRET
        and (cube.header.invalid_at is None or cube.header.invalid_at > at)
        and time_of(cube) <= at
    ]
    return sorted(fit, key=lambda cube: (time_of(cube), cube.id))


def _brought_back(cubes: Sequence[MemCube]) -> set[str]:
    """Return the ids of valid cubes that had been superseded before."""
    superseded = {
        edge.cube_id for cube in cubes for edge in cube.header.parents if edge.relation is Relation.SUPERSEDES
    }
    return superseded | {cube.id for cube in cubes if cube.header.method == "restore"}


def _may_stand_for(later: MemCube, earlier: MemCube) -> bool:
    ends, must_last = later.header.retention.expires_at, earlier.header.retention.expires_at
    is_kept_as_long = ends is None or (must_last is not None and ends >= must_last)
    return is_kept_as_long and later.header.trust >= earlier.header.trust


def superseding(cubes: Sequence[MemCube], verdicts: Sequence[Verdict], revise: Revise) -> tuple[Write, ...]:
    """Return one change a concerned cube: its end where it is superseded, and edges to what it supersedes.

    The end is the time at which the later cube became true, so that a search with `as_of` before it still finds the
    earlier one.
    """
    by_id = {cube.id: cube for cube in cubes}
    ends = {one.cube_id: one.by_id for one in verdicts}
    edges: dict[str, list[Edge]] = defaultdict(list)
    for one in verdicts:
        # the version that this very commit writes
        edges[one.by_id].append(Edge(Relation.SUPERSEDES, one.cube_id, by_id[one.cube_id].version + 1))
    changes: list[Write] = []
    for cube in cubes:
        header: dict[str, object] = {}
        if cube.id in ends:
            own, later = cube.header.valid_at or _EARLIEST, time_of(by_id[ends[cube.id]])
            header["invalid_at"] = max(own, later)
        if cube.id in edges:
            header["parents"] = cube.header.parents + tuple(edges[cube.id])
        if header:
            changes.append(Supersede(revise(cube, **header)))
    return tuple(changes)
