"""A small run of two methods, written for these tests: scores of made-up questions."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engramos.evals.benchmarks.base import Answered, Question
from engramos.evals.outcomes import Outcomes, lines_of, read_outcomes
from engramos.evals.run import Asked, Run

CATEGORIES = ("temporal", "single-hop")


def made_run(scores: Mapping[str, Sequence[float]], *, without_session: Sequence[int] = ()) -> Run:
    """Return a run in which question i has the score `scores[method][i]` at both levels."""
    num = len(next(iter(scores.values())))
    asked = []
    for number in range(num):
        question = Question(
            f"talk.qa[{number}]",
            "talk",
            f"secret words {number}",
            datetime(2024, 5, 1, tzinfo=UTC),
            (CATEGORIES[number % 2],),
            {"turn": frozenset({"D1:2", "D1:1"}), "session": frozenset({"s1"})},
        )
        answers = {name: _answered(row[number], number in without_session) for name, row in scores.items()}
        asked.append(Asked(question, answers))
    return Run(asked)


def _answered(score: float, is_without: bool) -> Answered:
    turn = {"fraction@5": score / 2, "fraction@10": score, "ndcg@10": score}
    found = [f"D1:{number}" for number in range(20)]
    return Answered({"turn": turn} | ({} if is_without else {"session": {"fraction@10": score}}), found)


def result_for(run: Run, benchmark: str = "locomo") -> dict[str, Any]:
    """Return what stands in the first line of a run's outcomes."""
    settings = {"asked": len(run.asked), "commit": "abc", "at": "2024-05-01", "embedder": "none", "changed": {}}
    return {"benchmark": benchmark, "method": "default", "settings": settings}


def write_outcomes(path: Path, run: Run, benchmark: str = "locomo") -> Path:
    """Write a run's outcomes, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines_of(result_for(run, benchmark), run)), encoding="utf-8")
    return path


def outcomes_of(path: Path, **scores: Sequence[float]) -> Outcomes:
    """Return the outcomes of a run with these scores, read from a file."""
    return read_outcomes(write_outcomes(path, made_run(scores)))
