"""What a base model expects after each token of given texts, alone and with an adapter, side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.parametric.adapter import Adapter, starts_at
from engramos.parametric.model import BaseModel
from engramos.parametric.probes.base import Probed
from engramos.parametric.rows import answered, device_of, padded_ids, question

ROWS = 16
"""How many rows are read in one batch."""
POSITIONS = 128
"""Of how many tokens the scores over the whole vocabulary are held at a time."""


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens to be read; unlike a row that is learnt, it may matter what is expected inside of the prompt too."""

    ids: tuple[int, ...]
    first: int
    """The first token after which it matters what is expected, counted from 0."""
    prompt: int
    """How many tokens are the prompt, in which the adapter's invocation is looked for."""

    @property
    def positions(self) -> range:
        """Tokens after which it matters what is expected; the last one alone where nothing follows it."""
        return range(self.first, max(len(self.ids) - 1, self.first + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What is expected at the positions of a row: (positions,) each."""

    base: Tensor
    """Log probability of the token that follows, by the base model; 0 where none follows."""
    on: Tensor
    """The same with the adapter."""
    agrees: Tensor
    """Whether both expect the same token most."""
    is_right_base: Tensor
    """Whether the token that follows is the base model's likeliest."""
    is_right_on: Tensor
    """The same with the adapter."""
    kl: Tensor
    """Kullback-Leibler divergence of the adapter's distribution from the base model's, in nats."""


def question_row(base: BaseModel, asked: str, answer: str = "") -> Row:
    """Return the row of a question in the chat template and its answer with its end; without one where it is empty."""
    if not answer:
        prompt = question(base, asked)
        return Row(prompt, len(prompt) - 1, len(prompt))
    row = answered(base, asked, answer)
    return Row(row.prompt + row.answer, row.places.start, len(row.prompt))


def text_rows(base: BaseModel, text: str, window: int, most: int) -> list[Row]:
    """Return the first `most` tokens of a text as rows of at most `window` tokens; none of a single token."""
    ids = base.tokens(text)[:most]
    parts = [tuple(ids[at : at + window]) for at in range(0, len(ids), window)]
    return [Row(part, 0, len(part)) for part in parts if len(part) > 1]


@torch.no_grad()
def read(probed: Probed, rows: Sequence[Row]) -> list[Read]:
    """Return what base model and adapter expect in each row.

    Layers below the adapter's first are run once for both.
    """
    base, adapter = probed.base, probed.adapter
    split = first_layer(base, adapter)
    order = sorted(range(len(rows)), key=lambda at: len(rows[at].ids))
    found: dict[int, Read] = {}
    for start in range(0, len(order), ROWS):
        part = order[start : start + ROWS]
        batch = [rows[at] for at in part]
        ids = padded_ids([row.ids for row in batch]).to(device_of(base))
        active = _active(adapter, batch, ids)
        below = base.run(base.embedded(ids), 0, split)
        alone = base.run(below, split)
        with base.using(adapter, active):
            changed = base.run(below if split else base.embedded(ids), split, prefix=adapter.prefix)
        for at, row, number in zip(part, batch, range(len(batch)), strict=True):
            where = torch.tensor(row.positions, device=ids.device)
            is_on = None if active is None else active[number, where]
            found[at] = _row_read(probed, row, alone[number, where], changed[number, where], is_on)
    return [found[at] for at in range(len(rows))]


def first_layer(base: BaseModel, adapter: Adapter) -> int:
    """Return the first layer that an adapter may change; the number of layers where it changes scores alone."""
    if adapter.prefix is not None:
        return 0
    first = base.num_layers
    for target in adapter.targets:
        inside = [layer for layer in range(base.num_layers) if f"{target}.".startswith(f"{base.layer_name(layer)}.")]
        if not inside and target != base.head_name:
            return 0
        first = min([first, *inside])
    return first


def _active(adapter: Adapter, rows: Sequence[Row], ids: Tensor) -> Tensor | None:
    """Return on which tokens the adapter acts; None for all."""
    if not adapter.invocation:
        return None
    starts = [starts_at(adapter.invocation, row.ids[: row.prompt]) for row in rows]
    # a prompt without the invocation stays the base model's with all that follows it
    starts = [start if start < row.prompt else ids.shape[1] for start, row in zip(starts, rows, strict=True)]
    return torch.arange(ids.shape[1], device=ids.device) >= torch.tensor(starts, device=ids.device)[:, None]


def _row_read(probed: Probed, row: Row, alone: Tensor, changed: Tensor, active: Tensor | None) -> Read:
    """Return what is expected after the hidden states of a row's positions: (positions, hidden)."""
    targets = torch.tensor([row.ids[at + 1] if at + 1 < len(row.ids) else -1 for at in row.positions])
    parts = list(_parts(probed, targets.to(alone.device), alone, changed, active))
    return Read(*(torch.cat(columns).cpu() for columns in zip(*parts, strict=True)))


def _parts(
    probed: Probed, targets: Tensor, alone: Tensor, changed: Tensor, active: Tensor | None
) -> Iterator[tuple[Tensor, ...]]:
    """Yield the fields of `Read` for some positions after the other."""
    for start in range(0, len(targets), POSITIONS):
        here = slice(start, start + POSITIONS)
        wanted = targets[here]
        before = probed.base.scores(alone[None, here])[0].float().log_softmax(-1)
        with probed.base.using(probed.adapter, None if active is None else active[None, here]):
            after = probed.base.scores(changed[None, here])[0].float().log_softmax(-1)
        at = wanted.clamp(min=0)[:, None]
        follows = wanted >= 0
        yield (
            before.gather(1, at)[:, 0] * follows,
            after.gather(1, at)[:, 0] * follows,
            before.argmax(-1) == after.argmax(-1),
            before.argmax(-1) == wanted,
            after.argmax(-1) == wanted,
            (before.exp() * (before - after)).sum(-1).clamp(min=0.0),
        )
