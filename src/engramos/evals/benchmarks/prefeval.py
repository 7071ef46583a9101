"""PrefEval: preferences said in passing; is the one found that a later question must respect?"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from engramos.errors import ImportFailedError
from engramos.evals.benchmarks._data_read import field
from engramos.evals.benchmarks.base import Benchmark, Loaded, Part, Question, turn_of
from engramos.importers._json_file import load_json
from engramos.messages import Message

ORIGIN = "github.com/amazon-science/PrefEval, folder benchmark_dataset"
START = datetime(2024, 1, 1, tzinfo=UTC)
SEED = 0
"""Of the order in which preferences are said."""


@dataclass(frozen=True, slots=True)
class Prefeval(Benchmark):
    """Recall of the message that states a preference, among all other preferences and all filler turns.

    One user states each explicit preference once, word for word; these messages are spread evenly between the
    exchanges of all filler conversations (`filtered_inter_turns.json`, both roles), in an order shuffled with a fixed
    seed so that no place tells the topic. Each question's gold is the one message with its preference. The files are
    `DIR/prefeval/explicit_preference/TOPIC.json`; a topic is a category.

    Source: Zhao et al. 2025, Do LLMs Recognize Your Preferences?, https://arxiv.org/abs/2502.09597.
    Differs: no answer is generated or judged, and one memory holds every preference where the paper's prompt holds one.
    """

    levels: ClassVar[Mapping[str, Any]] = MappingProxyType({"preference": turn_of})
    shown: ClassVar[tuple[str, ...]] = ("any@5",)

    def load(self, data: Path) -> Loaded:
        """Return the conversations and their questions; see `Benchmark.load`."""
        folder = data / "prefeval"
        fillers = _fillers(folder / "filtered_inter_turns.json")
        ids: dict[str, str] = {}
        asked: list[tuple[str, str, str, str]] = []
        for path, number, record in _items(folder / "explicit_preference"):
            where = f"items[{number}]"
            stated = field(path, where, record, "preference", str)
            text = field(path, where, record, "question", str)
            name = f"{path.stem}-{number}"
            asked.append((name, path.stem, text, ids.setdefault(stated, name)))
        records = list(_conversation(fillers, ids))
        end = records[-1].at
        assert end is not None
        asked_at = end + timedelta(minutes=1)
        questions = [
            Question(name, "prefeval", text, asked_at, (topic,), {"preference": frozenset((gold,))})
            for name, topic, text, gold in asked
        ]
        counts = {"questions": len(asked), "preferences": len(ids), "filler_turns": sum(map(len, fillers.values()))}
        return Loaded([Part("prefeval", records)], questions, counts)


def _items(folder: Path) -> Iterator[tuple[Path, int, Any]]:
    """Yield each file, the item's number there, and the item."""
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise ImportFailedError(str(folder), "*.json", f"is missing: get the topics from {ORIGIN}")
    for path in paths:
        items = load_json(path)
        if not isinstance(items, list) or not items:
            raise ImportFailedError(str(path), "top level", f"is no list of preferences: get the topic from {ORIGIN}")
        for number, item in enumerate(items):
            yield path, number, item


def _fillers(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the role and the text of each filler turn, by conversation."""
    conversations = load_json(path)
    if not isinstance(conversations, list) or not conversations:
        raise ImportFailedError(str(path), "top level", f"is no list of conversations: get the file from {ORIGIN}")
    found: dict[str, list[tuple[str, str]]] = {}
    for number, one in enumerate(conversations):
        where = f"conversations[{number}]"
        turns = []
        for at, turn in enumerate(field(path, where, one, "conversation", list)):
            place = f"{where}.conversation[{at}]"
            role, text = field(path, place, turn, "role", str), field(path, place, turn, "content", str)
            if role not in ("user", "assistant"):
                raise ImportFailedError(str(path), place, f"has role {role!r}, where user or assistant is due")
            turns.append((role, text))
        found[f"filler-{number}"] = turns
    return found


def _conversation(fillers: Mapping[str, Sequence[tuple[str, str]]], ids: Mapping[str, str]) -> Iterator[Message]:
    """Yield the filler turns, one a minute, with the preferences spread evenly before those of the user."""
    waiting = sorted(ids.items())
    random.Random(SEED).shuffle(waiting)
    num_gaps = sum(role == "user" for turns in fillers.values() for role, _ in turns)
    if not num_gaps:
        raise ImportFailedError("filtered_inter_turns.json", "conversations", "have no turn of a user: copy it again")
    at, gap, said = START, 0, 0
    for session, turns in fillers.items():
        for number, (role, text) in enumerate(turns):
            if role == "user":
                gap += 1
                due = gap * len(waiting) // num_gaps
                for stated, name in waiting[said:due]:
                    yield Message(stated, "user", at=at, session=session, message_id=name)
                    at += timedelta(minutes=1)
                said = due
            yield Message(text, role, at=at, session=session, message_id=f"{session}-{number}")
            at += timedelta(minutes=1)
        at += timedelta(days=1)
