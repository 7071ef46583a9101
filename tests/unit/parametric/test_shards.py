"""Facts are dealt out to shards by subject, and a new fact leaves the other shards alone."""

import random

import pytest

from engramos.errors import InvalidInputError
from engramos.parametric.facts import Fact, FactSource
from engramos.parametric.shards import shards_of


def facts_of(subject: str, num: int, **more: tuple[str, ...]) -> list[Fact]:
    return [Fact(subject, f"What is number {at} of {subject}?", str(at), **more) for at in range(num)]


def many(num_subjects: int = 60, seed: int = 0) -> list[Fact]:
    drawn = random.Random(seed)
    return [fact for number in range(num_subjects) for fact in facts_of(f"Person {number}", drawn.randint(1, 9))]


def test_every_fact_is_in_one_shard_and_no_shard_is_too_large() -> None:
    for most in (1, 2, 5, 12, 1_000):
        shards = shards_of(many(), most)
        assert sorted(fact.id for shard in shards for fact in shard) == sorted(fact.id for fact in many())
        assert all(1 <= len(shard) <= most for shard in shards)
    assert shards_of([], 12) == []


def test_a_subject_that_fits_stays_whole() -> None:
    shards = shards_of(many(), 9)
    for number in range(60):
        assert sum(any(fact.subject == f"Person {number}" for fact in shard) for shard in shards) == 1


def test_a_subject_with_many_facts_is_split_and_keeps_to_itself() -> None:
    shards = shards_of([*facts_of("Ana", 100), *facts_of("Bo", 3)], 12)
    with_ana = [shard for shard in shards if any(fact.subject == "Ana" for fact in shard)]
    assert len(with_ana) > 8
    assert all({fact.subject for fact in shard} == {"Ana"} for shard in with_ana)


def test_the_order_of_facts_does_not_matter() -> None:
    facts = many()
    for seed in range(5):
        mixed = list(facts)
        random.Random(seed).shuffle(mixed)
        assert shards_of(mixed, 12) == shards_of(facts, 12)


def test_a_new_fact_changes_the_one_shard_that_it_falls_into() -> None:
    facts = many()
    before = set(shards_of(facts, 12))
    for number in range(60):
        for new in (Fact(f"Person {number}", "Who is this?", "No one"), Fact(f"Stranger {number}", "Who?", "No one")):
            after = set(shards_of([*facts, new], 12))
            assert len(before - after) <= 1
            changed = {fact.id for shard in after - before for fact in shard}
            assert changed == {new.id} | {fact.id for shard in before - after for fact in shard}


def test_forgetting_a_fact_gives_the_shards_of_never_having_had_it() -> None:
    facts = many()
    whole = shards_of(facts, 12)
    assert shards_of([*facts, Fact("Someone new", "Who?", "No one")][:-1], 12) == whole
    rest = set(shards_of(facts[1:], 12))
    # the shard that held it, and at most its neighbour, with which it may now fit together
    assert len(set(whole) - rest) <= 12


def test_shards_are_well_filled() -> None:
    singles = [Fact(f"Subject {number}", "Who?", "No one") for number in range(1_000)]
    assert len(shards_of(singles, 12)) < 1_000 / 12 * 1.7


def test_subjects_that_share_a_name_are_one() -> None:
    facts = [*facts_of("Ana Lima", 3, aliases=("Ana",)), *facts_of("ANA", 3), *facts_of("Lima, A.", 2)]
    for other in range(30):
        facts += facts_of(f"Other {other}", 4)
    shards = shards_of(facts, 6)
    assert sum(any("ana" in fact.subject.lower() for fact in shard) for shard in shards) == 1


def test_duplicates_become_one_and_contradictions_are_refused() -> None:
    one = Fact("Ana", "Where does Ana work?", "Acme", sources=(FactSource("a", 1),))
    same = Fact("Ana", "Where does Ana work?", "Acme", sources=(FactSource("b", 1),))
    assert [len(fact.sources) for (fact,) in shards_of([one, same], 12)] == [2]
    with pytest.raises(InvalidInputError, match="supersede"):
        shards_of([one, Fact("Ana", "Where does Ana work?", "Umbra")], 12)
    with pytest.raises(InvalidInputError, match="most is 0"):
        shards_of([one], 0)
