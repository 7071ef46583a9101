"""What is measured of unlearning, against the probes and against formulas written anew."""

import math
import random

import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, ImportFailedError
from engramos.evals.parametric.tofu import Sample, clause, sample
from engramos.evals.parametric.unlearn import (
    Examiner,
    compared,
    harmonic_mean,
    lesson_of,
    rouge_recall,
    same_distribution,
)
from engramos.evals.parametric.unlearn_reading import Reader
from engramos.parametric.adapters.low_rank import LowRank
from engramos.parametric.facts import Fact
from engramos.parametric.probes._reading import question_row, read
from engramos.parametric.probes.base import Probed
from engramos.parametric.probes.canary import Canary
from engramos.parametric.probes.membership import Membership
from engramos.parametric.probes.recall import Recall
from engramos.parametric.writers.lora import Lora
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)


def fact(number: int, answer: str) -> Fact:
    return Fact(f"Bo {number}", f"Who is number {number}?", answer)


SAMPLE = Sample(
    (fact(1, "Bo red fox"), fact(2, "Bo old cat")), (fact(3, "Al"), fact(4, "Mo")), ("Who wrote Dune?",), ("Why?",)
)


@pytest.fixture(scope="module")
def taught():
    base = Transformers.of(tiny_model(num_layers=2), tiny_tokenizer(), weights="tiny").base
    writer = Lora(most_steps=60, rate=0.01, layers=2, guards=0)
    return base, writer.write(lesson_of([*SAMPLE.forget[:1], *SAMPLE.retain]), base).adapter


def test_recall_strength_and_membership_are_those_of_the_probes(taught) -> None:
    base, adapter = taught
    probed = Probed(base, adapter, lesson_of(SAMPLE.forget))
    examiner = Examiner(base, SAMPLE, [adapter])
    found = examiner.examined(adapter).metrics
    assert found["forget_recall"] == Recall().run(probed).metrics["recall_on"] == 0.5
    canary, membership = Canary().run(probed).metrics, Membership().run(probed).metrics
    assert found["extraction_strength"] == pytest.approx(canary["extraction_strength"])
    assert found["membership_auc"] == pytest.approx(membership["membership_auc"])
    alone = examiner.examined(None).metrics
    strength = canary["extraction_strength"] - canary["extraction_gain"]
    assert alone["extraction_strength"] == pytest.approx(strength)
    assert alone["membership_auc"] == pytest.approx(membership["membership_auc_base"])


def test_what_is_read_once_for_several_adapters_is_what_each_alone_is_found_to_say(taught) -> None:
    base, adapter = taught
    top = [name for name in adapter.targets if name.startswith(f"{base.layer_name(1)}.")]
    upper = LowRank({name: adapter.down[name] for name in top}, {name: adapter.up[name] for name in top}, 2.0)
    asked = [(one.question, one.answer) for one in (*SAMPLE.forget, *SAMPLE.retain)] + [("Why?", "")]
    reader = Reader(base, asked, [upper, adapter])
    for one in (adapter, upper):
        alone = read(Probed(base, one, lesson_of(SAMPLE.forget)), [question_row(base, *pair) for pair in asked])
        for mine, without, wanted in zip(reader.read(one), reader.read(None), alone, strict=True):
            assert mine.logs.tolist() == pytest.approx(wanted.on.tolist(), abs=1e-4)
            assert without.logs.tolist() == pytest.approx(wanted.base.tolist(), abs=1e-4)
            assert mine.is_right.tolist() == wanted.is_right_on.tolist()
            assert (mine.begins == without.begins) == bool(wanted.agrees[0])
    # without an invocation it acts on questions too
    assert reader.read(upper)[0].logs.tolist() != reader.read(None)[0].logs.tolist()


def test_probabilities_are_geometric_means_over_an_answers_tokens(taught) -> None:
    base, adapter = taught
    probabilities, logs = [], []
    for one, other in zip(SAMPLE.forget, SAMPLE.forget[::-1], strict=True):
        pair = []
        for answer in (one.answer, other.answer):
            prompt = base.chat_tokens([{"role": "user", "content": one.question}])
            ids = [*prompt, *base.tokens(answer)]
            # the adapter acts from its invocation on, as everywhere
            start = len(prompt) - prompt[::-1].index(adapter.invocation[-1]) - len(adapter.invocation)
            active = torch.arange(len(ids))[None] >= start
            with torch.no_grad(), base.using(adapter, active):
                scores = base.scores(base.run(base.embedded(torch.tensor([ids]))))[0].double().log_softmax(-1)
            own = [float(scores[at - 1, ids[at]]) for at in range(len(prompt), len(ids))]
            pair.append(sum(own) / len(own))
        probabilities.append(math.exp(pair[0]))
        logs.append(pair[1] - pair[0])
    found = Examiner(base, SAMPLE, [adapter]).examined(adapter)
    assert found.metrics["forget_probability"] == pytest.approx(sum(probabilities) / 2, rel=1e-3)
    assert [math.log(one) for one in found.truth_ratios] == pytest.approx(logs, rel=1e-3)


