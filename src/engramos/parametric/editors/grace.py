"""Write edits as entries of a codebook at one layer: near its key, an entry takes the hidden state's place."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.errors import ConfigError, ModelError
from engramos.parametric.adapters.codebook import Codebook
from engramos.parametric.editors._requests import Row, distinct, row_of
from engramos.parametric.editors._spans import check_depth, layer_at
from engramos.parametric.editors._values import device_of
from engramos.parametric.editors.base import Editor, Request
from engramos.parametric.model import BaseModel


def source_of(request: Request) -> str:
    """Return what a request is known by in a codebook: equal for equal requests."""
    text = json.dumps([request.prompt, request.subject, request.target, request.is_chat])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Grace(Editor):
    """Keeps, for each token of an answer, the hidden state before a layer and one after it that makes that token.

    Each request is trained alone, so that taking it out of the codebook leaves the others bit for bit as if it had
    never been edited. By default balls are tight: an edit speaks at its own prompt and hardly at others, because in
    deep layers another subject in the same words lies as near as the same subject in other words. Locality is exact,
    paraphrases are not reached; a router in front, or more requests, must bring those.

    Source: GRACE, https://arxiv.org/abs/2211.11031, section 3 and algorithm 1.
    Differs: an entry for each token of the answer, where the paper keeps one at the prompt's end; values are trained
    as differences from the layer's own output, and end as soon as the answer is likely; see also `Codebook`.
    """

    depth: float = 0.67
    """At which layer, as a share of the model's layers; from 0 to 1."""
    epsilon: float = 0.05
    """Width of a ball as a share of its key's length; 0 or more."""
    steps: int = 50
    """At most; 1 or more."""
    rate: float = 0.1
    """How far a step of Adam goes, as a share of the layer's output; over 0."""
    enough: float = 0.8
    """Probability of each of the answer's tokens at which training ends; over 0, under 1."""

    def __post_init__(self) -> None:
        check_depth(self.depth)
        if not 0 <= self.epsilon < float("inf"):
            raise ConfigError(f"epsilon is {self.epsilon}: give a share of the key's length, 0 or more")
        if self.steps < 1:
            raise ConfigError(f"steps is {self.steps}: give 1 or more")
        if not 0 < self.rate < float("inf"):
            raise ConfigError(f"rate is {self.rate}: give a number over 0")
        if not 0 < self.enough < 1:
            raise ConfigError(f"enough is {self.enough}: give a number over 0 and under 1")

    def edit(self, requests: Sequence[Request], base: BaseModel, *, seed: int = 0) -> Codebook:
        """Return the codebook that makes the model go on as asked; nothing is drawn. See `Editor.edit`."""
        asked = distinct(requests)
        layer = layer_at(base, self.depth)
        rows = [row_of(one, base) for one in asked]
        trained = [self._entries(row, base, layer) for row in rows]
        keys, values = (torch.cat(column) for column in zip(*trained, strict=True))
        tokens = torch.tensor([token for row in rows for token in row.target], device=keys.device)
        sizes = torch.tensor([len(row.target) for row in rows])
        owners = torch.arange(len(rows)).repeat_interleave(sizes).to(keys.device)
        sources = tuple(source_of(one) for one in asked)
        return Codebook(base.layer_name(layer), keys, values, tokens, owners, sources, self.epsilon)

    def _entries(self, row: Row, base: BaseModel, layer: int) -> tuple[Tensor, Tensor]:
        """Return keys and values for the tokens of an answer: (tokens, hidden) each."""
        before, asked = row.prompt[:-1], (row.prompt[-1], *row.target[:-1])
        ids = torch.tensor([asked], device=device_of(base))
        with torch.no_grad():
            prefix = base.prefix_of(before)
            hidden = base.run(base.embedded(ids), 0, layer, prefix=prefix)
            first = base.run(hidden, layer, layer + 1, prefix=prefix)
        unit = float(torch.linalg.vector_norm(first[0].float(), dim=-1).mean())
        if not 0.0 < unit < float("inf"):
            raise ModelError(f"layer {layer} gives vectors of mean length {unit}: no edit can be made there")
        wanted = torch.tensor(row.target, device=ids.device)
        change = torch.zeros_like(first, dtype=torch.float32, requires_grad=True)
        optimizer = torch.optim.Adam([change], lr=self.rate * unit / first.shape[-1] ** 0.5)
        for _ in range(self.steps):
            # what the layer gives is replaced as a whole, so it need not be computed again
            after = base.run((first + change).to(first.dtype), layer + 1, prefix=prefix)
            logs = torch.log_softmax(base.scores(after)[0].float(), dim=-1)
            answers = logs.gather(1, wanted[:, None])
            if float(answers.detach().min().exp()) >= self.enough:
                break
            (change.grad,) = torch.autograd.grad(-answers.mean(), [change])
            optimizer.step()
        if not bool(torch.isfinite(change).all()):
            raise ModelError(f"training gave numbers that are not finite at layer {layer}: use a lower rate")
        return hidden[0].detach().float(), (first + change)[0].detach().float()
