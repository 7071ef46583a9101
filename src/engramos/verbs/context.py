"""context: a block for a prompt with the memories that a question needs."""

from collections.abc import Callable

from engramos.errors import InvalidInputError, UnsupportedError
from engramos.plaintext.contexts.block import ContextBlock, build, estimate_tokens
from engramos.scope import Scope
from engramos.verbs.parts import Parts
from engramos.verbs.search import SearchOptions, search

FORMS = ("auto", "text", "kv")
"""The forms that a context may be asked for in."""


def check_form(form: str) -> str:
    """Return `form` if it is one of `FORMS`.

    Raises:
        InvalidInputError: if it is none.
    """
    if form not in FORMS:
        raise InvalidInputError(f"form is {form!r}: use {', '.join(FORMS)}")
    return form


def context(
    parts: Parts,
    question: str,
    scope: Scope,
    options: SearchOptions,
    budget_tokens: int = 1_000,
    count_tokens: Callable[[str], int] = estimate_tokens,
    form: str = "text",
) -> ContextBlock:
    """Return the found memories as data between tags, in order of time, within a token budget.

    Args:
        parts: of the open memory.
        question: what the memories are for.
        scope: tenant and user; an agent or a session narrows.
        options: how to search; `limit` bounds the number of memories.
        budget_tokens: what the block may take, 0 or more.
        count_tokens: tokens of a text; the default guesses without a model.
        form: `text`, or `auto`, which is text where there is no engine.

    Raises:
        InvalidInputError: if the question is empty, the budget is negative, or the form is unknown.
        UnsupportedError: if the form is `kv`: that needs an engine.
    """
    check_form(form)
    if form == "kv":
        raise UnsupportedError("a context in form kv needs a model: use memory.kv(engine).context(...)")
    if isinstance(budget_tokens, bool) or not isinstance(budget_tokens, int) or budget_tokens < 0:
        raise InvalidInputError(f"budget_tokens is {budget_tokens!r}: give a whole number of 0 or more")
    hits = search(parts, question, scope, options)
    return build([hit.cube for hit in hits], budget_tokens, count_tokens)
