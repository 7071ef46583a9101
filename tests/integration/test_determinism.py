"""P31: the same memory and the same question give the same answer, after every opening."""

import random
from dataclasses import replace
from pathlib import Path

from engramos.memory import MemoryOS
from engramos.plaintext.plan import DEFAULT

WORDS = "harbour lamp violet engine quiet paper winter bridge copper garden silver orchard letter window".split()
NUM_QUESTIONS = 100


def answers(memory: MemoryOS, questions: list[str]) -> list[list[tuple[str, float]]]:
    """Return ids and scores, in their order, of what is found for each question."""
    return [[(hit.id, round(hit.score, 4)) for hit in memory.search(question, limit=20)] for question in questions]


def seeded(folder: Path, dice: random.Random) -> MemoryOS:
    """Return a memory with many equal texts, changed and erased cubes."""
    memory = MemoryOS.open(folder, embedder="hashing", durability="relaxed")
    ids: list[str] = []
    for number in range(300):
        text = " ".join(dice.choices(WORDS, k=dice.randint(2, 5)))
        ids += memory.add([text, text], session=f"s{number % 9}", speaker=dice.choice(["Ana", "Ben"])).cube_ids
    for cube_id in dice.sample(ids, 120):
        memory.update(cube_id, text=" ".join(dice.choices(WORDS, k=3)), force=True)
    memory.forget(dice.sample(ids, 40), act="erase")
    memory.forget(dice.sample([cube.id for cube in memory.list(limit=1_000)], 40), act="expire")
    return memory


def test_a_hundred_questions_have_the_same_answers_after_three_openings(folder: Path) -> None:
    dice = random.Random(31)
    questions = [" ".join(dice.choices(WORDS, k=dice.randint(1, 4))) for _ in range(NUM_QUESTIONS)]
    memory = seeded(folder, dice)
    first = answers(memory, questions)
    assert all(first)
    memory.close()
    for _ in range(3):
        with MemoryOS.open(folder, embedder="hashing") as again:
            assert [[one for one, _ in hits] for hits in answers(again, questions)] == [
                [one for one, _ in hits] for hits in first
            ]
            assert answers(again, questions) == first


def test_ties_stand_in_the_order_of_their_making(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="hashing") as memory:
        ids = list(memory.add(["harbour lamp"] * 20).cube_ids)
        memory.update(ids[3], text="violet", expected_version=1)
        memory.update(ids[3], text="harbour lamp", expected_version=2)
        plan = replace(DEFAULT, rerankers=())
        assert [hit.id for hit in memory.search("harbour", limit=100, plan=plan)] == ids
        assert [hit.id for hit in memory.search("harbour", limit=5, plan=plan)] == ids[:5]


def test_of_texts_that_say_the_same_the_newest_is_first(folder: Path) -> None:
    with MemoryOS.open(folder, embedder="hashing") as memory:
        ids = list(memory.add(["harbour lamp"] * 20).cube_ids)
        assert [hit.id for hit in memory.search("harbour", limit=100)] == ids[::-1]


def test_every_hit_says_what_its_score_is_made_of(folder: Path) -> None:
    dice = random.Random(32)
    memory = seeded(folder, dice)
    for hit in memory.search("harbour lamp in winter", limit=50):
        assert hit.parts
        assert abs(sum(hit.parts.values()) - hit.score) < 1e-3
    memory.close()


def test_the_same_question_in_two_processes_has_the_same_answer(folder: Path) -> None:
    import subprocess
    import sys

    memory = seeded(folder, random.Random(33))
    program = (
        "import sys; from engramos.memory import MemoryOS\n"
        "with MemoryOS.open(sys.argv[1], embedder='hashing') as memory:\n"
        "    print(*[hit.id for hit in memory.search('copper garden', limit=50)])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [hit.id for hit in memory.search("copper garden", limit=50)]
    memory.close()
