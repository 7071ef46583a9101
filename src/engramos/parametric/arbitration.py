"""Arbitration: who wins when weights and context disagree."""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from engramos.errors import ConfigError

_WORD = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?", re.UNICODE)
_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
_EMPTY_WORDS = frozenset("a an the".split())
_OPENERS = frozenset(
    "in at on to from by of it he she they we i is was are yes with for since about as near that this".split()
)
_DENIALS = frozenset("no not never none nobody nothing neither without isn't wasn't doesn't didn't don't".split())
_ABSTENTIONS = frozenset(
    {
        "",
        "unknown",
        "i don't know",
        "i do not know",
        "don't know",
        "no idea",
        "i have no idea",
        "none",
        "n/a",
        "not sure",
    }
)


class Arbitration(StrEnum):
    """Who wins a conflict."""

    CONTEXT_FIRST = "context_first"
    """The text in the prompt, which can be newer than the weights."""
    WEIGHTS_FIRST = "weights_first"
    """The adapter, whose facts have passed their probes."""
    ASK = "ask"
    """Nobody: the person is asked."""


class Winner(StrEnum):
    """Whose answer is given."""

    WEIGHTS = "weights"
    CONTEXT = "context"
    NOBODY = "nobody"
    """Neither has an answer, or the person is to be asked."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which source won, and why."""

    winner: Winner
    answer: str
    """The winner's, word for word; empty where nobody won."""
    why: str
    """One line, without the answers."""
    is_conflict: bool
    """Whether both have answers, and these disagree."""


def arbitrate(
    answer_of_weights: str, answer_of_context: str, policy: Arbitration | str = Arbitration.CONTEXT_FIRST
) -> Verdict:
    """Return which of two answers to one question is given.

    An empty answer, or one that only says that the answer is not known, counts as none.

    Args:
        answer_of_weights: what the model says with the adapter alone.
        answer_of_context: what the text in the prompt says.
        policy: who wins where they disagree. Where they agree, the same side gives the wording.

    Raises:
        ConfigError: if there is no such policy.

    Source: ours.

    Example:
        >>> arbitrate("Lisbon", "She moved to Porto.").winner
        <Winner.CONTEXT: 'context'>
        >>> arbitrate("Lisbon", "lisbon.", "ask").is_conflict
        False
    """
    if policy not in tuple(Arbitration):
        raise ConfigError(f"arbitration is {policy!r}: choose one of: {', '.join(Arbitration)}")
    has_weights, has_context = is_answer(answer_of_weights), is_answer(answer_of_context)
    if not has_weights and not has_context:
        return Verdict(Winner.NOBODY, "", "neither weights nor context have an answer", False)
    if not has_context:
        return Verdict(Winner.WEIGHTS, answer_of_weights, "the context has no answer", False)
    if not has_weights:
        return Verdict(Winner.CONTEXT, answer_of_context, "the weights have no answer", False)
    if agree(answer_of_weights, answer_of_context):
        if policy == Arbitration.WEIGHTS_FIRST:
            return Verdict(Winner.WEIGHTS, answer_of_weights, "both agree", False)
        return Verdict(Winner.CONTEXT, answer_of_context, "both agree", False)
    if policy == Arbitration.ASK:
        return Verdict(Winner.NOBODY, "", "weights and context disagree: the person is asked", True)
    if policy == Arbitration.WEIGHTS_FIRST:
        return Verdict(Winner.WEIGHTS, answer_of_weights, "weights and context disagree: weights come first", True)
    return Verdict(Winner.CONTEXT, answer_of_context, "weights and context disagree: the context comes first", True)


def is_answer(text: str) -> bool:
    """Return whether a text answers at all."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'").strip().rstrip(".!? ")
    return plain not in _ABSTENTIONS and not plain.startswith(("i don't know", "i do not know", "i'm not sure"))


def agree(one: str, other: str) -> bool:
    """Return whether two answers to one question say the same.

    They do if their words are the same, compatibility forms, case, accents, punctuation, articles and small number
    words set aside; or if the words of one stand together in the other, which neither denies them nor carries the name
    on with a further capitalised word or number: `Lisbon` agrees with `She lives in Lisbon`, not with `not Lisbon`,
    and `York` not with `New York`.

    Args:
        one: an answer.
        other: an answer.
    """
    first, second = _words(one), _words(other)
    if not first or not second:
        return _bare(one) == _bare(other)
    if [_plain(word) for word in first] == [_plain(word) for word in second]:
        return True
    short, long = sorted((first, second), key=len)
    return len(short) < len(long) and _holds(long, short)


def _words(text: str) -> list[str]:
    """Return the words of a text as they are written, articles left out."""
    found = _WORD.findall(unicodedata.normalize("NFKC", text).replace("’", "'"))
    return [word for word in found if word.casefold() not in _EMPTY_WORDS] or found


def _plain(word: str) -> str:
    """Return a word without case and accents; a small number as its digits."""
    bare = _bare(word)
    if bare in _NUMBERS:
        return str(_NUMBERS.index(bare))
    return re.sub(r",(?=\d{3}(?:\D|$))", "", bare)


def _bare(text: str) -> str:
    """Return a text without case and combining marks."""
    parts = unicodedata.normalize("NFKD", text.strip()).casefold()
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def _holds(long: list[str], short: list[str]) -> bool:
    """Return whether an answer says a shorter one and nothing that would make it another."""
    plain, wanted = [_plain(word) for word in long], [_plain(word) for word in short]
    if bool(_DENIALS & set(plain)) != bool(_DENIALS & set(wanted)):
        return False
    for at in range(len(plain) - len(wanted) + 1):
        end = at + len(wanted)
        before = long[at - 1] if at else ""
        after = long[end] if end < len(long) else ""
        if plain[at:end] == wanted and not _carries_on(before) and not _carries_on(after):
            return True
    return False


def _carries_on(word: str) -> bool:
    """Return whether a word beside an answer makes it a longer name or number."""
    return bool(word) and word.casefold() not in _OPENERS and (word[0].isupper() or word[0].isdigit())
