"""Tunes the weights of the default search plan over several benchmarks at once, and says how well they carry over.

    python -m benchmarks.tune_plan --data DIR --vectors FOLDER --out benchmarks/results/tuning.json

Every step's scores are made once; a trial only weighs them. The objective is a weighted mean over benchmarks of the
mean recall at that benchmark's depths. Each of six folds leaves out one LoCoMo conversation and a sixth of the other
benchmarks' users (or questions, where one user has all), searches on the rest, and is judged on what it left out.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engramos.config import load
from engramos.evals import ROLE
from engramos.evals.benchmarks.base import Benchmark, Loaded, Question
from engramos.evals.report import commit
from engramos.evals.run import fill, open_memory, scope_of
from engramos.memory import MemoryOS
from engramos.plaintext.plan import DEFAULT
from engramos.verbs.search import SearchOptions, make_query

FOLDS = 6
TOTAL = 10.0
"""The weights' sum."""


@dataclass(frozen=True)
class Aim:
    """How a benchmark counts in the objective."""

    benchmark: str
    part: str
    ks: tuple[int, ...]
    weight: float


AIMS = (
    Aim("locomo", "", (5, 10, 20), 6.0),
    Aim("beam", "100K", (5, 10, 20), 2.0),
    Aim("multihop", "", (2, 5, 5), 1.0),
    Aim("prefeval", "", (5, 5, 10), 0.3),
)


@dataclass(frozen=True)
class Asked:
    """One question: the scaled scores of every step, and where its gold units stand."""

    user: str
    scores: np.ndarray  # (steps, rows), float32
    gold: np.ndarray  # rows
    num_gold: int

    def recall(self, weights: np.ndarray, ks: Sequence[int]) -> list[float]:
        """Return the share of gold among the first k, for each k; ties count as found."""
        total = weights @ self.scores
        own = total[self.gold]
        shares = []
        for k in ks:
            least = np.partition(total, len(total) - k)[len(total) - k] if len(total) > k else -np.inf
            shares.append(min(int((own >= least).sum()), k) / self.num_gold)
        return shares


def asked_of(aim: Aim, data: Path, vectors: Path) -> list[Asked]:
    """Store a benchmark and return its questions with the default plan's scores."""
    benchmark = ROLE.make(aim.benchmark, **({"part": aim.part} if aim.part else {}))
    loaded = benchmark.load(data)
    with tempfile.TemporaryDirectory() as folder, open_memory(Path(folder, "memory"), "bge_small", vectors) as memory:
        fill(memory, loaded)
        return list(_asked(memory, benchmark, loaded))


def _asked(memory: MemoryOS, benchmark: Benchmark, loaded: Loaded):
    level, unit = next(iter(benchmark.levels.items()))
    places: dict[str, dict[str, int]] = {}
    for question in loaded.questions:
        index = memory._parts.index(scope_of(question.user))
        if question.user not in places:
            cubes = memory._parts.vault.get_many("local", list(index.ids))
            places[question.user] = {unit(cubes[cube_id]): row for row, cube_id in enumerate(index.ids)}
        place = places[question.user]
        gold = np.array([place[name] for name in sorted(question.gold[level]) if name in place])
        yield Asked(question.user, _scores(memory, question), gold, len(question.gold[level]))


def _scores(memory: MemoryOS, question: Question) -> np.ndarray:
    parts, scope = memory._parts, scope_of(question.user)
    index, options = parts.index(scope), SearchOptions(asked_at=question.asked_at)
    query = make_query(parts, index, question.text, parts.embedder.embed_query(question.text), scope, options)
    steps, _ = DEFAULT.methods
    found, scaled = {}, np.zeros((len(steps), len(index)), np.float32)
    for at, (step, retriever) in enumerate(steps):
        if (scores := retriever.score(replace(query, allowed=None), index, found)) is not None:
            found[step.name] = scores
            low, high = scores.min(), scores.max()
            scaled[at] = (scores - low) / (high - low) if high > low else 0
    return scaled


def objective(sets: Sequence[list[Asked]], weights: np.ndarray) -> float:
    """Return the weighted mean over benchmarks of their mean recall."""
    values = [np.mean([one.recall(weights, aim.ks) for one in asked]) for aim, asked in zip(AIMS, sets, strict=True)]
    return float(np.average(values, weights=[aim.weight for aim in AIMS]))


