"""HotpotQA and MuSiQue: questions that take two to four passages; are they all found?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from engramos.errors import ImportFailedError
from engramos.evals.benchmarks._data_read import field, one_file
from engramos.evals.benchmarks.base import Benchmark, Loaded, Part, Question, session_of
from engramos.importers._json_file import load_json
from engramos.importers._problems import printable
from engramos.messages import Document

ORIGIN = "github.com/OpenSPG/KAG, kag/open_benchmark"
WRITTEN_AT = datetime(2024, 1, 1, tzinfo=UTC)
"""Passages have no date; a fixed one keeps the result the same on every day."""

Passage = tuple[str, str]
"""Title and text."""


@dataclass(frozen=True, slots=True)
class Multihop(Benchmark):
    """Recall of the supporting passages; each corpus is one user's memory, and every passage of it is a document.

    HotpotQA's passages are known by their titles, MuSiQue's by title and text. Files in `DIR/multihop`:
    `hotpotqa_corpus.json` and `musique_corpus.json`, and beside each the questions, `hotpotqa_*.json` and
    `musique_*.json`. Questions that a passage answers which the corpus lacks are an error.

    Source: Yang et al. 2018, https://arxiv.org/abs/1809.09600; Trivedi et al. 2022, https://arxiv.org/abs/2108.00573;
    recall@2 and @5 as in Gutierrez et al. 2024, https://arxiv.org/abs/2405.14831.
    """

    levels: ClassVar[Mapping[str, Any]] = MappingProxyType({"passage": session_of})
    ks: ClassVar[tuple[int, ...]] = (2, 5, 10)
    shown: ClassVar[tuple[str, ...]] = ("fraction@2", "fraction@5")

    def load(self, data: Path) -> Loaded:
        """Return the corpora and their questions; see `Benchmark.load`."""
        folder = data / "multihop"
        parts: list[Part] = []
        questions: list[Question] = []
        for name, passages_of, supporting_of in (
            ("hotpotqa", _hotpotqa_passages, _hotpotqa_supporting),
            ("musique", _musique_passages, _musique_supporting),
        ):
            corpus, asked = one_file(folder, f"{name}_corpus.json", ORIGIN), _questions_file(folder, name)
            passages = list(passages_of(corpus))
            ids = {passage: f"{name}/{number}" for number, passage in enumerate(passages)}
            by_key = {passage[0]: ids[passage] for passage in passages} if name == "hotpotqa" else ids
            parts.append(Part(name, [_document(passage, ids[passage]) for passage in passages]))
            for number, record in enumerate(_listed(asked)):
                where = f"questions[{number}]"
                text = field(asked, where, record, "question", str)
                gold = frozenset(_known(asked, where, by_key, key) for key in supporting_of(asked, where, record))
                if not gold:
                    raise ImportFailedError(str(asked), where, "names no supporting passage: copy the file again")
                asked_at = WRITTEN_AT + timedelta(minutes=1)
                questions.append(Question(f"{name}[{number}]", name, text, asked_at, (name,), {"passage": gold}))
        return Loaded(parts, questions, {"questions": len(questions)})


def _questions_file(folder: Path, name: str) -> Path:
    # what is not the corpus holds the questions; its name says how many, and of which split
    return one_file(folder, f"{name}_[!c]*.json", ORIGIN)


def _document(passage: Passage, name: str) -> Document:
    title, text = passage
    return Document(text, printable(title, name), at=WRITTEN_AT, document_id=name)


def _listed(path: Path) -> list[Any]:
    value = load_json(path)
    if not isinstance(value, list) or not value:
        raise ImportFailedError(str(path), "top level", f"is no list, or an empty one: get the file from {ORIGIN}")
    return value


def _known(path: Path, where: str, ids: Mapping[Any, str], key: Any) -> str:
    if key not in ids:
        title = key if isinstance(key, str) else key[0]
        problem = f"passage {title!r} is not in the corpus: take corpus and questions of one version"
        raise ImportFailedError(str(path), where, problem)
    return ids[key]


def _hotpotqa_passages(path: Path) -> Iterator[Passage]:
    value = load_json(path)
    if not isinstance(value, dict) or not value:
        raise ImportFailedError(str(path), "top level", f"is no object of titles: get the file from {ORIGIN}")
    for title, sentences in value.items():
        if not isinstance(sentences, list) or not all(isinstance(one, str) for one in sentences):
            raise ImportFailedError(str(path), repr(title), "is no list of sentences: get the file again")
        if not (text := "".join(sentences).strip()):
            raise ImportFailedError(str(path), repr(title), "has no text: get the file again")
        yield title, text


def _musique_passages(path: Path) -> Iterator[Passage]:
    for number, record in enumerate(_listed(path)):
        where = f"passages[{number}]"
        yield field(path, where, record, "title", str), field(path, where, record, "text", str)


def _hotpotqa_supporting(path: Path, where: str, record: Any) -> Iterator[str]:
    for number, fact in enumerate(field(path, where, record, "supporting_facts", list)):
        if not isinstance(fact, list) or not fact or not isinstance(fact[0], str):
            raise ImportFailedError(str(path), f"{where}.supporting_facts[{number}]", "has no title: copy it again")
        yield fact[0]


def _musique_supporting(path: Path, where: str, record: Any) -> Iterator[Passage]:
    for number, one in enumerate(field(path, where, record, "paragraphs", list)):
        place = f"{where}.paragraphs[{number}]"
        if field(path, place, one, "is_supporting", bool):
            yield field(path, place, one, "title", str), field(path, place, one, "paragraph_text", str)
