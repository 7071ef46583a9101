"""What the scoring module reads at the tokens of answers and texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.parametric._listening import heard
from engramos.parametric.model import BaseModel, Prefix
from engramos.parametric.rows import Row, device_of, padded_ids, pieces, question, told

WINDOW = 256
"""Tokens of a text that are read at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class StateReader:
    """Reads with a base model; what all questions begin with is read once."""

    base: BaseModel
    opening: tuple[int, ...]
    """Tokens that every question in the chat template begins with."""
    prefix: Prefix | None
    """Keys and values of the opening."""

    @classmethod
    def of(cls, base: BaseModel) -> "StateReader":
        """Return a reader over this model, which reads the opening now."""
        one, other = question(base, "a"), question(base, "Z")
        same = next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
        opening = one[:same]
        return cls(base, opening, base.prefix_of(opening) if opening else None)

    def chats(self, asked: Sequence[Row]) -> list[Tensor]:
        """Return the states of prompts in the chat template, all read in one batch: (states, hidden) each."""
        start = len(self.opening)
        is_alike = all(one.prompt[:start] == self.opening and len(one.prompt) > start for one in asked)
        if self.prefix is None or not is_alike:
            return self.rows(asked)
        return self.rows([Row(one.prompt[start:], one.answer) for one in asked], self.prefix)

    def rows(self, asked: Sequence[Row], prefix: Prefix | None = None) -> list[Tensor]:
        """Return the states of prompts, all read in one batch: (states, hidden) each."""
        if not asked:
            return []
        ids = padded_ids([one.inputs for one in asked])
        hidden = self.base.run(self.base.embedded(ids), prefix=prefix)
        found = self._read(told(hidden, asked))
        return list(torch.split(found, [len(one.places) for one in asked]))

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        """Return the states of all tokens of a text but the last, and the tokens after them."""
        ids = self.base.tokens(text)
        states, tokens = [self.none()], []
        for row in pieces(ids, WINDOW, is_joined=True):
            states += self.rows([row])
            tokens += row.answer
        found = torch.cat(states)
        return found, torch.tensor(tokens, dtype=torch.int64, device=found.device)

    def none(self) -> Tensor:
        """Return no states: (0, hidden)."""
        return torch.zeros(0, self.base.hidden_size, device=device_of(self.base))

    def _read(self, hidden: Tensor) -> Tensor:
        """Return what the scoring module reads for hidden states of the last layer: (states, hidden) float32."""
        inputs, _ = heard(self.base, self.base.head_name, lambda: self.base.scores(hidden[None]))
        return inputs[0].float()
