"""What every recall method must keep to: run `check_recall` over an instance, or each of `CHECKS` as a test of its own.

Nothing here needs a test framework: a check fails by an AssertionError. It needs torch, which `import engramos.testing`
alone does not load.

Example:
    >>> from engramos.activation.recall.quest import Quest
    >>> check_recall(Quest(page_size=32))
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.activation.rope import Rope
from engramos.activation.view import DECODE, PREFILL

HEAD_DIM = 32
SLOW = (10, 16)
"""Pairs of channels that `ROPE` turns by less than a twentieth over 4,096 tokens: they say what, not where."""
ROPE = Rope.plain(HEAD_DIM, theta=1e8)
NEEDLE = (1_037, 1_053)
"""The places of the tokens that answer the question."""
LOUD = 8.0
"""The length of the needle's keys and of the queries; other keys are about 5.7 long."""
MOST_SHARE = 1 / 8
"""What summaries may take of the bytes of the keys and values that they stand for."""
MOST_SHARE_WITHOUT_ARCHIVE = 1.3
"""The same where the method needs no archive beside them."""


@dataclass(frozen=True, slots=True)
class Past:
    """Random tokens of one layer, among them a needle: tokens whose keys answer one question."""

    keys: Tensor
    """(kv_heads, tokens, head_dim), rotated."""
    values: Tensor
    question: Tensor
    """(kv_heads, head_dim), before rotation, of length `LOUD`."""
    answer: Tensor
    """(kv_heads, head_dim): the value of the needle's tokens."""
    groups: int
    is_turned: bool = True
    """Whether keys are rotated to their places; else all of them stand at position 0."""
    notes: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def make(
        cls,
        num_tokens: int,
        *,
        kv_heads: int = 2,
        groups: int = 2,
        dtype: torch.dtype = torch.float32,
        is_turned: bool = True,
        seed: int = 0,
    ) -> "Past":
        """Return a past of so many tokens; the needle is in it where it is long enough.

        Args:
            num_tokens: 1 or more.
            kv_heads: heads of keys.
            groups: query heads for each head of keys.
            dtype: of keys and values.
            is_turned: whether keys are rotated to their places; else all of them stand at position 0.
            seed: the same seed gives the same numbers.
        """
        random = torch.Generator().manual_seed(seed)
        slow = torch.zeros(HEAD_DIM)
        for half in (0, HEAD_DIM // 2):
            slow[half + SLOW[0] : half + SLOW[1]] = 1
        question = torch.randn(kv_heads, HEAD_DIM, generator=random) * slow
        question = LOUD * question / question.norm(dim=-1, keepdim=True)
        answer = 3 * torch.randn(kv_heads, HEAD_DIM, generator=random)
        keys = torch.randn(kv_heads, num_tokens, HEAD_DIM, generator=random)
        values = torch.randn(kv_heads, num_tokens, HEAD_DIM, generator=random)
        places = torch.arange(num_tokens)
        is_needle = (places >= NEEDLE[0]) & (places < NEEDLE[1])
        keys[:, is_needle] = question.unsqueeze(1) + 0.2 * keys[:, is_needle]
        values[:, is_needle] = answer.unsqueeze(1) + 0.2 * values[:, is_needle]
        received = torch.rand(kv_heads, num_tokens, generator=random) + 2.0 * is_needle
        surprisal = torch.rand(num_tokens, generator=random) * 4 + 20.0 * (
            (places == NEEDLE[0]) | (places == NEEDLE[1])
        )
        sentence = places // 14 + 10_000 * is_needle
        notes = {
            "received": received,
            "surprisal": surprisal.expand(kv_heads, -1).clone(),
            "sentence": sentence.float().expand(kv_heads, -1).clone(),
        }
        turned = ROPE.rotate(keys, places if is_turned else 0 * places)
        return cls(turned.to(dtype), values.to(dtype), question, answer, groups, is_turned, notes)

    @property
    def num_tokens(self) -> int:
        """Tokens of each head."""
        return self.keys.shape[1]

    @property
    def num_bytes(self) -> int:
        """Bytes of the keys and values."""
        return 2 * self.keys.numel() * self.keys.element_size()

    def stretches(self, size: int) -> Iterator[LayerView]:
        """Yield the past in stretches of this size, the last of them what is left."""
        for start in range(0, self.num_tokens, size):
            part = slice(start, min(start + size, self.num_tokens))
            positions = torch.arange(part.start, part.stop).expand(self.keys.shape[0], -1) * self.is_turned
            notes = {name: note[:, part].clone() for name, note in self.notes.items()}
            yield self._view(self.keys[:, part], self.values[:, part], positions, self.question[:0], notes)

    def asked(self, num_queries: int = 1, question_tokens: int = 0, *, sign: float = 1.0) -> LayerView:
        """Return a pass that comes 100 tokens after the past, with a small window of its own at hand.

        Args:
            num_queries: of the pass; with 1 it produces a token, with more it reads a prompt.
            question_tokens: so many of the last queries ask, and the others do not; 0: all of them ask.
            sign: -1 turns the question round.
        """
        random = torch.Generator().manual_seed(7)
        heads = self.keys.shape[0] * self.groups
        positions = self.num_tokens + 100 + torch.arange(num_queries)
        plain = sign * self.question.repeat_interleave(self.groups, 0).unsqueeze(1).repeat(1, num_queries, 1)
        plain = plain + 0.1 * torch.randn(heads, num_queries, HEAD_DIM, generator=random)
        if question_tokens:
            others = num_queries - question_tokens
            plain[:, :others] = 4 * torch.randn(heads, others, HEAD_DIM, generator=random)
        keys = torch.randn(self.keys.shape[0], 4, HEAD_DIM, generator=random).to(self.keys.dtype)
        at = (self.num_tokens + torch.arange(4)).expand(self.keys.shape[0], -1)
        view = self._view(keys, keys.clone(), at, ROPE.rotate(plain, positions), {}, positions)
        view.phase = DECODE if num_queries == 1 else PREFILL
        view.prompt_tokens, view.question_tokens = int(positions[-1]) + (num_queries > 1), question_tokens
        return view

    def _view(
        self,
        keys: Tensor,
        values: Tensor,
        positions: Tensor,
        queries: Tensor,
        notes: dict[str, Tensor],
        at: Tensor | None = None,
    ) -> LayerView:
        if at is None:
            at = positions[0, :0]
            queries = keys.new_zeros((keys.shape[0] * self.groups, 0, HEAD_DIM))
        return LayerView(
            layer=1,
            num_layers=3,
            keys=keys,
            values=values,
            positions=positions,
            queries=queries.to(keys.dtype),
            query_positions=at,
            scaling=HEAD_DIM**-0.5,
            rope=ROPE,
            notes=notes,
        )


def filed_in(method: Recall, past: Past, size: int) -> Filed:
    """Return the summaries of a past that was filed in stretches of a size."""
    filed = Filed()
    for stretch in past.stretches(size):
        filed = method.file(stretch, filed)
    return filed


def num_recalled(recalled: Recalled) -> int:
    """Return how many tokens came back for the head that has most."""
    one = recalled.places if recalled.places is not None else recalled.keys
    assert one is not None, "neither places nor keys came back"
    return one.shape[1]


def needle_share(recalled: Recalled, past: Past) -> float:
    """Return the least share of the needle that any head has back; of merged tokens, whether its value came."""
    shares = []
    for head in range(past.keys.shape[0]):
        if recalled.places is not None:
            found = ((recalled.places[head] >= NEEDLE[0]) & (recalled.places[head] < NEEDLE[1])).sum()
            shares.append(float(found) / (NEEDLE[1] - NEEDLE[0]))
        else:
            assert recalled.values is not None
            likeness = torch.cosine_similarity(recalled.values[head].float(), past.answer[head][None], dim=-1)
            shares.append(float(likeness.max() > 0.9))
    return min(shares)


def is_same(one: Recalled, other: Recalled) -> bool:
    """Return whether two choices are the same, merged tokens within rounding."""
    for name in ("places", "positions"):
        mine, theirs = getattr(one, name), getattr(other, name)
        if (mine is None) != (theirs is None) or (mine is not None and not torch.equal(mine, theirs)):
            return False
    for name in ("keys", "values", "weights"):
        mine, theirs = getattr(one, name), getattr(other, name)
        if (mine is None) != (theirs is None):
            return False
        if mine is not None and not torch.allclose(mine.float(), theirs.float(), atol=1e-3):
            return False
    return True


def _asks(method: Recall, past: Past, filed: Filed) -> bool:
    """Return whether the choice depends on the queries at all: the floor's does not."""
    return not is_same(method.select(past.asked(), filed, 64), method.select(past.asked(sign=-1.0), filed, 64))


def _check_needle(method: Recall, past: Past, *views: LayerView) -> None:
    filed = filed_in(method, past, 512)
    num = 256 if _asks(method, past, filed) else past.num_tokens
    for view in views:
        recalled = method.select(view, filed, num)
        assert num_recalled(recalled) <= num, f"{num_recalled(recalled)} tokens came back and {num} were allowed"
        share = needle_share(recalled, past)
        assert share >= 0.75, f"{share:.0%} of the needle came back among {num} of {past.num_tokens} tokens"


def check_a_needle_comes_back(method: Recall) -> None:
    """Among 2,048 random tokens those that answer the query come back, at one in eight."""
    past = Past.make(2_048)
    _check_needle(method, past, past.asked())


def check_the_question_decides(method: Recall) -> None:
    """Of a prompt's many queries those of the question choose, where it is known; else their mean does."""
    past = Past.make(2_048, seed=1)
    _check_needle(method, past, past.asked(24, question_tokens=4), past.asked(24))


def check_heads_may_be_one_or_many(method: Recall) -> None:
    """One head of keys for eight heads of queries, and as many of one as of the other."""
    for kv_heads, groups in ((1, 8), (4, 1)):
        past = Past.make(2_048, kv_heads=kv_heads, groups=groups, seed=2)
        _check_needle(method, past, past.asked())


def check_bfloat16(method: Recall) -> None:
    """Half precision finds the needle too, and merged tokens keep the dtype."""
    past = Past.make(2_048, dtype=torch.bfloat16, seed=3)
    _check_needle(method, past, past.asked())
    recalled = method.select(past.asked(), filed_in(method, past, 512), 8)
    for one in (recalled.keys, recalled.values):
        assert one is None or one.dtype == torch.bfloat16, f"merged tokens are {one.dtype}"


def check_keys_may_stand_at_one_position(method: Recall) -> None:
    """In a past without end keys are filed before rotation, all at position 0: the needle is found among them."""
    past = Past.make(2_048, is_turned=False, seed=9)
    _check_needle(method, past, past.asked())


def check_never_more_than_allowed(method: Recall) -> None:
    """Whatever the sizes, what comes back is within the room, of the archive, rising, and well formed."""
    for num_tokens in (1, 5, 130, 1_100):
        past = Past.make(num_tokens, seed=4)
        filed = filed_in(method, past, 512)
        assert filed.num_tokens == num_tokens, f"num_tokens is {filed.num_tokens} after {num_tokens} tokens"
        for room in (1, 3, 100, 256, 5_000):
            recalled = method.select(past.asked(), filed, room)
            assert 1 <= num_recalled(recalled) <= room, f"{num_recalled(recalled)} of {room} tokens came back"
            _check_form(recalled, past)


def _check_form(recalled: Recalled, past: Past) -> None:
    kv_heads, count = past.keys.shape[0], num_recalled(recalled)
    if recalled.places is not None:
        assert recalled.keys is recalled.values is recalled.positions is recalled.weights is None
        assert recalled.places.dtype == torch.int64
        rows = recalled.places
    else:
        assert recalled.keys is not None
        assert recalled.values is not None
        assert recalled.positions is not None
        for one in (recalled.keys, recalled.values):
            assert tuple(one.shape) == (kv_heads, count, HEAD_DIM)
            assert bool(one.isfinite().all())
        if recalled.weights is not None:
            assert tuple(recalled.weights.shape) == (kv_heads, count)
            assert recalled.weights.dtype == torch.float32
            assert bool((recalled.weights > 0).all())
            total = (recalled.weights * (recalled.positions >= 0)).sum(1)
            assert bool((total <= past.num_tokens).all()), "merged tokens stand for more tokens than there were"
        rows = recalled.positions
    assert tuple(rows.shape) == (kv_heads, count)
    for row in rows:
        real = row[row >= 0]
        assert bool((row[len(real) :] == -1).all()), "fillings stand among tokens"
        assert bool((real < past.num_tokens).all()), "a place is not in the archive"
        step = 1 if recalled.places is not None else 0
        assert bool((real.diff() >= step).all()), "places do not rise"


def check_stretches_do_not_matter(method: Recall) -> None:
    """Stretches of 1, 7 or 512 tokens give the choice that the whole at once gives."""
    for num_tokens, size in ((300, 1), (1_536, 7), (1_536, 512)):
        past = Past.make(num_tokens, seed=5)
        view = past.asked()
        whole = method.select(view, filed_in(method, past, num_tokens), 200)
        cut = method.select(view, filed_in(method, past, size), 200)
        assert is_same(whole, cut), f"stretches of {size} tokens gave another choice than {num_tokens} at once"


def check_an_empty_archive_gives_nothing(method: Recall) -> None:
    """Before anything is filed, nothing comes back."""
    recalled = method.select(Past.make(4).asked(), Filed(), 16)
    assert num_recalled(recalled) == 0


def check_a_pass_may_have_no_query(method: Recall) -> None:
    """Where no query is at hand, some choice is made, within the room."""
    past = Past.make(600)
    view = past.asked()
    view.queries, view.query_positions = view.queries[:, :0], view.query_positions[:0]
    recalled = method.select(view, filed_in(method, past, 512), 50)
    assert num_recalled(recalled) <= 50
    _check_form(recalled, past)


def check_choosing_changes_nothing(method: Recall) -> None:
    """The same query chooses the same twice; neither the view nor the summaries are written."""
    past = Past.make(1_300, seed=6)
    filed = filed_in(method, past, 512)
    before = {name: one.clone() for name, one in filed.tensors.items()}
    view = past.asked(3)
    seen = [one.clone() for one in (view.keys, view.values, view.positions, view.queries)]
    first, second = (method.select(view, filed, 100) for _ in range(2))
    assert is_same(first, second), "the same query chose otherwise the second time"
    assert filed.tensors.keys() == before.keys()
    assert all(torch.equal(one, before[name]) for name, one in filed.tensors.items()), "choosing changed the summaries"
    now = (view.keys, view.values, view.positions, view.queries)
    assert all(torch.equal(one, other) for one, other in zip(now, seen, strict=True)), "choosing wrote into the view"


def check_filing_only_reads_the_stretch(method: Recall) -> None:
    """Filing neither writes into a stretch nor holds on to its memory."""
    past = Past.make(1_200, seed=8)
    filed = Filed()
    for stretch in past.stretches(400):
        parts = [stretch.keys.clone(), stretch.values.clone(), stretch.positions.clone()]
        own = [one.clone() for one in parts]
        stretch.keys, stretch.values, stretch.positions = parts
        notes = set(stretch.notes)
        filed = method.file(stretch, filed)
        assert all(torch.equal(one, other) for one, other in zip(parts, own, strict=True)), "filing wrote a stretch"
        assert set(stretch.notes) == notes, "filing added notes"
        memory = {one.untyped_storage().data_ptr() for one in parts}
        held = [name for name, one in filed.tensors.items() if one.untyped_storage().data_ptr() in memory]
        assert not held, f"summaries {held} are views of a stretch that has left"


def check_summaries_are_small(method: Recall) -> None:
    """Summaries of 16,384 tokens take an eighth of their bytes; those that need no archive may take as many."""
    past = Past.make(16_384, kv_heads=1, dtype=torch.bfloat16)
    filed = filed_in(method, past, 512)
    most = MOST_SHARE
    if method.select(past.asked(), filed, 4).places is None:
        most = MOST_SHARE_WITHOUT_ARCHIVE
    share = filed.num_bytes / past.num_bytes
    assert share <= most, f"summaries take {share:.3f} of the bytes of keys and values and may take {most}"


CHECKS: tuple[Callable[[Recall], None], ...] = (
    check_a_needle_comes_back,
    check_the_question_decides,
    check_heads_may_be_one_or_many,
    check_bfloat16,
    check_keys_may_stand_at_one_position,
    check_never_more_than_allowed,
    check_stretches_do_not_matter,
    check_an_empty_archive_gives_nothing,
    check_a_pass_may_have_no_query,
    check_choosing_changes_nothing,
    check_filing_only_reads_the_stretch,
    check_summaries_are_small,
)


def check_recall(method: Recall) -> None:
    """Raise an AssertionError at the first promise of the role that a method breaks.

    Args:
        method: an instance, with any parameters that let it find 16 tokens among 2,048.
    """
    for check in CHECKS:
        check(method)


__all__ = ["CHECKS", "Past", "check_recall", "filed_in", "is_same", "needle_share", "num_recalled"]
