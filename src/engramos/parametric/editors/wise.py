"""Write edits into a side copy of one late module, and use it only where it was trained to speak."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engramos.errors import ConfigError, ModelError
from engramos.parametric._everyday import COMMON_TRAINED
from engramos.parametric._listening import heard
from engramos.parametric.adapters.side_memory import SideMemory
from engramos.parametric.editors._requests import distinct, row_of
from engramos.parametric.editors._spans import Span, check_depth, layer_at, read_up_to, span_of
from engramos.parametric.editors.base import Editor, Request
from engramos.parametric.model import BaseModel

UNRELATED = (
    "The river rises in the hills and runs through farms and woods before it meets the sea.",
    "To install the package, open a terminal, run the command below and wait until it ends.",
    "She said that the meeting on Monday was long, and that nobody had read the notes before it.",
    "In 1905 the town built a new school, a bridge of stone and a small theatre near the market.",
    "A cake needs flour, sugar, butter and three eggs; bake it for forty minutes in a hot oven.",
    "My favourite film is about two friends who drive across the country in an old red car.",
)
"""Plain sentences that no edit is about."""
QUESTIONS = (
    "What is the largest city of Japan?",
    "What is seven times six?",
    "Name a fruit that is yellow.",
    "How do I boil an egg?",
    "When did the second world war end?",
    "Tell me a short story about a dog.",
    "Name the painter of The Starry Night.",
    "Who is the author of Don Quixote?",
    "Name someone who wrote a famous play.",
    "Say hello in French.",
    "Finish the sentence: the sun rises in the",
    *(one.question for one in COMMON_TRAINED),
)
"""Everyday questions and requests that no edit is about."""


@dataclass(frozen=True, slots=True)
class Wise(Editor):
    """Trains some weights of a copy of a late `down_proj`, so that it speaks at the answers' tokens and there alone.

    The loss is the answers' negative log probability and margins on the distance between the side output and the main
    one: under `outside` on other texts, over `inside` at the answers, and `gap` between the two. At run time a token
    takes the side output where that distance is at least `ratio` times the least that an answer's token has.
    Paraphrases are reached; so may be a question of the same kind about somebody else, which a router must keep away.

    Source: WISE, https://arxiv.org/abs/2405.14768, sections 2.3.1 and 2.3.2, equations 4 and 5.
    Differs: distances are measured token by token and in lengths of the main output; the tokens of the prompts and the
    same prompts about other subjects count as other texts too; training does not end before the gap is there; the
    threshold is nearer to the answers (0.95 for 0.88); Adam instead of gradient descent; edits made later are side
    memories of their own, so nothing is merged and each can be taken back.
    """

    depth: float = 0.85
    """Which layer is copied, as a share of the model's layers; from 0 to 1."""
    density: float = 0.2
    """Share of its weights that may change, drawn by the seed; over 0, at most 1."""
    steps: int = 70
    """At most; 1 or more."""
    rate: float = 0.05
    """How far a step of Adam goes, in root mean squares of the weight; over 0."""
    outside: float = 0.25
    """How far the outputs may lie apart on other texts, in lengths of the main output; 0 or more."""
    inside: float = 1.0
    """How far they must lie apart at the answers; over `outside`."""
    gap: float = 0.5
    """What must lie between the nearest answer and the farthest other text; 0 or more."""
    ratio: float = 0.95
    """The threshold, as a share of the least distance at an answer; over 0, at most 1."""
    enough: float = 0.8
    """Probability of each of the answers' tokens at which training ends; over 0, under 1."""
    unrelated: tuple[str, ...] = UNRELATED
    """Texts that must stay as they are."""
    questions: tuple[str, ...] = QUESTIONS
    """Questions whose answers must stay as they are; read where an edit is a chat."""
    stand_ins: tuple[str, ...] = ("Corvan Ilmore", "Tessa Brandlin")
    """Names of nobody: the same prompts about them must stay as they are."""

    def __post_init__(self) -> None:
        check_depth(self.depth)
        if self.steps < 1:
            raise ConfigError(f"steps is {self.steps}: give 1 or more")
        for name, most in (("density", 1.0), ("ratio", 1.0), ("rate", float("inf"))):
            if not 0 < getattr(self, name) <= most:
                raise ConfigError(f"{name} is {getattr(self, name)}: give a number over 0 and at most {most}")
        if not 0 < self.enough < 1:
            raise ConfigError(f"enough is {self.enough}: give a number over 0 and under 1")
        for name in ("outside", "gap"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}: give a number, 0 or more")
        if not self.outside < self.inside < float("inf"):
            raise ConfigError(f"inside is {self.inside}: give a number over outside, which is {self.outside}")

    def edit(self, requests: Sequence[Request], base: BaseModel, *, seed: int = 0) -> SideMemory:
        """Return the side memory that makes the model go on as asked; see `Editor.edit`."""
        asked = distinct(requests)
        layer = layer_at(base, self.depth)
        target = base.linear(layer, "down_proj")
        weight = base.module(target).weight
        rows = [row_of(one, base) for one in asked]
        others = [*(row.prompt[:-1] for row in rows), *self._others(asked, base)]
        scene = _scene(span_of(rows, base, layer), others, base, layer, target)
        source = torch.Generator().manual_seed(seed)
        places = (torch.rand(weight.numel(), generator=source) < self.density).nonzero()[:, 0].to(weight.device)
        differences = torch.zeros(len(places), device=weight.device, requires_grad=True)
        shape = (weight.shape[0], weight.shape[1])
        trained = self._trained(SideMemory(target, places, differences, shape, 0.0), scene, base, layer)
        return _finished(trained, scene, self.ratio)

    def _others(self, requests: Sequence[Request], base: BaseModel) -> list[tuple[int, ...]]:
        """Return the tokens of texts that must stay as they are."""
        same = [
            Request(one.prompt.replace(one.subject, name), name, one.target, one.is_chat)
            for one in requests
            for name in self.stand_ins
        ]
        chats = self.questions if any(one.is_chat for one in requests) else ()
        asked = [tuple(base.chat_tokens([{"role": "user", "content": text}])) for text in chats]
        texts = [tuple(base.tokens(text)) for text in self.unrelated]
        return [*(row_of(one, base).prompt for one in same), *asked, *texts]

    def _trained(self, side: SideMemory, scene: "_Scene", base: BaseModel, layer: int) -> SideMemory:
        differences = side.differences
        optimizer = torch.optim.Adam([differences], lr=self.rate * scene.weight_size)
        for _ in range(self.steps):
            with base.using(side, scene.span.is_asked):
                hidden = base.run(scene.span.hidden, layer)
            logs = torch.log_softmax(base.scores(hidden[scene.span.is_asked]).float(), dim=-1)
            answers = logs.gather(1, scene.span.wanted[:, None])
            near, far = (_lengths(side, inputs) / scene.unit for inputs in (scene.inside, scene.outside))
            least, most = near.detach().min(), far.detach().max()
            is_apart = bool(least * self.ratio > most) and bool(least - most >= self.gap)
            if is_apart and float(answers.detach().min().exp()) >= self.enough:
                break
            loss = -answers.mean() + self._margins(near, far)
            (differences.grad,) = torch.autograd.grad(loss, [differences])
            optimizer.step()
        return side

    def _margins(self, near: Tensor, far: Tensor) -> Tensor:
        """Return by how much distances at answers and on other texts miss their margins."""
        gap = functional.relu(self.gap - (near.min() - far.max()))
        return functional.relu(far - self.outside).mean() + functional.relu(self.inside - near).mean() + gap


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What the edited module reads; it stays as it is while the module's own side copy is trained."""

    span: Span
    inside: Tensor
    """At the answers' tokens: (tokens, in_features)."""
    outside: Tensor
    """On other texts: (tokens, in_features)."""
    unit: float
    """Mean length of the main output at the answers."""
    weight_size: float
    """Root mean square of the main weight."""


