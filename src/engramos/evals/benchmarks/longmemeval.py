"""LongMemEval: one question about many dated chats with an assistant; which sessions and turns answer it?"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from engramos.errors import ConfigError, ImportFailedError, InvalidInputError
from engramos.evals.benchmarks._files import read_items
from engramos.evals.benchmarks._haystacks import ITEMS, mixed_items
from engramos.evals.benchmarks.base import (
    SHOWN,
    Answered,
    Benchmark,
    Loaded,
    Part,
    Question,
    Searching,
    session_of,
    turn_of,
)
from engramos.evals.metrics import all_at, any_at, distinct, fraction_at
from engramos.importers.longmemeval import read_date, read_item
from engramos.messages import Message

FILES = {"s": "longmemeval_s*.json", "m": "longmemeval_m*.json", "oracle": "longmemeval_oracle*.json"}
"""The full files, by part; the first that is there is taken where no part is named."""
_TURN = re.compile(r"items\[\d+\]\.haystack_sessions\[\d+\]\[\d+\]", re.ASCII)
_AGAIN = "copy the file again"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Longmemeval(Benchmark):
    """Recall of the sessions and of the user's turns that hold the evidence; each item is one user's memory.

    Read are the full files in `DIR/longmemeval` or `DIR`: `longmemeval_s*.json`, or `longmemeval_m*.json`, or
    `longmemeval_oracle*.json`. Where there is none, `DIR/longmemeval_mini` is read: two whole items of S as they are,
    and oracle items whose evidence is mixed into about 100 sessions (see `_haystacks`).

    Questions whose id ends in `_abs` are left out with their haystacks, so are those without an answering session; both
    are counted, and so are turns that cannot be stored. Gold sessions are `answer_session_ids`. Gold turns are the
    user's turns with `has_answer`, ranked among the user's turns, because the official index holds these alone; a
    question without such a turn has no turn level. A question without a date is asked a day after its last session.

    Source: Wu et al. 2024, LongMemEval, https://arxiv.org/abs/2410.10813: `recall_any`, `recall_all` and `ndcg_any` of
        its src/retrieval, whose gain is that of Jarvelin and Kekalainen 2002 with base 2: ranks 1 and 2 count fully.
    Differs: the assistant's turns are stored too and count for their session; a question without gold is left out,
        where the official means give it recall_all 1 and the rest 0.

    Raises:
        ConfigError: if `part` names no file.
    """

    part: str = ""
    """`s`, `m`, `oracle` or `mini`; empty takes the first of these that is there."""

    levels: ClassVar[Mapping[str, Any]] = MappingProxyType({"session": session_of, "turn": turn_of})
    ks: ClassVar[tuple[int, ...]] = (5, 10, 30, 50)
    shown: ClassVar[tuple[str, ...]] = ("all@5", "ndcg@10")
    depth: ClassVar[int] = 1_000

    def __post_init__(self) -> None:
        if self.part not in ("", *FILES, "mini"):
            raise ConfigError(f"part of longmemeval is {self.part!r}: use one of {', '.join(FILES)}, mini")

    def load(self, data: Path) -> Loaded:
        """Return the haystacks and their questions; see `Benchmark.load`."""
        counts: Counter[str] = Counter(questions=0, abstentions=0, dropped=0, unreadable_turns=0, turn_questions=0)
        read = [one for path, items in _sources(data, self.part) for one in _read(path, items, counts)]
        if not read:
            raise ImportFailedError(str(data), "answer_session_ids", "no question has an answering session in the file")
        return Loaded([part for part, _ in read], [question for _, question in read], dict(counts))

    def answer(self, search: Searching, question: Question) -> Answered:
        """Search for a question and measure both levels; the turns are ranked among the user's."""
        cubes = search(question.text, self.depth)
        said = [cube for cube in cubes if cube.payload.role == "user"]
        ranked = {"session": distinct(map(session_of, cubes)), "turn": distinct(map(turn_of, said))}
        metrics = {
            level: official_scores(units, question.gold[level], self.ks)
            for level, units in ranked.items()
            if level in question.gold
        }
        return Answered(metrics, ranked["session"][:SHOWN])


def official_scores(ranked: Sequence[str], gold: Collection[str], ks: Iterable[int]) -> dict[str, float]:
    """Return the metrics of one ranking: `fraction@5`, `any@5`, `all@5`, `ndcg@5`, ..."""
    kinds = {"fraction": fraction_at, "any": any_at, "all": all_at, "ndcg": official_ndcg_at}
    return {f"{kind}@{k}": measure(ranked, gold, k) for kind, measure in kinds.items() for k in ks}


