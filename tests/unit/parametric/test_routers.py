"""Names are found as whole words in any script, common words need their capitals, and questions tell shards apart."""

import time
from collections.abc import Sequence

import numpy as np
import pytest

from engramos.embedders import ROLE as EMBEDDERS
from engramos.embedders.base import Embedder
from engramos.errors import ConfigError
from engramos.parametric.routers._likeness import floor_of, known_floor, nameless
from engramos.parametric.routers._names import fold, index_of, words_of
from engramos.parametric.routers.base import Embed, Key, Taught
from engramos.parametric.routers.cascade import Cascade
from engramos.parametric.routers.embedding import Embedding
from engramos.parametric.routers.entity import Entity

NAMES = (
    *("Ana", "Ana Lima", "May", "Will", "C++", "田中", "राम", "The Office", "São Paulo", "O'Neill", "Zoë", "Анна"),
    *("김민수", "アナ", "Node.js", "Project 7", "music", "สมชาย", "Straße"),
)
KEYS = tuple(Key(name, (name,)) for name in NAMES)


def named(question: str) -> list[str]:
    return [one.adapter_id for one in Entity().route(question, KEYS, limit=9)]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Where does ana's dog live?", ["Ana"]),
        ("Where does Ana’s dog live?", ["Ana"]),
        ("What is Ana Lima's job?", ["Ana Lima"]),
        ("Does ANA know Ana Lima?", ["Ana", "Ana Lima"]),
        ("Where is Anas?", []),
        ("What about Ana-Maria?", []),
        ("Write to ana@x.com or see ana.lima.pdf", []),
        ("Et le chien d'Ana?", ["Ana"]),
        ("who lives in sao paulo", ["São Paulo"]),
        ("Is ZOE in Sa\u0303o Paulo?", ["Zoë", "São Paulo"]),
        ("Wo liegt die STRASSE?", ["Straße"]),
        ("What did O’Neill say?", ["O'Neill"]),
        ("What did Neill say?", []),
        ("Is C++ faster?", ["C++"]),
        ("Is vitamin C good?", []),
        ("Who maintains node.js?", ["Node.js"]),
        ("Who leads Project 7?", ["Project 7"]),
        ("Who leads Project 77?", []),
        ("Где живёт Анна?", ["Анна"]),
        ("田中さんの仕事は何ですか", ["田中"]),
        ("アナの犬の名前は", ["アナ"]),
        ("アナウンサーの名前は", []),
        ("राम कहाँ रहता है", ["राम"]),
        ("रामायण किसने लिखी", []),
        ("김민수 씨는 어디에 살아요?", ["김민수"]),
        ("สมชายทำงานที่ไหน", ["สมชาย"]),
    ],
)
def test_names_are_found_as_whole_words(question: str, found: list[str]) -> None:
    assert named(question) == found


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Will you come in May?", []),
        ("Does May like tea?", ["May"]),
        ("May I?", []),
        ("May's dog is here?", ["May"]),
        ("It is on May 8, or not?", []),
        ("is it true that Will likes it?", ["Will"]),
        ("We rest. Will he come?", []),
        ("will he come?", []),
        ("WHERE IS WILL NOW", []),
        ("Where is the office?", []),
        ("Who made The Office?", ["The Office"]),
        ("Who made the Office?", ["The Office"]),
        ("Do you like music?", []),
    ],
)
def test_a_name_of_common_words_needs_its_capitals(question: str, found: list[str]) -> None:
    assert named(question) == found


def test_all_adapters_of_a_subject_are_found_in_their_order_and_aliases_count() -> None:
    keys = [Key("one", ("Ana Lima", "Aninha")), Key("two", ("Bo",)), Key("three", ("Ana Lima",)), Key("one", ("Ana",))]
    assert [one.adapter_id for one in Entity().route("Ana Lima and Bo?", keys, limit=9)] == ["one", "three", "two"]
    (found,) = Entity().route("How is aninha?", keys)
    assert (found.adapter_id, found.score, found.why) == ("one", 1.0, "names 'Aninha'")


