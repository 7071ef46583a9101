"""What a teacher with the notes says, as rows that a student without them learns from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel, Prefix
from engramos.parametric.rows import Row, answered, padded_ids, pieces, question, told
from engramos.parametric.writers._note_questions import NoteQuestion, blocks, questions_of

ABSTENTION = "I don't know."
"""The answer to a question that the notes do not answer."""
SHORT = "Answer with as few words as possible."
"""What the teacher alone is told, so that known answers are likely ones."""
GUARD_TOKENS = 10
"""Of an everyday answer: an adapter that leaves its beginning alone leaves the rest alone."""
WINDOW = 48
"""Tokens of a text that are read as one row."""
ROWS = 8
"""Read in one pass."""


class Wishes(Protocol):
    """What a distilling writer decides of its rows."""

    top_k: int
    temperature: float
    note_tokens: int
    is_teacher_trusted: bool
    answer_tokens: int
    guards: float


@dataclass(frozen=True, slots=True, eq=False)
class TaughtRow:
    """A row that the student reads, and what it should say at each token of its answer."""

    row: Row
    top: Tensor
    """Tokens that the teacher finds likeliest: (answer, k) int64."""
    shares: Tensor
    """Their probabilities, which sum to 1 at each place: (answer, k) float32."""
    is_answer: bool
    """Whether it answers a question about the lesson."""
    is_guard: bool
    """Whether it keeps what the model says of other things."""
    is_right: bool
    """Whether the teacher itself says the whole answer."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A row to be: what the teacher reads and what the student reads before the same answer."""

    notes: str
    """Readings of the same notes begin alike."""
    with_notes: tuple[int, ...]
    """The teacher's prompt."""
    row: Row
    """The student's."""
    is_known: bool = False
    """Whether the answer is right, whatever the teacher finds."""
    is_answer: bool = True
    is_guard: bool = False


def taught(lesson: Lesson, base: BaseModel, wishes: Wishes, seed: int) -> tuple[list[TaughtRow], dict[str, float]]:
    """Return the rows of a lesson, and what is known of them before training.

    Returns:
        Rows; `questions`, `prompt_tokens_saved` a question, and, where it is not trusted anyway, `teacher_right`: the
        share of known answers that the teacher gives too, token for token.
    """
    asked = questions_of(lesson, wishes.note_tokens, lambda text: len(base.tokens(text)))
    readings, report = _answered(asked, base, wishes)
    if not lesson.facts:
        readings += _windows(lesson.texts, base, wishes.note_tokens)
    readings += _guards(lesson, base, wishes, round(wishes.guards * len(readings)), seed)
    rows = _rows(readings, base, wishes)
    right = [row.is_right for row, one in zip(rows, readings, strict=True) if one.is_known and one.is_answer]
    return rows, report | ({"teacher_right": sum(right) / len(right)} if right else {})


def divergences(rows: Sequence[TaughtRow], scores: Tensor) -> tuple[Tensor, list[bool]]:
    """Return how far the student is from what each row teaches, and whether it says the row's answer.

    Args:
        rows: 1 or more.
        scores: of the student at all tokens of the answers, row after row: (answer tokens, vocabulary).

    Returns:
        (rows,) mean over a row's answer of KL(teacher, student) in nats; and whether all its tokens are the likeliest.
    """
    logs = torch.log_softmax(scores.float(), dim=-1)
    losses, sure = [], []
    for one, ours in zip(rows, logs.split([len(one.row.answer) for one in rows]), strict=True):
        shares = one.shares
        losses.append((torch.xlogy(shares, shares) - shares * ours.gather(1, one.top)).sum(-1).mean())
        sure.append(tuple(ours.argmax(-1).tolist()) == one.row.answer)
    return torch.stack(losses), sure


def _answered(
    asked: Sequence[NoteQuestion], base: BaseModel, wishes: Wishes
) -> tuple[list[_Reading], dict[str, float]]:
    """Return the questions with the answers to be learnt, and what the notes cost in each prompt."""
    readings: list[_Reading] = []
    short = () if wishes.is_teacher_trusted else (SHORT,)
    for one in asked:
        is_open = wishes.is_teacher_trusted
        row = Row(question(base, one.question)) if is_open else answered(base, one.question, one.answer)
        with_notes = question(base, one.notes, one.question, *short)
        readings.append(_Reading(one.notes, with_notes, row, not is_open))
    open_ones = [at for at, one in enumerate(readings) if not one.is_known]
    for some in (open_ones[at : at + ROWS] for at in range(0, len(open_ones), ROWS)):
        said = base.generate([readings[at].with_notes for at in some], max_tokens=wishes.answer_tokens)
        for at, answer in zip(some, said, strict=True):
            row = Row(readings[at].row.prompt, tuple(answer) or (base.end_token,))
            readings[at] = replace(readings[at], row=row)
    asides = [len(question(base, one.notes, one.question)) - len(question(base, one.question)) for one in asked]
    return readings, {"questions": float(len(asked)), "prompt_tokens_saved": sum(asides) / max(1, len(asides))}


