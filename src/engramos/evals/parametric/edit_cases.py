"""What is edited and asked: counterfactual facts of CounterFact and zsRE, and running text of WikiText."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engramos.errors import ConfigError, ImportFailedError
from engramos.evals.benchmarks._data_read import field, load_lines, one_file, read_text
from engramos.parametric.editors.base import Request

FOLDER = "knowledge_editing"
TEXT_FILE = Path("wikitext2", "valid.txt")
_MARKS = {" @-@ ": "-", " @,@ ": ",", " @.@ ": ".", "<unk> ": "", " ,": ",", " .": ".", " 's": "'s", " n't": "n't"}
_SHORTEST = 400
"""Letters of a paragraph that counts as running text."""


@dataclass(frozen=True, slots=True)
class Case:
    """One fact that is edited, and what is asked to see what the edit does."""

    name: str
    """Of the case in its data set."""
    request: Request
    old: str
    """What is true, and what the target stands against."""
    paraphrase: str
    """Another prompt that must go on with the target."""
    neighbour: str
    """A prompt about something else, whose answer must stay."""
    neighbour_answer: str


def read_cases(data: Path, data_set: str) -> list[Case]:
    """Return all cases of a data set, in the order of its file; those whose target is true already are left out.

    Source: CounterFact of ROME, https://arxiv.org/abs/2202.05262, section 4; zsRE in the form of MEND,
    https://arxiv.org/abs/2110.11309, section 5.1.

    Args:
        data: folder with evaluation data.
        data_set: one of `DATA_SETS`.

    Raises:
        ConfigError: if there is no such data set.
        ImportFailedError: if its file is missing, or a record has not the fields.
    """
    if data_set not in DATA_SETS:
        raise ConfigError(f"--data-set is {data_set!r}: give one of {', '.join(DATA_SETS)}")
    path = one_file(data / FOLDER, f"{data_set}*.jsonl", "a copy of the evaluation data")
    made = [DATA_SETS[data_set](path, f"line {at}", record) for at, record in enumerate(load_lines(path), start=1)]
    return [case for case in made if case.old.strip().casefold() != case.request.target.strip().casefold()]


def _counterfact(path: Path, where: str, record: Any) -> Case:
    def text(key: str) -> str:
        return field(path, where, record, key, str)

    request = _request(path, where, text("prompt"), text("subject"), text("target_new"))
    number = field(path, where, record, "case_id", int)
    asked = (text("ground_truth"), text("rephrase_prompt"), text("locality_prompt"), text("locality_ground_truth"))
    return Case(f"counterfact-{number}", request, *asked)


def _zsre(path: Path, where: str, record: Any) -> Case:
    def text(key: str) -> str:
        return field(path, where, record, key, str)

    answers = field(path, where, record, "answers", list)
    if not answers or not isinstance(answers[0], str) or not answers[0].strip():
        raise ImportFailedError(str(path), where, "has no text in 'answers': copy the file again")
    request = _request(path, where, text("src"), text("subject"), text("alt"))
    return Case(f"zsre-{where.split()[1]}", request, answers[0], text("rephrase"), text("loc"), text("loc_ans"))


def _request(path: Path, where: str, prompt: str, subject: str, target: str) -> Request:
    if subject not in prompt:
        raise ImportFailedError(str(path), where, "has a prompt that does not name its subject: copy the file again")
    return Request(prompt, subject, target)


DATA_SETS: dict[str, Callable[[Path, str, Any], Case]] = {"counterfact": _counterfact, "zsre": _zsre}
"""How a record of each becomes a case."""


def chosen(cases: Sequence[Case], num: int, seed: int) -> list[Case]:
    """Return so many cases, no subject twice; those of a smaller number are the first ones of a larger.

    Raises:
        ConfigError: if there are not so many.
    """
    order = random.Random(seed).sample(cases, len(cases))
    distinct = list({case.request.subject: case for case in reversed(order)}.values())[::-1]
    if len(distinct) < num:
        raise ConfigError(f"there are {len(distinct)} cases of different subjects: ask for no more, not for {num}")
    return distinct[:num]


def paragraphs(data: Path) -> list[str]:
    """Return paragraphs of running text, headings left out and marks set as in common text; none without the file.

    Raises:
        ImportFailedError: if the file cannot be read.
    """
    if not (data / TEXT_FILE).exists():
        return []
    lines = (line.strip() for line in read_text(data / TEXT_FILE).split("\n"))
    return [_plain(line) for line in lines if len(line) >= _SHORTEST and not line.startswith("=")]


def _plain(line: str) -> str:
    for mark, letters in _MARKS.items():
        line = line.replace(mark, letters)
    return re.sub(r'" ([^"]*?) "', r'"\1"', line).replace("( ", "(").replace(" )", ")")
