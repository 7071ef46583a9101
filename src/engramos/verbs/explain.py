"""explain: why a cube was found, or was not, and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass

from engramos.clock import now, to_us
from engramos.cube import Edge, Form, MemCube, Usage
from engramos.plaintext.reranking import rerank
from engramos.rows import JournalRow
from engramos.scope import Scope
from engramos.verbs.parts import Parts
from engramos.verbs.search import SearchOptions, allowed_rows, embedded, ranked_rows, reading


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a cube stands among the answers to a question."""

    rank: int | None
    """Counted from 1; None where it is not found."""
    score: float
    parts: Mapping[str, float]
    """What each step of the plan added."""
    num_candidates: int
    """How many cubes scope, time, trust, state and filter allowed."""
    reason: str
    """Why it stands there, in words."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about a cube beside its content."""

    cube: MemCube
    usage: Usage
    children: tuple[tuple[str, int, Edge], ...]
    """Id, version and edge of what was derived from it."""
    journal: tuple[JournalRow, ...]
    placing: Placing | None = None
    """For a question only."""


def explain(
    parts: Parts, cube_id: str, scope: Scope, question: str | None = None, options: SearchOptions | None = None
) -> Explanation:
    """Return where a cube comes from, who changed it, how it is used, and how it fares for a question.

    Raises:
        CubeNotFoundError: if there is none, or the scope may not know of it.
    """
    cube = parts.read(scope, cube_id)
    parts.flush_uses()
    return Explanation(
        cube,
        parts.vault.usage(scope.tenant, cube_id),
        tuple(parts.vault.children(scope.tenant, cube_id)),
        tuple(parts.vault.journal_of(scope.tenant, cube_id)),
        None if question is None else _placing(parts, cube, question, scope, options or SearchOptions()),
    )


def _placing(parts: Parts, cube: MemCube, question: str, scope: Scope, options: SearchOptions) -> Placing:
    vector = embedded(parts, question, options)
    with parts.lock:
        index = parts.index(scope)
        allowed = allowed_rows(parts, index, scope, options)
        num = int(allowed.sum())
        row = index.row_of.get(cube.id)
        if row is None:
            return Placing(None, 0.0, {}, num, _unsearched(cube, scope))
        if not allowed[row]:
            return Placing(None, 0.0, {}, num, _forbidden(cube, scope, options))
        ranked, taken = ranked_rows(parts, index, question, vector, scope, options, len(index))
    ranked = rerank(ranked, taken, options.plan, len(ranked.rows), reading(parts, index, scope, options, {}))
    places = (ranked.rows == row).nonzero()[0]
    if not len(places):
        return Placing(None, 0.0, {}, num, "no step of the plan finds anything of the question in it")
    at = int(places[0])
    shares = {name: float(part[at]) for name, part in ranked.parts.items() if part[at]}
    most = max(shares, key=lambda name: shares[name], default="none")
    reason = f"place {at + 1} of {len(ranked.rows)}; most of its score comes from {most}"
    return Placing(at + 1, float(ranked.scores[at]), shares, num, reason)


def _unsearched(cube: MemCube, scope: Scope) -> str:
    header = cube.header
    if header.scope.user != scope.user:
        return f"it belongs to user {header.scope.user!r}, and a search goes over a user's own cubes"
    if header.form is not Form.PLAINTEXT:
        return f"its form is {header.form}, and only plaintext is searched"
    return f"it is {header.state}, and only activated and frozen cubes are searched"


def _forbidden(cube: MemCube, scope: Scope, options: SearchOptions) -> str:
    header = cube.header
    if header.retention.expires_at is not None and header.retention.expires_at <= now():
        return f"its retention ended at {header.retention.expires_at}"
    as_of = options.as_of or now()
    if header.invalid_at is not None and to_us(header.invalid_at) <= to_us(as_of):
        return f"it is not true since {header.invalid_at}"
    if options.as_of is not None and header.valid_at is not None and header.valid_at > options.as_of:
        return f"it is true only since {header.valid_at}"
    if scope.session is not None and header.scope.session != scope.session:
        return f"it belongs to session {header.scope.session!r}"
    if scope.agent is not None and header.scope.agent != scope.agent:
        return f"it belongs to agent {header.scope.agent!r}"
    return "the filter leaves it out"