def official_ndcg_at(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return the normalised gain of the first `k`, in [0, 1]; ranks one and two count fully, then 1 / log2(rank).

    Source: Jarvelin and Kekalainen (2002), base 2, as LongMemEval measures it.

    Example:
        >>> official_ndcg_at(["a", "b", "c", "d"], {"b"}, 10), official_ndcg_at(["a", "b", "c", "d"], {"d"}, 10)
        (1.0, 0.5)
    """
    wanted = set(gold)
    gain = sum(_discount(rank) for rank, unit in enumerate(ranked[:k], start=1) if unit in wanted)
    return gain / sum(_discount(rank) for rank in range(1, min(k, len(wanted)) + 1))


def _discount(rank: int) -> float:
    return 1 / math.log2(max(rank, 2))


def _sources(data: Path, part: str) -> Iterator[tuple[Path, Iterable[Any]]]:
    """Yield files and their items: one full file, or the two small ones."""
    folders = (data / "longmemeval", data)
    for name, pattern in FILES.items():
        if part in ("", name):
            found = sorted(path for folder in folders for path in folder.glob(pattern) if not path.stem.endswith(ITEMS))
            if found:
                yield found[0], read_items(found[0])
                return
    if part in ("", "mini"):
        for folder in (data / "longmemeval_mini", *folders):
            if found := sorted(folder.glob(f"longmemeval_*{ITEMS}.json")):
                yield from mixed_items(folder, found)
                return
    wanted = FILES.get(part, FILES["s"])
    raise ImportFailedError(
        str(data), f"longmemeval/{wanted}", "is missing: get it from huggingface.co/datasets/xiaowu0162/longmemeval"
    )


def _read(path: Path, items: Iterable[Any], counts: Counter[str]) -> Iterator[tuple[Part, Question]]:
    for number, item in enumerate(items):
        where = f"items[{number}]"
        name, answering = _checked(path, item, where)
        counts["questions"] += 1
        if name.endswith("_abs"):
            counts["abstentions"] += 1
            continue
        gold_sessions = frozenset(answering) & set(item["haystack_session_ids"])
        if not gold_sessions:
            counts["dropped"] += 1
            continue
        records = _records(path, item, where, counts)
        gold = {"session": gold_sessions}
        if turns := _gold_turns(item, gold_sessions) & {record.message_id for record in records}:
            gold["turn"] = turns
            counts["turn_questions"] += 1
        question = Question(
            name, name, item["question"], _asked_at(path, item, where, records), (item["question_type"],), gold
        )
        yield Part(name, records), question


def _checked(path: Path, item: Any, where: str) -> tuple[str, list[Any]]:
    """Return the question's id and its answering sessions."""
    wanted = {
        "question_id": str,
        "question": str,
        "question_type": str,
        "answer_session_ids": list,
        "haystack_session_ids": list,
    }
    for key, kind in wanted.items():
        if not isinstance(item, dict) or not isinstance(item.get(key), kind):
            raise ImportFailedError(
                str(path), where, f"has no {key!r} as LongMemEval has: take longmemeval_s.json, or another of its files"
            )
    return item["question_id"], [one for one in item["answer_session_ids"] if isinstance(one, str)]


def _records(path: Path, item: Any, where: str, counts: Counter[str]) -> list[Message]:
    records = []
    for record in read_item(item, where):
        if isinstance(record, Message):
            records.append(record)
        elif _TURN.fullmatch(record.position):
            counts["unreadable_turns"] += 1
        else:
            raise ImportFailedError(str(path), record.position, f"{record.problem}; {_AGAIN}")
    if not records:
        raise ImportFailedError(str(path), where, f"has no turn: {_AGAIN}")
    return records


def _gold_turns(item: Any, gold_sessions: Collection[str]) -> frozenset[str]:
    """Return the user's turns that hold the evidence, by the names that the importer gives them."""
    return frozenset(
        f"{name}:{number}"
        for name, turns in zip(item["haystack_session_ids"], item["haystack_sessions"], strict=True)
        if name in gold_sessions
        for number, turn in enumerate(turns)
        if isinstance(turn, dict) and turn.get("has_answer") is True and turn.get("role") == "user"
    )


def _asked_at(path: Path, item: Any, where: str, records: Sequence[Message]) -> datetime:
    written = item.get("question_date")
    if written is not None:
        try:
            return read_date(written)
        except InvalidInputError as error:
            raise ImportFailedError(str(path), f"{where}.question_date", f"{error}; {_AGAIN}") from error
    times = [record.at for record in records if record.at is not None]
    if not times:
        raise ImportFailedError(str(path), where, f"has no date: {_AGAIN}")
    return max(times) + _DAY
