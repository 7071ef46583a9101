"""answer: the model answers with the adapters that the question needs; recall: with what is said besides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engramos.engines.base import Sampling
from engramos.errors import UnsupportedError
from engramos.parametric.adapter import Adapter
from engramos.parametric.arbitration import Arbitration, Winner, arbitrate
from engramos.parametric.routers import ROLE as ROUTERS
from engramos.parametric.routers.base import Routed
from engramos.plaintext.contexts.block import ContextBlock
from engramos.verbs.context import context
from engramos.verbs.kv.answer import answer as answer_with_kv
from engramos.verbs.parametric._parts import WeightParts
from engramos.verbs.parametric._shelf import DAMAGED
from engramos.verbs.search import SearchOptions
from engramos.verbs.sources import changed_sources

if TYPE_CHECKING:
    from engramos.verbs.kv._parts import KVParts

BASE = "base"
"""The source of an answer that neither weights nor context have given."""


@dataclass(frozen=True, slots=True)
class Routing:
    """The adapter that a question gets, and why."""

    adapter_id: str | None
    """None: the base model answers, unchanged."""
    why: str
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and where it comes from."""

    text: str
    source: str
    """`weights`, `context`, `base`, or `nobody` where the person is to be asked."""
    adapter_id: str | None = None
    """The adapter that was attached."""
    why: str = ""
    is_conflict: bool = False
    """Whether weights and context disagree."""
    cube_ids: tuple[str, ...] = ()
    """Memories that stood in the prompt."""


def route(weights: WeightParts, questions: Sequence[str]) -> list[tuple[Routing, Adapter | None]]:
    """Return the adapter for each question; stale, damaged and inactive ones are never attached."""
    weights.shelf.sync()
    keys = weights.shelf.keys(weights.questions_of)
    router = ROUTERS.parse(weights.ways.router)
    return [_chosen(weights, router.route(question, keys, limit=3, embed=weights.embed)) for question in questions]


def _chosen(weights: WeightParts, found: Sequence[Routed]) -> tuple[Routing, Adapter | None]:
    why = "no active adapter answers what the question asks"
    for one in found:
        cube = weights.shelf.cubes.get(one.adapter_id)
        if cube is None:
            continue
        if stale := changed_sources(weights.parts, weights.scope, cube):
            why = f"adapter {cube.id} is stale: source {stale[0].cube_id} is {stale[0].why}"
            continue
        try:
            adapter = weights.shelf.load(cube)
        except DAMAGED as error:
            why = f"adapter {cube.id} cannot be used: {error}"
            continue
        return Routing(cube.id, one.why, one.score), adapter
    return Routing(None, why), None


def answer(
    weights: WeightParts, questions: Sequence[str], *, max_tokens: int = 64, kv: "KVParts | None" = None
) -> list[Answer]:
    """Return the model's answers, each with the adapter that its question needs, all in one batch.

    Args:
        weights: of the open memory.
        questions: as people write them, 1 or more.
        max_tokens: of each answer.
        kv: the KV cubes of the same model, whose stored beginnings are attached; then one answer follows the other.

    Raises:
        UnsupportedError: if the model has no chat template.
        ContextLengthError: if a question does not fit the model's window.
    """
    routed = route(weights, questions)
    prompts = [weights.engine.chat_tokens([{"role": "user", "content": one}]) for one in questions]
    weights.parts.note_uses(weights.scope.tenant, [one.adapter_id for one, _ in routed if one.adapter_id is not None])
    sampling = Sampling(max_tokens=max_tokens)
    if kv is None:
        found = weights.engine.generate_batch(prompts, sampling, [adapter for _, adapter in routed])
    else:
        found = [
            answer_with_kv(kv, prompt, sampling, adapters=() if adapter is None else (adapter,)).finish().produced
            for prompt, (_, adapter) in zip(prompts, routed, strict=True)
        ]
    return [
        Answer(
            weights.engine.text(ids).strip(),
            BASE if adapter is None else Winner.WEIGHTS.value,
            routing.adapter_id,
            routing.why,
        )
        for ids, (routing, adapter) in zip(found, routed, strict=True)
    ]


def recall(
    weights: WeightParts,
    question: str,
    *,
    arbitration: str = Arbitration.CONTEXT_FIRST.value,
    budget_tokens: int = 400,
    max_tokens: int = 64,
) -> Answer:
    """Answer out of weights and out of the memories that the question needs, and say which of the two won.

    Args:
        weights: of the open memory.
        question: as a person writes it.
        arbitration: who wins where they disagree: `context_first`, `weights_first` or `ask`.
        budget_tokens: of the memories in the prompt.
        max_tokens: of the answer.

    Raises:
        ConfigError: if there is no such arbitration.
        UnsupportedError: if the model has no chat template.
        ContextLengthError: if it does not fit the model's window.
    """
    arbitrate("", "", arbitration)
    (by_weights,) = answer(weights, [question], max_tokens=max_tokens)
    block = context(weights.parts, question, weights.scope, SearchOptions(10), budget_tokens, _counter(weights), "text")
    if not block.cube_ids:
        return by_weights
    by_context = _in_context(weights, question, block, max_tokens)
    if by_weights.adapter_id is None:
        return Answer(by_context, Winner.CONTEXT.value, None, by_weights.why, cube_ids=tuple(block.cube_ids))
    verdict = arbitrate(by_weights.text, by_context, arbitration)
    if verdict.winner is Winner.NOBODY and not verdict.is_conflict:
        return Answer(by_context, BASE, by_weights.adapter_id, verdict.why, cube_ids=tuple(block.cube_ids))
    return Answer(
        verdict.answer,
        verdict.winner.value,
        by_weights.adapter_id,
        verdict.why,
        verdict.is_conflict,
        tuple(block.cube_ids),
    )


def _in_context(weights: WeightParts, question: str, block: ContextBlock, max_tokens: int) -> str:
    content = f"{block.text}\n\nAnswer in a few words. {question}"
    try:
        prompt = weights.engine.chat_tokens([{"role": "user", "content": content}])
    except UnsupportedError:
        prompt = weights.engine.tokens(f"{content}\n")
    # the base model alone reads the context, or the weights would answer for it
    (ids,) = weights.engine.adapted(()).generate_batch([prompt], Sampling(max_tokens=max_tokens))
    return weights.engine.text(ids).strip()


def _counter(weights: WeightParts) -> Callable[[str], int]:
    return lambda text: len(weights.engine.tokens(text))
