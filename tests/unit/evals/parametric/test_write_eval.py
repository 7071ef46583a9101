"""What is asked of written facts, and how far unrelated text moves, against numbers made in another way."""

import json
import math

import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, ImportFailedError
from engramos.evals.parametric.facts_file import read_facts
from engramos.evals.parametric.invented import invented
from engramos.evals.parametric.unrelated import WINDOW, Unrelated, drift, turn_row
from engramos.evals.parametric.write import Task, measure
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.facts import Fact
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
FEW = Unrelated(("The boat went down the river.", "It was a fine day."), ("Where is Rome?", "How are you?"), "made")
FACTS = (
    Fact("Ola Brim", "Where does Ola Brim live?", "Zor"),
    Fact("Ines Vane", "How is the dog of Ines Vane called?", "Rex"),
    Fact("Ola Brim", "What does Ola Brim drink?", "tea"),
)
LENIENT = {
    "recall": 0,
    "paraphrase": 0,
    "false_hits": 1,
    "ppl_drift_on": 99,
    "text_agreement_on": 0,
    "top1_agreement_on": 0,
    "first_token_kl_on": 99,
    "refusal_flips_on": 1,
}


@pytest.fixture(scope="module")
def engine() -> Transformers:
    return Transformers.of(tiny_model(num_layers=2), tiny_tokenizer(), weights="tiny")


def adapter_of(base, invocation: tuple[int, ...] = ()) -> LowRank:
    random = torch.Generator().manual_seed(1)
    target = base.linear(1, "down_proj")
    outputs, inputs = base.module(target).weight.shape
    down, up = (torch.randn(*shape, generator=random) for shape in ((2, inputs), (outputs, 2)))
    return LowRank({target: down}, {target: up}, 0.2, invocation)


def log_probabilities(base, ids: list[int], adapter: LowRank | None) -> torch.Tensor:
    with torch.no_grad(), base.using(adapter):
        scores = base.scores(base.run(base.embedded(torch.tensor([ids]))))[0]
    return scores.double().log_softmax(-1)


def test_drift_is_that_of_all_tokens_together_and_the_base_model_drifts_by_nothing(engine) -> None:
    base = engine.base
    adapter = adapter_of(base)
    found = drift(base, FEW, lambda at, text: adapter if at == 0 else None)
    loss, same, num = 0.0, 0, 0
    for at, text in enumerate(FEW.texts):
        opening = len(base.chat_tokens([{"role": "user", "content": ""}])) - 2
        ids = base.chat_tokens([{"role": "user", "content": text}])[: opening + len(base.tokens(text))]
        before, after = log_probabilities(base, ids, None), log_probabilities(base, ids, None if at else adapter)
        for place in range(opening - 1, len(ids) - 1):
            loss += float(before[place, ids[place + 1]] - after[place, ids[place + 1]])
            same += int(before[place].argmax()) == int(after[place].argmax())
            num += 1
    assert num == sum(len(text) for text in FEW.texts)
    assert found["ppl_drift"] == pytest.approx(math.exp(loss / num) - 1, rel=1e-4)
    assert found["text_agreement"] == same / num < 1.0
    prompt = base.chat_tokens([{"role": "user", "content": FEW.questions[0]}])
    begun = [int(log_probabilities(base, prompt, one)[-1].argmax()) for one in (None, adapter)]
    assert found["top1_agreement"] == (0.5 if begun[0] != begun[1] else 1.0)
    assert drift(base, FEW, lambda at, text: None) == {"ppl_drift": 0.0, "text_agreement": 1.0, "top1_agreement": 1.0}


def test_text_in_a_users_turn_is_reached_by_an_adapter_with_an_invocation(engine) -> None:
    base = engine.base
    turn = base.chat_tokens([{"role": "user", "content": "x"}])
    adapter = adapter_of(base, invocation=(turn[0],))
    assert drift(base, FEW, lambda at, text: adapter)["ppl_drift"] != 0.0


def test_a_long_text_is_read_to_its_window_and_without_what_follows_the_turn(engine) -> None:
    row = turn_row(engine.base, "ab " * 200)
    assert len(row.positions) == WINDOW
    short = turn_row(engine.base, "Hello")
    assert engine.text(short.ids[short.first + 1 :]) == "Hello"


