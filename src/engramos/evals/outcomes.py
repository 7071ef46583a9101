"""Every question's outcome as JSON lines: written by a run, read to compare two runs."""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engramos.errors import ImportFailedError, InvalidInputError
from engramos.evals.run import Asked, Run

SUFFIXES = (".jsonl", ".jsonl.gz")
FOUND = 10
"""How many found units are kept of each question and method."""
_AGAIN = "run the evaluation again with --out"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What each method of one run made of each question."""

    path: Path
    benchmark: str
    method: str
    """The method that the run was about; the others are its baselines."""
    settings: Mapping[str, Any]
    columns: tuple[str, ...]
    """The names of the metrics: `turn.fraction@10`, `newest`."""
    questions: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    """By question: the groups that it stands in."""
    values: Mapping[str, np.ndarray]
    """By method: (questions, columns), float64; not a number where a question has no such metric."""


def lines_of(result: Mapping[str, Any], run: Run) -> Iterator[str]:
    """Yield the lines of a file of outcomes: what the run was and the metrics' names, then one question each.

    A question's text stays out, because its licence may not let us pass it on.
    """
    columns = list(dict.fromkeys(name for asked in run.asked for one in asked.answers.values() for name in _flat(one)))
    head = {key: result[key] for key in ("benchmark", "method", "settings")}
    yield json.dumps(head | {"columns": columns}) + "\n"
    for asked in run.asked:
        yield json.dumps(_row(asked, columns), separators=(",", ":")) + "\n"


def _row(asked: Asked, columns: Sequence[str]) -> dict[str, Any]:
    flat = {name: _flat(one) for name, one in asked.answers.items()}
    return {
        "question": asked.question.question_id,
        "categories": list(asked.question.categories),
        "gold": sorted(next(iter(asked.question.gold.values()), ())),
        "found": {name: list(one.found[:FOUND]) for name, one in asked.answers.items()},
        "metrics": {name: [_short(one.get(column)) for column in columns] for name, one in flat.items()},
    }


def _flat(answered: Any) -> dict[str, float]:
    return {
        f"{level}.{kind}" if level else kind: value
        for level, row in answered.metrics.items()
        for kind, value in row.items()
    }


def _short(value: float | None) -> float | int | None:
    """Return the value with four digits; a whole number without its point, which is a third of such a file."""
    if value is None:
        return None
    return int(value) if value == int(value) else round(value, 4)


def read_outcomes(path: Path) -> Outcomes:
    """Return the outcomes in a file or folder of results.

    Args:
        path: `NAME.jsonl`, `NAME.jsonl.gz`, a `NAME.json` that such a file lies beside, or a folder with one of them.

    Raises:
        ImportFailedError: if there is none, or it is cut off or of another format.
        InvalidInputError: if a folder holds the results of several benchmarks.
    """
    path = _file_of(path)
    try:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise ImportFailedError(str(path), "file", f"cannot be read ({error}): {_AGAIN}") from error
    head, *rows = [_parsed(path, number, line) for number, line in enumerate(text.splitlines(), start=1)] or [{}]
    if not {"benchmark", "method", "settings", "columns"} <= head.keys():
        raise ImportFailedError(str(path), "line 1", f"has not the keys of a file of outcomes: {_AGAIN}")
    if len(rows) != head["settings"].get("asked"):
        wanted = head["settings"].get("asked")
        raise ImportFailedError(
            str(path), f"line {len(rows) + 1}", f"is the last, of {wanted} questions only {len(rows)}: {_AGAIN}"
        )
    return _outcomes(path, head, rows)


def _outcomes(path: Path, head: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Outcomes:
    columns = tuple(head["columns"])
    try:
        values = {
            name: np.array([row["metrics"][name] for row in rows], dtype=np.float64).reshape(len(rows), len(columns))
            for name in (rows[0]["metrics"] if rows else ())
        }
        questions = tuple(str(row["question"]) for row in rows)
        categories = tuple(tuple(row["categories"]) for row in rows)
    except (KeyError, ValueError, TypeError) as error:
        raise ImportFailedError(str(path), "a question", f"has another format ({error}): {_AGAIN}") from error
    return Outcomes(path, head["benchmark"], head["method"], head["settings"], columns, questions, categories, values)


def _file_of(path: Path) -> Path:
    if path.is_dir():
        found = sorted(one for suffix in SUFFIXES for one in path.glob(f"*{suffix}"))
        if len(found) > 1:
            names = ", ".join(one.name for one in found)
            raise InvalidInputError(f"{path} holds several results, {names}: name one file, such as {found[0]}")
        if not found:
            raise ImportFailedError(str(path), "*.jsonl", f"is missing: {_AGAIN} {path}")
        return found[0]
    if path.suffix == ".json":
        beside = [path.with_suffix(suffix) for suffix in SUFFIXES]
        found = [one for one in beside if one.is_file()]
        if not found:
            raise ImportFailedError(str(beside[0]), "file", f"is missing, and {path.name} has means alone: {_AGAIN}")
        return found[0]
    if not path.is_file():
        raise ImportFailedError(str(path), "file", "is missing: name a folder or file that eval --out has written")
    return path


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ImportFailedError(str(path), f"line {number}", f"is no JSON: {_AGAIN}") from error
    if not isinstance(row, dict):
        raise ImportFailedError(str(path), f"line {number}", f"is no JSON object: {_AGAIN}")
    return row
