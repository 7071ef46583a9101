"""English questions taken apart and turned round, where the grammar is sure."""

import re

_ENDS = re.compile(r"[?!.\s]+$")
_QUESTION_WORD = re.compile(
    r"(?P<asked>(?:(?:in|at|on|to|from|by|for|of|with) )?"
    r"(?:what|which|who|whom|whose|where|when|why|how)(?: (?!is\b|was\b|are\b|were\b|do\b|does\b|did\b)[\w-]+){0,3}?) "
    r"(?P<verb>is|was|are|were|does|do|did|has|have) (?P<rest>.+)",
    re.IGNORECASE,
)
_BEFORE_TAIL = re.compile(
    r"(?P<who>.+) (?P<tail>(?:called|named|born|based|located|headquartered|situated|founded|built|written|published"
    r"|made|released|known|spoken|buried|(?:married|allergic|related|dedicated) to|from)(?: (?:in|at|as|for|by|of))?)",
    re.IGNORECASE,
)
_PAST = dict(
    pair.split(":")
    for pair in """
    be:was become:became begin:began break:broke bring:brought build:built buy:bought choose:chose come:came do:did
    draw:drew drive:drove eat:ate fall:fell find:found fly:flew get:got give:gave go:went grow:grew have:had hear:heard
    hold:held join:joined keep:kept know:knew lead:led learn:learned leave:left live:lived lose:lost make:made meet:met
    move:moved name:named open:opened paint:painted pay:paid play:played read:read retire:retired run:ran say:said
    see:saw sell:sold send:sent serve:served show:showed sing:sang sleep:slept speak:spoke spend:spent start:started
    stay:stayed study:studied swim:swam take:took teach:taught tell:told think:thought train:trained travel:traveled
    visit:visited want:wanted win:won work:worked write:wrote adopt:adopted attend:attended graduate:graduated die:died
    marry:married discover:discovered invent:invented found:founded direct:directed compose:composed finish:finished
    """.split()
)
_THIRD = {"be": "is", "have": "has", "do": "does", "go": "goes"}
_OF_YOU = {"do": "does", "are": "is", "were": "was", "have": "has"}
_YOU = re.compile(r"\b(?:yourself|your|you|yours)\b", re.IGNORECASE)


def named_in(name: str, text: str) -> re.Match[str] | None:
    """Return where a text first holds a name as whole words, in any case."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) if name else None


def bare(question: str) -> str:
    """Return a question without its marks at the end."""
    return _ENDS.sub("", question)


def third_person(verb: str) -> str:
    """Return a verb as it stands after `she`: `works`, `studies`, `goes`."""
    if verb in _THIRD:
        return _THIRD[verb]
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return f"{verb[:-1]}ies"
    return f"{verb}es" if verb.endswith(("s", "sh", "ch", "x", "z", "o")) else f"{verb}s"


def indirect(question: str, subject: str) -> str | None:
    """Return a question as a clause, as in `I know where Ana works`; None where the order of words is not sure.

    Args:
        question: in English, that begins with its question word.
        subject: whom it asks about, as the question names it.
    """
    text = bare(question)
    match = _QUESTION_WORD.fullmatch(text)
    if match is None:
        # `Who wrote it` is in the order of a clause already
        return _lower_first(text) if re.match(r"who (?!is |was |are |were |do |does |did )", text, re.I) else None
    asked, verb, rest = _lower_first(match["asked"]), match["verb"].lower(), match["rest"]
    if verb in ("is", "was", "are", "were"):
        return f"{asked} {_with_verb(verb, rest, subject)}"
    split = _after_subject(rest, subject)
    if split is None or verb in ("has", "have"):
        return f"{asked} {split[0]} {verb} {split[1]}" if split else None
    who, action = split
    first, _, more = action.partition(" ")
    changed = {"does": third_person(first), "do": first, "did": _PAST.get(first)}[verb] if first.islower() else None
    return f"{asked} {who} {changed} {more}".rstrip() if changed else None


def asked_of(question: str, name: str) -> str | None:
    """Return a question that was put to someone as a question about them; None where it does not ask about them.

    Args:
        question: such as `Where do you work?`.
        name: who was asked.
    """
    match = _QUESTION_WORD.fullmatch(bare(question))
    if match is None or _YOU.search(match["asked"]):
        return None
    asked, verb, rest = match["asked"], match["verb"].lower(), match["rest"]
    first, _, more = rest.partition(" ")
    if first.lower() == "you" and (more or asked.lower().startswith("how ")):
        verb = _OF_YOU.get(verb, verb)
    elif first.lower() != "your" or not more:
        return None
    if _YOU.search(more) or re.search(r"\b(?:I|me|my|we|us|our|this|that|it|they|them|these|those|here)\b", more):
        return None
    owner = f"{name}'s" if first.lower() == "your" else name
    return f"{asked[0].upper()}{asked[1:]} {verb} {owner} {more}".rstrip() + "?"


def _with_verb(verb: str, rest: str, subject: str) -> str:
    """Return what follows the question word, the verb put where a clause has it."""
    split = _after_subject(rest, subject)
    if split and split[1]:
        return f"{split[0]} {verb} {split[1]}"
    tail = _BEFORE_TAIL.fullmatch(rest)
    return f"{tail['who']} {verb} {tail['tail']}" if tail else f"{rest} {verb}"


def _after_subject(rest: str, subject: str) -> tuple[str, str] | None:
    """Return the subject and what follows it; None where a text does not begin with it or it owns something there."""
    match = re.match(rf"((?:the )?{re.escape(subject)})(?: (.+))?$", rest, re.IGNORECASE)
    return (match[1], match[2] or "") if match else None


def _lower_first(text: str) -> str:
    """Return a text that begins with a small letter, where its first word is a question word or a preposition."""
    return f"{text[:1].lower()}{text[1:]}"
