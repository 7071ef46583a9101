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

TURNS = 3
TRAINED = 2
"""Rewordings that are trained beside the question."""
UNKNOWN = 6
"""Questions to abstain from in a lesson: of its own subjects, because the gate is closed for others."""


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


def lesson_of(facts: Sequence[Fact], seed: int) -> Lesson:
    """Return what a writer is given for facts that are prepared."""
    common = tuple(one.question for one in COMMON_TRAINED)
    return Lesson(tuple(facts), (), _abstained(facts, seed), PASSAGES_TRAINED, common)


def examination_of(facts: Sequence[Fact], seed: int) -> Lesson:
    """Return what probes ask of facts that are prepared: nothing of it but the facts was in the lesson."""
    taught = set(_abstained(facts, seed))
    unknown = tuple(one for one in unknown_questions(facts, seed + 1) if one not in taught)
    return Lesson(tuple(facts), (), unknown, PASSAGES_PROBED, tuple(one.question for one in COMMON_PROBED))


def _abstained(facts: Sequence[Fact], seed: int) -> tuple[str, ...]:
    """Return questions on the facts' own subjects that none of them answers, evenly spread."""
    names = {name.casefold() for fact in facts for name in fact.names}
    drawn = [one for turn in range(TURNS) for one in unknown_questions(facts, seed + 1_000 * turn)]
    own = list(dict.fromkeys(one for one in drawn if any(name in one.casefold() for name in names)))
    step = max(1, len(own) // UNKNOWN)
    return tuple(own[::step][:UNKNOWN])
