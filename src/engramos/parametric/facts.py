"""Facts: what is written into weights, and asked of them."""

import hashlib
import json
from dataclasses import dataclass, replace

from engramos.errors import InvalidInputError

MAX_BYTES = 2_000
"""Of each text of a fact."""


@dataclass(frozen=True, slots=True)
class FactSource:
    """The exact version of a plaintext cube that says a fact."""

    cube_id: str
    version: int
    trust: float = 1.0
    """In [0, 1]; below a threshold it never trains."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is so, as a question with its answer.

    Raises:
        InvalidInputError: if subject, question or answer is empty, or a text is too long.
    """

    subject: str
    """What it is about, as people name it: the key of the gate."""
    question: str
    answer: str
    """Short: a name, a number, a few words."""
    paraphrases: tuple[str, ...] = ()
    """Other questions for the same answer; they are trained too."""
    held_out: tuple[str, ...] = ()
    """Further questions for the same answer, never trained: probes ask them."""
    statement: str = ""
    """The same as a sentence that ends with the answer; empty where there is none."""
    aliases: tuple[str, ...] = ()
    """Other names of the subject."""
    relation: str = ""
    """What of the subject it says, the same text for the same relation of other subjects."""
    sources: tuple[FactSource, ...] = ()

    def __post_init__(self) -> None:
        for name in ("subject", "question", "answer"):
            if not getattr(self, name).strip():
                raise InvalidInputError(f"{name} of a fact is empty: give a text")
        for text in (self.subject, self.answer, self.statement, *self.aliases, *self.questions, *self.held_out):
            if len(text.encode()) > MAX_BYTES:
                raise InvalidInputError(f"a text of a fact about {self.subject[:40]!r} is over {MAX_BYTES} bytes")

    @property
    def names(self) -> tuple[str, ...]:
        """The subject and its aliases."""
        return (self.subject, *self.aliases)

    @property
    def questions(self) -> tuple[str, ...]:
        """All questions that are trained."""
        return (self.question, *self.paraphrases)

    @property
    def cloze(self) -> str:
        """The statement up to the answer; empty where it does not end with it."""
        text = self.statement.rstrip().rstrip(".!")
        return text[: -len(self.answer)].rstrip() if text.endswith(self.answer) else ""

    @property
    def id(self) -> str:
        """A digest of what is asked and answered: equal for equal facts, whatever their source."""
        text = json.dumps([self.subject.casefold(), self.question.casefold(), self.answer.casefold()])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def without_duplicates(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """Return the facts, each once; what says the same keeps all sources.

    Raises:
        InvalidInputError: if two facts answer the same question of the same subject differently.
    """
    found: dict[tuple[str, str], Fact] = {}
    for fact in facts:
        key = (fact.subject.casefold(), " ".join(fact.question.casefold().split()))
        known = found.get(key)
        if known is None:
            found[key] = fact
        elif known.answer.casefold() != fact.answer.casefold():
            raise InvalidInputError(
                f"two facts answer {fact.question!r} with {known.answer!r} and {fact.answer!r}: "
                f"supersede the one that is no longer true"
            )
        else:
            sources = tuple(dict.fromkeys((*known.sources, *fact.sources)))
            found[key] = replace(known, sources=sources)
    return tuple(found.values())
