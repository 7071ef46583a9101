import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, InvalidInputError, UnsupportedError
from engramos.parametric.adapters.head_scaling import HeadScaling
from engramos.parametric.arbitration import Arbitration, Winner, agree, arbitrate, is_answer
from engramos.parametric.conflicts import Conflict, HeadEffect, margins, scaling, scaling_for, score_heads
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

CONFLICTS = (
    Conflict("Where does Ana live?", "Ana lives in Porto.", "Lisbon", "Porto"),
    Conflict("What is the dog called?", "The dog is called Max.", "Rex", "Max"),
    Conflict("Which colour?", "It is blue.", "red", "blue"),
)


@pytest.fixture(scope="module")
def base():
    torch.set_num_threads(1)
    return Transformers.of(tiny_model(), tiny_tokenizer(), weights="tiny").base


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Lisbon", "lisbon."),
        ("Lisbon", "She lives in Lisbon."),
        ("the café", "Cafe"),
        ("five", "5"),
        ("1,914 metres", "It is 1914 metres high"),
        ("東京", "東京。"),
    ],
)
def test_answers_that_say_the_same_agree_both_ways(one: str, other: str) -> None:
    assert agree(one, other)
    assert agree(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Lisbon", "Porto"),
        ("Lisbon", "not Lisbon"),
        ("York", "New York"),
        ("4 May", "14 May"),
        ("30 minutes", "30 hours"),
        ("3", "3.14"),
        ("Paris", "Paris Texas"),
    ],
)
def test_answers_that_say_something_else_do_not_agree(one: str, other: str) -> None:
    assert not agree(one, other)
    assert not agree(other, one)


def test_the_context_wins_a_conflict_by_default() -> None:
    verdict = arbitrate("Lisbon", "Porto")
    assert (verdict.winner, verdict.answer, verdict.is_conflict) == (Winner.CONTEXT, "Porto", True)


def test_each_policy_decides_a_conflict_in_its_own_way() -> None:
    found = {policy: arbitrate("Lisbon", "Porto", policy) for policy in Arbitration}
    assert found[Arbitration.WEIGHTS_FIRST].answer == "Lisbon"
    assert found[Arbitration.CONTEXT_FIRST].answer == "Porto"
    assert (found[Arbitration.ASK].winner, found[Arbitration.ASK].answer) == (Winner.NOBODY, "")
    assert all(one.is_conflict for one in found.values())


@pytest.mark.parametrize("policy", list(Arbitration))
def test_an_answer_wins_under_every_policy_where_the_other_side_has_none(policy: Arbitration) -> None:
    assert arbitrate("Lisbon", "I don’t know.", policy).winner is Winner.WEIGHTS
    assert arbitrate("  ", "Porto", policy).winner is Winner.CONTEXT
    assert arbitrate("", "unknown", policy).winner is Winner.NOBODY
    assert not arbitrate("Lisbon", "", policy).is_conflict


def test_where_both_agree_nobody_is_asked() -> None:
    verdict = arbitrate("Lisbon", "In Lisbon.", "ask")
    assert (verdict.winner, verdict.is_conflict) == (Winner.CONTEXT, False)
    assert arbitrate("Lisbon", "In Lisbon.", "weights_first").answer == "Lisbon"


def test_the_reason_of_a_verdict_holds_no_answer() -> None:
    for policy in Arbitration:
        assert "Lisbon" not in arbitrate("Lisbon", "Porto", policy).why


def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="context_first"):
        arbitrate("Lisbon", "Porto", "loudest")


def test_no_is_an_answer_and_not_knowing_is_none() -> None:
    assert is_answer("No.")
    assert not is_answer("I do not know that.")


def test_a_scaled_head_gives_its_share_of_the_attention_times_its_scale(base) -> None:
    name = base.linear(1, "o_proj")
    adapter = scaling(base, {(1, 4): 0.25, (1, 1): 3.0})
    inputs = torch.randn(2, 5, 96, generator=torch.Generator().manual_seed(0))
    weight = base.module(name).weight.double()
    expected = torch.zeros(2, 5, 48, dtype=torch.float64)
    for head in range(6):
        part = slice(head * 16, (head + 1) * 16)
        factor = {4: 0.25, 1: 3.0}.get(head, 1.0)
        expected += factor * inputs[..., part].double() @ weight[:, part].T
    found = adapter.change(name, inputs, base.module(name)(inputs))
    assert torch.allclose(found.double(), expected, atol=1e-5)


def test_a_scale_of_one_changes_no_score(base) -> None:
    ids = torch.tensor([base.tokens("Where does Ana live?")])
    plain = base.scores(base.run(base.embedded(ids)))
    with base.using(scaling(base, {(2, 0): 1.0, (0, 5): 1.0})):
        assert torch.equal(base.scores(base.run(base.embedded(ids))), plain)
    with base.using(scaling(base, {(2, 0): 0.0})):
        assert not torch.allclose(base.scores(base.run(base.embedded(ids))), plain)


