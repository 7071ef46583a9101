"""What a model makes of prompts and of running text, with what it holds."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.evals.parametric.edit_cases import Case
from engramos.parametric.model import BaseModel

TOKENS_A_PASS = 1024
WINDOW = 64
"""Tokens of a stretch of running text."""
WINDOWS = 16
"""At most so many stretches."""
WINDOWS_A_PASS = 4
PROBE_TEXT = "The ferry leaves at seven, and it takes an hour to cross the bay when the wind is low."


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model makes of a text that goes on as given."""

    likelihood: float
    """Mean log probability of the tokens that follow the prompt."""
    is_exact: bool
    """Whether each of them is the likeliest there: the answer that is generated greedily begins with them."""
    first: int
    """The likeliest token after the prompt."""


@dataclass(frozen=True, slots=True)
class Readings:
    """All that is asked of a case."""

    new: Reading
    old: Reading
    paraphrase_new: Reading
    paraphrase_old: Reading
    neighbour_new: Reading
    neighbour_old: Reading


@dataclass(frozen=True, slots=True)
class TextReading:
    """What the model makes of running text, but for the last token of each window: (windows, tokens - 1) each."""

    first: Tensor
    """The likeliest next tokens."""
    loss: Tensor
    """Of the tokens that come next."""


def readings(base: BaseModel, cases: Sequence[Case]) -> list[Readings]:
    """Return what the model, with what it holds, makes of each case."""
    asked = []
    for case in cases:
        new, old = case.request.target, case.old
        asked += [(prompt, target) for prompt in (case.request.prompt, case.paraphrase) for target in (new, old)]
        asked += [(case.neighbour, new), (case.neighbour, case.neighbour_answer)]
    found = _read(base, [_split(base, *one) for one in asked])
    return [Readings(*found[at : at + 6]) for at in range(0, len(found), 6)]


def _split(base: BaseModel, prompt: str, target: str) -> tuple[list[int], int]:
    """Return both texts as tokens, and where those begin that the prompt alone has not."""
    whole, start = base.tokens(f"{prompt.rstrip()} {target.strip()}"), base.tokens(prompt.rstrip())
    common = next((at for at, (one, two) in enumerate(zip(whole, start, strict=False)) if one != two), len(start))
    return whole, max(1, common)


@torch.no_grad()
def _read(base: BaseModel, rows: Sequence[tuple[list[int], int]]) -> list[Reading]:
    """Return what the model makes of each text from where its target begins."""
    found: dict[int, Reading] = {}
    for numbers in _batches([len(ids) for ids, _ in rows]):
        ids = torch.zeros(len(numbers), max(len(rows[one][0]) for one in numbers), dtype=torch.int64)
        for place, one in enumerate(numbers):
            ids[place, : len(rows[one][0])] = torch.tensor(rows[one][0])
        hidden = base.run(base.embedded(ids))
        for place, one in enumerate(numbers):
            tokens, start = rows[one]
            logs = torch.log_softmax(base.scores(hidden[place, start - 1 : len(tokens) - 1]).float(), dim=-1).cpu()
            wanted, best = torch.tensor(tokens[start:]), logs.argmax(dim=-1)
            mean = float(logs.gather(1, wanted[:, None]).mean())
            found[one] = Reading(mean, bool((best == wanted).all()), int(best[0]))
    return [found[one] for one in range(len(rows))]


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Return numbers of rows that are read together, rows of like length with each other."""
    made: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not made or (len(made[-1]) + 1) * lengths[number] > TOKENS_A_PASS:
            made.append([])
        made[-1].append(number)
    return made


def windows_of(base: BaseModel, text: Sequence[str], seed: int) -> Tensor:
    """Return the beginnings of paragraphs that are long enough: (windows, tokens) int64, drawn by the seed."""
    order = torch.randperm(len(text), generator=torch.Generator().manual_seed(seed)).tolist()
    found: list[list[int]] = []
    for number in order:
        ids = base.tokens(text[number])
        if len(ids) >= WINDOW:
            found.append(ids[:WINDOW])
        if len(found) == WINDOWS:
            break
    return torch.tensor(found, dtype=torch.int64).reshape(len(found), WINDOW)


@torch.no_grad()
def text_reading(base: BaseModel, windows: Tensor) -> TextReading:
    """Return what the model makes of windows: (windows, tokens) int64; there may be none."""
    first, loss = [torch.zeros(0, WINDOW - 1, dtype=torch.int64)], [torch.zeros(0, WINDOW - 1)]
    # so many at a time that the scores of all tokens have room
    for some in windows.split(WINDOWS_A_PASS) if len(windows) else ():
        logs = torch.log_softmax(base.scores(base.run(base.embedded(some)))[:, :-1].float(), dim=-1).cpu()
        first.append(logs.argmax(dim=-1))
        loss.append(-logs.gather(2, some[:, 1:, None])[..., 0])
    return TextReading(torch.cat(first), torch.cat(loss))


@torch.no_grad()
def scores_of(base: BaseModel, cases: Sequence[Case]) -> list[Tensor]:
    """Return scores after each token of some prompts and of a text about something else."""
    texts = [*(case.request.prompt for case in cases), PROBE_TEXT]
    return [base.scores(base.run(base.embedded(torch.tensor([base.tokens(text)])))) for text in texts]


def are_equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Return whether all tensors are the same, bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
