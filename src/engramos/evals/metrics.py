"""Metrics of a ranking, none of which needs a model."""

import math
from collections.abc import Collection, Mapping, Sequence

KS = (5, 10, 20)
"""The depths at which recall is read."""
NDCG_K = 10


def distinct(units: Sequence[str]) -> list[str]:
    """Return the units in their order, each at its first place only."""
    return list(dict.fromkeys(units))


def fraction_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return the share of the gold units among the first `k`, in [0, 1].

    Args:
        ranked: distinct units, best first.
        gold: at least one unit.
        k: 1 or more.
    """
    return len(set(ranked[:k]) & set(gold)) / len(set(gold))


def any_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return 1 if a gold unit is among the first `k`, else 0."""
    return float(not set(gold).isdisjoint(ranked[:k]))


def all_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return 1 if every gold unit is among the first `k`, else 0."""
    return float(set(gold) <= set(ranked[:k]))


def ndcg_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return the normalised discounted cumulative gain of the first `k`, each gold unit worth 1; in [0, 1].

    Source: Jarvelin and Kekalainen (2002), with the discount 1 / log2(1 + rank).
    """
    wanted = set(gold)
    gain = sum(1 / math.log2(rank + 1) for rank, unit in enumerate(ranked[:k], start=1) if unit in wanted)
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1))


def scores(ranked: Sequence[str], gold: Collection[str], ks: Sequence[int] = KS) -> dict[str, float]:
    """Return every metric of one ranking: `fraction@5`, ..., `all@20`, `ndcg@10`."""
    kinds = {"fraction": fraction_at, "any": any_at, "all": all_at}
    found = {f"{kind}@{k}": measure(ranked, gold, k) for kind, measure in kinds.items() for k in ks}
    return found | {f"ndcg@{NDCG_K}": ndcg_at(ranked, gold, NDCG_K)}


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over questions; empty for no questions."""
    return {name: math.fsum(row[name] for row in rows) / len(rows) for name in (rows[0] if rows else ())}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies, by linear interpolation.

    Args:
        values: at least one.
        share: in [0, 1].
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
