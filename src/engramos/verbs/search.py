"""search: find the cubes that answer a question, with the reason for every score."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np

from engramos.clock import from_us, now, to_us
from engramos.cube import Form, MemCube
from engramos.messages import check_text, check_time
from engramos.plaintext.index import UNKNOWN, SearchIndex
from engramos.plaintext.plan import DEFAULT, LEXICAL, Plan
from engramos.plaintext.query import Query
from engramos.plaintext.rankers.base import Ranked
from engramos.plaintext.reranking import Key, Reading, Taken, rerank, take
from engramos.plaintext.terms import terms, words
from engramos.plaintext.times import Anchored, TimeRange, find_times
from engramos.rows import Filter, IndexDelta, IndexRow
from engramos.scope import Scope
from engramos.verbs.parts import Parts, check_limit, embedded_text

MAX_QUERY_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Hit:
    """A found cube."""

    cube: MemCube
    score: float
    """Greater is better; comparable within one search only."""
    parts: Mapping[str, float]
    """What each step of the plan added to the score."""

    @property
    def id(self) -> str:
        """The cube's id."""
        return self.cube.id

    @property
    def text(self) -> str:
        """The cube's text."""
        return self.cube.text


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search.

    Raises:
        InvalidInputError: if a value does not fit.
    """

    limit: int = 10
    where: Filter = field(default_factory=Filter)
    as_of: datetime | None = None
    """What was true in the world then; None: what is not known to have ended."""
    known_at: datetime | None = None
    """What the system knew then."""
    asked_at: datetime | None = None
    """The conversation's clock, against which "last May" is read; now where None."""
    plan: Plan = DEFAULT
    counts_as_use: bool = True

    def __post_init__(self) -> None:
        check_limit(self.limit)
        for what in ("as_of", "known_at", "asked_at"):
            if (at := getattr(self, what)) is not None:
                object.__setattr__(self, what, check_time(what, at))


def search(parts: Parts, question: str, scope: Scope, options: SearchOptions) -> list[Hit]:
    """Return the best cubes for a question, best first; ties in order of making.

    Args:
        parts: of the open memory.
        question: words; up to 200 kB.
        scope: tenant and user; an agent or a session narrows.
        options: how to search.

    Raises:
        InvalidInputError: if the question is empty or no text, or a filter does not fit.
        EmbedderMismatchError: if another embedder made the memory's vectors.
        CorruptPayloadError: if a found cube's stored bytes are damaged.
    """
    check_text("the question", question, MAX_QUERY_BYTES)
    vector = embedded(parts, question, options)
    index = _known_index(parts, scope, options) if options.known_at else None
    with parts.lock:
        index = parts.index(scope) if index is None else index
        ranked, taken = ranked_rows(parts, index, question, vector, scope, options, options.limit)
        keys = {int(row): (index.ids[row], index.versions[row]) for row in ranked.rows}
    cubes: dict[str, MemCube] = {}
    ranked = rerank(ranked, taken, options.plan, options.limit, reading(parts, index, scope, options, cubes))
    found = [keys[int(row)] for row in ranked.rows]
    cubes |= _read(parts, scope, [key for key in found if key[0] not in cubes], options)
    if options.counts_as_use:
        parts.note_uses(scope.tenant, (cube_id for cube_id, _ in found))
    return [
        Hit(cubes[cube_id], float(total), {name: float(part[at]) for name, part in ranked.parts.items()})
        for at, ((cube_id, _), total) in enumerate(zip(found, ranked.scores, strict=True))
        if cube_id in cubes
    ]


def embedded(parts: Parts, question: str, options: SearchOptions) -> np.ndarray | None:
    """Return the question's vector, float32 (dims,); None where the plan or the settings use none."""
    needs_vector = any(step.method == "dense" for step in options.plan.steps)
    return parts.embedder.embed_query(question) if needs_vector and parts.embedder is not None else None


