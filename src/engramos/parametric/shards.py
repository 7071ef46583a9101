"""Facts dealt out to shards: one small adapter each, facts of one subject together.

A shard is what is written, attached, forgotten and repaired at once, so that a change of one fact must leave the others
alone. Subjects are dealt out by the bits of a digest of their name, as in extendible hashing: a shard that overflows
becomes two, and no other shard notices. So the shards depend on the facts alone, not on the order in which they came.

Source: the splitting of buckets in extendible hashing, Fagin et al. 1979, https://doi.org/10.1145/320083.320092.
Differs: a tree in place of a directory, and a subject with too many facts is dealt out by the facts' own digests.
"""

import hashlib
from collections.abc import Sequence

from engramos.errors import InvalidInputError
from engramos.parametric.facts import Fact, without_duplicates

_BITS = 256
"""Of a subject's digest; as many of a fact's follow."""


def shards_of(facts: Sequence[Fact], most: int) -> list[tuple[Fact, ...]]:
    """Return the facts as shards; a subject stays whole where its facts fit into one.

    Subjects that share a name or an alias count as one. A new fact changes the shard that it falls into, which may
    become two or more, and no other; only a new alias can move a whole subject.

    Args:
        facts: in any order; duplicates are merged.
        most: facts in a shard, 1 or more.

    Returns:
        Each fact once; always in the same order for the same facts.

    Raises:
        InvalidInputError: if `most` is below 1, or two facts answer one question differently.
    """
    if most < 1:
        raise InvalidInputError(f"most is {most}: give 1 or more facts a shard")
    kept = without_duplicates(tuple(facts))
    groups = _groups(kept)
    placed = sorted(((_bits(groups[_folded(fact.subject)]) + _bits(fact.id), fact) for fact in kept), key=_by_bits)
    return _dealt(placed, 0, most)


def _dealt(placed: list[tuple[str, Fact]], depth: int, most: int) -> list[tuple[Fact, ...]]:
    """Return the shards of facts whose bits are the same up to a depth."""
    if len(placed) <= most:
        return [tuple(fact for _, fact in placed)] if placed else []
    # sorted by their bits, all agree where the first and the last do
    while placed[0][0][depth] == placed[-1][0][depth]:
        depth += 1
    middle = next(at for at, (bits, _) in enumerate(placed) if bits[depth] == "1")
    return _dealt(placed[:middle], depth + 1, most) + _dealt(placed[middle:], depth + 1, most)


def _groups(facts: Sequence[Fact]) -> dict[str, str]:
    """Return for each name the first, in alphabetical order, of all names that mean the same subject."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for fact in facts:
        for name in fact.names:
            one, other = sorted((root(_folded(fact.subject)), root(_folded(name))))
            parent[other] = one
    return {name: root(name) for name in list(parent)}


def _by_bits(one: tuple[str, Fact]) -> str:
    return one[0]


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())


def _bits(text: str) -> str:
    """Return the digest of a text as 256 letters 0 and 1."""
    return f"{int.from_bytes(hashlib.sha256(text.encode()).digest()):0{_BITS}b}"