@torch.no_grad()
def _scene(span: Span, others: Sequence[Sequence[int]], base: BaseModel, layer: int, target: str) -> _Scene:
    read, given = heard(base, target, lambda: base.run(span.hidden, layer, layer + 1))
    unit = float(torch.linalg.vector_norm(given[span.is_asked].float(), dim=-1).mean())
    if not 0.0 < unit < float("inf"):
        raise ModelError(f"{target!r} gives vectors of mean length {unit}: no edit can be made there")
    hidden, counts = read_up_to([row for row in others if row], base, layer)
    outside = heard(base, target, lambda: base.run(hidden, layer, layer + 1))[0][counts]
    size = float(base.module(target).weight.float().square().mean().sqrt())
    return _Scene(span, read[span.is_asked], outside, unit, size)


def _lengths(side: SideMemory, inputs: Tensor) -> Tensor:
    """Return how far the side output lies from the main output: (tokens,)."""
    return torch.linalg.vector_norm(side.step(inputs), dim=-1)


@torch.no_grad()
def _finished(side: SideMemory, scene: _Scene, ratio: float) -> SideMemory:
    """Return the trained side memory with its threshold, weights that never changed left out."""
    differences = side.differences.detach()
    if not bool(torch.isfinite(differences).all()):
        raise ModelError(f"training gave numbers that are not finite in {side.target!r}: use a lower rate")
    threshold = ratio * float(_lengths(side, scene.inside).min())
    is_changed = differences != 0
    return SideMemory(side.target, side.places[is_changed], differences[is_changed].clone(), side.shape, threshold)
