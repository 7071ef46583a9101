"""Marks: what is known of a text besides its words; each is kept among its terms, so that it costs one posting.

No word has a mark's number but by a rare accident of the hash, so that a question never looks for one.
"""

import re
import zlib

ASKS = zlib.crc32(b"?")
"""The text ends with a question."""
WISHES = zlib.crc32(b"!wishes")
"""A person says what they like, avoid or need: it holds until they say otherwise."""
ORDERS = zlib.crc32(b"!orders")
"""A person says how they want to be answered from now on."""
ASSISTANT = zlib.crc32(b"!assistant")
"""An assistant said it."""
MARKS = (ASKS, WISHES, ORDERS, ASSISTANT)
"""All of them; none is a word's term."""

_READ = 4_000
_ENDS_ASKING = re.compile(r"[?？؟][\s\"'”’»)]*(?:\[[^\]]*\]\s*)?\Z")
_OFTEN = (
    r"(?:\w+ly |just |also |always |never |do |would |'d |'ll |'m |am |have |'ve |had |a |an |the |deep |strong "
    r"|not |no )"
)
_LIKING = (
    r"(?:prefer|like|love|enjoy|dislike|hate|detest|despise|loathe|adore|favou?r|avoid|refuse|insist|value|appreciate"
    r"|want|need|require|rather|stick|preference|aversion|distaste|fear|allergy|phobia|passion|interest|weakness"
    r"|allergic|averse|sensitive|opposed|partial|drawn|committed|interested|intolerant|vegan|vegetarian|afraid"
    r"|fan of|into|find|thrive|exclusively|only (?:use|eat|watch|read|wear|buy|play|drink))"
)
_WISH = re.compile(
    rf"\b(?:i|we)(?:['’](?:m|d|ve|ll))? ?{_OFTEN}*{_LIKING}\b"
    r"|\b(?:i|we) (?:\w+ly )?(?:do|can|could|would|wo|ca)(?:n['’]t|not| not) (?:\w+ly )?"
    r"(?:like|enjoy|want|eat|drink|use|wear|watch|play|read|stand|tolerate|bear|have|buy)\b"
    r"|\bmy (?:\w+ )?(?:preference|favou?rite|rule|policy|aversion|allerg(?:y|ies))\b",
)
_ORDER = re.compile(
    r"(?:^|[.!?;:]\s+|\bplease |\b(?:can|could|would) you )(?:please )?"
    r"(?:always|never|from now on|whenever|going forward)\b"
    r"|\b(?:when|whenever|if|every time|each time|any time) i (?:ask|request|talk|inquire)\b"
    r"|\b(?:from now on|going forward)\b",
)


_WISH_HINTS = (
    *"prefer like love enjoy hate detest despise loathe adore favo avoid refuse insist value appreciate want".split(),
    *"need require rather stick aversion distaste fear allerg phobia passion interest weakness averse".split(),
    *"sensitive opposed partial drawn committed intolerant vegan vegetarian afraid into find thrive".split(),
    *"exclusively only n't n’t not rule policy".split(),
    "fan of",
)
_ORDER_HINTS = ("always", "never", "now on", "whenever", "forward", "when i", "if i", "time i")
"""A text that has none of these in it cannot match; that is told sooner than by the expressions."""


def asks(text: str) -> bool:
    """Return whether a text ends with a question; a note in brackets behind it, such as of an image, may follow."""
    return _ENDS_ASKING.search(text, max(0, len(text) - 500)) is not None


def wishes(text: str) -> bool:
    """Return whether a text says what its speaker likes, avoids or needs; English only, first 4,000 characters.

    Source: ours, decision 0013.

    Example:
        >>> wishes("I can't stand horror films."), wishes("The film was long.")
        (True, False)
    """
    return _is_there(_WISH, _WISH_HINTS, text)


def orders(text: str) -> bool:
    """Return whether a text says how its speaker wants to be answered from now on; English only.

    Source: ours, decision 0013.

    Example:
        >>> orders("Always give prices in euros when I ask about trips."), orders("Give me the price.")
        (True, False)
    """
    return _is_there(_ORDER, _ORDER_HINTS, text)


def _is_there(pattern: re.Pattern[str], hints: tuple[str, ...], text: str) -> bool:
    lower = text[:_READ].lower()
    return any(hint in lower for hint in hints) and pattern.search(lower) is not None


def marks_of(text: str, role: str | None) -> list[int]:
    """Return the marks of a text; `role` is who said it as in a message, None for a document."""
    found = [ASKS] if asks(text) else []
    if role == "assistant":
        found.append(ASSISTANT)
    elif role == "user":
        found += [WISHES] if wishes(text) else []
        found += [ORDERS] if orders(text) else []
    return found
