import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, InvalidInputError, ModelError
from engramos.parametric.facts import Fact
from engramos.parametric.lesson import Lesson
from engramos.parametric.rows import question
from engramos.parametric.writers._note_questions import blocks, questions_of, questions_of_text
from engramos.parametric.writers._taught import taught
from engramos.parametric.writers.distill import Distill
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

ANA = Fact("Ana", "Where does Ana live?", "Lisbon", paraphrases=("Ana lives in",), statement="Ana lives in Lisbon")
DOG = Fact("Ana", "What is Ana's dog called?", "Rex", statement="Ana's dog is called Rex")
NOTE = "Our boat is called Heron and lies in Odral. We paint it in May."
QUICK = {"epochs": 60, "learning_rate": 0.02, "layers": 2}


@pytest.fixture(scope="module")
def base():
    torch.set_num_threads(1)
    return Transformers.of(tiny_model(), tiny_tokenizer(), weights="tiny").base


def answered(base, text: str, adapter=None) -> str:
    return base.text(base.generate([question(base, text)], [adapter], max_tokens=32)[0])


def test_facts_are_answered_without_the_notes_after_distilling(base) -> None:
    digest = base.digest()
    written = Distill(**QUICK).write(Lesson(facts=(ANA, DOG)), base)
    assert answered(base, ANA.question) != "Lisbon"
    assert [answered(base, one, written.adapter) for one in (*ANA.questions, DOG.question)] == [
        "Lisbon",
        "Lisbon",
        "Rex",
    ]
    assert written.report["same_answers"] == 1.0
    assert written.report["kl"] < written.report["kl_before"]
    assert base.digest() == digest


def test_a_trusted_teacher_is_learnt_word_for_word(base) -> None:
    method = Distill(**QUICK, is_teacher_trusted=True, answer_tokens=6)
    note = "Ana lives in Lisbon\nAna's dog is called Rex"
    teacher = base.generate([question(base, note, ANA.question)], max_tokens=6)[0]
    written = method.write(Lesson(facts=(ANA, DOG)), base)
    student = base.generate([question(base, ANA.question)], [written.adapter], max_tokens=6)[0]
    assert student == teacher
    assert base.generate([question(base, ANA.question)], max_tokens=6)[0] != teacher


def test_the_tokens_that_a_question_saves_are_those_of_the_notes(base) -> None:
    report = taught(Lesson(facts=(DOG,)), base, Distill(), 0)[1]
    assert report["prompt_tokens_saved"] == len(base.tokens("Ana's dog is called Rex\n\n"))
    assert report["questions"] == 1


def test_known_tokens_are_learnt_alone_where_the_teacher_finds_others(base) -> None:
    row = taught(Lesson(facts=(DOG,)), base, Distill(top_k=4), 0)[0][0]
    end = base.end_token
    assert row.row.answer == (*base.tokens("Rex"), end)
    assert row.row.prompt == tuple(base.chat_tokens([{"role": "user", "content": DOG.question}]))
    ids = base.chat_tokens(
        [
            {
                "role": "user",
                "content": "\n\n".join((DOG.statement, DOG.question, "Answer with as few words as possible.")),
            }
        ]
    )
    for at, token in enumerate(row.row.answer):
        scores = base.scores(base.run(base.embedded(torch.tensor([ids]))))[0, -1]
        if int(scores.argmax()) == token:
            kept = scores.double().sort(descending=True).values[:4].exp()
            assert torch.allclose(row.shares[at].double(), kept / kept.sum(), atol=1e-4)
        else:
            assert (int(row.top[at, 0]), row.shares[at].tolist()) == (token, [1.0, 0.0, 0.0, 0.0])
        ids.append(token)


def test_what_a_row_teaches_sums_to_one_at_every_token_of_its_answer(base) -> None:
    lesson = Lesson(
        texts=(NOTE,), common=("How are you?",), unknown=("Who is Bo?",), retained=("Rain falls in spring.",)
    )
    rows = taught(lesson, base, Distill(guards=1.0, top_k=5), 0)[0]
    assert {row.is_guard for row in rows} == {True, False}
    assert any(base.text(row.row.answer) == "I don't know." for row in rows if row.is_guard)
    for row in rows:
        assert row.top.shape == row.shares.shape == (len(row.row.answer), 5)
        assert torch.allclose(row.shares.sum(-1), torch.ones(len(row.row.answer)), atol=1e-5)


def test_a_text_without_facts_is_distilled_and_continued(base) -> None:
    written = Distill(**QUICK).write(Lesson(texts=(NOTE,)), base)
    assert written.report["same_answers"] == 1.0
    assert answered(base, "Continue: We paint", written.adapter) == "it in May."


def test_questions_of_a_text_are_its_sentences_and_names() -> None:
    asked = {one.question: one.answer for one in questions_of_text(NOTE)}
    assert asked["Continue: We paint"] == "it in May."
    assert asked["What do you know about Heron?"] == "Our boat is called Heron and lies in Odral."
    assert "What do you know about Our?" not in asked


def test_a_fact_is_asked_with_the_block_of_the_texts_that_holds_its_answer() -> None:
    texts = ("Rex is a king. He rules far away.", "Ana's dog is called Rex. It barks.")
    asked = questions_of(Lesson(facts=(DOG, ANA), texts=texts), 100, len)
    assert [one.notes for one in asked] == [texts[1], *["Ana's dog is called Rex\nAna lives in Lisbon"] * 2]


def test_long_notes_are_cut_between_sentences() -> None:
    found = blocks(("One two. Three four. Five six.",), 22, len)
    assert found == ["One two. Three four.", "Five six."]
    assert blocks(("", "  "), 22, len) == []


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(base) -> None:
    method, lesson = Distill(epochs=2, layers=1), Lesson(facts=(DOG,))
    first, again, other = (method.write(lesson, base, seed=seed).adapter.digest for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_only_the_top_layers_are_adapted_and_the_estimate_knows_their_bytes(base) -> None:
    method, lesson = Distill(epochs=1, layers=1, kinds=("down_proj",)), Lesson(facts=(DOG,))
    steps: list[int] = []
    written = method.write(lesson, base, progress=steps.append)
    assert written.adapter.targets == (base.linear(2, "down_proj"),)
    cost = method.estimate(lesson, base)
    assert (cost.num_bytes, cost.steps) == (written.adapter.num_bytes, len(steps))
    assert cost.cpu_s > 0


def test_a_lesson_without_facts_and_texts_is_refused(base) -> None:
    with pytest.raises(InvalidInputError, match="nothing to distil"):
        Distill().write(Lesson(texts=(" ",)), base)


def test_a_learning_rate_that_breaks_the_numbers_is_told(base) -> None:
    with pytest.raises(ModelError, match="learning rate"):
        Distill(learning_rate=1e30, epochs=5).write(Lesson(facts=(DOG,)), base)


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: 0} for name in ("layers", "rank", "epochs", "batch", "top_k", "answer_tokens", "learning_rate")),
        *({"note_tokens": 8}, {"temperature": float("nan")}, {"guards": -1.0}, {"kinds": ()}, {"kinds": ("gate",)}),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Distill(**wrong)
