"""The index of prefixes."""

import random
import threading
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engramos.activation.blocks import chain_of, salt_of
from engramos.activation.fingerprint import Fingerprint
from engramos.activation.prefixes import Entry, Explanation, Match, Prefixes
from engramos.errors import ConfigError, InvalidInputError

SIZE = 4
SECRET = bytes(32)
MODEL = Fingerprint("w", "c", "t", "p", "float32", "r")
OTHER = replace(MODEL, weights="w2", rope="r2")


def chain(tokens, tenant="a", model=MODEL, size=SIZE):
    return chain_of(list(tokens), model.digest, salt_of(tenant, SECRET), size)


def entry(cube_id, tokens, tenant="a", model=MODEL):
    return Entry(cube_id, tenant, model, chain(tokens, tenant, model))


def index(*entries):
    made = Prefixes(SIZE)
    for one in entries:
        made.add(one)
    return made


def explained(prefixes, tokens, tenant="a", model=MODEL):
    return prefixes.explain(chain(tokens, tenant, model), tenant, model)


def test_a_match_ends_inside_of_a_block():
    prefixes = index(entry("one", range(10)), entry("two", [0, 1, 2, 3, 9, 9]))
    assert prefixes.longest(chain([0, 1, 2, 3, 4, 5, 7, 7])) == Match("one", 6)
    assert prefixes.longest(chain([0, 1, 2, 3, 9])) == Match("two", 5)
    assert prefixes.longest(chain(range(20))) == Match("one", 10)


def test_prompts_and_cubes_shorter_than_a_block_are_matched_too():
    prefixes = index(entry("one", [1, 2]))
    assert prefixes.longest(chain([1, 2, 3])) == Match("one", 2)
    assert prefixes.longest(chain([1])) == Match("one", 1)
    assert prefixes.longest(chain([2])) is None
    assert prefixes.longest(chain([])) is None


def test_of_many_cubes_with_one_prefix_the_right_one_is_found():
    prefixes = index(*(entry(f"c{at}", [*range(8), at, 5, at]) for at in range(500)))
    assert prefixes.longest(chain([*range(8), 321, 5, 321, 4])) == Match("c321", 11)


def test_a_removed_cube_is_found_no_more_and_leaves_nothing():
    prefixes = index(entry("one", range(10)), entry("two", range(5)))
    assert prefixes.remove("one")
    assert not prefixes.remove("one")
    assert prefixes.longest(chain(range(10))) == Match("two", 5)
    prefixes.remove("two")
    assert len(prefixes) == 0
    assert [prefixes._nodes, prefixes._of_tenant, prefixes._entries, prefixes._evicted] == [{}, {}, {}, {}]


def test_the_same_cube_again_replaces_what_was_known():
    prefixes = index(entry("one", range(10)), entry("one", [5, 6]))
    assert len(prefixes) == 1
    assert prefixes.longest(chain(range(10))) is None
    assert prefixes.longest(chain([5, 6])) == Match("one", 2)


short = st.lists(st.integers(0, 2), max_size=14)
steps = st.lists(st.tuples(st.integers(0, 6), short, st.sampled_from("ab"), st.booleans()), max_size=14)


@settings(max_examples=300, deadline=None)
@given(steps, short, st.sampled_from("ab"))
def test_the_longest_match_is_that_of_comparing_with_every_cube(steps, prompt, tenant):
    prefixes, known = Prefixes(SIZE), {}
    for number, tokens, owner, is_added in steps:
        if is_added and tokens:
            prefixes.add(entry(f"c{number}", tokens, owner))
            known[f"c{number}"] = (owner, tokens)
        else:
            assert prefixes.remove(f"c{number}", is_evicted=bool(tokens)) == (known.pop(f"c{number}", None) is not None)
    lengths = {}
    for cube_id, (owner, tokens) in known.items():
        common = 0
        while owner == tenant and common < min(len(tokens), len(prompt)) and tokens[common] == prompt[common]:
            common += 1
        lengths[cube_id] = common
    match = prefixes.longest(chain(prompt, tenant))
    assert (match.num_tokens if match else 0) == max(lengths.values(), default=0)
    assert match is None or lengths[match.cube_id] == match.num_tokens


