"""Training that is thrifty with memory, and with what was learnt before."""

import math
import weakref

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from engramos.errors import ConfigError, InvalidInputError, UnsupportedError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson
from engramos.parametric.training._rows import answer_log_probabilities, answer_states, fact_rows, reached, text_rows
from engramos.parametric.training.chunked_loss import cross_entropy, divergence, token_log_probabilities
from engramos.parametric.training.ewc import Anchor, fisher
from engramos.parametric.training.lora_fa import frozen, precondition
from engramos.testing.unlearners import FACTS, knowing, known, tiny_base

torch.set_num_threads(1)
HIDDEN, VOCABULARY, POSITIONS = 12, 30, 50


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def pair(rank: int = 3, scale: float = 1.7, dtype: torch.dtype = torch.float32) -> LowRank:
    """Return an adapter of one module, 7 to 5 features."""
    down, up = drawn(rank, 7, seed=1, dtype=dtype), drawn(5, rank, seed=2, dtype=dtype)
    return LowRank({"one": down.requires_grad_()}, {"one": up.requires_grad_()}, scale)


# chunked losses


@pytest.mark.parametrize("chunk", [1, 7, 50, 1000])
def test_chunked_cross_entropy_and_its_gradients_equal_the_plain_ones(chunk: int) -> None:
    tokens = torch.randint(VOCABULARY, (POSITIONS,), generator=torch.Generator().manual_seed(3))
    found = []
    for is_chunked in (True, False):
        hidden, weight = drawn(POSITIONS, HIDDEN, seed=1), drawn(VOCABULARY, HIDDEN, seed=2)
        hidden.requires_grad_(), weight.requires_grad_()
        if is_chunked:
            loss = cross_entropy(lambda one, weight=weight: one @ weight.T, hidden, tokens, chunk=chunk)
        else:
            logs = (hidden @ weight.T).double().log_softmax(dim=-1)
            loss = -sum(logs[at, int(token)] for at, token in enumerate(tokens)) / POSITIONS
        loss.backward()
        found.append((loss.detach().float(), hidden.grad, weight.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunked_divergence_and_its_gradients_equal_the_plain_ones(chunk: int) -> None:
    taught = drawn(POSITIONS, VOCABULARY, seed=5)
    found = []
    for is_chunked in (True, False):
        hidden, weight = drawn(POSITIONS, HIDDEN, seed=1).requires_grad_(), drawn(VOCABULARY, HIDDEN, seed=2)
        if is_chunked:
            loss = divergence(lambda one, weight=weight: one @ weight.T, hidden, lambda a, b: taught[a:b], chunk=chunk)
        else:
            loss = torch.zeros((), dtype=torch.float64)
            for at in range(POSITIONS):
                wanted = taught[at].double().softmax(dim=0)
                model = (weight @ hidden[at]).double().softmax(dim=0)
                loss = loss + (wanted * (wanted / model).log()).sum() / POSITIONS
        loss.backward()
        found.append((loss.detach().float(), hidden.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


class Counting:
    """Makes scores, and counts how many of their numbers are alive at once."""

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.alive, self.most, self.calls = weight, 0, 0, 0

    def __call__(self, hidden: Tensor) -> Tensor:
        made = hidden @ self.weight.T
        self.calls += 1
        self.alive += made.numel()
        self.most = max(self.most, self.alive)
        weakref.finalize(made, self._gone, made.numel())
        return made

    def _gone(self, num: int) -> None:
        self.alive -= num


def kept_numbers(compute) -> int:
    """Return how many numbers autograd keeps for the gradients of what is computed."""
    sizes: dict[int, int] = {}

    def keep(one: Tensor) -> Tensor:
        sizes[one.untyped_storage().data_ptr()] = one.numel()
        return one

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        compute()
    return sum(sizes.values())


@pytest.mark.parametrize("kind", ["cross_entropy", "divergence"])
def test_scores_of_all_positions_never_exist_at_once(kind: str) -> None:
    scores, taught = Counting(drawn(VOCABULARY, HIDDEN, seed=2)), Counting(drawn(VOCABULARY, HIDDEN, seed=4))
    hidden = drawn(POSITIONS, HIDDEN, seed=1).requires_grad_()
    if kind == "divergence":
        loss = divergence(scores, hidden, lambda a, b: taught(hidden[a:b]), chunk=5)
    else:
        loss = cross_entropy(scores, hidden, torch.zeros(POSITIONS, dtype=torch.int64), chunk=5)
    loss.backward()
    assert scores.most == 5 * VOCABULARY
    assert scores.calls == 2 * POSITIONS / 5
    assert taught.most == (5 * VOCABULARY if kind == "divergence" else 0)


def test_no_scores_are_kept_for_the_gradients() -> None:
    hidden, weight = drawn(POSITIONS, HIDDEN, seed=1).requires_grad_(), drawn(1000, HIDDEN, seed=2)
    tokens = torch.zeros(POSITIONS, dtype=torch.int64)
    chunked = kept_numbers(lambda: cross_entropy(lambda one: one @ weight.T, hidden, tokens, chunk=5))
    plain = kept_numbers(lambda: torch.nn.functional.cross_entropy(hidden @ weight.T, tokens))
    assert plain >= POSITIONS * 1000
    assert chunked <= POSITIONS * HIDDEN * 2


def test_losses_refuse_what_does_not_fit() -> None:
    hidden, tokens = drawn(4, HIDDEN), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ConfigError, match="chunk is 0"):
        cross_entropy(lambda one: one, hidden, tokens, chunk=0)
    with pytest.raises(InvalidInputError, match="1 for each of 4 positions"):
        token_log_probabilities(lambda one: one, hidden, tokens)
    with pytest.raises(InvalidInputError, match="1 or more"):
        cross_entropy(lambda one: one, hidden[:0], tokens[:0])
    with pytest.raises(InvalidInputError, match="different shapes"):
        divergence(lambda one: one, hidden, lambda first, last: hidden[first:last, :3])


# LoRA-FA


@pytest.mark.parametrize("scale", [0.25, 1.0, 3.0])
def test_the_step_of_b_is_the_one_nearest_to_the_full_gradient(scale: float) -> None:
    adapter = pair(scale=scale)
    inputs, wanted = drawn(20, 7, seed=4), drawn(20, 5, seed=5)
    full = torch.zeros(5, 7, requires_grad=True)
    # the full gradient is taken where the adapter stands
    (inputs @ (full + adapter.delta("one").detach()).T - wanted).square().sum().backward()
    (adapter.change("one", inputs, torch.zeros(20, 5)) - wanted).square().sum().backward()
    precondition(adapter, damping=0.0)
    scaled = scale * adapter.down["one"].detach().double()
    nearest = torch.linalg.lstsq(scaled.T, full.grad.double().T).solution.T
    torch.testing.assert_close(adapter.up["one"].grad.double(), nearest, atol=1e-3, rtol=1e-4)


def test_the_step_of_b_equals_the_formula_in_float64() -> None:
    adapter = pair(dtype=torch.float64)
    gradient = drawn(5, 3, seed=6, dtype=torch.float64)
    adapter.up["one"].grad = gradient.clone()
    precondition(adapter, damping=0.0)
    down = adapter.down["one"].detach()
    gram = torch.tensor([[sum(x * y for x, y in zip(a, b, strict=True)) for b in down] for a in down])
    formula = gradient @ torch.linalg.inv(gram.double()) / 1.7**2
    torch.testing.assert_close(adapter.up["one"].grad, formula, atol=1e-5, rtol=1e-5)


def test_rows_of_a_that_depend_on_each_other_are_damped() -> None:
    adapter = pair()
    with torch.no_grad():
        adapter.down["one"][1] = adapter.down["one"][0]
    adapter.up["one"].grad = drawn(5, 3, seed=6)
    precondition(adapter, damping=1e-3)
    assert bool(torch.isfinite(adapter.up["one"].grad).all())


def test_freezing_a_keeps_the_inputs_out_of_memory() -> None:
    adapter = LowRank({"one": drawn(2, 500).requires_grad_()}, {"one": drawn(5, 2).requires_grad_()})
    inputs, output = drawn(100, 500, seed=1), torch.zeros(100, 5)
    before = kept_numbers(lambda: adapter.change("one", inputs, output))
    trained = frozen(adapter)
    after = kept_numbers(lambda: adapter.change("one", inputs, output))
    assert [one.shape for one in trained] == [(5, 2)]
    assert before >= 100 * 500
    assert after <= 100 * 2 + 5 * 2


def test_what_cannot_be_preconditioned_is_refused() -> None:
    adapter = pair()
    precondition(adapter)
    assert adapter.up["one"].grad is None
    with pytest.raises(ConfigError, match="damping is -1"):
        precondition(adapter, damping=-1)
    with pytest.raises(InvalidInputError, match="scale of the adapter is 0"):
        precondition(LowRank(adapter.down, adapter.up, 0.0))
    zero = LowRank({"one": torch.zeros(3, 7)}, adapter.up)
    adapter.up["one"].grad = torch.ones(5, 3)
    with pytest.raises(InvalidInputError, match="all zero"):
        precondition(zero)
    with pytest.raises(InvalidInputError, match="computed from others"):
        frozen(LowRank({"one": adapter.down["one"] * 2}, adapter.up))


# elastic weight consolidation


def test_the_fisher_is_the_mean_of_squared_gradients_over_rows() -> None:
    base, lesson = tiny_base(), Lesson(FACTS[:2])
    found = fisher(knowing(), lesson, base)
    name = sorted(found)[0]
    tensors = {key: one.double().float().requires_grad_() for key, one in knowing().tensors().items()}
    adapter = LowRank.restored(tensors, knowing().settings())
    total = torch.zeros_like(tensors[name], dtype=torch.float64)
    for fact in lesson.facts:
        prompt = base.chat_tokens([{"role": "user", "content": fact.question}])
        answer = [*base.tokens(fact.answer), base.end_token]
        with base.using(adapter):
            scores = base.scores(base.run(base.embedded(torch.tensor([prompt + answer]))))[0]
        logs = scores.log_softmax(dim=-1)
        loss = -sum(logs[len(prompt) - 1 + at, token] for at, token in enumerate(answer)) / len(answer)
        total += torch.autograd.grad(loss, tensors[name])[0].double() ** 2
    torch.testing.assert_close(found[name].double(), total / 2, rtol=1e-3, atol=1e-8)


def test_the_penalty_and_its_gradient_are_those_of_the_formula() -> None:
    adapter = pair(dtype=torch.float64)
    values = {name: one.detach() + 0.5 for name, one in adapter.tensors().items()}
    anchor = Anchor({name: torch.full_like(one, 2.0) for name, one in values.items()}, values)
    penalty = anchor.penalty(adapter, strength=3.0)
    penalty.backward()
    # half of 3, times 2 times the square of a half, for 7 * 3 + 5 * 3 numbers
    assert float(penalty.detach()) == pytest.approx(1.5 * 2 * 0.25 * 36)
    assert torch.allclose(adapter.up["one"].grad, torch.full_like(values["one.up"], 3.0 * 2.0 * -0.5))


def test_an_anchor_holds_what_was_learnt_while_the_adapter_learns_more() -> None:
    base, anchor = tiny_base(), Anchor.of(knowing(), Lesson(FACTS), tiny_base())
    rows = fact_rows(Lesson((Fact("Eve", "Where is Eve?", "Kiel"),)), base, with_end=True)
    lost = {}
    for strength in (0.0, 1e5):
        tensors = {name: one.clone().requires_grad_() for name, one in knowing().tensors().items()}
        adapter = LowRank.restored(tensors, knowing().settings())
        optimizer = torch.optim.SGD(tensors.values(), lr=0.02)
        for _ in range(30):
            loss = -torch.cat(answer_log_probabilities(rows, base, adapter)).mean()
            (loss + anchor.penalty(adapter, strength)).backward()
            optimizer.step()
            optimizer.zero_grad()
        lost[strength] = math.fsum(known(FACTS, knowing())) - math.fsum(known(FACTS, adapter))
    assert lost[0.0] > 0
    assert lost[1e5] < 0.5 * lost[0.0]


def test_an_anchor_comes_through_a_safetensors_file_unchanged() -> None:
    anchor = Anchor.of(knowing(), Lesson(FACTS[:1]), tiny_base())
    again = Anchor.restored(load(save(anchor.tensors())))
    assert anchor.tensors().keys() == again.tensors().keys()
    assert all(torch.equal(one, again.tensors()[name]) for name, one in anchor.tensors().items())


def test_an_anchor_that_does_not_fit_is_refused() -> None:
    adapter = pair()
    tensors = {name: one.detach() for name, one in adapter.tensors().items()}
    fine = {name: torch.ones_like(one) for name, one in tensors.items()}
    with pytest.raises(InvalidInputError, match="alone"):
        Anchor(fine, {})
    with pytest.raises(InvalidInputError, match="negative number or a NaN"):
        Anchor(fine | {"one.up": -fine["one.up"]}, tensors)
    with pytest.raises(InvalidInputError, match="does not know"):
        Anchor.restored({"other.one.up": tensors["one.up"]})
    with pytest.raises(InvalidInputError, match="other tensors"):
        Anchor(fine, tensors).penalty(pair(rank=2), 1.0)
    with pytest.raises(ConfigError, match="strength is -1"):
        Anchor(fine, tensors).penalty(adapter, -1.0)


def test_a_fisher_of_nothing_and_of_an_adapter_on_the_head_are_refused() -> None:
    base = tiny_base()
    with pytest.raises(InvalidInputError, match="give facts or texts"):
        fisher(knowing(), Lesson(retained=("The sky is blue.",)), base)
    head = base.head_name
    on_head = LowRank({head: drawn(1, base.hidden_size)}, {head: drawn(base.vocabulary, 1)})
    with pytest.raises(UnsupportedError, match="write one on other modules"):
        fisher(on_head, Lesson(FACTS), base)


# rows


def test_rows_of_unlike_length_are_told_in_one_batch_as_alone() -> None:
    base = tiny_base()
    fact = Fact("Ana Lima", "Where?", "Rome", ("In which town does Ana Lima live?",), statement="Ana Lima is in Rome.")
    rows = fact_rows(Lesson((fact,)), base, with_end=True) + text_rows(["A text. " * 40, "x"], base)
    assert [len(row.answer) for row in rows] == [5, 5, 5, 127, 127, 63]
    together = answer_log_probabilities(rows, base, knowing())
    for row, one in zip(rows, together, strict=True):
        torch.testing.assert_close(one, answer_log_probabilities([row], base, knowing())[0], atol=1e-3, rtol=1e-4)


def test_rows_that_an_adapter_never_reaches_are_left_out() -> None:
    rows = fact_rows(Lesson(FACTS[:1]), tiny_base(), with_end=False) + text_rows(["A text."], tiny_base())
    assert reached(rows, knowing()) == rows
    assert reached(rows, LowRank(knowing().down, knowing().up, invocation=rows[0].prompt[-1:])) == rows[:1]


def test_an_adapter_acts_from_its_invocation_on() -> None:
    base = tiny_base()
    rows = fact_rows(Lesson(FACTS[:1]), base, with_end=False)
    plain, _ = answer_states(rows, base, None)
    always, _ = answer_states(rows, base, knowing())
    late = LowRank(knowing().down, knowing().up, knowing().scale, rows[0].prompt[-1:])
    found, _ = answer_states(rows, base, late)
    assert not torch.allclose(found, always)
    assert not torch.allclose(found, plain)
