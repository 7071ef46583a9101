"""LoCoMo: questions about very long conversations of two people; which turns hold the evidence?"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from engramos.errors import ImportFailedError
from engramos.evals.benchmarks.base import Benchmark, Loaded, Part, Question, session_of, turn_of
from engramos.importers._json_file import load_json, records_of
from engramos.importers.locomo import Locomo as LocomoImporter
from engramos.messages import Message, Problem

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
_TURN = re.compile(r"D:?(\d{1,6}):(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Locomo(Benchmark):
    """Evidence recall at the level of turns and of sessions; each conversation is one user's memory.

    The file is the first `locomo*.json` in `DIR/locomo`, or in `DIR`. A question is asked at the time of the
    conversation's last turn. Evidence is read by rule: every `D<session>:<turn>` in a string counts, `D:11:26` means
    `D11:26` and `D30:05` means `D30:5`; what names no turn is left out, and so are questions that no evidence is left
    of. All of that is counted.

    Source: Maharana et al. 2024, Evaluating Very Long-Term Conversational Memory, https://arxiv.org/abs/2402.17753.
    Differs: no answer is generated, so that only retrieval is measured.
    """

    levels: ClassVar[Mapping[str, Any]] = MappingProxyType({"turn": turn_of, "session": session_of})

    def load(self, data: Path) -> Loaded:
        """Return the conversations and their questions; see `Benchmark.load`."""
        path = find_file(data)
        samples = records_of(path, load_json(path), "conversation")
        counts: Counter[str] = Counter(questions=0, repaired=0, dropped=0, unknown_evidence=0)
        parts, questions = [], []
        for number, sample in enumerate(samples):
            name, asked = _checked(path, sample, number)
            importer = LocomoImporter(sample=name)
            records, last = _turns(path, importer)
            sessions = {record.message_id or "": record.session or "" for record in records}
            parts.append(Part(name, records))
            questions += _questions(path, name, asked, sessions, last, counts)
        if not questions:
            raise ImportFailedError(str(path), "qa", "no question has evidence: is this the full locomo10.json?")
        return Loaded(parts, questions, dict(counts))


def find_file(data: Path) -> Path:
    """Return LoCoMo's file in a folder of evaluation data.

    Raises:
        ImportFailedError: if there is none.
    """
    for folder in (data / "locomo", data):
        for path in sorted(folder.glob("locomo*.json")):
            return path
    raise ImportFailedError(
        str(data), "locomo/locomo*.json", "is missing: get locomo10.json from github.com/snap-research/locomo"
    )


def _checked(path: Path, sample: Any, number: int) -> tuple[str, list[Any]]:
    where = f"samples[{number}]"
    if not isinstance(sample, dict) or not isinstance(sample.get("sample_id"), str):
        raise ImportFailedError(str(path), where, "has no 'sample_id': it is no LoCoMo file of the form locomo10.json")
    asked = sample.get("qa")
    if not isinstance(asked, list):
        raise ImportFailedError(str(path), f"{where}.qa", "is no list of questions: take locomo10.json")
    return sample["sample_id"], asked


def _turns(path: Path, importer: LocomoImporter) -> tuple[list[Message], datetime]:
    """Return the turns, and the time of the last one."""
    records: list[Message] = []
    last = None
    for record in importer.read(path):
        if isinstance(record, Problem):
            raise ImportFailedError(str(path), record.position, f"{record.problem}: copy the file again")
        assert isinstance(record, Message)
        records.append(record)
        last = max(last, record.at) if last and record.at else record.at or last
    if last is None:
        raise ImportFailedError(str(path), str(importer.sample), "has no dated turn: copy the file again")
    return records, last


def _questions(
    path: Path, name: str, asked: list[Any], sessions: Mapping[str, str], last: datetime, counts: Counter[str]
) -> Iterator[Question]:
    for number, one in enumerate(asked):
        where = f"{name}.qa[{number}]"
        if not isinstance(one, dict) or not isinstance(one.get("question"), str):
            raise ImportFailedError(str(path), where, "has no 'question': copy the file again")
        if one.get("category") not in CATEGORIES:
            raise ImportFailedError(str(path), where, f"has category {one.get('category')!r}, which is none of 1 to 5")
        counts["questions"] += 1
        turns, is_repaired = read_evidence(one.get("evidence"))
        known = frozenset(turn for turn in turns if turn in sessions)
        counts["repaired"] += is_repaired
        counts["unknown_evidence"] += len(turns) - len(known)
        if not known:
            counts["dropped"] += 1
            continue
        gold = {"turn": known, "session": frozenset(sessions[turn] for turn in known)}
        yield Question(where, name, one["question"], last, (CATEGORIES[one["category"]],), gold)


def read_evidence(evidence: Any) -> tuple[frozenset[str], bool]:
    """Return the turns that a question's evidence names, and whether a string had to be repaired.

    Example:
        >>> turns, is_repaired = read_evidence(["D8:6; D9:17", "D"])
        >>> sorted(turns), is_repaired
        (['D8:6', 'D9:17'], True)
    """
    written = [text for text in evidence if isinstance(text, str)] if isinstance(evidence, list) else []
    turns = [[f"D{int(session)}:{int(turn)}" for session, turn in _TURN.findall(text)] for text in written]
    is_repaired = any(named != [text] for text, named in zip(written, turns, strict=True))
    return frozenset(turn for named in turns for turn in named), is_repaired