def ranked_rows(
    parts: Parts,
    index: SearchIndex,
    question: str,
    vector: np.ndarray | None,
    scope: Scope,
    options: SearchOptions,
    limit: int,
) -> tuple[Ranked, Taken | None]:
    """Return the rows of an index for a question as the ranker orders them, and what the rerankers read of it.

    There are `limit` rows, or as many as the rerankers read if that is more; the limit of the options does not count.

    The caller holds the lock of the parts, and hands both to `rerank` without it.
    """
    query = make_query(parts, index, question, vector, scope, options)
    most = max(limit, options.plan.num_read) if limit else 0
    ranked = score(parts, index, query, scope, options, most)
    return ranked, take(index, query, ranked, options.plan)


def score(parts: Parts, index: SearchIndex, query: Query, scope: Scope, options: SearchOptions, limit: int) -> Ranked:
    """Return the `limit` rows that the plan's ranker puts first; the caller holds the lock of the parts."""
    allowed = allowed_rows(parts, index, scope, options)
    query = replace(query, allowed=allowed)
    steps, ranker = options.plan.methods
    found: dict[str, np.ndarray] = {}
    for step, retriever in steps:
        scores = retriever.score(query, index, found)
        if scores is not None:
            found[step.name] = scores
    weights = {step.name: step.weight for step, _ in steps}
    if (order := index.order) is None:
        return ranker.rank(found, weights, allowed, limit)
    found = {name: scores[order] for name, scores in found.items()}
    ranked = ranker.rank(found, weights, allowed[order], limit)
    return Ranked(order[ranked.rows], ranked.scores, ranked.parts)


def make_query(
    parts: Parts,
    index: SearchIndex,
    question: str,
    vector: np.ndarray | None,
    scope: Scope,
    options: SearchOptions,
) -> Query:
    """Return the question in the forms that methods need."""
    asked_at = options.asked_at or now()
    times: list[TimeRange] = []
    if any(step.method == "times" for step in options.plan.steps):
        for time in find_times(question, asked_at):
            resolved = _resolve(parts, index, time, scope, options) if isinstance(time, Anchored) else time
            if resolved is not None:
                times.append(resolved)
    return Query(question, dict(terms(question)), tuple(words(question)), vector, asked_at, tuple(times))


def _resolve(
    parts: Parts, index: SearchIndex, time: Anchored, scope: Scope, options: SearchOptions
) -> TimeRange | None:
    """Return the range that "two weeks before the trip" means, by the time of the best cube for "the trip"."""
    narrowed = SearchOptions(1, options.where, options.as_of, None, options.asked_at, LEXICAL)
    query = make_query(parts, index, time.anchor, None, scope, narrowed)
    best = score(parts, index, query, scope, narrowed, 1)
    if not len(best.rows) or index.valid[best.rows[0]] == UNKNOWN:
        return None
    return time.resolve(from_us(int(index.valid[best.rows[0]])))


def allowed_rows(parts: Parts, index: SearchIndex, scope: Scope, options: SearchOptions) -> np.ndarray:
    """Return which rows scope, time, trust, state and filter allow; bool, shape (rows,)."""
    where, now_us = options.where, to_us(now())
    allowed = index.alive & (index.expires > now_us)
    as_of_us = now_us if options.as_of is None else to_us(options.as_of)
    allowed &= index.invalid > as_of_us
    if options.as_of is not None:
        allowed &= index.valid <= as_of_us
    if scope.agent is not None:
        allowed &= index.agent == index.agents.find(scope.agent)
    if scope.session is not None:
        allowed &= index.session == index.sessions.find(scope.session)
    if where.types:
        allowed &= np.isin(index.type, [index.types.find(name) for name in where.types])
    if where.speaker is not None:
        allowed &= index.speaker == index.speakers.find(where.speaker.lower())
    if where.since is not None:
        allowed &= index.valid >= to_us(where.since)
    if where.until is not None:
        allowed &= index.valid < to_us(where.until)
    if where.min_trust is not None:
        allowed &= index.trust >= where.min_trust
    if where.label is not None:
        allowed &= np.fromiter((f"|{where.label}|" in labels for labels in index.labels), bool, len(index))
    if where.match is not None or where.source_ref is not None or where.states or where.forms:
        ids = _listed(parts, scope, where)
        allowed &= np.fromiter((cube_id in ids for cube_id in index.ids), bool, len(index))
    return allowed


