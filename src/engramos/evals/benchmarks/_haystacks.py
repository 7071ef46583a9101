"""Haystacks of about 100 sessions for LongMemEval items that come with their evidence alone."""

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from engramos.errors import ImportFailedError, InvalidInputError
from engramos.evals.benchmarks._files import read_json
from engramos.importers.longmemeval import read_date

ITEMS = "_items"
"""How the names of files with a few items end."""
FILLERS = "filler_sessions.json"
ORACLE = "oracle"
SEED = 20_241_014
AROUND = timedelta(days=14)
"""How far the haystack reaches before the first and, where the question has no date, behind the last evidence."""
_AGAIN = "copy the folder again"


def mixed_items(folder: Path, paths: Sequence[Path]) -> Iterator[tuple[Path, list[Any]]]:
    """Yield each file of items with its items; oracle items get the filler sessions around their evidence.

    Every filler session is taken, so that a haystack has about 100. Each gets a time drawn evenly between two weeks
    before the first evidence and the question's date, which is two weeks after the last evidence where none is given.
    All sessions stand in the order of their times, as in the benchmark's own haystacks. The draw is seeded with `SEED`
    and the question's id: the same in every run.

    Args:
        folder: holds `filler_sessions.json`.
        paths: the files of items.

    Raises:
        ImportFailedError: if a file is missing, cut off, or of another format.
    """
    for path in paths:
        items = read_json(path)
        if not isinstance(items, list):
            raise ImportFailedError(str(path), "top level", "is no list of items: take another version")
        if ORACLE in path.name:
            fillers = _read_fillers(folder / FILLERS)
            items = [_mixed(path, item, f"items[{number}]", fillers) for number, item in enumerate(items)]
        yield path, items


def _read_fillers(path: Path) -> list[Mapping[str, Any]]:
    fillers = read_json(path)
    if not isinstance(fillers, list) or not fillers:
        raise ImportFailedError(str(path), "top level", "is no list of sessions: take another version")
    for number, one in enumerate(fillers):
        if not isinstance(one, dict) or not isinstance(one.get("turns"), list) or not one.get("session_id"):
            raise ImportFailedError(str(path), f"[{number}]", f"has no 'session_id' or 'turns': {_AGAIN}")
    return fillers


def _mixed(path: Path, item: Any, where: str, fillers: Sequence[Mapping[str, Any]]) -> Any:
    try:
        dates = [read_date(written) for written in item["haystack_dates"]]
        names, turns = item["haystack_session_ids"], item["haystack_sessions"]
        sessions = list(zip(dates, names, turns, strict=True))
        asked_at = read_date(item["question_date"]) if item.get("question_date") else max(dates) + AROUND
        start = min(dates) - AROUND
        drawn = random.Random(f"{SEED} {item['question_id']}")
    except (KeyError, TypeError, ValueError, AttributeError, InvalidInputError) as error:
        raise ImportFailedError(str(path), where, f"has no dated haystack ({error}): {_AGAIN}") from error
    minutes = int((asked_at - start) / timedelta(minutes=1))
    for one in fillers:
        at = start + timedelta(minutes=drawn.randrange(max(minutes, 1)))
        if one["session_id"] not in names:
            sessions.append((at, one["session_id"], one["turns"]))
    sessions.sort(key=lambda session: session[0])
    return item | {
        "haystack_dates": [_written(at) for at, _, _ in sessions],
        "haystack_session_ids": [name for _, name, _ in sessions],
        "haystack_sessions": [turns for _, _, turns in sessions],
        "question_date": _written(asked_at),
    }


def _written(at: datetime) -> str:
    return f"{at:%Y/%m/%d %H:%M}"