def test_a_head_scaling_comes_back_from_its_tensors_and_settings(base) -> None:
    adapter = scaling(base, {(0, 2): 0.5, (2, 3): 0.0})
    again = HeadScaling.restored(adapter.tensors(), adapter.settings())
    assert (again.digest, again.targets, again.heads) == (adapter.digest, adapter.targets, adapter.heads)


def test_a_head_scaling_of_wrong_tensors_is_refused(base) -> None:
    adapter = scaling(base, {(0, 2): 0.5})
    name = adapter.targets[0]
    with pytest.raises(InvalidInputError, match="each once"):
        HeadScaling({name: (2, 2)}, {name: torch.ones(2)}, {name: torch.ones(48, 32)})
    with pytest.raises(InvalidInputError, match="shapes"):
        HeadScaling({name: (2,)}, {name: torch.ones(2)}, dict(adapter.columns))
    with pytest.raises(InvalidInputError, match="not between"):
        HeadScaling({name: (2,)}, {name: torch.tensor([float("nan")])}, dict(adapter.columns))
    with pytest.raises(InvalidInputError, match="lacks the tensor"):
        HeadScaling.restored({f"{name}.scales": torch.ones(1)}, adapter.settings())
    with pytest.raises(InvalidInputError, match="'heads'"):
        HeadScaling.restored(adapter.tensors(), {})


def test_a_head_scaling_of_a_larger_model_is_refused_where_it_would_act() -> None:
    adapter = HeadScaling({"o": (9,)}, {"o": torch.zeros(1)}, {"o": torch.ones(48, 16)})
    with pytest.raises(InvalidInputError, match="no 10 heads"):
        adapter.change("o", torch.ones(1, 1, 96), torch.ones(1, 1, 48))


def test_a_margin_is_the_difference_of_the_answers_log_probabilities(base) -> None:
    one = CONFLICTS[0]
    prompt = base.chat_tokens([{"role": "user", "content": f"{one.context}\n\n{one.question}"}])
    sums = []
    for answer in (one.of_weights, one.of_context):
        ids, total = list(prompt), 0.0
        for token in base.tokens(answer):
            last = base.scores(base.run(base.embedded(torch.tensor([ids]))))[0, -1].double()
            total += float(torch.log_softmax(last, dim=-1)[token])
            ids.append(token)
        sums.append(total)
    assert margins(base, CONFLICTS)[0] == pytest.approx(sums[0] - sums[1], abs=1e-3)


def test_the_effect_of_a_head_is_how_much_the_margins_fall_when_it_is_muted(base) -> None:
    effects = score_heads(base, CONFLICTS, layers=2, tested=5)
    assert len(effects) == 5
    assert [abs(one.mean) for one in effects] == sorted((abs(one.mean) for one in effects), reverse=True)
    plain = margins(base, CONFLICTS)
    for one in effects:
        muted = margins(base, CONFLICTS, [scaling(base, {(one.layer, one.head): 0.0})])
        assert one.layer >= 1
        assert one.effects == pytest.approx([a - b for a, b in zip(plain, muted, strict=True)], abs=1e-3)


def test_heads_are_scored_with_the_adapter_that_holds_the_facts(base) -> None:
    adapter = scaling(base, {(0, 0): 4.0})
    alone = score_heads(base, CONFLICTS, layers=1, tested=6)
    with_it = score_heads(base, CONFLICTS, adapter=adapter, layers=1, tested=6)
    assert {one.head: one.effects for one in alone} != {one.head: one.effects for one in with_it}


def test_scaling_heads_moves_the_margins_to_the_wanted_side(base) -> None:
    digest, effects = base.digest(), score_heads(base, CONFLICTS, tested=18)
    more = {
        side: sum(margins(base, CONFLICTS, [scaling_for(side, effects, base, num=1, raised=1.0, stability=0.6)]))
        for side in ("weights", "context")
    }
    assert more["context"] < sum(margins(base, CONFLICTS)) < more["weights"]
    assert base.digest() == digest


def test_only_heads_with_a_steady_sign_are_scaled(base) -> None:
    steady, wavering = HeadEffect(1, 2, (0.5, 0.4, 0.6)), HeadEffect(2, 3, (5.0, -1.0, -1.0))
    assert wavering.stability == pytest.approx(1 / 3)
    adapter = scaling_for("context", [wavering, steady], base)
    assert adapter.heads == {base.linear(1, "o_proj"): (2,)}
    assert adapter.scales[base.linear(1, "o_proj")].tolist() == [0.0]
    with pytest.raises(UnsupportedError, match="no head"):
        scaling_for("context", [wavering], base)


def test_wrong_requests_for_heads_are_refused(base) -> None:
    with pytest.raises(InvalidInputError, match="no conflicts"):
        score_heads(base, ())
    with pytest.raises(InvalidInputError, match="empty"):
        Conflict("Where?", " ", "a", "b")
    with pytest.raises(InvalidInputError, match="the same"):
        Conflict("Where?", "Here.", "Here", "here ")
    with pytest.raises(ConfigError, match="tested"):
        score_heads(base, CONFLICTS, tested=0)
    with pytest.raises(ConfigError, match="side"):
        scaling_for("both", [], base)
    with pytest.raises(InvalidInputError, match="none with the number 6"):
        scaling(base, {(0, 6): 0.0})
