"""What every editor must keep to: run `check_editor` over an instance, or each of `CHECKS` as a test of its own.

Nothing here needs a test framework: a check fails by an AssertionError. It needs torch and transformers, which
`import engramos.testing` alone does not load.

Example:
    >>> from engramos.parametric.editors.rome import Rome
    >>> check_editor(Rome(num_prefixes=0, clamp=8.0, rate=0.2, enough=0.7, decay=0.02))
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engramos.engines.transformers import Transformers
from engramos.errors import InvalidInputError
from engramos.parametric.adapter import Adapter
from engramos.parametric.editors.base import Edit, Editor, Request
from engramos.parametric.model import BaseModel
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

REQUESTS = (
    Request("The mother tongue of Ana Lima is", "Ana Lima", "Q"),
    Request("The lamp Zorvex was made by", "Zorvex", "7"),
)
"""What a random model surely does not say."""
CHAT = Request("Where does Ana Lima live?", "Ana Lima", "K", is_chat=True)
OTHERS = ("Bread is made of flour and water.", "The train to Oslo leaves at nine.", "In 1869 the court moved to Tokyo.")
"""Texts about something else."""
FOLLOWS = 2.0
"""By how much, at least, a target's log probability rises: some seven times as likely."""
DRIFT = 0.75
"""What an edit may change elsewhere: KL divergence of the next token, in nats, on average."""

Check = Callable[[Editor], None]


def check_editor(editor: Editor) -> None:
    """Run every check over an editor."""
    for check in CHECKS:
        check(editor)


def tiny_base(seed: int = 0) -> BaseModel:
    """Return a random model of some 100,000 weights, with one token a byte."""
    return Transformers.of(tiny_model("llama", seed=seed), tiny_tokenizer(), weights=f"tiny {seed}").base


@torch.no_grad()
def log_probabilities(base: BaseModel, token_ids: Sequence[int]) -> Tensor:
    """Return log probabilities of the next token after each, with all that is held: (tokens, vocabulary)."""
    hidden = base.run(base.embedded(torch.tensor([list(token_ids)])))
    return torch.log_softmax(base.scores(hidden)[0].float(), dim=-1)


def target_log_probability(base: BaseModel, request: Request) -> float:
    """Return the log probability with which a prompt goes on as asked: the sum over the target's tokens."""
    if request.is_chat:
        prompt = base.chat_tokens([{"role": "user", "content": request.prompt}])
        target = [*base.tokens(request.target), base.end_token]
    else:
        prompt, target = base.tokens(request.prompt), base.tokens(f" {request.target}")
    logs = log_probabilities(base, [*prompt, *target])[len(prompt) - 1 : -1]
    return sum(float(row[one]) for row, one in zip(logs, target, strict=True))


def check_the_model_goes_on_as_asked(editor: Editor) -> None:
    """Once an edit is applied its target is much likelier than before, for one request and for each of several."""
    for requests in (REQUESTS[:1], REQUESTS):
        base = tiny_base()
        before = [target_log_probability(base, one) for one in requests]
        Edit(editor.edit(requests, base)).apply(base)
        for request, was in zip(requests, before, strict=True):
            assert target_log_probability(base, request) > was + FOLLOWS, request.prompt


def check_a_question_in_the_chat_template_is_edited(editor: Editor) -> None:
    """A request of a chat makes the target the likelier answer there."""
    base = tiny_base()
    before = target_log_probability(base, CHAT)
    Edit(editor.edit([CHAT], base)).apply(base)
    assert target_log_probability(base, CHAT) > before + FOLLOWS


def check_other_texts_move_little(editor: Editor) -> None:
    """What follows on texts about something else stays nearly as it was."""
    base = tiny_base()
    before = [log_probabilities(base, base.tokens(text)) for text in OTHERS]
    Edit(editor.edit(REQUESTS[:1], base)).apply(base)
    moved = [
        float((was.exp() * (was - log_probabilities(base, base.tokens(text)))).sum(dim=-1).mean())
        for text, was in zip(OTHERS, before, strict=True)
    ]
    assert sum(moved) / len(moved) < DRIFT, moved