def _windows(texts: Sequence[str], base: BaseModel, note_tokens: int) -> list[_Reading]:
    """Return texts to be read once more by a teacher who has just read them."""
    found = []
    for block in blocks(texts, note_tokens, lambda text: len(base.tokens(text))):
        ids, before = base.tokens(block), base.tokens(f"{block}\n\n")
        for number, row in enumerate(pieces(ids, WINDOW, is_joined=True)):
            # the teacher reads the text from its beginning, so that it knows which passage it repeats
            with_notes = (*before, *ids[: number * WINDOW + 1])
            found.append(_Reading(block, with_notes, row, is_answer=False))
    return found


def _guards(lesson: Lesson, base: BaseModel, wishes: Wishes, most: int, seed: int) -> list[_Reading]:
    """Return what must stay: everyday answers and general text as they are, and abstention; at most so many."""
    source = torch.Generator().manual_seed(seed)
    drawn = [("unknown", one) for one in lesson.unknown] + [("common", one) for one in lesson.common]
    drawn += [("retained", one) for one in lesson.retained]
    chosen = [drawn[at] for at in torch.randperm(len(drawn), generator=source)[:most]]
    rows = []
    for sort, text in chosen:
        if sort == "retained":
            rows += [(sort, row) for row in pieces(base.tokens(text), WINDOW, is_joined=True)[:1]]
        elif sort == "unknown":
            rows.append((sort, answered(base, text, ABSTENTION)))
        else:
            bare = question(base, text)
            answer = base.generate([bare], max_tokens=GUARD_TOKENS)[0]
            rows.append((sort, Row(bare, tuple(answer) or (base.end_token,))))
    return [_Reading("", row.prompt, row, sort == "unknown", is_answer=False, is_guard=True) for sort, row in rows]


@torch.no_grad()
def _rows(readings: Sequence[_Reading], base: BaseModel, wishes: Wishes) -> list[TaughtRow]:
    """Return the readings with what the teacher finds at every token of the answers."""
    found: dict[int, TaughtRow] = {}
    by_notes: dict[str, list[int]] = {}
    for at, one in enumerate(readings):
        by_notes.setdefault(one.notes, []).append(at)
    for notes, members in by_notes.items():
        opening = _opening([readings[at].with_notes for at in members]) if notes else ()
        prefix = base.prefix_of(opening) if opening else None
        for some in (members[at : at + ROWS] for at in range(0, len(members), ROWS)):
            logs = _teacher([readings[at] for at in some], len(opening), prefix, base)
            for at, scores in zip(some, logs, strict=True):
                found[at] = _row(readings[at], scores / wishes.temperature, wishes.top_k)
    return [found[at] for at in range(len(readings))]


def _opening(prompts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the tokens that all prompts begin with, the last one of the shortest left out."""
    shortest = min(prompts, key=len)[:-1]
    for at, token in enumerate(shortest):
        if any(one[at] != token for one in prompts):
            return shortest[:at]
    return shortest


def _teacher(readings: Sequence[_Reading], skipped: int, prefix: Prefix | None, base: BaseModel) -> list[Tensor]:
    """Return the teacher's scores at every token of each answer: (answer, vocabulary)."""
    rows = [Row(one.with_notes[skipped:], one.row.answer) for one in readings]
    ids = padded_ids([row.inputs for row in rows])
    hidden = base.run(base.embedded(ids), prefix=prefix)
    return list(base.scores(told(hidden, rows)).float().split([len(row.answer) for row in rows]))


def _row(reading: _Reading, scores: Tensor, top_k: int) -> TaughtRow:
    """Return a row of the teacher's scores: (answer, vocabulary)."""
    answer = torch.tensor(reading.row.answer, device=scores.device)
    best = scores.topk(min(top_k, scores.shape[-1]))
    shares, top = torch.softmax(best.values, dim=-1), best.indices
    is_wrong = top[:, 0] != answer
    is_right = not bool(is_wrong.any())
    if reading.is_known:
        # one wrong token of the teacher would lead the student's whole answer astray
        top[is_wrong, 0] = answer[is_wrong]
        sure = torch.zeros_like(shares)
        sure[:, 0] = 1.0
        shares = torch.where(is_wrong[:, None], sure, shares)
    return TaughtRow(reading.row, top, shares, reading.is_answer, reading.is_guard, is_right)
