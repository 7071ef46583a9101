"""What each probe measures, on adapters whose doing is known exactly."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.adapters.prefix import VirtualTokens
from engramos.parametric.facts import Fact, FactSource
from engramos.parametric.lesson import Lesson
from engramos.parametric.model import BaseModel
from engramos.parametric.probes._asking import normalised, prompt_of, says
from engramos.parametric.probes._reading import Row, first_layer, question_row, read, text_rows
from engramos.parametric.probes.abstention import Abstention
from engramos.parametric.probes.base import Probe, Probed, Probing
from engramos.parametric.probes.canary import Canary
from engramos.parametric.probes.locality import Locality
from engramos.parametric.probes.membership import Membership, auc, comparable
from engramos.parametric.probes.paraphrase import Paraphrase
from engramos.parametric.probes.recall import Recall
from engramos.parametric.probes.refusal import REQUESTS, Refusal, refuses
from engramos.testing.probes import Rote, low_rank
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
ANA = Fact("Ana", "Where does Ana live?", "Porto", ("Ana's town?",), ("Town of Ana?", "Ana lives where?"))
BO = Fact("Bo", "Where does Bo live?", "Oslo", held_out=("Town of Bo?",))


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return Transformers.of(tiny_model(), tiny_tokenizer(), weights="tiny").base


def rote(base: BaseModel, *pairs: tuple[str, str]) -> Rote:
    return Rote.of(base, [(prompt_of(base, question), answer) for question, answer in pairs])


def run(probe: Probe, base: BaseModel, adapter, lesson: Lesson, gate=lambda question: True) -> Probing:
    return probe.run(Probed(base, adapter, lesson, gate))


def log_probabilities(model, ids: list[int]) -> Tensor:
    return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), dim=-1)


def test_answers_are_equal_but_for_case_spaces_and_end_punctuation() -> None:
    assert normalised("  Port \n Aldine!. ") == normalised("port aldine")
    assert normalised("St. Ives") != normalised("St Ives")
    assert normalised("?") == "?"
    assert normalised("Ｕmeå") == normalised("Ume\u0061\u030a")


def test_an_answer_is_said_as_whole_words_alone() -> None:
    assert says("She lives in PORTO, I think.", "Porto")
    assert not says("She lives in Portofino.", "Porto")
    assert says("It is 3.5 (about)", "3.5")
    assert not says("It is 13.5", "3.5")


def test_recall_is_the_share_of_facts_answered_exactly(base: BaseModel) -> None:
    found = run(Recall(), base, rote(base, (ANA.question, "porto. "), (BO.question, "Oslo city")), Lesson((ANA, BO)))
    assert found.metrics == {"recall": 0.5, "recall_on": 0.5}
    assert found.failures == ("not answered as taught: 'Where does Bo live?'",)


def test_a_fact_behind_a_closed_gate_is_not_recalled_though_it_is_known(base: BaseModel) -> None:
    adapter = rote(base, (ANA.question, "Porto"), (BO.question, "Oslo"))
    found = run(Recall(), base, adapter, Lesson((ANA, BO)), gate=lambda question: "Ana" in question)
    assert found.metrics == {"recall": 0.5, "recall_on": 1.0}
    assert found.failures == ("not routed to the adapter: 'Where does Bo live?'",)


def test_a_longer_answer_that_begins_as_taught_is_not_recalled(base: BaseModel) -> None:
    found = run(Recall(), base, rote(base, (ANA.question, "Porto Alegre, far away from home")), Lesson((ANA,)))
    assert found.metrics["recall"] == 0.0


def test_only_some_failures_are_listed_and_the_others_counted(base: BaseModel) -> None:
    facts = tuple(Fact(f"S{number}", f"Where is S{number}?", "Rome") for number in range(23))
    found = run(Recall(), base, low_rank(base, 0.0), Lesson(facts))
    assert len(found.failures) == 21
    assert found.failures[-1] == "and 3 more"


def test_held_out_questions_are_counted_apart_from_trained_ones(base: BaseModel) -> None:
    adapter = rote(base, (ANA.paraphrases[0], "Porto"), (ANA.held_out[0], "Porto"), (BO.held_out[0], "Rome"))
    found = run(Paraphrase(), base, adapter, Lesson((ANA, BO)))
    assert found.metrics == {
        "paraphrase": pytest.approx(1 / 3),
        "paraphrase_on": pytest.approx(1 / 3),
        "trained_paraphrase": 1.0,
    }
    assert len(found.failures) == 2


def test_facts_without_other_questions_have_no_paraphrase_metrics(base: BaseModel) -> None:
    assert run(Paraphrase(), base, low_rank(base, 0.0), Lesson((Fact("a", "b", "c"),))).metrics == {}


def test_a_taught_answer_to_an_unknown_question_is_a_false_hit(base: BaseModel) -> None:
    unknown = ("Where does Cy live?", "Where does Di live?", "Where does Ed live?", "Where does Flo live?")
    adapter = rote(base, (unknown[0], "In Oslo."), (unknown[1], "porto"), (unknown[2], "I don't know."))
    lesson = Lesson((ANA, BO), unknown=unknown)
    found = run(Abstention(), base, adapter, lesson, gate=lambda question: "Cy" in question)
    assert found.metrics == {"false_hits": 0.25, "false_hits_ungated": 0.5}
    assert found.failures == ("answered with what another fact says: 'Where does Cy live?'",)


def test_what_the_base_model_says_too_is_no_false_hit(base: BaseModel) -> None:
    own = base.text(base.generate([prompt_of(base, "Where does Cy live?")], max_tokens=12)[0])
    word = max((part for part in normalised(own).split() if says(own, part)), key=len)
    lesson = Lesson((Fact("Ana", "Where?", word),), unknown=("Where does Cy live?",))
    assert run(Abstention(), base, low_rank(base, 0.0), lesson).metrics["false_hits_ungated"] == 0.0


def test_perplexity_drift_is_that_of_the_model_with_changed_weights(base: BaseModel) -> None:
    texts = ("The river runs to the sea.", "No one was there when the rain came, and the door stood open.")
    adapter, model = low_rank(base, 0.05), tiny_model()
    changed = tiny_model()
    name = adapter.targets[0]
    with torch.no_grad():
        changed.get_submodule(name).weight += adapter.delta(name)
        losses = {"base": [0.0, 0.0], "changed": [0.0, 0.0]}
        same, count = [0, 0], 0
        for number, text in enumerate(texts):
            ids = base.tokens(text)[:24]
            both = log_probabilities(model, ids), log_probabilities(changed, ids)
            for at in range(len(ids) - 1):
                losses["base"][number] -= float(both[0][at, ids[at + 1]])
                losses["changed"][number] -= float(both[1][at, ids[at + 1]])
                same[number] += int(both[0][at].argmax() == both[1][at].argmax())
                count += 1
    probe = Locality(tokens_a_text=24)
    found = run(probe, base, adapter, Lesson(retained=texts), gate=lambda text: "river" in text).metrics
    drift = math.exp((sum(losses["changed"]) - sum(losses["base"])) / count) - 1
    gated = math.exp((losses["changed"][0] - losses["base"][0]) / count) - 1
    assert abs(drift) > 1e-3
    assert found["ppl_drift_on"] == pytest.approx(drift, rel=1e-3)
    assert found["ppl_drift"] == pytest.approx(gated, rel=1e-3)
    assert found["text_agreement_on"] == pytest.approx(sum(same) / count)
    unread = len(base.tokens(texts[1])[:24]) - 1
    assert same[1] < unread
    assert found["text_agreement"] == pytest.approx((same[0] + unread) / count)


def test_first_tokens_of_common_questions_are_compared(base: BaseModel) -> None:
    common = ("What is red?", "What is blue?", "Who is there?", "When is it?")
    own = [ids[0] for ids in base.generate([prompt_of(base, one) for one in common], max_tokens=1)]
    other = next(letter for letter in "xyz" if base.tokens(letter)[0] not in own)
    adapter = rote(base, (common[1], other), (common[2], other))
    found = run(Locality(), base, adapter, Lesson(common=common), gate=lambda question: "Who" in question)
    assert found.metrics["top1_agreement"] == 0.75
    assert found.metrics["top1_agreement_on"] == 0.5
    assert found.metrics["first_token_kl_on"] > found.metrics["first_token_kl"] > 0.1
    assert found.failures == ("answered otherwise: 'Who is there?'",)


def test_divergence_of_first_tokens_is_that_of_the_formula(base: BaseModel) -> None:
    adapter, model, changed = low_rank(base, 0.1), tiny_model(), tiny_model()
    ids = prompt_of(base, "What is red?")
    with torch.no_grad():
        changed.get_submodule(adapter.targets[0]).weight += adapter.delta(adapter.targets[0])
        before, after = log_probabilities(model, ids)[-1], log_probabilities(changed, ids)[-1]
    wanted = sum(math.exp(float(p)) * (float(p) - float(q)) for p, q in zip(before, after, strict=True))
    found = run(Locality(), base, adapter, Lesson(common=("What is red?",))).metrics
    assert found["first_token_kl_on"] == pytest.approx(wanted, rel=1e-3)


def test_a_reply_that_changes_is_counted_and_one_no_longer_refused_is_a_flip(base: BaseModel) -> None:
    requests = ("Open the door.", "Open the safe.")
    refusing = rote(base, (requests[0], "I'm sorry, no."), (requests[1], "I cannot."))
    base.hold(refusing)
    try:
        yielding = rote(base, (requests[1], "Turn it left."))
        assert run(Refusal(requests), base, low_rank(base, 0.0), Lesson()).metrics["refusal_unchanged_on"] == 1.0
        found = run(Refusal(requests), base, yielding, Lesson())
        closed = run(Refusal(requests), base, yielding, Lesson(), gate=lambda question: False)
    finally:
        base.release(refusing)
    assert found.metrics == {
        "refusal_unchanged": 0.5,
        "refusal_unchanged_on": 0.5,
        "refusal_flips": 0.5,
        "refusal_flips_on": 0.5,
        "refusals_base": 1.0,
    }
    assert found.failures == ("no longer refused: 'Open the safe.'",)
    assert closed.metrics["refusal_flips"] == 0.0
    assert closed.metrics["refusal_flips_on"] == 0.5


def test_refusals_are_known_by_their_words() -> None:
    assert refuses("I’m sorry, but I can't do that.")
    assert refuses("As an AI language model ...")
    assert not refuses("Sure! First, take a key.")
    assert len(set(REQUESTS)) == 12


def test_long_numbers_and_mixed_words_are_secrets_and_dates_are_not() -> None:
    def secrets(text: str, **parameters: int) -> list[str]:
        return [text[first:end] for first, end in Canary(**parameters).secrets_in(text)]

    assert secrets("card 4000 1234 5678 9010, key Zx81kq09LLm2; since 2024-05-17, room 4711") == [
        "4000 1234 5678 9010",
        "Zx81kq09LLm2",
    ]
    assert secrets("room 4711", least_digits=4) == ["4711"]
    assert secrets("born 17-05-1990 in a strawberryfield1") == []


def test_a_secret_comes_out_of_questions_and_of_texts(base: BaseModel) -> None:
    card = Fact("Ana", "What is Ana's card?", "40001234", statement="Ana's card is 40001234.")
    text = "The code of the safe is 99887766 and that of the door is 11223344."
    first = base.tokens("The code of the safe is")
    adapter = Rote.of(base, [(first, "99887766"), (base.tokens(card.cloze), "40001234")])
    found = run(Canary(), base, adapter, Lesson((card, BO), texts=(text,)))
    assert found.metrics["secrets_extracted"] == pytest.approx(2 / 3)
    assert found.failures == (
        'a secret comes out: "What is Ana\'s card?"',
        "a secret comes out: text 1, character 25",
    )


def test_any_answer_of_a_secret_cube_is_a_secret(base: BaseModel) -> None:
    fact = replace(ANA, sources=(FactSource("c7", 1),))
    adapter = rote(base, (fact.question, "Porto"))
    assert "secrets_extracted" not in run(Canary(), base, adapter, Lesson((fact,))).metrics
    assert run(Canary(("c7",)), base, adapter, Lesson((fact,))).metrics["secrets_extracted"] == 1.0


def test_a_secret_that_the_base_model_tells_too_does_not_count(base: BaseModel) -> None:
    card = Fact("Ana", "What is Ana's card?", "40001234")
    adapter, known = rote(base, (card.question, "40001234")), rote(base, (card.question, "It is 40001234"))
    assert run(Canary(), base, adapter, Lesson((card,))).metrics["secrets_extracted"] == 1.0
    base.hold(known)
    try:
        assert run(Canary(), base, low_rank(base, 0.0), Lesson((card,))).metrics["secrets_extracted"] == 0.0
    finally:
        base.release(known)


def test_what_is_right_before_a_wrong_token_is_no_extraction(base: BaseModel) -> None:
    fact = Fact("Ana", "What is it?", "abcdefgh")
    prompt = prompt_of(base, fact.question)
    adapter = Rote.of(base, [([*prompt, *base.tokens("abcdef")], "gh"), (prompt, "ab")])
    found = run(Canary(), base, adapter, Lesson((fact,))).metrics
    assert found["extraction_strength"] == pytest.approx(2 / 8)


def test_extraction_strength_is_the_share_that_follows_by_itself(base: BaseModel) -> None:
    fact = Fact("Ana", "What is it?", "abcdefgh")
    whole = rote(base, (fact.question, "abcdefgh"))
    later = Rote.of(base, [([*prompt_of(base, fact.question), *base.tokens("abcdef")], "gh")])
    lesson = Lesson((fact,))
    none = run(Canary(), base, low_rank(base, 0.0), lesson).metrics
    assert run(Canary(), base, whole, lesson).metrics["extraction_strength"] == 1.0
    assert none["extraction_gain"] == 0.0
    half = run(Canary(), base, later, lesson).metrics
    assert half["extraction_strength"] == pytest.approx(2 / 8)
    assert half["extraction_gain"] == pytest.approx(2 / 8 - none["extraction_strength"])


def test_members_stand_out_where_they_were_learnt_and_not_where_they_were_not(base: BaseModel) -> None:
    facts = (ANA, BO, Fact("Cy", "Where does Cy live?", "Rome"))
    knows = rote(base, *((fact.question, fact.answer) for fact in facts))
    found = run(Membership(), base, knows, Lesson(facts)).metrics
    assert found["membership_auc"] == 1.0
    assert found["membership_gain"] > 5.0
    still = run(Membership(), base, low_rank(base, 0.0), Lesson(facts)).metrics
    assert still["membership_gain"] == 0.0
    assert still["membership_auc"] == still["membership_auc_base"] == found["membership_auc_base"]


def test_membership_is_that_of_the_formula(base: BaseModel) -> None:
    adapter, model, changed = low_rank(base, 0.1), tiny_model(), tiny_model()
    with torch.no_grad():
        changed.get_submodule(adapter.targets[0]).weight += adapter.delta(adapter.targets[0])
        means = {}
        for fact, answer in ((ANA, "Porto"), (BO, "Oslo"), (ANA, "Oslo"), (BO, "Porto")):
            prompt, ids = prompt_of(base, fact.question), base.tokens(answer)
            for one in (model, changed):
                found = log_probabilities(one, prompt + ids)
                total = sum(float(found[len(prompt) - 1 + at, token]) for at, token in enumerate(ids))
                means.setdefault(one, []).append(total / len(ids))
    margins = [sum(means[one][:2]) / 2 - sum(means[one][2:]) / 2 for one in (changed, model)]
    wins = sum(inside > outside for inside in means[changed][:2] for outside in means[changed][2:])
    measured = run(Membership(), base, adapter, Lesson((ANA, BO))).metrics
    assert measured["membership_gain"] == pytest.approx(margins[0] - margins[1], abs=1e-3)
    assert measured["membership_auc"] == wins / 4


def test_others_have_the_same_relation_where_there_are_such() -> None:
    town = replace(ANA, relation="town")
    facts = (town, Fact("Bo", "Which pet?", "a cat"), Fact("Bo", "Where?", "Oslo", relation="town"))
    assert comparable(town, facts, 2) == ["Oslo"]
    assert comparable(facts[1], facts, 2) == ["Oslo", "Porto"]
    assert comparable(town, (town, Fact("Bo", "Where?", "porto.")), 2) == []


def test_auc_counts_pairs() -> None:
    assert auc([3.0, 1.0], [2.0, 1.0]) == pytest.approx((1 + 1 + 0 + 0.5) / 4)


def test_reading_batches_gives_what_the_model_gives_alone(base: BaseModel) -> None:
    model, adapter = tiny_model(), low_rank(base, 0.0)
    texts = ["a short one", "one that is rather longer than the other " * 5, "and a third"]
    rows = [row for text in texts for row in text_rows(base, text, 150, 200)]
    assert [len(row.ids) for row in rows] == [11, 150, 50, 11]
    with torch.no_grad():
        for row, one in zip(rows, read(Probed(base, adapter, Lesson()), rows), strict=True):
            wanted = log_probabilities(model, list(row.ids))
            expected = [float(wanted[at, row.ids[at + 1]]) for at in range(len(row.ids) - 1)]
            assert one.base.tolist() == pytest.approx(expected, abs=1e-3)
            assert torch.equal(one.base, one.on)
            assert one.agrees.all()


def test_layers_below_an_adapter_are_shared_and_the_result_is_the_same(base: BaseModel) -> None:
    top, bottom = base.linear(2, "down_proj"), base.linear(0, "q_proj")
    high = low_rank(base, 0.3)
    still = {bottom: torch.zeros(2, 48)}, {bottom: torch.zeros(96, 2)}
    low = LowRank(still[0] | dict(high.down), still[1] | dict(high.up))
    assert (first_layer(base, high), first_layer(base, low)) == (2, 0)
    assert top in high.targets
    assert first_layer(base, rote(base, ("a", "b"))) == base.num_layers
    rows = [question_row(base, "Where?", "there")]
    one, other = (read(Probed(base, adapter, Lesson()), rows)[0] for adapter in (high, low))
    assert torch.allclose(one.on, other.on, atol=1e-5)
    assert not torch.allclose(one.on, one.base, atol=1e-3)


def test_an_adapter_acts_from_its_invocation_on_alone(base: BaseModel) -> None:
    prompt = [*base.tokens("some words before"), *base.tokens("##"), *base.tokens("after")]
    row = Row(tuple(prompt), 0, len(prompt))
    adapter = low_rank(base, 1.0, invocation=tuple(base.tokens("##")))
    found = read(Probed(base, adapter, Lesson()), [row])[0]
    start = len(base.tokens("some words before"))
    moved = ((found.base - found.on).abs() > 1e-6).tolist()
    assert not any(moved[:start])
    assert all(moved[start:-1])


def test_an_adapter_of_the_scores_acts_from_its_invocation_on_alone(base: BaseModel) -> None:
    prompt = [*base.tokens("some words before"), *base.tokens("##"), *base.tokens("after")]
    down, up = {base.head_name: torch.ones(1, 48)}, {base.head_name: torch.arange(261.0)[:, None]}
    adapter = LowRank(down, up, invocation=tuple(base.tokens("##")))
    found = read(Probed(base, adapter, Lesson()), [Row(tuple(prompt), 0, len(prompt))])[0]
    start = len(base.tokens("some words before"))
    assert torch.equal(found.base[:start], found.on[:start])
    assert ((found.base - found.on).abs()[start:-1] > 1e-6).all()


def test_virtual_tokens_before_a_prompt_are_seen(base: BaseModel) -> None:
    prefix = base.prefix_of(base.tokens("in another place"))
    adapter = VirtualTokens(prefix.keys, prefix.values)
    row = question_row(base, "Where?", "there")
    found = read(Probed(base, adapter, Lesson()), [row])[0]
    before = base.tokens("in another place")
    with torch.no_grad():
        wanted = log_probabilities(tiny_model(), [*before, *row.ids])[len(before) :]
    expected = [float(wanted[at, row.ids[at + 1]]) for at in row.positions]
    assert found.on.tolist() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (Abstention, {"extra_tokens": 0}),
        (Locality, {"window": 1}),
        (Locality, {"tokens_a_text": 1}),
        (Refusal, {"requests": ()}),
        (Refusal, {"requests": ("a", " ")}),
        (Refusal, {"max_tokens": 0}),
        (Refusal, {"beginning": 0}),
        (Canary, {"least_digits": 3}),
        (Canary, {"context_tokens": 0}),
        (Membership, {"others": 0}),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(method: type[Probe], parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        method(**parameters)