@settings(max_examples=100, deadline=None)
@given(st.lists(short.filter(bool), max_size=8), short, st.randoms(use_true_random=False))
def test_the_order_of_adding_does_not_change_the_answer(rows, prompt, chance):
    entries = [entry(f"c{at}", tokens) for at, tokens in enumerate(rows)]
    shuffled = chance.sample(entries, len(entries))
    assert index(*entries).longest(chain(prompt)) == index(*shuffled).longest(chain(prompt))


def test_a_whole_match_is_a_hit():
    found = explained(index(entry("one", range(10))), range(9))
    assert (found.reason, found.cube_id, found.num_tokens, found.prompt_tokens) == ("hit", "one", 9, 9)


def test_a_match_of_some_blocks_is_partial_and_counts_them():
    found = explained(index(entry("one", range(10))), [*range(9), 77, 78, 79, 80])
    assert (found.reason, found.num_blocks, found.prompt_blocks, found.num_tokens) == ("partial", 2, 4, 9)


def test_nothing_in_common_is_absent():
    assert explained(index(entry("one", range(10))), [5, 6]) == Explanation("absent", prompt_tokens=2, prompt_blocks=1)


def test_an_evicted_cube_is_named_as_the_reason_until_it_comes_back_or_is_erased():
    prefixes = index(entry("one", range(10)), entry("two", range(5)))
    prefixes.remove("one", is_evicted=True)
    found = explained(prefixes, range(10))
    assert (found.reason, found.cube_id, found.num_tokens, found.lost_tokens) == ("evicted", "two", 5, 8)
    prefixes.remove("one")
    assert explained(prefixes, range(10)).reason == "partial"
    prefixes.add(entry("one", range(10)))
    prefixes.remove("one", is_evicted=True)
    prefixes.add(entry("one", range(10)))
    assert explained(prefixes, range(10)).reason == "hit"


def test_evictions_are_forgotten_oldest_first():
    prefixes = Prefixes(SIZE, max_evicted_blocks=3)
    for at in range(3):
        prefixes.add(entry(f"c{at}", [at] * 8))
        prefixes.remove(f"c{at}", is_evicted=True)
    assert [explained(prefixes, [at] * 8).reason for at in range(3)] == ["absent", "absent", "evicted"]
    assert prefixes._num_evicted_blocks == 2 == len(prefixes._evicted_nodes)


def test_no_token_stays_of_what_was_evicted():
    prefixes = index(entry("one", range(10)))
    prefixes.remove("one", is_evicted=True)
    assert prefixes._entries == prefixes._nodes == {}
    assert prefixes._evicted == {"one": chain(range(10)).hashes}


def test_another_fingerprint_is_named_with_its_differing_fields():
    found = explained(index(entry("one", range(10), model=OTHER)), range(10))
    assert (found.reason, found.cube_id, found.num_tokens) == ("other fingerprint", None, 0)
    assert (found.lost_tokens, found.differences) == (10, ("weights", "rope"))


def test_a_worse_match_under_another_fingerprint_is_no_reason():
    prefixes = index(entry("one", range(8)), entry("two", range(8), model=OTHER))
    assert explained(prefixes, range(12)).reason == "partial"


def test_the_greater_of_two_losses_is_named():
    prefixes = index(entry("one", range(8)), entry("two", range(12), model=OTHER))
    prefixes.remove("one", is_evicted=True)
    assert explained(prefixes, range(16)).reason == "other fingerprint"
    prefixes.remove("two")
    assert explained(prefixes, range(16)).reason == "evicted"


SECRETS = {
    "a cube that fits": lambda: index(entry("one", range(10), "a")),
    "a cube that is shorter than a block": lambda: index(entry("one", [0, 1], "a")),
    "a cube of another model": lambda: index(entry("one", range(10), "a", OTHER)),
    "an evicted cube": lambda: _evicted(entry("one", range(10), "a")),
}