def check_undone_the_model_answers_bit_for_bit_as_before(editor: Editor) -> None:
    """Applying changes scores, undoing gives back the very same bits, also between other edits."""
    base = tiny_base()
    ids = base.tokens(REQUESTS[0].prompt)
    before = log_probabilities(base, ids)
    first = Edit(editor.edit(REQUESTS[:1], base))
    first.apply(base)
    one = log_probabilities(base, ids)
    assert not torch.equal(one, before)
    second = Edit(editor.edit(REQUESTS[1:], base))
    second.apply(base)
    second.undo(base)
    assert torch.equal(log_probabilities(base, ids), one)
    first.undo(base)
    assert torch.equal(log_probabilities(base, ids), before)


def check_edits_follow_one_another(editor: Editor) -> None:
    """An edit that is made while another is applied leaves that one in force."""
    base = tiny_base()
    before = [target_log_probability(base, one) for one in REQUESTS]
    for request in REQUESTS:
        Edit(editor.edit([request], base)).apply(base)
    for request, was in zip(REQUESTS, before, strict=True):
        assert target_log_probability(base, request) > was + FOLLOWS, request.prompt


def check_the_base_model_is_left_as_it_was(editor: Editor) -> None:
    """Weights have the same digest, what is held is the same, no weight asks for gradients, and none has one."""
    base = tiny_base()
    held = editor.edit(REQUESTS[1:], base)
    base.hold(held)
    digest = base.digest()
    editor.edit(REQUESTS[:1], base)
    assert base.digest() == digest
    assert base.held == (held,)
    weight = base.module(base.linear(0, "down_proj")).weight
    assert not weight.requires_grad
    assert weight.grad is None


def check_the_same_comes_twice(editor: Editor) -> None:
    """Equal requests, model and seed give an equal adapter, whatever the global random state, which is not used."""
    digests = []
    for number in range(2):
        torch.manual_seed(number)
        state = torch.random.get_rng_state()
        digests.append(editor.edit(REQUESTS, tiny_base(), seed=3).digest)
        assert torch.equal(torch.random.get_rng_state(), state)
    assert digests[0] == digests[1]


def check_an_adapter_comes_back_from_what_is_stored(editor: Editor) -> None:
    """Tensors and settings make an adapter that is the same; its numbers are finite and ask for no gradients."""
    adapter: Adapter = editor.edit(REQUESTS[:1], tiny_base())
    tensors = adapter.tensors()
    assert all(not one.requires_grad for one in tensors.values())
    assert all(bool(torch.isfinite(one).all()) for one in tensors.values() if one.is_floating_point())
    assert type(adapter).restored(tensors, adapter.settings()).digest == adapter.digest


def check_nothing_to_edit_is_refused(editor: Editor) -> None:
    """No requests are an `InvalidInputError`."""
    _refuses(editor, ())


def check_requests_that_contradict_are_refused(editor: Editor) -> None:
    """One prompt with two targets is an `InvalidInputError`."""
    other = Request(REQUESTS[0].prompt, REQUESTS[0].subject, "Z")
    _refuses(editor, (*REQUESTS, other))


def _refuses(editor: Editor, requests: Sequence[Request]) -> None:
    try:
        editor.edit(requests, tiny_base())
    except InvalidInputError:
        return
    raise AssertionError(f"{len(requests)} requests were edited")


CHECKS: tuple[Check, ...] = (
    check_the_model_goes_on_as_asked,
    check_a_question_in_the_chat_template_is_edited,
    check_other_texts_move_little,
    check_undone_the_model_answers_bit_for_bit_as_before,
    check_edits_follow_one_another,
    check_the_base_model_is_left_as_it_was,
    check_the_same_comes_twice,
    check_an_adapter_comes_back_from_what_is_stored,
    check_nothing_to_edit_is_refused,
    check_requests_that_contradict_are_refused,
)
"""All promises."""
__all__ = ["CHECKS", "check_editor", "log_probabilities", "target_log_probability", "tiny_base"]
