"""What is measured of one cache: answers, divergence from the full cache, and time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engramos.engines._cache import MemoryCache
from engramos.engines.base import Sampling
from engramos.evals.kv.reading import Held, Reading
from engramos.evals.kv.rows import Row
from engramos.evals.kv.stopwatch import stopwatch
from engramos.evals.kv.tasks import Question, Sample, recalled_share

STEPS = 6
"""Tokens that are produced one by one to see how many come in a second."""
PASS_TOKENS = 16
"""Tokens of a book that are read at a time under recall: each pass brings back what its own queries ask for."""


@dataclass(slots=True)
class Reference:
    """What the full cache made of a sample; every row is held against it."""

    answer: list[int] | None = None
    """Its greedy answer to the first question."""
    logs: Tensor | None = None
    """Log probabilities over the text that follows: (tokens, vocabulary)."""


def passkey(
    engine: Any, sample: Sample, held: Held, row: Row, reference: Reference, *, is_timed: bool
) -> dict[str, float]:
    """Return what a cache answers to a sample's questions, each asked of a copy of it, one after the other.

    Args:
        engine: that hosts the model.
        sample: with pass keys.
        held: the cache of the row.
        row: of the full cache first, whose answer the reference then holds.
        reference: of the sample.
        is_timed: whether tokens are produced too, one by one, to see how fast.
    """
    first, *others = sample.questions
    is_slow = row.recall is not None
    if reference.answer is None:
        cache = held.cache.copy()
        reference.answer = produced(engine, read(engine, cache, first), cache, first.max_tokens)
    said = foretold(engine, held.cache.copy(), first.asked, reference.answer, is_slow=is_slow)
    right = list(first.answer)
    # the full cache's answer mostly begins with the right one: then what was said of it says all
    if reference.answer[: len(right)] == right:
        firsts = _rights(said[: len(right)], right)
    else:
        firsts = _answered(engine, held.cache.copy(), first, is_slow=is_slow)
    found = {"identical": float(said == reference.answer)}
    if is_timed:
        found |= speed(engine, held.cache.copy(), first)
    later = [_answered(engine, held.cache.copy(), one, is_slow=is_slow) for one in others]
    found |= _mean([firsts, *later], {"passkey": "passkey", "digits": "digits"})
    return found | _mean(later, {"passkey": "follow_up", "digits": "follow_up_digits"})


def aware(engine: Any, sample: Sample, asked: Reading, row: Row) -> dict[str, float]:
    """Return what a cache answers that was compressed with the first question in it, and then to the others.

    All but the last token of the question is compressed; the last is read afterwards, so that the whole answer comes
    from what was kept.

    Source: SCBench, https://arxiv.org/abs/2412.10319: what one question may drop, the next one may need.

    Args:
        engine: that hosts the model.
        sample: with pass keys.
        asked: the text and the first question without its last token.
        row: of a policy; others give nothing.
    """
    first, *others = sample.questions
    held = asked.aware(row, len(first.asked) - 1)
    if held is None:
        return {}
    last = Question(first.asked[-1:], first.answer)
    found = _answered(engine, held.cache, last)
    later = []
    for one in others:
        # the answer's last token has not been read yet
        follows = Question((*first.answer[-1:], *one.asked), one.answer)
        later.append(_answered(engine, held.cache.copy(), follows))
    found |= _mean(later, {"passkey": "follow_up", "digits": "follow_up_digits"})
    return {f"aware_{name}": value for name, value in found.items()}


def ruler(engine: Any, sample: Sample, held: Held, row: Row, reference: Reference) -> dict[str, float]:
    """Return how much of what is expected a greedy answer holds; arguments as of `passkey`."""
    (question,) = sample.questions
    cache = held.cache.copy()
    if reference.answer is None:
        reference.answer = produced(
            engine, read(engine, cache, question), cache, question.max_tokens, question.expected
        )
        return {"ruler": recalled_share(engine.text(reference.answer), question.expected), "identical": 1.0}
    if row.recall is not None:
        answer = produced(engine, read(engine, cache, question), cache, question.max_tokens, question.expected)
    else:
        answer = continued(engine, cache, reference.answer, question)
    is_same = answer[: len(reference.answer)] == reference.answer
    return {"ruler": recalled_share(engine.text(answer), question.expected), "identical": float(is_same)}


def reading_on(engine: Any, sample: Sample, held: Held, row: Row, reference: Reference) -> dict[str, float]:
    """Return the loss on the text that follows, and the divergence from the full cache; arguments as of `passkey`.

    The first token's scores were there before anything was removed: it does not count.
    """
    cache = held.cache.copy()
    tokens = sample.following[:-1]
    size = PASS_TOKENS if row.recall is not None else len(tokens)
    parts = [engine.log_probabilities(tokens[at : at + size], cache) for at in range(0, len(tokens), size)]
    logs = torch.cat(parts)
    if reference.logs is None:
        reference.logs = logs
    wanted = torch.tensor(sample.following[1:], device=logs.device)
    losses = -logs.gather(1, wanted[:, None])[:, 0].double()
    divergence = (reference.logs.exp() * (reference.logs - logs)).sum(-1).double()
    return {"nll": float(losses.mean()), "kl": max(0.0, float(divergence.mean()))}


def produced(
    engine: Any, scores: Tensor, cache: MemoryCache, max_tokens: int, expected: Sequence[str] = ()
) -> list[int]:
    """Return the greedy answer, cut off where it holds all that is expected."""
    found: list[int] = []
    for piece in engine.generate(scores, cache, Sampling(max_tokens=max_tokens)):
        found += piece.token_ids
        if expected and recalled_share(engine.text(found), expected) == 1.0:
            break
    return found


def continued(engine: Any, cache: MemoryCache, draft: Sequence[int], question: Question) -> list[int]:
    """Return the greedy answer, found faster where it begins like a draft: that part is read in one pass.

    Source: speculative decoding, https://arxiv.org/abs/2211.17192, with greedy choice and a given draft.
    """
    logs = engine.log_probabilities([*question.asked, *draft[:-1]], cache)[len(question.asked) - 1 :]
    said = logs.argmax(-1).tolist()
    same = next((at for at, token in enumerate(draft) if said[at] != token), len(draft))
    begin = list(draft[:same])
    if recalled_share(engine.text(begin), question.expected) == 1.0 or same >= question.max_tokens:
        return begin
    if same == len(draft) and draft:
        scores = engine.step(draft[-1], cache)
    else:
        cache.drop_last(max(0, len(draft) - 1 - same))
        scores = logs[same]
    left = [one for one in question.expected if recalled_share(engine.text(begin), [one]) < 1.0]
    return begin + produced(engine, scores, cache, question.max_tokens - same, left)


def read(engine: Any, cache: MemoryCache, question: Question) -> Tensor:
    """Read a question, and return the scores of the first token of its answer: (vocabulary,)."""
    return engine.prefill(question.asked, cache, question_tokens=len(question.asked), is_last=False)


def foretold(
    engine: Any, cache: MemoryCache, asked: Sequence[int], tokens: Sequence[int], *, is_slow: bool = False
) -> list[int]:
    """Return the likeliest token at each place of an answer, each after those before it.

    All are `tokens` themselves exactly if the greedy answer begins with them.

    Args:
        engine: that hosts the model.
        cache: grows by the question, and by all but the last of the tokens.
        asked: the question.
        tokens: of the answer.
        is_slow: whether each is read in a pass of its own, as in producing.
    """
    if not tokens:
        return []
    if not is_slow:
        logs = engine.log_probabilities([*asked, *tokens[:-1]], cache)
        return logs[len(asked) - 1 :].argmax(-1).tolist()
    rows = [read(engine, cache, Question(tuple(asked)))]
    rows += [engine.step(token, cache) for token in tokens[:-1]]
    return [int(row.argmax()) for row in rows]


def speed(engine: Any, cache: MemoryCache, question: Question) -> dict[str, float]:
    """Return the time from a question to the first token, and how many come in a second after it, one by one."""
    with stopwatch() as first:
        token = int(read(engine, cache, question).argmax())
    with stopwatch() as others:
        for _ in range(STEPS):
            token = int(engine.step(token, cache).argmax())
    return {
        "ttft_ms": 1000 * first.wall_s,
        "ttft_cpu_ms": 1000 * first.cpu_s,
        "tokens_per_s": STEPS / max(others.wall_s, 1e-9),
        "tokens_per_cpu_s": STEPS / max(others.cpu_s, 1e-9),
    }


def _answered(engine: Any, cache: MemoryCache, question: Question, *, is_slow: bool = False) -> dict[str, float]:
    """Return how right the answer to a question is; the cache grows by all but the last token of the right one."""
    said = foretold(engine, cache, question.asked, question.answer, is_slow=is_slow)
    return _rights(said, question.answer)


def _rights(said: Sequence[int], right: Sequence[int]) -> dict[str, float]:
    """Return whether a pass key comes whole, and the share of its tokens that come."""
    same = [one == other for one, other in zip(said, right, strict=True)]
    return {"passkey": float(all(same)), "digits": sum(same) / len(same)}


def _mean(rows: Sequence[dict[str, float]], names: dict[str, str]) -> dict[str, float]:
    """Return the means of some metrics, by other names."""
    return {other: sum(row[name] for row in rows) / len(rows) for name, other in names.items() if rows}