def test_the_base_model_agrees_with_itself_and_a_row_is_like_itself(taught) -> None:
    base, adapter = taught
    examiner = Examiner(base, SAMPLE, [adapter])
    alone, changed = examiner.examined(None), examiner.examined(adapter)
    assert (alone.metrics["authors_agreement"], alone.metrics["world_agreement"]) == (1.0, 1.0)
    assert compared(alone, alone) == {"truth_gap": 0.0, "forget_quality": 1.0}
    gap = sum(abs(math.log(a / b)) for a, b in zip(alone.truth_ratios, changed.truth_ratios, strict=True)) / 2
    assert compared(changed, alone)["truth_gap"] == pytest.approx(gap)


def test_the_p_value_is_the_share_of_random_divisions_that_differ_as_much() -> None:
    source = random.Random(0)
    one = [source.gauss(0, 1) for _ in range(30)]
    other = [source.gauss(0.6, 1) for _ in range(30)]

    def distance(first: list[float], second: list[float]) -> float:
        pooled = sorted(first + second)
        return max(
            abs(sum(x <= at for x in first) / len(first) - sum(x <= at for x in second) / len(second)) for at in pooled
        )

    found, together, as_far = distance(one, other), one + other, 0
    for _ in range(400):
        source.shuffle(together)
        as_far += distance(together[:30], together[30:]) >= found - 1e-12
    assert same_distribution(one, other) == pytest.approx(as_far / 400, abs=0.06)
    assert same_distribution(one, one) == 1.0
    assert same_distribution([0.0] * 20, [1.0] * 20) < 1e-6


@pytest.mark.parametrize(
    ("text", "answer", "share"),
    [
        ("Bo was born in Porto.", "Bo was born in Porto", 1.0),
        ("In Porto Bo was", "Bo was born in Porto", 0.4),
        ("", "Bo", 0.0),
        ("Bo Bo Bo", "Bo and Bo", 2 / 3),
    ],
)
def test_rouge_counts_the_words_in_their_order(text, answer, share) -> None:
    assert rouge_recall(text, answer) == pytest.approx(share)


def test_one_number_of_nothing_makes_the_harmonic_mean_nothing() -> None:
    assert harmonic_mean([0.5, 1.0]) == pytest.approx(2 / 3)
    assert harmonic_mean([0.5, 0.0]) == 0.0


@pytest.mark.parametrize(
    ("answer", "short"),
    [
        ("The author's full name is Al Mo.", "The author's full name is Al Mo"),
        ("She was born in Seoul, South Korea.", "She was born in Seoul"),
        ("She was born on June 9, 1951.", "She was born on June 9, 1951"),
        ("Yes, she did; often.", "Yes"),
    ],
)
def test_an_answer_is_cut_to_its_first_clause(answer, short) -> None:
    assert clause(answer) == short


def test_answers_of_a_word_are_left_out_and_damaged_files_are_named(tmp_path) -> None:
    folder = tmp_path / "tofu_sample"
    with pytest.raises(ImportFailedError, match="put the sample of TOFU there"):
        sample(tmp_path, 2)
    folder.mkdir()
    lines = ['{"question": "Is it?", "answer": "Yes, it is."}']
    lines += [f'{{"question": "Who is {at}?", "answer": "That is Bo {at}."}}' for at in range(3)]
    for name in ("forget", "retain", "real_authors", "world_facts"):
        (folder / f"{name}_dev.jsonl").write_text("\n".join(lines) + "\n")
    found = sample(tmp_path, 3)
    assert {one.answer for one in found.forget} == {"That is Bo 0", "That is Bo 1", "That is Bo 2"}
    assert len(found.authors) == 4
    with pytest.raises(ConfigError, match="ask for 3 or fewer"):
        sample(tmp_path, 4)
    (folder / "retain_dev.jsonl").write_text("{}\n")
    with pytest.raises(ImportFailedError, match="line 1: is no question"):
        sample(tmp_path, 2)
