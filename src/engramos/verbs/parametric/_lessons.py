"""Lessons out of facts: rewordings, questions to abstain from, and what must stay as it is."""

from collections.abc import Sequence
from dataclasses import replace

from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson
from engramos.parametric.phrasings import (
    COMMON_PROBED,
    COMMON_TRAINED,
    PASSAGES_PROBED,
    PASSAGES_TRAINED,
    unknown_questions,
    with_phrasings,
)

TRAINED = 2
"""Rewordings that are trained beside the question."""


def prepared(facts: Sequence[Fact]) -> tuple[Fact, ...]:
    """Return facts with enough wordings: some to be trained, and at least one that only the probes ask."""
    found = []
    for fact in facts:
        rich = with_phrasings(fact, max(TRAINED + 1, len(fact.paraphrases)))
        if fact.held_out:
            found.append(replace(fact, paraphrases=(fact.paraphrases or rich.paraphrases)[:TRAINED]))
        else:
            trained, rest = rich.paraphrases[:TRAINED], rich.paraphrases[TRAINED:]
            found.append(replace(fact, paraphrases=trained, held_out=rest[:1]))
    return tuple(found)


def lesson_of(facts: Sequence[Fact]) -> Lesson:
    """Return what a writer is given for facts that are prepared.

    No questions to abstain from: the gate is closed for other subjects, and to abstain on other questions about the
    same subjects was measured to cost a quarter of the other wordings, and as much time again.
    """
    return Lesson(tuple(facts), (), (), PASSAGES_TRAINED, tuple(one.question for one in COMMON_TRAINED))


def examination_of(facts: Sequence[Fact], seed: int) -> Lesson:
    """Return what probes ask of facts that are prepared: nothing of it but the facts was in the lesson."""
    common = tuple(one.question for one in COMMON_PROBED)
    return Lesson(tuple(facts), (), unknown_questions(facts, seed), PASSAGES_PROBED, common)
