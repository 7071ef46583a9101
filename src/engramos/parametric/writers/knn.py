"""Keep hidden states with the tokens that come after them, and look them up again."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from engramos.errors import ConfigError, InvalidInputError, ModelError
from engramos.parametric.adapters._sources import distances
from engramos.parametric.adapters.datastore import Datastore
from engramos.parametric.facts import Fact, without_duplicates
from engramos.parametric.lesson import Cost, Lesson, Written
from engramos.parametric.model import BaseModel
from engramos.parametric.rows import Row, question, rows_of
from engramos.parametric.writers._states import StateReader
from engramos.parametric.writers.base import Writer

OPERATIONS_PER_S = 3e10
"""What one thread of a common CPU does, for estimates."""
QUESTION_TOKENS = 16
"""Of a question in the chat template, what all begin with not counted, for estimates."""


def source_of(text: str) -> str:
    """Return what a text is known by in a datastore: a digest of it."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Knn(Writer):
    """Nothing is trained: what the model's last layer holds at each token of an answer is kept with that token.

    The first token of an answer is found as far as other wordings of its question lie; the tokens after it as far as
    any of them; and nothing near what must not be answered: the same question about other subjects, the lesson's
    unknown and everyday questions, its general text. So a row depends on its own fact and on those texts alone, and
    facts are added and taken out, bit for bit, as if they had been written together or never.

    Source: kNN-LM, https://arxiv.org/abs/1911.00172, section 2.
    Differs: answers instead of a whole corpus, read in the chat template; the input of the scoring module instead of
    the last feed-forward block's; rows of a limited reach, see `Datastore`.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"facts", "texts"})
    facts_a_shard: ClassVar[int] = 500
    is_exact_to_forget: ClassVar[bool] = True
    share: float = 0.95
    """Of the rows in the mixture with the model; over 0, under 1."""
    temperature: float = 10.0
    """In squared distances between hidden states; over 0."""
    neighbours: int = 16
    """At most so many rows speak at a token; 1 or more."""
    slack: float = 1.3
    """How far a row reaches, in distances of other wordings from it; over 0."""
    caution: float = 0.85
    """How far a row reaches towards what must not be answered, as a share of that distance; over 0, at most 1."""
    reach: float = 0.25
    """How far any row reaches at most, as a share of its key's length; over 0."""
    stand_ins: tuple[str, ...] = ("Corvan Ilmore", "Tessa Brandlin")
    """Names of nobody, put in the subject's place to see what must not be answered."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigError(f"share is {self.share}: give a number over 0 and under 1")
        if not 0 < self.caution <= 1:
            raise ConfigError(f"caution is {self.caution}: give a number over 0 and at most 1")
        for name in ("temperature", "slack", "reach"):
            if not 0 < getattr(self, name) < inf:
                raise ConfigError(f"{name} is {getattr(self, name)}: give a number over 0")
        if self.neighbours < 1:
            raise ConfigError(f"neighbours is {self.neighbours}: give 1 or more")
        if any(not name.strip() for name in self.stand_ins):
            raise ConfigError("a name of stand_ins is empty: give texts")

    def estimate(self, lesson: Lesson, base: BaseModel) -> Cost:
        """Return the cost of reading all wordings and texts once."""
        num_text = sum(len(base.tokens(text)) for text in lesson.texts)
        rows = num_text + sum(
            (len(base.tokens(fact.answer)) + 1) * (len(fact.questions) + bool(fact.cloze)) for fact in lesson.facts
        )
        wordings = sum(len(fact.questions) + 1 + 2 * len(self.stand_ins) for fact in lesson.facts)
        num_read = num_text + sum(len(base.tokens(text)) for text in lesson.retained)
        num_read += QUESTION_TOKENS * (wordings + len(lesson.unknown) + len(lesson.common))
        operations = 2 * 12 * base.num_layers * base.hidden_size**2 * num_read
        operations += 2 * base.vocabulary * base.hidden_size * (rows + wordings)
        steps = len(lesson.facts) + len(lesson.texts)
        return Cost(operations / OPERATIONS_PER_S, rows * (4 * base.hidden_size + 20), steps)

    @torch.no_grad()
    def write(
        self, lesson: Lesson, base: BaseModel, *, seed: int = 0, progress: Callable[[int], None] = lambda step: None
    ) -> Written:
        """Return the datastore of the facts' answers, their statements, and the texts; nothing is drawn."""
        texts = [text for text in dict.fromkeys(lesson.texts) if text.strip()]
        if not lesson.facts and not texts:
            raise InvalidInputError(
                "the writer knn learns from facts and texts and the lesson has none: give 1 or more"
            )
        began = time.process_time()
        reader = StateReader.of(base)
        refused = _refused(lesson, reader)
        parts: dict[str, _Rows] = {}
        for fact in without_duplicates(lesson.facts):
            parts[fact.id] = self._of_fact(fact, reader, refused)
            progress(len(parts))
        for text in texts:
            parts[source_of(text)] = self._of_text(text, reader, refused)
            progress(len(parts))
        adapter = self._store(parts, base)
        cost = Cost(time.process_time() - began, adapter.num_bytes, len(parts))
        return Written(adapter, cost, {"rows": float(len(adapter.keys)), "sources": float(len(parts))})

    def _of_fact(self, fact: Fact, reader: StateReader, refused: Tensor) -> "_Rows":
        base = reader.base
        asked = rows_of(base, [fact])
        others = [Row(question(base, text)) for text in self._of_others(fact.question, fact)]
        states = reader.chats([*asked, *others])
        keys = torch.stack(states[: len(asked)])
        refused = torch.cat([refused, *states[len(asked) :]])
        bounds = self.slack * _spreads(keys)
        tokens = torch.tensor([token for row in asked for token in row.answer], device=keys.device)
        found = [self._bounded(keys.flatten(0, 1), tokens, bounds.flatten(), refused)]
        if fact.cloze:
            found.append(self._of_statement(fact, reader, refused))
        elif fact.statement.strip():
            found.append(self._of_text(fact.statement, reader, refused))
        return _Rows(*(torch.cat(parts) for parts in zip(*(one.columns for one in found), strict=True)))

    def _of_statement(self, fact: Fact, reader: StateReader, refused: Tensor) -> "_Rows":
        base = reader.base
        prompt = tuple(base.tokens(fact.cloze))
        answer = tuple(base.tokens(f"{fact.cloze} {fact.answer}"))[len(prompt) :]
        others = [Row(tuple(base.tokens(text))) for text in self._of_others(fact.cloze, fact)]
        keys, *strangers = reader.rows([Row(prompt, answer), *others])
        tokens = torch.tensor(answer, device=keys.device)
        bounds = torch.full((len(answer),), inf, device=keys.device)
        return self._bounded(keys, tokens, bounds, torch.cat([refused, *strangers]))

    def _of_text(self, text: str, reader: StateReader, refused: Tensor) -> "_Rows":
        keys, tokens = reader.text(text)
        return self._bounded(keys, tokens, torch.full(tokens.shape, inf, device=keys.device), refused)

    def _of_others(self, text: str, fact: Fact) -> list[str]:
        """Return the same about others; nothing where the text does not name the subject."""
        named = next((name for name in fact.names if name in text), None)
        return [] if named is None else [text.replace(named, other) for other in self.stand_ins]

    def _bounded(self, keys: Tensor, tokens: Tensor, bounds: Tensor, refused: Tensor) -> "_Rows":
        """Return rows that reach up to their bounds, and not up to what is refused."""
        if len(refused) and len(keys):
            bounds = torch.minimum(bounds, self.caution * distances(keys, refused).amin(dim=-1))
        return _Rows(keys, tokens, torch.minimum(bounds, self.reach * torch.linalg.vector_norm(keys, dim=-1)))

    def _store(self, parts: dict[str, "_Rows"], base: BaseModel) -> Datastore:
        keys, tokens, reaches = (
            torch.cat(column) for column in zip(*(rows.columns for rows in parts.values()), strict=True)
        )
        if not bool(torch.isfinite(keys).all()):
            raise ModelError("the model's hidden states are not finite: nothing can be written for it")
        sizes = torch.tensor([len(rows.keys) for rows in parts.values()])
        owners = torch.arange(len(parts)).repeat_interleave(sizes).to(keys.device)
        given = (self.share, self.temperature, self.neighbours)
        return Datastore(base.head_name, keys, tokens, reaches, owners, tuple(parts), *given)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows of one source: (rows, hidden), (rows,) and (rows,)."""

    keys: Tensor
    tokens: Tensor
    reaches: Tensor

    @property
    def columns(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.keys, self.tokens, self.reaches


def _refused(lesson: Lesson, reader: StateReader) -> Tensor:
    """Return the states at which nothing of the lesson may be said: (states, hidden)."""
    asked = [Row(question(reader.base, text)) for text in (*lesson.unknown, *lesson.common)]
    return torch.cat([reader.none(), *reader.chats(asked), *(reader.text(text)[0] for text in lesson.retained)])


def _spreads(keys: Tensor) -> Tensor:
    """Return how far the nearest other wording lies, at the first token; the farthest such of the fact, after it.

    Tokens after the first need no such care: the first alone leads to them.

    Args:
        keys: (wordings, tokens, hidden).

    Returns:
        (wordings, tokens); infinite where there is one wording alone.
    """
    apart = torch.linalg.vector_norm(keys[:, None] - keys[None], dim=-1)
    itself = torch.eye(len(keys), dtype=torch.bool, device=keys.device)[..., None]
    nearest = apart.masked_fill(itself, inf).amin(dim=1)
    return torch.cat([nearest[:, :1], nearest.max().expand(nearest[:, 1:].shape)], dim=1)
