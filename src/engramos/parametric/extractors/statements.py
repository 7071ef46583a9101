"""Facts out of short sure statements."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engramos.cube import MemCube
from engramos.errors import InvalidInputError
from engramos.parametric.extractors._reading import Telling, facts_in, with_short_names
from engramos.parametric.extractors._sentences import sentences_of
from engramos.parametric.extractors._settled import Found, payload_of, settled, source_of
from engramos.parametric.extractors._speaker import named_user
from engramos.parametric.extractors.base import Extractor
from engramos.parametric.facts import Fact, FactSource

READY = "fact"
"""The key of an attribute that holds a ready fact."""
_TEXTS = ("question", "answer", "subject", "statement", "relation")
_LISTS = ("paraphrases", "held_out", "aliases")


@dataclass(frozen=True, slots=True)
class Statements(Extractor):
    """Takes sentences that say one thing about the speaker or about a subject that they begin with.

    A sentence counts where it has one of some forty forms, as `I work at Acme` or `The capital of France is Paris`;
    then the question is natural. With `takes_any_form`, another sentence about a named subject that ends with a name or
    a number counts too, where no speaker is known (people say too much that only looks like it), and its question asks
    to complete it. Questions, doubts, denials and plans count never, nor does what a model said. A cube whose attribute
    `fact` holds `question`, `answer` and `subject` gives this fact, and its text nothing.

    Ours: forms rather than a model, for precision at no cost.
    """

    speaker: str = ""
    """Who says `I` in cubes of role `user` that name no speaker; empty: these sentences are left out."""
    takes_any_form: bool = True
    """Whether statements about named subjects need none of the known forms."""
    takes_newest: bool = True
    """Whether the newest of contradicting answers stays; where not, all are given."""

    def extract(self, cubes: Sequence[MemCube]) -> list[Fact]:
        """Return the facts; see `Extractor.extract`.

        Raises:
            InvalidInputError: if an attribute `fact` is none.
        """
        speakers = {(payload.speaker or "").strip() for cube in cubes if (payload := payload_of(cube))} - {""}
        called = frozenset(name.lower() for speaker in speakers for name in (speaker, speaker.split()[0]))
        user = None if self.speaker else named_user(cubes)
        found = [one for cube in cubes for one in self._found_in(cube, called, user)]
        known = speakers | ({user[0]} if user else set())
        return with_short_names(settled(found, takes_newest=self.takes_newest), known)

    def _found_in(self, cube: MemCube, called: frozenset[str], user: tuple[str, MemCube] | None) -> Iterator[Found]:
        payload = payload_of(cube)
        if payload is None:
            return
        sources = (source_of(cube),)
        if READY in payload.attributes:
            yield Found(_ready(payload.attributes[READY], cube.id, sources[0]))
            return
        if payload.role == "assistant":
            return
        given = (payload.speaker or (self.speaker if payload.role == "user" else "")).strip()
        speaker = given
        if user and payload.role == "user" and not given:
            speaker = user[0]
        others = called - {speaker.lower(), speaker.split(" ")[0].lower()}
        day = cube.header.valid_at.date() if cube.header.valid_at else None
        telling = Telling(speaker, others, day, self.takes_any_form and not given)
        for sentence in sentences_of(payload.text):
            for one in facts_in(sentence, telling):
                # without the turn that says the user's name, nobody could tell again of whom this is said
                is_named = user and speaker != given and one.fact.subject == speaker and user[1] is not cube
                whole = (*sources, source_of(user[1])) if user and is_named else sources
                yield replace(one, fact=replace(one.fact, sources=whole))


def _ready(given: Any, cube_id: str, source: FactSource) -> Fact:
    """Return the fact that a cube's attribute holds.

    Raises:
        InvalidInputError: if it is no mapping, or a value is missing or of a wrong kind.
    """
    where = f"attribute {READY!r} of cube {cube_id}"
    if not isinstance(given, Mapping):
        raise InvalidInputError(f"{where} is no mapping: give question, answer and subject")
    if unknown := sorted(str(key) for key in given if key not in (*_TEXTS, *_LISTS)):
        raise InvalidInputError(f"{where} has {unknown[0][:40]!r}: use {', '.join((*_TEXTS, *_LISTS))}")
    texts = {key: given[key] for key in _TEXTS if key in given}
    lists = {key: given[key] for key in _LISTS if key in given}
    for key in ("question", "answer", "subject"):
        if key not in texts:
            raise InvalidInputError(f"{where} has no {key!r}: give a text")
    if wrong := [key for key, value in texts.items() if not isinstance(value, str)]:
        raise InvalidInputError(f"{wrong[0]} in {where} is no text")
    for key, value in lists.items():
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise InvalidInputError(f"{key} in {where} is no list of texts")
    return Fact(**texts, **{key: tuple(value) for key, value in lists.items()}, sources=(source,))
