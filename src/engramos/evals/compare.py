"""Two runs on the same questions: by how much does one find more, and could that be chance?"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from engramos.errors import InvalidInputError
from engramos.evals.outcomes import Outcomes

RESAMPLES = 10_000
"""How often the questions are drawn anew for an interval, and the signs for a p."""
SEED = 7
_CHUNK = 250
"""Resamples that are held in memory at once."""


def interval(differences: np.ndarray, seed: int = SEED, resamples: int = RESAMPLES) -> np.ndarray:
    """Return the 95 % interval of the mean difference, by the paired bootstrap: (2, metrics), low then high.

    Questions are drawn with replacement, all metrics of a question together; the ends are percentiles.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.

    Args:
        differences: one value a question and metric: (questions, metrics), at least one question.
        seed: the same seed draws the same questions.
        resamples: 1 or more.
    """
    num = len(differences)
    means = [_counts(drawn, num) @ differences / num for drawn in _draws(seed, resamples, num, num)]
    return np.percentile(np.concatenate(means), [2.5, 97.5], axis=0)


def sign_flip(differences: np.ndarray, seed: int = SEED, resamples: int = RESAMPLES) -> np.ndarray:
    """Return the two-sided p of the mean difference, by paired randomisation: (metrics,), in (0, 1].

    If the two methods were alike, either could have had either score of a question: the signs of the differences are
    drawn anew, and p is the share of draws whose sum is as far from 0 as what was seen, which counts as a draw itself.

    Source: Smucker, Allan and Carterette 2007, A Comparison of Statistical Significance Tests for Information
        Retrieval Evaluation, https://doi.org/10.1145/1321440.1321528.

    Args:
        differences: one value a question and metric: (questions, metrics).
        seed: the same seed draws the same signs.
        resamples: 1 or more.
    """
    seen = np.abs(differences.sum(axis=0)) - 1e-9  # sums of the same numbers in another order differ by rounding
    hits = np.zeros(differences.shape[1])
    for drawn in _draws(seed, resamples, 2, len(differences)):
        hits += (np.abs((drawn * 2.0 - 1.0) @ differences) >= seen).sum(axis=0)
    return (hits + 1) / (resamples + 1)


def _draws(seed: int, resamples: int, below: int, num: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        yield rng.integers(0, below, (min(_CHUNK, resamples - start), num))


def _counts(drawn: np.ndarray, num: int) -> np.ndarray:
    """Return how often each of `num` questions was drawn: (resamples, num)."""
    rows = np.arange(len(drawn))[:, None] * num
    return np.bincount((drawn + rows).ravel(), minlength=len(drawn) * num).reshape(len(drawn), num).astype(np.float64)


def compare(first: Outcomes, second: Outcomes, of: str | None = None, against: str | None = None) -> dict[str, Any]:
    """Return the comparison of two methods as one JSON object; a positive difference speaks for the first.

    Args:
        first: the run that the question is about.
        second: the run that it is held against; may be the same.
        of: a method of the first run; None for the one that the run was about.
        against: a method of the second run; None for `of`, or for the one that its run was about.

    Raises:
        InvalidInputError: if the benchmarks or their questions differ, or there is no such method.
    """
    _check_alike(first, second)
    ours, theirs = _method(first, of), _method(second, against or of)
    if first.path == second.path and ours == theirs:
        raise InvalidInputError(f"{ours} of {first.path} would be held against itself: add --against METHOD")
    place = {question: row for row, question in enumerate(second.questions)}
    order = [place[question] for question in first.questions]
    shared = [column for column in first.columns if column in second.columns]
    left = first.values[ours][:, [first.columns.index(column) for column in shared]]
    right = second.values[theirs][order][:, [second.columns.index(column) for column in shared]]
    return {
        "benchmark": first.benchmark,
        "of": _run(first, ours),
        "against": _run(second, theirs),
        "questions": len(order),
        "resamples": RESAMPLES,
        "seed": SEED,
        "metrics": _metrics(shared, left, right),
        "categories": {
            name: _metrics(shared, left[rows], right[rows]) for name, rows in _rows_of(first.categories).items()
        },
    }


def _check_alike(first: Outcomes, second: Outcomes) -> None:
    if first.benchmark != second.benchmark:
        raise InvalidInputError(
            f"{first.path} is of benchmark {first.benchmark} and {second.path} of {second.benchmark}: "
            "compare two runs of one benchmark"
        )
    here, there = set(first.questions), set(second.questions)
    if here != there:
        raise InvalidInputError(
            f"{len(here - there)} of {len(here)} questions of {first.path} are missing in {second.path}, and "
            f"{len(there - here)} of {len(there)} the other way, such as {min(here ^ there)}: "
            "run both on the same data"
        )
    if not set(first.columns) & set(second.columns):
        raise InvalidInputError(f"{first.path} and {second.path} share no metric: run one of them again")


def _method(outcomes: Outcomes, name: str | None) -> str:
    name = name or outcomes.method
    if name not in outcomes.values:
        known = ", ".join(outcomes.values)
        raise InvalidInputError(f"{outcomes.path} has no method {name!r}: choose one of {known}")
    return name


def _run(outcomes: Outcomes, method: str) -> dict[str, Any]:
    kept = {key: outcomes.settings.get(key) for key in ("commit", "at", "embedder", "changed")}
    return {"file": str(outcomes.path), "method": method} | kept


def _rows_of(categories: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """Return by category the places of its questions."""
    names = sorted({name for row in categories for name in row})
    return {name: [place for place, row in enumerate(categories) if name in row] for name in names}


def _metrics(names: Sequence[str], left: np.ndarray, right: np.ndarray) -> dict[str, dict[str, float | int]]:
    """Return each metric's comparison; metrics that the same questions have share their draws."""
    found: dict[str, dict[str, float | int]] = {}
    has = ~(np.isnan(left) | np.isnan(right))
    for mask in np.unique(has, axis=1).T:
        columns = [place for place in range(len(names)) if np.array_equal(has[:, place], mask)]
        if mask.any():
            ours, theirs = left[mask][:, columns], right[mask][:, columns]
            found |= zip((names[place] for place in columns), _paired(ours, theirs), strict=True)
    return {name: found[name] for name in names if name in found}


