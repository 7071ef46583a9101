"""list: the cubes of a scope, in the order of their making."""

from collections.abc import Sequence
from datetime import datetime

from engramos.clock import now
from engramos.cube import Header, MemCube, State
from engramos.governance.access import is_over
from engramos.messages import check_time
from engramos.rows import Filter
from engramos.scope import Scope
from engramos.verbs.parts import Parts, check_id, check_limit

SHOWN = (State.GENERATED, State.ACTIVATED, State.ARCHIVED, State.FROZEN)
"""States that are listed when a filter names none: neither expired nor merged cubes."""


def list_cubes(
    parts: Parts,
    scope: Scope,
    where: Filter,
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    after: str = "",
    limit: int = 100,
) -> Sequence[MemCube]:
    """Return at most `limit` cubes with ids after `after`, oldest first.

    Args:
        parts: of the open memory.
        scope: tenant and user; an agent or a session narrows.
        where: which of them.
        as_of: only what was true in the world then.
        known_at: as the system knew them then; of the filter, only the states count.
        after: the last id of the page before.
        limit: 0 to 10,000.

    Raises:
        InvalidInputError: if a value does not fit, or `where.match` is no full-text query.
    """
    check_limit(limit)
    if after:
        check_id(after)
    as_of = None if as_of is None else check_time("as_of", as_of)
    states = where.states or tuple(state.value for state in SHOWN)
    if known_at is None:
        wanted = Filter(**{name: getattr(where, name) for name in Filter.__dataclass_fields__} | {"states": states})
        return parts.vault.select(scope, wanted, as_of=as_of, after=after, limit=limit)
    known_at, found = check_time("known_at", known_at), []
    while len(found) < limit:
        page = parts.vault.select(scope, where, known_at=known_at, after=after, limit=limit)
        found += [cube for cube in page if cube.header.state in states and _is_within(cube.header, scope)]
        if len(page) < limit:
            break
        after = page[-1].id
    return found[:limit]


def _is_within(header: Header, scope: Scope) -> bool:
    """Return whether an agent or a session that narrows is the cube's, and its retention lasts."""
    is_agents = scope.agent is None or header.scope.agent == scope.agent
    is_sessions = scope.session is None or header.scope.session == scope.session
    return is_agents and is_sessions and not is_over(header, now())