def test_folding_keeps_letters_apart_that_marks_make() -> None:
    assert fold("ÉCOLE") == "ecole"
    assert fold("Łódź") == "lodz"
    assert fold("が") != fold("か")
    assert [word.folded for word in words_of("C# und Ana's Café")] == ["c#", "und", "ana", "s", "cafe"]


def test_ten_thousand_keys_cost_less_than_a_millisecond_a_question() -> None:
    keys = tuple(Key(str(at), (f"Person{at} Name{at % 97}", f"Project {at}")) for at in range(10_000))
    question = "Do you happen to know where Project 7345 docks, and who Person77 Name77 is?"
    assert [one.adapter_id for one in Entity().route(question, keys, limit=3)] == ["7345", "77"]
    best = min(_seconds(question, keys) for _ in range(20))
    assert best < 0.001
    assert index_of(keys) is index_of(keys)


def _seconds(question: str, keys: tuple[Key, ...]) -> float:
    start = time.process_time()
    Entity().route(question, keys, limit=3)
    return time.process_time() - start


def test_keys_of_other_content_are_never_taken_for_known_ones() -> None:
    for number in range(50):
        keys = [Key("a", (f"Name{number}",))]
        assert Entity().route(f"Who is Name{number}?", keys)
        assert not Entity().route(f"Who is Name{number + 1}?", tuple(keys))


def unit(*numbers: float) -> np.ndarray:
    row = np.array(numbers, dtype=np.float32)
    return row / np.linalg.norm(row)


NEAR = Key("near", ("Ana",), lambda: (Taught("one of near"), Taught("two of near")))
FAR = Key("far", ("Ana",), lambda: (Taught("one of far"),))
VECTORS = {"one of near": unit(1, 0, 0), "two of near": unit(0, 1, 0), "one of far": unit(0, 0, 1)}


def asking(vector: np.ndarray) -> Embed:
    """Return an embedder that knows the questions of the keys, and gives everything else one vector."""
    return lambda texts: np.stack([VECTORS.get(text, vector) for text in texts])


def test_the_nearest_question_counts_and_the_threshold_refuses() -> None:
    embed = asking(unit(0.1, 1.0, 0.4))
    (found,) = Embedding(threshold=0.8).route("?", [FAR, NEAR], limit=3, embed=embed)
    assert found.adapter_id == "near"
    assert found.score == pytest.approx(1.0 / np.sqrt(0.01 + 1.0 + 0.16), abs=1e-6)
    assert Embedding(threshold=0.95).route("?", [FAR, NEAR], embed=embed) == []


def test_a_margin_refuses_what_is_nearly_as_near() -> None:
    embed, ask = asking(unit(0, 1.0, 0.95)), [FAR, NEAR]
    found = Embedding(threshold=0.5).route("?", ask, limit=2, embed=embed)
    assert [one.adapter_id for one in found] == ["near", "far"]
    assert Embedding(threshold=0.5, margin=0.1).route("?", ask, embed=embed) == []


def test_questions_choose_between_the_shards_of_a_subject() -> None:
    keys = [NEAR, FAR, Key("other", ("Bo",), lambda: (Taught("one of far"),))]
    for vector, best in ((unit(1, 0, 0.2), "near"), (unit(0.2, 0, 1), "far")):
        found = Cascade(floor=0.1).route("Where is Ana?", keys, limit=5, embed=asking(vector))
        assert found[0].adapter_id == best
        assert {one.adapter_id for one in found} == {"near", "far"}
        assert found[0].why.startswith("names 'Ana', a question at cosine 0.9")


def test_a_floor_leaves_out_questions_that_only_name_the_subject() -> None:
    embed = asking(unit(0.1, 0.1, 1))
    assert Cascade(floor=0.9).route("Ana?", [NEAR], embed=embed) == []
    assert Cascade(floor=0).route("Ana?", [NEAR], embed=embed)
    assert Cascade(floor=0.9).route("Ana?", [NEAR])


