"""conversation: the KV cache of a talk, kept from turn to turn.

Source: Pensieve, https://arxiv.org/abs/2312.05516: the past of a conversation is not read again at each turn.
"""

from typing import Any

from engramos.engines.base import Sampling
from engramos.verbs.kv._cut import can_cut, common, cut
from engramos.verbs.kv._parts import KVParts, Prompt
from engramos.verbs.kv.answer import Answer, answer


class Conversation:
    """A talk with the model. One turn at a time; the turn before must have ended."""

    def __init__(self, kv: KVParts, *, uses_kv: bool = True) -> None:
        """Begin with nothing read."""
        self._kv, self._uses_kv = kv, uses_kv
        self._cache: Any = None

    def answer(self, prompt: Prompt, sampling: Sampling | None = None) -> Answer:
        """Return the answer to the whole talk so far; what earlier turns have read of it is not read again.

        Args:
            prompt: all messages, or their tokens.
            sampling: how tokens are chosen.

        Raises:
            InvalidInputError, ContextLengthError, ModelError: as of `answer`.
        """
        token_ids = self._kv.tokens_of(prompt)
        cache, self._cache = self._cache if self._uses_kv else None, None
        if cache is not None:
            num = min(common(cache.token_ids, token_ids), len(token_ids) - 1)
            if num and can_cut(cache, num):
                cut(cache, num)
            else:
                cache = None
        said = answer(self._kv, token_ids, sampling, uses_kv=self._uses_kv, cache=cache)
        self._cache = said.cache
        return said


def conversation(kv: KVParts, *, uses_kv: bool = True) -> Conversation:
    """Return a new conversation.

    Args:
        kv: of the open memory.
        uses_kv: whether it keeps its cache and looks for stored cubes; else each turn is read from the beginning.
    """
    return Conversation(kv, uses_kv=uses_kv)
