"""What has nothing to do with any fact: text and questions on which a model must stay as it is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engramos.errors import ImportFailedError
from engramos.evals.parametric.tofu import WORLD, questions_in
from engramos.parametric.adapter import Adapter
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.phrasings import COMMON_PROBED, PASSAGES_PROBED
from engramos.parametric.probes._reading import Read, Row, question_row, read
from engramos.parametric.probes.base import Probed

WIKITEXT = "wikitext2/valid.txt"
NUM_WINDOWS = 12
WINDOW = 128
"""Tokens of a text that are read."""
NUM_WORLD = 25
"""Questions about the world beside the everyday ones, where there is data."""
_LEAST_LETTERS = 700
"""A shorter paragraph may not fill a window."""
_MOST_GROWTH = 50.0
"""In nats a token: beyond that a model is broken, and a larger number would say nothing more."""


@dataclass(frozen=True, slots=True)
class Unrelated:
    """Texts and questions that no fact is about."""

    texts: tuple[str, ...]
    questions: tuple[str, ...]
    source: str
    """Where the texts come from: `wikitext2` or `passages`."""

    @classmethod
    def read(cls, data: Path | None) -> "Unrelated":
        """Return paragraphs of WikiText-2 and questions about the world; the probes' own passages without them.

        Args:
            data: the folder with evaluation data; None for none.

        Raises:
            ImportFailedError: if a file is there and cannot be read.
        """
        questions = tuple(one.question for one in COMMON_PROBED)
        if data is not None and (data / WORLD).is_file():
            questions += _spread(questions_in(data / WORLD), NUM_WORLD)
        if data is None or not (data / WIKITEXT).is_file():
            return cls(PASSAGES_PROBED, questions, "passages")
        try:
            lines = (data / WIKITEXT).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ImportFailedError(str(data / WIKITEXT), "file", f"cannot be read ({error}): check it") from error
        found = [line.strip() for line in lines if len(line) > _LEAST_LETTERS]
        if not found:
            raise ImportFailedError(str(data / WIKITEXT), "file", "has no long paragraph: put WikiText-2 there")
        return cls(_spread(found, NUM_WINDOWS), questions, "wikitext2")


Chosen = Callable[[int, str], Adapter | None]
"""The adapter that a text of this number gets; None for the base model."""


def drift(base: BaseModel, unrelated: Unrelated, chosen: Chosen) -> dict[str, float]:
    """Return how far a model with adapters is from the base model, on what its facts are not about.

    Texts stand in a user's turn, where adapters with an invocation act. What gets no adapter is the base model itself
    and is not read.

    Returns:
        `ppl_drift`: by what share the perplexity of the texts grows; `text_agreement`: the share of their tokens after
        which the likeliest token is the same; `top1_agreement`: the share of questions whose answers begin alike.
    """
    texts = [(turn_row(base, text), chosen(at, text)) for at, text in enumerate(unrelated.texts)]
    asked = [(question_row(base, text), chosen(at, text)) for at, text in enumerate(unrelated.questions)]
    reads = _read_all(base, [*texts, *asked])
    growth, alike, num = 0.0, 0, 0
    for at, (row, _) in enumerate(texts):
        tokens = len(row.positions)
        one = reads.get(at)
        num += tokens
        alike += tokens if one is None else int(one.agrees.sum())
        growth += 0.0 if one is None else float((one.base.double() - one.on.double()).sum())
    begun = [reads.get(at) for at in range(len(texts), len(texts) + len(asked))]
    return {
        "ppl_drift": math.expm1(min(growth / num, _MOST_GROWTH)),
        "text_agreement": alike / num,
        "top1_agreement": sum(one is None or bool(one.agrees[0]) for one in begun) / len(begun),
    }


def turn_row(base: BaseModel, text: str) -> Row:
    """Return the row of a text's first tokens in a user's turn, all of which matter, but none of what stands around."""
    turn = base.chat_tokens([{"role": "user", "content": text}])
    other = base.chat_tokens([{"role": "user", "content": "0"}])
    start = next(at for at, (one, two) in enumerate(zip(turn, other, strict=False)) if one != two)
    back = next(at for at, (one, two) in enumerate(zip(turn[::-1], other[::-1], strict=False)) if one != two)
    ids = turn[: min(len(turn) - back, start + WINDOW)]
    return Row(tuple(ids), max(0, start - 1), len(ids))


@torch.no_grad()
def _read_all(base: BaseModel, rows: Sequence[tuple[Row, Adapter | None]]) -> dict[int, Read]:
    """Return what is expected in each row that has an adapter, by its place."""
    found: dict[int, Read] = {}
    for adapter in dict.fromkeys(one for _, one in rows if one is not None):
        places = [at for at, (_, one) in enumerate(rows) if one is adapter]
        reads = read(Probed(base, adapter, Lesson()), [rows[at][0] for at in places])
        found |= dict(zip(places, reads, strict=True))
    return found


def _spread(texts: Sequence[str], num: int) -> tuple[str, ...]:
    """Return at most so many of the texts, evenly spread."""
    step = max(1.0, len(texts) / num)
    return tuple(texts[int(at * step)] for at in range(min(num, len(texts))))
