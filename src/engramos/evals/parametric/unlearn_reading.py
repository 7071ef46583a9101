"""What one adapter after the other makes of the same questions: the layers below them are run once for all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.parametric.adapter import Adapter, starts_at
from engramos.parametric.model import BaseModel
from engramos.parametric.probes._reading import Row, first_layer, question_row

ROWS = 16
"""Read in one batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What is expected after a question, and after each token of the answer that was asked about."""

    logs: Tensor
    """Log probabilities of the answer's tokens and of its end, (tokens,); of one token 0 where no answer was given."""
    is_right: Tensor
    """Whether each of them is the likeliest token, (tokens,) bool."""
    begins: int
    """The token that an answer begins with most likely."""


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Rows that are read together."""

    places: Sequence[int]
    """Of the rows among all."""
    rows: Sequence[Row]
    ids: Tensor
    """(rows, tokens), padded on the right."""
    below: Tensor
    """Before the first layer that an adapter changes: (rows, tokens, hidden)."""


class Reader:
    """Questions with answers, read by the base model up to the first layer that any of some adapters changes."""

    def __init__(self, base: BaseModel, asked: Sequence[tuple[str, str]], adapters: Sequence[Adapter]) -> None:
        """Read what no adapter changes.

        Args:
            base: the model.
            asked: questions, each with an answer, or with an empty text where it is asked what the answer begins with.
            adapters: all that `read` will be given; they have no prefix.
        """
        self._base, self._num = base, len(asked)
        self._first = min((first_layer(base, one) for one in adapters), default=base.num_layers)
        rows = [question_row(base, question, answer) for question, answer in asked]
        # rows of like length are read together, so that little is read in vain
        order = sorted(range(len(rows)), key=lambda at: len(rows[at].ids))
        parts = [order[start : start + ROWS] for start in range(0, len(order), ROWS)]
        self._batches = [self._batch(part, [rows[at] for at in part]) for part in parts]

    @torch.no_grad()
    def read(self, adapter: Adapter | None) -> list[Told]:
        """Return what an adapter, or the base model alone, expects of each question."""
        found: dict[int, Told] = {}
        for batch in self._batches:
            found |= zip(batch.places, self._told(batch, adapter), strict=True)
        return [found[at] for at in range(self._num)]

    @torch.no_grad()
    def _batch(self, places: Sequence[int], rows: Sequence[Row]) -> _Batch:
        # what stands in the padding reaches no other token
        ids = torch.zeros(len(rows), max(len(row.ids) for row in rows), dtype=torch.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = torch.tensor(row.ids)
        ids = ids.to(next(self._base.module(self._base.head_name).parameters()).device)
        return _Batch(places, rows, ids, self._base.run(self._base.embedded(ids), 0, self._first))

    def _told(self, batch: _Batch, adapter: Adapter | None) -> Iterator[Told]:
        base = self._base
        starts = [0 if adapter is None else starts_at(adapter.invocation, row.ids[: row.prompt]) for row in batch.rows]
        # a prompt without the invocation stays the base model's, and so does what follows it
        starts = [at if at < row.prompt else len(row.ids) for at, row in zip(starts, batch.rows, strict=True)]
        active = torch.arange(batch.ids.shape[1])[None] >= torch.tensor(starts)[:, None]
        with base.using(adapter, active.to(batch.ids.device)):
            hidden = base.run(batch.below if self._first else base.embedded(batch.ids), self._first)
        for number, row in enumerate(batch.rows):
            where = torch.tensor(row.positions, device=hidden.device)
            is_on = active[number, where.cpu()].to(hidden.device)
            with base.using(adapter, is_on[None]):
                logs = base.scores(hidden[None, number, where])[0].double().log_softmax(-1).cpu()
            likeliest = logs.argmax(-1)
            if row.first + 1 == len(row.ids):
                yield Told(torch.zeros(1), torch.zeros(1, dtype=torch.bool), int(likeliest[0]))
            else:
                wanted = torch.tensor(row.ids[row.first + 1 :])
                yield Told(logs.gather(1, wanted[:, None])[:, 0], likeliest == wanted, int(likeliest[0]))