def _evicted(one):
    made = index(one)
    made.remove(one.cube_id, is_evicted=True)
    return made


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("num_tokens", [0, 1, 2, 4, 10, 13])
@pytest.mark.parametrize("own", [[], [0, 1, 2, 3, 4, 99], [50]])
def test_what_another_tenant_stores_changes_no_answer(name, num_tokens, own):
    prompt = list(range(num_tokens))
    alone, together = index(), SECRETS[name]()
    for prefixes in (alone, together):
        if own:
            prefixes.add(entry("mine", own, "b"))
    assert together.longest(chain(prompt, "b")) == alone.longest(chain(prompt, "b"))
    assert repr(explained(together, prompt, "b")) == repr(explained(alone, prompt, "b"))
    if not own:
        assert explained(together, prompt, "b").reason == "absent"


def test_a_tenant_is_not_helped_by_the_name_of_another():
    prefixes = index(entry("one", range(10), "a"))
    assert prefixes.longest(chain(range(10), "b")) is None
    assert prefixes.explain(chain(range(10), "b"), "b", MODEL).reason == "absent"


def test_a_look_up_takes_the_same_steps_whatever_others_store():
    """Counts the questions that a look-up asks of the table of nodes."""

    class Counted(dict):
        asked = 0

        def __contains__(self, key):
            self.asked += 1
            return super().__contains__(key)

        def get(self, key, default=None):
            self.asked += 1
            return super().get(key, default)

    counts = []
    for prefixes in (index(), index(*(entry(f"c{at}", range(at + 1), "a") for at in range(40)))):
        prefixes._nodes = Counted(prefixes._nodes)
        prefixes.longest(chain(range(40), "b"))
        counts.append(prefixes._nodes.asked)
    assert counts[0] == counts[1] > 0


def test_the_operator_sees_other_tenants_and_names_none_of_their_cubes():
    prefixes = index(entry("one", range(10), "a"))
    found = prefixes.explain_to_operator(chain(range(10), "b"), "b", MODEL)
    assert (found.reason, found.cube_id, found.num_tokens, found.lost_tokens) == ("other tenant", None, 0, 10)
    assert "one" not in [getattr(found, one.name) for one in fields(found)]
    assert prefixes.explain_to_operator(chain(range(10), "a"), "a", MODEL).reason == "hit"
    assert prefixes.explain_to_operator(chain([5], "b"), "b", MODEL).reason == "absent"


def test_what_cannot_be_indexed_is_refused():
    prefixes = index()
    with pytest.raises(InvalidInputError, match="no token"):
        prefixes.add(entry("one", []))
    for act in (
        lambda one: prefixes.longest(one),
        lambda one: prefixes.add(Entry("x", "a", MODEL, one)),
        lambda one: prefixes.explain(one, "a", MODEL),
        lambda one: prefixes.explain_to_operator(one, "a", MODEL),
    ):
        with pytest.raises(InvalidInputError, match="hash them anew"):
            act(chain([1], size=5))
    with pytest.raises(ConfigError, match="block_tokens"):
        Prefixes(0)
    with pytest.raises(ConfigError, match="max_evicted_blocks"):
        Prefixes(SIZE, -1)


def test_threads_that_add_look_up_and_remove_leave_a_whole_index():
    prefixes, problems = index(entry("base", range(8))), []

    def work(number):
        chance = random.Random(number)
        for _ in range(150):
            tokens = [*range(8), number, *(chance.randrange(2) for _ in range(chance.randrange(9)))]
            prefixes.add(entry(f"c{number}", tokens))
            match = prefixes.longest(chain(tokens))
            if match != Match(f"c{number}", len(tokens)):
                problems.append(match)
            prefixes.remove(f"c{number}", is_evicted=chance.random() < 0.5)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10, 14)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert problems == []
    assert prefixes.longest(chain(range(9))) == Match("base", 8)
    assert len(prefixes._nodes) == 3