def _paired(ours: np.ndarray, theirs: np.ndarray) -> list[dict[str, float | int]]:
    differences = ours - theirs
    (low, high), p = interval(differences), sign_flip(differences)
    means = (ours.mean(axis=0), theirs.mean(axis=0), differences.mean(axis=0), low, high)
    wins = ((differences > 0).sum(axis=0), (differences < 0).sum(axis=0), (differences == 0).sum(axis=0))
    return [
        dict(zip(("of", "against", "difference", "low", "high"), (_rounded(one[place]) for one in means), strict=True))
        | {"p": _rounded(p[place])}
        | dict(zip(("better", "worse", "equal"), (int(one[place]) for one in wins), strict=True))
        for place in range(differences.shape[1])
    ]


def _rounded(value: float) -> float:
    return round(float(value), 4) + 0.0  # a mean of -0.00001 is 0, not -0


def tables(comparison: dict[str, Any], shown: Sequence[str]) -> list[Table]:
    """Return the tables that a person reads: every metric, then by category those that are shown.

    Args:
        comparison: what `compare` returned.
        shown: metrics of the first level, such as `fraction@10`.
    """
    one, other = comparison["of"], comparison["against"]
    if one["file"] == other["file"]:
        between = f"{one['method']} against {other['method']} of {one['file']}"
    else:
        between = f"{one['method']} of {one['file']} against {other['method']} of {other['file']}"
    heads = ("A", "B") if one["method"] == other["method"] else (one["method"], other["method"])
    title = f"{comparison['benchmark']}, {comparison['questions']:,} questions: {between}"
    made = [_table(title, ("metric", *heads), comparison["metrics"])]
    for kind in shown:
        name = next((name for name in comparison["metrics"] if name.rpartition(".")[2] == kind), None)
        rows = {category: metrics[name] for category, metrics in comparison["categories"].items() if name in metrics}
        if rows:
            made.append(_table(f"{name} by category", ("category", *heads), rows))
    return made


def _table(title: str, heads: Sequence[str], rows: dict[str, dict[str, float]]) -> Table:
    made = Table(title=title, title_justify="left")
    made.add_column(heads[0])
    for name in (*heads[1:], "difference", "95 % interval", "p", "better", "worse", "equal"):
        made.add_column(name, justify="right", no_wrap=True)
    for name, row in rows.items():
        span = f"{row['low']:+.3f} to {row['high']:+.3f}"
        p = "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}"
        counts = (f"{row[key]:,}" for key in ("better", "worse", "equal"))
        made.add_row(name, f"{row['of']:.3f}", f"{row['against']:.3f}", f"{row['difference']:+.3f}", span, p, *counts)
    return made
