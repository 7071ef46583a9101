"""Tunes the weights of the default search plan by random search, leaving out one conversation at a time.

    python benchmarks/tune_plan.py --data DIR --out benchmarks/results/locomo_tuning.json

Every step's scores are made once; a trial only weighs them. The objective is the mean of turn fraction@5, @10 and @20.
Each fold searches on the other conversations and is judged on its own; the plan's weights come from a search on all.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engramos.config import load
from engramos.evals import ROLE
from engramos.evals.run import fill, open_memory, scope_of
from engramos.plaintext.plan import DEFAULT
from engramos.verbs.search import SearchOptions, make_query

KS = (5, 10, 20)
STEPS = [step.name for step in DEFAULT.steps]


@dataclass
class Table:
    """Scaled scores of all steps for all questions, and where the gold turns stand."""

    scores: np.ndarray  # (steps, questions, rows), float32; -1e6 beyond a conversation's last row
    gold_question: np.ndarray  # (golds,)
    gold_row: np.ndarray  # (golds,)
    share: np.ndarray  # (golds,): 1 / number of the question's gold turns
    fold: np.ndarray  # (questions,)
    category: list[str]

    def part(self, kept: np.ndarray) -> "Table":
        """Return the questions that are kept; bool, (questions,)."""
        number = np.cumsum(kept) - 1
        inside = kept[self.gold_question]
        category = [name for name, is_kept in zip(self.category, kept, strict=True) if is_kept]
        return Table(
            np.ascontiguousarray(self.scores[:, kept]),
            number[self.gold_question[inside]],
            self.gold_row[inside],
            self.share[inside],
            self.fold[kept],
            category,
        )

    def recall(self, weights: np.ndarray) -> np.ndarray:
        """Return fraction@5, @10 and @20 by question: (3, questions)."""
        total = np.tensordot(weights.astype(np.float32), self.scores, 1)
        own = total[self.gold_question, self.gold_row]
        better = (total[self.gold_question] > own[:, None]).sum(1)
        # ties go to the earlier row, as in a search
        columns = np.arange(total.shape[1])
        better += ((total[self.gold_question] == own[:, None]) & (columns < self.gold_row[:, None])).sum(1)
        num = self.scores.shape[1]
        return np.stack([np.bincount(self.gold_question, (better < k) * self.share, num) for k in KS])


def make_table(data: Path, embedder: str) -> tuple[Table, list[str]]:
    """Return the table of the default plan's steps, and the users by fold."""
    benchmark = ROLE.make("locomo")
    loaded = benchmark.load(data)
    users = [part.user for part in loaded.parts]
    blocks, questions, rows, shares = [], [], [], []
    with tempfile.TemporaryDirectory() as folder, open_memory(Path(folder, "memory"), embedder) as memory:
        fill(memory, loaded)
        parts = memory._parts
        steps, _ = DEFAULT.methods
        where = {user: place_of(memory, user) for user in users}
        width = max(len(place) for place in where.values())
        for number, question in enumerate(loaded.questions):
            scope, options = scope_of(question.user), SearchOptions(asked_at=question.asked_at)
            index = parts.index(scope)
            vector = parts.embedder.embed_query(question.text)
            query = make_query(parts, index, question.text, vector, scope, options)
            found, block = {}, np.full((len(steps), width), 0, np.float32)
            block[:, len(index) :] = -1e6
            for at, (step, retriever) in enumerate(steps):
                if (scores := retriever.score(query, index, found)) is not None:
                    found[step.name] = scores
                    low, high = scores.min(), scores.max()
                    block[at, : len(index)] = (scores - low) / (high - low) if high > low else 0
            blocks.append(block)
            gold = [where[question.user][name] for name in sorted(question.gold["turn"])]
            questions += [number] * len(gold)
            rows += gold
            shares += [1 / len(gold)] * len(gold)
    fold = np.array([users.index(question.user) for question in loaded.questions])
    scores = np.ascontiguousarray(np.stack(blocks, axis=1))
    category = [question.categories[0] for question in loaded.questions]
    return Table(scores, np.array(questions), np.array(rows), np.array(shares), fold, category), users


def place_of(memory, user: str) -> dict[str, int]:
    """Return the row of each turn id."""
    index = memory._parts.index(scope_of(user))
    cubes = memory._parts.vault.get_many("local", list(index.ids))
    return {cubes[cube_id].header.source.ref: row for row, cube_id in enumerate(index.ids)}


def search(table: Table, trials: int, seed: int) -> tuple[np.ndarray, list[float]]:
    """Return the best weights, their sum 10, and the best objective so far by trial."""
    random = np.random.default_rng(seed)
    start = np.array([step.weight for step in DEFAULT.steps])
    best, value, curve = start, -1.0, []
    for trial in range(trials):
        if trial < trials // 3:
            tried = np.exp(random.normal(0, 1, len(start))) * (random.random(len(start)) > 0.15)
        else:
            width = 0.5 if trial < 2 * trials // 3 else 0.2
            moved = random.random(len(start)) < 0.3
            tried = best * np.exp(random.normal(0, width, len(start)) * moved) + 0.1 * moved * (best == 0)
        tried = tried / tried.sum() * 10
        found = float(table.recall(tried).mean())
        if found > value:
            best, value = tried, found
        curve.append(value)
    return best, curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=load().data)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/locomo_tuning.json"))
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    table, users = make_table(given.data, "bge_small")
    folds = []
    for number, user in enumerate(users):
        weights, _ = search(table.part(table.fold != number), given.trials, given.seed + number)
        held = table.part(table.fold == number).recall(weights).mean(1)
        folds.append({"left_out": user, "held_out": rounded(held, 4), "weights": rounded(weights, 2)})
        print(user, folds[-1], flush=True)
    weights, curve = search(table, given.trials, given.seed)
    fitted = table.recall(weights)
    mean_weights = np.mean([list(fold["weights"]) for fold in folds], axis=0)
    held = np.array([fold["held_out"] for fold in folds])
    sizes = np.bincount(table.fold)
    result = {
        "objective": "mean of turn fraction@5, @10, @20",
        "seed": given.seed,
        "trials": given.trials,
        "steps": STEPS,
        "folds": folds,
        "held_out": {
            "by_question": rounded(sizes @ held / sizes.sum(), 4),
            "mean_of_folds": rounded(held.mean(0), 4),
            "standard_deviation": rounded(held.std(0, ddof=1), 4),
        },
        "all": {"weights": rounded(weights, 2), "fitted": rounded(fitted.mean(1), 4)},
        "mean_of_fold_weights": {
            "weights": rounded(mean_weights, 2),
            "fitted": rounded(table.recall(mean_weights).mean(1), 4),
        },
        "without_one_step": ablation(table, mean_weights),
        "curve": [round(value, 4) for value in curve[:: max(1, given.trials // 100)]],
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in result.items() if key not in ("folds", "curve")}, indent=1))


def ablation(table: Table, weights: np.ndarray) -> dict[str, list[float]]:
    """Return fraction@5, @10, @20 with each step's weight set to 0, the others as they are."""
    found = {}
    for at, name in enumerate(STEPS):
        less = weights.copy()
        less[at] = 0
        found[name] = rounded(table.recall(less).mean(1), 4)
    return found


def rounded(values: np.ndarray, places: int) -> list[float]:
    return [round(float(value), places) for value in values]


if __name__ == "__main__":
    main()