def fit(sets: Sequence[list[Asked]], seed: int, epochs: int = 8) -> np.ndarray:
    """Return the weights, none below 0, under which a softmax over a question's rows puts most on its gold rows.

    A convex problem, by Adam in batches of 64 questions drawn as often as their benchmark counts. It does not know
    depths or ranks, so that it is where the search starts, not where it ends.
    """
    random = np.random.default_rng(seed)
    drawn = [(one, aim.weight / len(asked)) for aim, asked in zip(AIMS, sets, strict=True) for one in asked]
    every = [one for one, _ in drawn if len(one.gold)]
    shares = np.array([share for one, share in drawn if len(one.gold)])
    num = len(DEFAULT.steps)
    weights, mean, square, at = np.full(num, 0.5, np.float32), np.zeros(num), np.zeros(num), 0
    num_batches = epochs * len(every) // 64
    for batch in range(num_batches):
        slope = np.zeros(num, np.float32)
        for one in random.choice(len(every), 64, p=shares / shares.sum()):
            asked = every[one]
            total = weights @ asked.scores
            chance = np.exp(total - total.max())
            chance /= chance.sum()
            chance[asked.gold] -= 1 / len(asked.gold)
            slope += asked.scores @ chance
        slope, at = slope / 64 + 1e-4 * weights, at + 1
        mean, square = 0.9 * mean + 0.1 * slope, 0.99 * square + 0.01 * slope**2
        moved = mean / (1 - 0.9**at) / (np.sqrt(square / (1 - 0.99**at)) + 1e-8)
        weights = np.maximum(weights - 0.05 * (1 - batch / num_batches) * moved, 0).astype(np.float32)
    return weights * np.float32(TOTAL / weights.sum())


def search(sets: Sequence[list[Asked]], trials: int, most: int, seed: int) -> tuple[np.ndarray, list[float]]:
    """Return the best weights and the best objective so far by trial; each trial changes a quarter of the best ones.

    Args:
        sets: questions by benchmark; at most `most` of each are read, drawn with the seed.
        trials: how many weights are tried after the fit.
        most: questions of a benchmark.
        seed: of every draw.
    """
    random = np.random.default_rng(seed)
    drawn = [[asked[at] for at in random.permutation(len(asked))[:most]] for asked in sets]
    num = len(DEFAULT.steps)
    best, curve = fit(sets, seed), []
    value = objective(drawn, best)
    for trial in range(trials):
        width = 0.6 if trial < trials // 2 else 0.25
        moved = random.random(num) < 0.25
        tried = best * np.exp(random.normal(0, width, num) * moved) + 0.3 * random.random(num) * moved * (best < 0.02)
        tried = (tried * (random.random(num) > 0.03) * TOTAL).astype(np.float32)
        tried /= tried.sum() / TOTAL
        if (found := objective(drawn, tried)) > value:
            best, value = tried, found
        curve.append(value)
    return best, curve


def fold_of(asked: Sequence[Asked]) -> np.ndarray:
    """Return each question's fold: by user, or in turn where one or two users have all questions."""
    users = sorted({one.user for one in asked})
    if len(users) < FOLDS:
        return np.arange(len(asked)) % FOLDS
    return np.array([users.index(one.user) % FOLDS for one in asked])


def main() -> None:
    """Tune, judge by folds, and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tune_plan", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=load().data)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tuning.json"))
    parser.add_argument("--trials", type=int, default=800)
    parser.add_argument("--most", type=int, default=300)
    parser.add_argument("--last-trials", type=int, default=2_500, help="of the search on everything")
    parser.add_argument("--last-most", type=int, default=600)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    sets = [asked_of(aim, given.data, given.vectors) for aim in AIMS]
    folds = [_fold(sets, number, given) for number in range(FOLDS)]
    weights, curve = search(sets, given.last_trials, given.last_most, given.seed)
    plan = np.array([step.weight for step in DEFAULT.steps], np.float32)
    result = {
        "objective": [vars(aim) for aim in AIMS],
        "seed": given.seed,
        "trials": given.trials,
        "most": given.most,
        "last_trials": given.last_trials,
        "last_most": given.last_most,
        "commit": commit(),
        "plan": {**_named(plan), "recall": recalls(sets, plan), "objective": round(objective(sets, plan), 4)},
        "found": {**_named(weights), "recall": recalls(sets, weights)},
        "folds": folds,
        "held_out": {
            f"{aim.benchmark}{aim.part}": [
                _spread([fold["held_out"][at][depth] for fold in folds]) for depth in range(len(aim.ks))
            ]
            for at, aim in enumerate(AIMS)
        },
        "curve": [round(value, 4) for value in curve[:: max(1, given.last_trials // 60)]],
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in ("plan", "found", "held_out")}, indent=1))


def _fold(sets: Sequence[list[Asked]], number: int, given: argparse.Namespace) -> dict:
    kept, left = [], []
    for asked in sets:
        folds = fold_of(asked)
        kept.append([one for one, fold in zip(asked, folds, strict=True) if fold != number])
        left.append([one for one, fold in zip(asked, folds, strict=True) if fold == number])
    weights, _ = search(kept, given.trials, given.most, given.seed + number)
    print(f"fold {number}: {recalls(left, weights)}", flush=True)
    return {**_named(weights), "held_out": recalls(left, weights)}


def recalls(sets: Sequence[list[Asked]], weights: np.ndarray) -> list[list[float]]:
    """Return the mean recall at each depth, by benchmark."""
    return [
        [round(float(one), 4) for one in np.mean([asked.recall(weights, aim.ks) for asked in several], axis=0)]
        for aim, several in zip(AIMS, sets, strict=True)
    ]


def _named(weights: np.ndarray) -> dict:
    return {"weights": {step.name: round(float(one), 2) for step, one in zip(DEFAULT.steps, weights, strict=True)}}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": round(float(np.mean(values)), 4), "deviation": round(float(np.std(values)), 4)}


if __name__ == "__main__":
    main()