def _listed(parts: Parts, scope: Scope, where: Filter) -> set[str]:
    if where.match is not None and not (where.source_ref or where.states or where.forms):
        return parts.vault.matching(scope, where.match)
    wanted = Filter(forms=where.forms, states=where.states, source_ref=where.source_ref, match=where.match)
    return {cube.id for cube in parts.vault.select(scope, wanted, limit=-1)}


def reading(
    parts: Parts, index: SearchIndex, scope: Scope, options: SearchOptions, cubes: dict[str, MemCube]
) -> Reading:
    """Return how rerankers read the cubes of a scope; each is read once, into `cubes`."""

    def read(keys: Sequence[Key], text_of: Callable[[MemCube], str]) -> list[str]:
        cubes.update(_read(parts, scope, [key for key in keys if key[0] not in cubes], options))
        return [text_of(cubes[cube_id]) if cube_id in cubes else "" for cube_id, _ in keys]

    def rarity(wanted: Iterable[int]) -> dict[int, float]:
        with parts.lock:
            num = index.num_alive
            counts = {term: min(num, len(index.postings.rows(term)[0])) for term in wanted}
        return {term: float(np.log1p((num - count + 0.5) / (count + 0.5))) for term, count in counts.items()}

    return Reading(
        lambda keys: read(keys, embedded_text), lambda keys: read(keys, lambda cube: cube.text), rarity, parts.models
    )


def _read(parts: Parts, scope: Scope, found: list[Key], options: SearchOptions) -> dict[str, MemCube]:
    if options.known_at is None:
        return parts.vault.get_many(scope.tenant, [cube_id for cube_id, _ in found])
    versions = ((cube_id, parts.vault.get(scope.tenant, cube_id, version=version)) for cube_id, version in found)
    return {cube_id: cube for cube_id, cube in versions if cube is not None}


def _known_index(parts: Parts, scope: Scope, options: SearchOptions) -> SearchIndex:
    """Return an index of the versions that were known at a time, made for this search alone."""
    cubes = [
        cube
        for cube in parts.vault.select(scope, Filter(), known_at=options.known_at, limit=-1)
        if cube.header.form is Form.PLAINTEXT and cube.header.state in ("activated", "frozen")
    ]
    parts.check_embedder()
    entries = parts.entries(cubes) if cubes else []
    rows: list[Any] = []
    for key, (cube, entry) in enumerate(zip(cubes, entries, strict=True)):
        header, payload = cube.header, cube.payload
        expires_at = None if header.retention.is_held else header.retention.expires_at
        times = (header.created_at, header.valid_at, header.invalid_at, expires_at)
        created_us, valid_us, invalid_us, expires_us = (None if at is None else to_us(at) for at in times)
        labels = f"|{'|'.join(header.labels)}|" if header.labels else ""
        rows.append(
            IndexRow(
                cube_id=cube.id,
                version=cube.version,
                agent=header.scope.agent,
                session=header.scope.session,
                position=payload.position,
                type=header.type.value,
                created_us=created_us or 0,
                valid_us=valid_us,
                invalid_us=invalid_us,
                expires_us=expires_us,
                trust=header.trust,
                speaker=payload.speaker,
                labels=labels,
                terms=entry.terms,
                vector=entry.vector,
                cube_key=key,
            )
        )
    index = SearchIndex()
    index.apply(IndexDelta(0, True, tuple(rows)))
    return index
