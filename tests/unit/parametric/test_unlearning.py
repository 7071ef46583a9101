"""What each unlearner does to an adapter of a tiny model; what all promise is in the contract."""

import math

import pytest
import torch

from engramos.errors import InvalidInputError, ModelError, UnsupportedError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson
from engramos.parametric.unlearning._descent import Likelihood
from engramos.parametric.unlearning.grad_diff import GradDiff
from engramos.parametric.unlearning.npo import NPO
from engramos.parametric.unlearning.simnpo import SimNPO
from engramos.parametric.unlearning.ssd import SSD
from engramos.testing.unlearners import FACTS, GONE, KEPT, knowing, known, tiny_base

torch.set_num_threads(1)
NOW, GIVEN, LENGTHS = (-0.5, -20.0, -3.0), (-0.4, -0.2, -9.0), (2, 5, 3)


def likelihood() -> Likelihood:
    return Likelihood(torch.tensor(NOW, requires_grad=True), torch.tensor(GIVEN), torch.tensor(LENGTHS))


def sigmoid(number: float) -> float:
    return 1 / (1 + math.exp(-number))


# what the methods descend


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_npo_descends_the_formula_of_its_paper(beta: float) -> None:
    found = NPO(beta=beta)._losses(likelihood())
    ratios = [math.exp(now) / math.exp(given) for now, given in zip(NOW, GIVEN, strict=True)]
    assert found.tolist() == pytest.approx([2 / beta * math.log(1 + one**beta) for one in ratios], rel=1e-5)


def test_the_gradient_of_npo_fades_by_the_weight_of_its_paper() -> None:
    answers = likelihood()
    NPO(beta=0.5)._losses(answers).sum().backward()
    powers = [(math.exp(0.5 * now), math.exp(0.5 * given)) for now, given in zip(NOW, GIVEN, strict=True)]
    assert answers.now.grad.tolist() == pytest.approx([2 * one / (one + other) for one, other in powers], rel=1e-5)


def test_npo_with_a_small_beta_is_gradient_ascent() -> None:
    answers = likelihood()
    NPO(beta=1e-6)._losses(answers).sum().backward()
    assert answers.now.grad.tolist() == pytest.approx([1.0, 1.0, 1.0], abs=1e-4)


def test_simnpo_descends_the_formula_of_its_paper() -> None:
    found = SimNPO(beta=2.5, margin=0.3)._losses(likelihood())
    wanted = [-2 / 2.5 * math.log(sigmoid(-2.5 / num * now - 0.3)) for now, num in zip(NOW, LENGTHS, strict=True)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-5)


def test_gradient_difference_ascends_the_loss_of_a_token() -> None:
    assert GradDiff()._losses(likelihood()).tolist() == pytest.approx([-0.25, -4.0, -1.0])


# the descent


def test_a_forgotten_answer_comes_down_to_the_base_model_and_no_further_step_is_made() -> None:
    gone = Lesson((Fact("Ana", "Where is Ana?", "Rome"),))
    limit = known(gone.facts, None)[0] + 0.5 * len("Rome")
    found = [NPO(learning_rate=0.02, max_steps=num).unlearn(knowing(), gone, KEPT, tiny_base()) for num in (40, 60)]
    assert known(gone.facts, found[0])[0] <= limit < known(gone.facts, knowing())[0]
    assert found[0].digest == found[1].digest


def test_a_wide_tolerance_leaves_the_adapter_as_it_is() -> None:
    made = GradDiff(learning_rate=0.02, tolerance=1e6).unlearn(knowing(), GONE, KEPT, tiny_base())
    assert made.digest == knowing().digest


def test_what_the_base_model_knows_itself_is_left_alone() -> None:
    # an adapter that adds nothing knows no more than the base model
    none = LowRank(knowing().down, {name: one * 0 for name, one in knowing().up.items()}, knowing().scale)
    assert GradDiff().unlearn(none, GONE, KEPT, tiny_base()).digest == none.digest


def test_paraphrases_and_clozes_are_forgotten_too() -> None:
    asked = Fact("Ben", "Where is Ben?", "Oslo", ("In which town is Ben?",), statement="The town of Ben is Oslo.")
    limit = 0.5 * len("Oslo")
    others = (Fact("Ben", "In which town is Ben?", "Oslo"), Fact("Ben", "Where is Ben?", "Oslo"))
    method = GradDiff(learning_rate=0.02, max_steps=60, forgotten_weight=1.0)
    made = method.unlearn(knowing(), Lesson((asked,)), KEPT, tiny_base())
    for now, alone in zip(known(others, made), known(others, None), strict=True):
        assert now <= alone + limit


def test_kept_facts_lose_less_where_they_are_given() -> None:
    lost = {}
    for kept in (Lesson(), Lesson(FACTS[1:])):
        made = GradDiff(learning_rate=0.005, max_steps=12).unlearn(knowing(), GONE, kept, tiny_base())
        lost[bool(kept.facts)] = sum(known(FACTS[1:], knowing())) - sum(known(FACTS[1:], made))
    assert lost[True] < 0.5 * lost[False]


