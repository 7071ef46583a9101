"""What every unlearner must keep to: run `check_unlearner` over an instance, or each of `CHECKS` as a test of its own.

Nothing here needs a test framework: a check fails by an AssertionError. It needs torch and transformers, which
`import engramos.testing` alone does not load. The model is tiny: give gradient methods a learning rate of some 0.005.

Example:
    >>> from engramos.parametric.unlearning.npo import NPO
    >>> check_unlearner(NPO(learning_rate=0.005))
"""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engramos.engines.transformers import Transformers
from engramos.errors import InvalidInputError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.training._rows import answer_log_probabilities, fact_rows
from engramos.parametric.unlearning.base import Unlearner
from engramos.parametric.writers._low_rank import finished, fresh
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

PLACES = (("Ana", "Rome"), ("Ben", "Oslo"), ("Cem", "Bonn"), ("Dora", "Lima"))
"""Who is where: what the adapter knows."""
FACTS = tuple(Fact(name, f"Where is {name}?", place) for name, place in PLACES)
GONE = Lesson(FACTS[:1])
KEPT = Lesson(FACTS[1:], retained=("The sky is blue.", "Grass is green."))
LEARNT = 0.9
"""With this probability at least the adapter knows each token of its answers."""

Check = Callable[[Unlearner], None]


def check_unlearner(unlearner: Unlearner) -> None:
    """Run every check over an unlearner."""
    for check in CHECKS:
        check(unlearner)


@functools.cache
def tiny_base() -> BaseModel:
    """Return a tiny random model."""
    return Transformers.of(tiny_model("llama"), tiny_tokenizer(), weights="tiny").base


@functools.cache
def knowing(invocation: tuple[int, ...] = ()) -> LowRank:
    """Return an adapter of the tiny model that knows `FACTS`; trained at the first call.

    Args:
        invocation: as in `Adapter`; the questions must hold it.
    """
    base = tiny_base()
    rows = fact_rows(Lesson(FACTS), base, with_end=True)
    kinds = ("gate_proj", "up_proj", "down_proj")
    adapter = fresh(base, range(base.num_layers), kinds, 8, invocation=invocation)
    optimizer = torch.optim.Adam(adapter.tensors().values(), lr=0.02)
    for _ in range(200):
        logs = torch.cat(answer_log_probabilities(rows, base, adapter))
        if float(logs.detach().min().exp()) > LEARNT:
            return finished(adapter)
        (-logs.mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    raise AssertionError("the tiny model did not learn its facts")


@torch.no_grad()
def known(facts: Sequence[Fact], adapter: LowRank | None) -> list[float]:
    """Return the log-probability of each fact's answer to its question, in nats; None for the base model alone."""
    rows = fact_rows(Lesson(tuple(facts)), tiny_base(), with_end=False)
    return [float(one.sum()) for one in answer_log_probabilities(rows, tiny_base(), adapter)]


def check_the_given_adapter_and_the_model_stay_as_they_were(unlearner: Unlearner) -> None:
    """Neither the adapter, nor the base model, nor what it holds changes."""
    adapter, base = knowing(), tiny_base()
    held = finished(fresh(base, [0], ["down_proj"], 1))
    base.hold(held)
    try:
        before = (adapter.digest, base.digest(), base.held)
        unlearner.unlearn(adapter, GONE, KEPT, base)
        assert (adapter.digest, base.digest(), base.held) == before
        assert all(one.grad is None and not one.requires_grad for one in adapter.tensors().values())
    finally:
        base.release(held)


def check_a_new_adapter_of_the_same_form_comes(unlearner: Unlearner) -> None:
    """Modules, shapes, dtypes, scale and invocation are those of the given one; memory is not shared."""
    base = tiny_base()
    for invocation in ((), tuple(base.chat_tokens([{"role": "user", "content": "x"}])[-1:])):
        given = knowing(invocation)
        made = unlearner.unlearn(given, GONE, KEPT, base)
        assert made is not given
        assert made.settings() == given.settings()
        assert _forms(made.tensors()) == _forms(given.tensors())
        for name, one in made.tensors().items():
            assert bool(torch.isfinite(one).all()), name
            assert not one.requires_grad, name
            assert one.untyped_storage().data_ptr() != given.tensors()[name].untyped_storage().data_ptr(), name


def check_what_is_kept_stays_known(unlearner: Unlearner) -> None:
    """Kept facts are better known than what is forgotten, whose answer is no likelier than before."""
    made = unlearner.unlearn(knowing(), GONE, KEPT, tiny_base())
    gone, kept = known(GONE.facts, made), known(KEPT.facts, made)
    assert max(gone) < max(known(GONE.facts, knowing())), gone
    assert max(gone) < min(kept), (gone, kept)
    assert min(kept) > -2.0, kept


def check_the_same_comes_twice(unlearner: Unlearner) -> None:
    """Equal seeds give equal adapters, and the global random numbers are not drawn from."""
    state = torch.random.get_rng_state()
    one, other = (unlearner.unlearn(knowing(), GONE, KEPT, tiny_base(), seed=3) for _ in range(2))
    assert one.digest == other.digest
    assert torch.equal(state, torch.random.get_rng_state())


def check_nothing_to_forget_is_refused(unlearner: Unlearner) -> None:
    """A lesson without facts is an `InvalidInputError`, whatever else it holds."""
    for lesson in (Lesson(), Lesson(texts=("a",), unknown=("b",), retained=("c",), common=("d",))):
        try:
            unlearner.unlearn(knowing(), lesson, KEPT, tiny_base())
        except InvalidInputError:
            continue
        raise AssertionError("nothing to forget was not refused")


def check_nothing_kept_is_served_or_refused(unlearner: Unlearner) -> None:
    """Without anything that is kept, an adapter comes, or an `InvalidInputError` that says what is missing."""
    made, reason = None, ""
    try:
        made = unlearner.unlearn(knowing(), GONE, Lesson(), tiny_base())
    except InvalidInputError as error:
        reason = str(error)
    if made is None:
        assert "kept" in reason, reason
    else:
        assert max(known(GONE.facts, made)) < max(known(GONE.facts, knowing()))


def _forms(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (one.shape, one.dtype) for name, one in tensors.items()}


CHECKS: tuple[Check, ...] = (
    check_the_given_adapter_and_the_model_stay_as_they_were,
    check_a_new_adapter_of_the_same_form_comes,
    check_what_is_kept_stays_known,
    check_the_same_comes_twice,
    check_nothing_to_forget_is_refused,
    check_nothing_kept_is_served_or_refused,
)
"""All promises."""
__all__ = ["CHECKS", "check_unlearner", "knowing", "known", "tiny_base"]