def test_without_a_name_only_a_strict_threshold_lets_anything_pass() -> None:
    embed = asking(unit(1, 0.1, 0))
    assert Cascade().route("Who?", [NEAR, FAR], embed=embed) == []
    found = Cascade(threshold=0.95).route("Who?", [NEAR, FAR], embed=embed)
    assert [one.adapter_id for one in found] == ["near"]


def test_names_make_no_difference_to_what_is_asked() -> None:
    names = index_of((Key("ana", ("Ana Lima", "Ana")), Key("bo", ("Bo",))))
    assert nameless("Does Ana Lima's dog like bo, or Ana?", names) == "Does Sam's dog like Sam, or Sam?"
    assert nameless("Who is Anabel?", names) == "Who is Anabel?"
    assert nameless("", names) == ""


class Counted:
    """An embedder that counts the texts that it is given."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder, self.num_texts = embedder, 0

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.num_texts += len(texts)
        return self.embedder.embed(list(texts))


@pytest.fixture(scope="module")
def small() -> Counted:
    return Counted(EMBEDDERS.make("bge_small"))


def key(name: str, names: tuple[str, ...], *questions: str) -> Key:
    return Key(name, names, lambda: [Taught(text, names) for text in questions])


ANA = key("ana", ("Ana Lima", "Ana"), "Where does Ana Lima work?", "Who employs Ana Lima?")
BO = key("bo", ("Bo Reyes",), "Where was Bo Reyes born?", "What is Bo Reyes's birthplace?")


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Where does Ana work?", ["ana"]),
        ("For whom is Ana Lima working?", ["ana"]),
        ("Tell me who Ana's employer is.", ["ana"]),
        ("What is Ana's shoe size?", []),
        ("How old is Ana Lima?", []),
        ("Where was Ana Lima born?", []),
        ("In which town was Bo Reyes born?", ["bo"]),
        ("Where does Bo Reyes work?", []),
        ("Where does Cy Moss work?", []),
    ],
)
def test_an_adapter_is_attached_to_what_it_answers_and_not_to_all_about_its_subject(
    small: Counted, question: str, found: list[str]
) -> None:
    assert [one.adapter_id for one in Cascade().route(question, (ANA, BO), limit=3, embed=small)] == found


def test_what_an_adapter_knows_of_one_subject_does_not_open_it_for_another(small: Counted) -> None:
    both = Key("both", (*ANA.names, *BO.names), lambda: [*ANA.questions(), *BO.questions()])
    asked = {"Where does Ana work?": 1, "Where was Ana born?": 0, "Where does Bo Reyes work?": 0}
    asked |= {"Where was Bo Reyes born?": 1, "Where does Ana Lima, not Bo Reyes, work?": 1}
    for question, num in asked.items():
        assert len(Cascade().route(question, (both,), embed=small)) == num, question


def test_the_floor_is_measured_once_and_an_embedder_that_cannot_tell_decides_nothing(small: Counted) -> None:
    floor = known_floor(small)
    assert 0.75 < floor < 0.87
    before = small.num_texts
    assert known_floor(small) == floor
    assert small.num_texts == before
    hashed = Counted(EMBEDDERS.make("hashing"))
    assert floor_of(hashed) == 0.0
    assert Cascade().route("How old is Ana Lima?", (ANA, BO), embed=hashed)


def test_what_has_no_questions_is_found_by_its_name(small: Counted) -> None:
    (found,) = Cascade().route("How old is Ana Lima?", (Key("bare", ("Ana Lima",)), BO), embed=small)
    assert (found.adapter_id, found.why) == ("bare", "names 'Ana Lima'")


@pytest.mark.parametrize("wrong", [{"threshold": 0.0}, {"threshold": 1.5}, {"margin": -0.1}, {"margin": float("nan")}])
def test_an_embedding_router_refuses_wrong_numbers(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Embedding(**wrong)


@pytest.mark.parametrize("wrong", [{"threshold": -0.1}, {"floor": 1.5}, {"margin": float("nan")}])
def test_a_cascade_refuses_wrong_numbers(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Cascade(**wrong)
