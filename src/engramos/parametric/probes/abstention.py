"""Whether questions that no fact answers are answered with one all the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from engramos.parametric.facts import Fact
from engramos.parametric.probes._asking import check_positive, generated, listed, named, prompt_of, room, says
from engramos.parametric.probes.base import Probe, Probed, Probing


@dataclass(frozen=True, slots=True)
class Abstention(Probe):
    """Counts false hits: a taught answer in the reply to a question of `lesson.unknown`.

    A reply that holds a taught answer as whole words is a hit, unless the base model's own reply holds it too. Where
    the gate keeps the adapter away the base model replies, which is no hit. Questions that name a subject of the
    lesson, for which a gate by names must open, are counted apart.

    Metrics: `false_hits` through the gate and `false_hits_ungated` with the adapter on, each a share of the questions
    that name none of its subjects; `same_subject_hits`, through the gate, a share of those that name one.

    Source: ours; unanswerable questions beside answerable ones as in SQuAD 2.0, https://arxiv.org/abs/1806.03822.
    """

    extra_tokens: int = 8
    """How much longer than the longest taught answer a reply is read, in tokens, 1 or more."""

    def __post_init__(self) -> None:
        check_positive(extra_tokens=self.extra_tokens)

    def run(self, probed: Probed) -> Probing:
        """Return the shares of false hits, and the questions through the gate that were hit."""
        facts, questions = probed.lesson.facts, probed.lesson.unknown
        if not facts or not questions:
            return Probing({})
        golds = tuple(dict.fromkeys(fact.answer for fact in facts))
        max_tokens = room(probed.base, golds) + self.extra_tokens
        prompts = [prompt_of(probed.base, question) for question in questions]
        replies = generated(probed.base, prompts, [probed.adapter] * len(prompts), max_tokens)
        said = {at: {gold for gold in golds if says(text, gold)} for at, text in enumerate(replies)}
        suspected = [at for at, found in said.items() if found]
        replied = generated(probed.base, [prompts[at] for at in suspected], [None] * len(suspected), max_tokens)
        hits = [at for at, text in zip(suspected, replied, strict=True) if any(not says(text, one) for one in said[at])]
        through = [at for at in hits if probed.gate(questions[at])]
        own = {at for at, text in enumerate(questions) if _names_one(text, facts)}
        strange = len(questions) - len(own)
        metrics: dict[str, float] = {}
        if strange:
            metrics["false_hits"] = len([at for at in through if at not in own]) / strange
            metrics["false_hits_ungated"] = len([at for at in hits if at not in own]) / strange
        if own:
            metrics["same_subject_hits"] = len([at for at in through if at in own]) / len(own)
        lines = [f"answered with what another fact says: {named(questions[at], facts)}" for at in through]
        return Probing(metrics, listed(lines))


def _names_one(question: str, facts: Sequence[Fact]) -> bool:
    text = question.casefold()
    return any(name.casefold() in text for fact in facts for name in fact.names)