def test_general_texts_stay_nearer_to_the_base_model_where_they_are_given() -> None:
    base, text = tiny_base(), "The sky is blue."
    ids = torch.tensor([base.tokens(text)])
    with torch.no_grad():
        wanted = base.scores(base.run(base.embedded(ids))).log_softmax(dim=-1)
    apart = {}
    for texts in ((), (text,)):
        made = GradDiff(learning_rate=0.01, max_steps=12).unlearn(knowing(), GONE, Lesson(retained=texts), base)
        with torch.no_grad(), base.using(made):
            found = base.scores(base.run(base.embedded(ids))).log_softmax(dim=-1)
        apart[bool(texts)] = float((wanted.exp() * (wanted - found)).sum(dim=-1).mean())
    assert apart[True] < 0.5 * apart[False]


def test_another_seed_draws_other_kept_rows() -> None:
    asked = tuple(f"{number} times: where is Ben?" for number in range(9))
    kept, method = Lesson((Fact("Ben", "Where is Ben?", "Oslo", asked),)), NPO(learning_rate=0.01, max_steps=2)
    one, other = (method.unlearn(knowing(), GONE, kept, tiny_base(), seed=seed) for seed in (0, 1))
    assert one.digest != other.digest


def test_more_rows_than_one_pass_reads_are_all_forgotten() -> None:
    questions = tuple(f"Where is Ana{mark}" for mark in (" now?", " today?", "!", "...", " then?", ", please?", "??"))
    gone = Lesson((Fact("Ana", "Where is Ana?", "Rome", (*questions, "Where, oh where is Ana?")),))
    made = NPO(learning_rate=0.02, max_steps=60).unlearn(knowing(), gone, Lesson(), tiny_base())
    asked = [Fact("Ana", question, "Rome") for question in gone.facts[0].questions]
    assert len(asked) == 9
    for now, alone in zip(known(asked, made), known(asked, None), strict=True):
        assert now <= alone + 0.5 * len("Rome")


# what cannot be unlearned


@pytest.mark.parametrize("method", [NPO(), SSD()])
def test_what_an_adapter_never_reaches_cannot_be_forgotten(method) -> None:
    silent = LowRank(knowing().down, knowing().up, knowing().scale, (1, 1, 1))
    with pytest.raises(InvalidInputError, match="acts on no question"):
        method.unlearn(silent, GONE, KEPT, tiny_base())


@pytest.mark.parametrize("method", [NPO(), SSD()])
def test_an_adapter_on_the_head_is_refused(method) -> None:
    base = tiny_base()
    down, up = torch.ones(1, base.hidden_size), torch.ones(base.vocabulary, 1)
    with pytest.raises(UnsupportedError, match="other modules"):
        method.unlearn(LowRank({base.head_name: down}, {base.head_name: up}), GONE, KEPT, base)


def test_an_adapter_with_nan_is_refused() -> None:
    broken = LowRank(knowing().down, {name: one * math.nan for name, one in knowing().up.items()})
    with pytest.raises(ModelError, match="not finite"):
        NPO().unlearn(broken, GONE, KEPT, tiny_base())


# selective dampening


@pytest.mark.parametrize(
    ("threshold", "damping", "wanted"),
    [(2.0, 0.5, [0.2, 4.0, -2 / 3, 4.0]), (2.0, 6.0, [2.4, 4.0, -4.0, 4.0]), (5.0, 0.5, [0.2, 4.0, -4.0, 4.0])],
)
def test_ssd_dampens_by_the_formula_of_its_paper(threshold: float, damping: float, wanted: list[float]) -> None:
    values, of_gone, of_all = torch.tensor([[4.0, 4.0, -4.0, 4.0], [10.0, 1.0, 3.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    found = SSD(threshold=threshold, damping=damping)._dampened(values, of_gone, of_all)
    assert found.tolist() == pytest.approx(wanted)


def test_ssd_changes_some_numbers_and_leaves_the_others_as_they_are() -> None:
    made = SSD(threshold=2.0, damping=0.5).unlearn(knowing(), GONE, KEPT, tiny_base()).tensors()
    num_changed = num = 0
    for name, before in knowing().tensors().items():
        is_changed = made[name] != before
        # what is chosen matters at least twice as much, so that half the inverse is at most a quarter
        assert bool((made[name].abs() <= 0.25 * before.abs() + 1e-9)[is_changed].all()), name
        num_changed, num = num_changed + int(is_changed.sum()), num + before.numel()
    assert 0 < num_changed < num / 2


def test_general_texts_do_not_shield_numbers_from_ssd() -> None:
    method = SSD(threshold=2.0, damping=0.5)
    one, other = (method.unlearn(knowing(), GONE, kept, tiny_base()) for kept in (KEPT, Lesson(KEPT.facts)))
    assert one.digest == other.digest


def test_ssd_with_a_high_threshold_changes_nothing() -> None:
    made = SSD(threshold=1e9).unlearn(knowing(), GONE, KEPT, tiny_base())
    assert made.digest == knowing().digest


def test_ssd_needs_something_that_is_kept() -> None:
    for kept in (Lesson(), Lesson(retained=("The sky is blue.",))):
        with pytest.raises(InvalidInputError, match="what is kept"):
            SSD().unlearn(knowing(), GONE, kept, tiny_base())