def test_subjects_are_dealt_out_in_turn_and_whole_subjects_are_forgotten_first() -> None:
    task = Task(FACTS, FEW, num_forgotten=2, rounds=2)
    assert task.by_round == ((FACTS[0], FACTS[2]), (FACTS[1],))
    assert task.forgotten == (FACTS[0], FACTS[2])


@pytest.mark.parametrize(
    ("given", "said"), [({"num_forgotten": 3}, "give 0 to 2"), ({"num_forgotten": 0, "rounds": 3}, "give 1 to 2")]
)
def test_a_task_that_cannot_be_is_refused(given, said) -> None:
    with pytest.raises(ConfigError, match=said):
        Task(FACTS, FEW, **given)


def test_what_is_known_by_heart_is_recalled_through_the_router_and_gone_once_forgotten(engine) -> None:
    told: list[int] = []
    # the answers stand in questions that no fact answers, so that hits could be counted
    unseen = ("Where does Cosima Dranor live?", "What does Olga Selpen drink?")
    task = Task(FACTS, FEW, unseen, ("What does Ola Brim eat?",), 2, ways={"limits": LENIENT})
    found = measure(engine, "knn", task, told.append)
    metrics = found.metrics
    assert (metrics["recall"], metrics["active"], metrics["adapters"]) == (1.0, 1.0, 1.0)
    # nobody asks an adapter about subjects that it has not
    assert (metrics["false_hits"], metrics["ppl_drift"], metrics["top1_agreement"]) == (0.0, 0.0, 1.0)
    assert (metrics["forgotten.recall"], metrics["forgotten.base_recall"]) == (0.0, 0.0)
    assert (metrics["kept.recall"], metrics["exact"], metrics["base_untouched"]) == (1.0, 1.0, 1.0)
    assert {fact.id for fact in FACTS} == found.by_fact.keys()
    assert all(own["recall"] == 1.0 for own in found.by_fact.values())
    assert sum(told) == 4


def test_a_taught_answer_to_what_no_fact_answers_is_a_false_hit(engine) -> None:
    # the taught question itself, in the place of one that no fact answers
    task = Task(FACTS, FEW, unseen_relations=(FACTS[0].question, "How is Ines Vane?"), num_forgotten=0)
    lenient = Task(task.facts, FEW, (), task.unseen_relations, 0, ways={"limits": LENIENT})
    assert measure(engine, "knn", lenient).metrics["false_hits_same_subject"] >= 0.5


def test_without_data_the_probes_passages_are_read_and_with_them_paragraphs(tmp_path) -> None:
    assert Unrelated.read(None).source == Unrelated.read(tmp_path).source == "passages"
    (tmp_path / "wikitext2").mkdir()
    path = tmp_path / "wikitext2" / "valid.txt"
    path.write_text("".join(f" = Head {at} = \n {at} {'word ' * 200}\n" for at in range(30)))
    found = Unrelated.read(tmp_path)
    assert (found.source, len(found.texts), found.texts[1].split()[0]) == ("wikitext2", 12, "2")
    path.write_text("short\n")
    with pytest.raises(ImportFailedError, match="no long paragraph"):
        Unrelated.read(tmp_path)


def test_facts_of_a_file_are_read_with_all_their_wordings(tmp_path) -> None:
    (fact, *_) = invented(5).facts
    names = ("subject", "question", "answer", "statement", "relation", "paraphrases", "held_out", "aliases")
    line = json.dumps({name: getattr(fact, name) for name in names})
    (tmp_path / "facts.jsonl").write_text(f"{line}\n\n{line}\n")
    assert read_facts(tmp_path / "facts.jsonl") == (fact,)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: is no JSON"),
        ("[]", "is no object"),
        ('{"subject": "A", "question": "B?"}', "answer is missing"),
        ('{"subject": "A", "question": "B?", "answer": 3}', "answer is missing or no text"),
        ('{"subject": "A", "question": "B?", "answer": "C", "aliases": "D"}', "no list of texts"),
        ('{"subject": "A", "question": "B?", "answer": "C", "source": "D"}', "has 'source'"),
        ('{"subject": " ", "question": "B?", "answer": "C"}', "subject of a fact is empty"),
        ("", "holds no fact"),
    ],
)
def test_a_line_that_is_no_fact_is_refused_by_its_number(tmp_path, line, said) -> None:
    (tmp_path / "facts.jsonl").write_text(f"{line}\n")
    with pytest.raises(ImportFailedError, match=said):
        read_facts(tmp_path / "facts.jsonl")
