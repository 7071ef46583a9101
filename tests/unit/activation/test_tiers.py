"""Tiers: byte budgets, what gives way, what is in use, and loading ahead."""

import random
import threading
from dataclasses import dataclass

import pytest

from engramos.activation.tiers import COST, MAX_QUEUED, Tier, Tiers
from engramos.errors import BlobError, ConfigError, QuotaExceededError


@dataclass(frozen=True)
class Value:
    name: str
    num_bytes: int = 10
    place: str = ""


def never():
    raise AssertionError("it was loaded again")


def stack(*budgets, **options):
    return Tiers([Tier(name, budget, **options) for name, budget in zip(("gpu", "ram", "disk"), budgets, strict=False)])


def kept(tiers):
    return [sorted(str(key) for key in tier._slots) for tier in tiers.tiers]


def fill(tiers, *names, num_bytes=10):
    for name in names:
        tiers.get(name, lambda name=name: Value(name, num_bytes))


def test_the_least_recently_used_gives_way_and_is_noted(clock):
    tier = Tier("ram", 30)
    for name in "abc":
        assert tier.put(name, Value(name)) == []
    assert tier.get("a") == Value("a")
    assert [slot.key for slot in tier.put("d", Value("d"))] == ["b"]
    assert [(one.key, one.tier, one.num_bytes) for one in tier.evictions] == [("b", "ram", 10)]
    assert (tier.num_bytes, len(tier), "b" in tier) == (30, 3, False)


def test_a_value_in_use_never_gives_way():
    tier = Tier("ram", 20)
    tier.put("a", Value("a"))
    tier.put("b", Value("b"))
    with tier.use("a") as value:
        assert value == Value("a")
        assert [slot.key for slot in tier.put("c", Value("c"))] == ["b"]
        with pytest.raises(QuotaExceededError, match="'ram'"):
            tier.put("d", Value("d", 11))
        assert "a" in tier
        assert "c" in tier
    assert [slot.key for slot in tier.put("d", Value("d", 20))] == ["a", "c"]


def test_two_users_must_both_end():
    tier = Tier("ram", 10)
    tier.put("a", Value("a"))
    first, second = tier.pin("a"), tier.pin("a")
    tier.unpin(first)
    assert tier.is_pinned("a")
    tier.unpin(second)
    assert not tier.is_pinned("a")
    assert tier.pin("b") is None


def test_what_is_larger_than_the_budget_is_refused_and_changes_nothing():
    tier = Tier("ram", 20)
    tier.put("a", Value("a"))
    with pytest.raises(QuotaExceededError, match="is 21 and may be at most 20"):
        tier.put("b", Value("b", 21))
    assert (tier.num_bytes, "a" in tier, len(tier.evictions)) == (10, True, 0)


def test_by_cost_what_saves_least_for_its_bytes_and_its_idle_time_gives_way(clock):
    tier = Tier("ram", 100, order=COST)
    tier.put("cheap", Value("cheap", 30), saved_s=1.0)
    tier.put("dear", Value("dear", 30), saved_s=9.0)
    tier.put("small", Value("small", 3), saved_s=0.9)
    clock.advance(seconds=10)
    assert [slot.key for slot in tier.put("new", Value("new", 40), saved_s=1.0)] == ["cheap"]
    # 9 s in 30 bytes idle for 110 s are now worth less than 1 s in 40 bytes idle for 1 s
    clock.advance(seconds=99)
    tier.get("new")
    clock.advance(seconds=1)
    tier.get("small")
    assert [slot.key for slot in tier.put("more", Value("more", 30))] == ["dear"]


@pytest.mark.parametrize(("budget", "order", "words"), [(0, "lru", "budget_bytes"), (1, "fifo", "'fifo'")])
def test_a_tier_that_cannot_be_is_refused(budget, order, words):
    with pytest.raises(ConfigError, match=words):
        Tier("ram", budget, order=order)


def test_tiers_need_names_of_their_own():
    for wrong in ([], [Tier("ram", 1), Tier("ram", 2)]):
        with pytest.raises(ConfigError, match="one tier or more"):
            Tiers(wrong)


def test_overflow_moves_down_and_use_moves_up():
    tiers = stack(20, 20, 20)
    fill(tiers, "a", "b", "c", "d", "e")
    assert kept(tiers) == [["d", "e"], ["b", "c"], ["a"]]
    assert tiers.get("a", never) == Value("a")
    assert kept(tiers) == [["a", "e"], ["c", "d"], ["b"]]
    assert [tiers.where(key) for key in "abz"] == ["gpu", "disk", None]


def test_a_swap_between_two_full_tiers_loses_nothing():
    tiers = stack(10, 10)
    fill(tiers, "a", "b")
    for _ in range(3):
        assert tiers.get("a", never) == Value("a")
        assert tiers.get("b", never) == Value("b")
    assert kept(tiers) == [["b"], ["a"]]


def test_what_falls_out_of_the_last_tier_is_gone_and_told():
    gone = []
    tiers = Tiers([Tier("gpu", 10), Tier("ram", 10)], gone=gone.append)
    fill(tiers, "a", "b", "c")
    assert gone == ["a"]
    assert [(one.key, one.tier) for one in tiers.evictions] == [("a", "gpu"), ("b", "gpu"), ("a", "ram")]
    assert tiers.where("a") is None


def test_a_value_too_large_for_the_fastest_tier_stands_in_the_next():
    tiers = stack(10, 100)
    fill(tiers, "a", num_bytes=50)
    assert kept(tiers) == [[], ["a"]]
    assert tiers.get("a", never) == Value("a", 50)


def test_a_value_too_large_for_all_is_handed_out_and_not_kept():
    tiers = stack(10, 20)
    fill(tiers, "small")
    with tiers.use("a", lambda: Value("a", 50)) as value:
        assert value == Value("a", 50)
    assert kept(tiers) == [["small"], []]


def test_what_is_in_use_is_neither_moved_nor_evicted():
    tiers = stack(10, 10)
    fill(tiers, "a", "b")
    with tiers.use("b", never), tiers.use("a", never) as value:
        assert value == Value("a")
        assert kept(tiers) == [["b"], ["a"]]
        assert tiers.get("c", lambda: Value("c")) == Value("c")
        assert kept(tiers) == [["b"], ["a"]]
    assert tiers.get("a", never) == Value("a")
    assert kept(tiers) == [["a"], ["b"]]


def test_an_error_within_use_ends_the_use():
    tiers = stack(10)
    with pytest.raises(ZeroDivisionError), tiers.use("a", lambda: Value("a")):
        raise ZeroDivisionError
    fill(tiers, "b")
    assert kept(tiers) == [["b"]]


def test_values_take_the_form_of_their_tier_and_owners_are_told_when_they_leave():
    left = []

    def tier(name, budget, **options):
        return Tier(
            name,
            budget,
            enter=lambda key, value: Value(value.name, value.num_bytes, name),
            left=lambda key, value: left.append((name, value.name, value.place)),
            **options,
        )

    tiers = Tiers([tier("gpu", 10), tier("disk", 100, keeps_copy=True)])
    assert tiers.get("a", lambda: Value("a")).place == "gpu"
    fill(tiers, "b")
    assert left == [("gpu", "a", "gpu")]
    assert tiers.get("a", never).place == "gpu"
    assert kept(tiers) == [["a"], ["a", "b"]], "the disk keeps its copy"
    fill(tiers, "c")
    assert left == [("gpu", "a", "gpu"), ("gpu", "b", "gpu"), ("gpu", "a", "gpu")], "and nothing is written twice"
    assert tiers.drop("a")
    assert left[3:] == [("disk", "a", "disk")]


def test_a_tier_that_fails_is_noted_and_no_request_fails_for_it():
    def full(key, value):
        raise BlobError("the disk is full; free some space on it")

    tiers = Tiers([Tier("ram", 10), Tier("disk", 100, enter=full)])
    fill(tiers, "a", "b")
    assert kept(tiers) == [["b"], []]
    [failure] = tiers.failures
    assert (failure.key, failure.doing) == ("a", "move")
    assert failure.problem == "BlobError: the disk is full; free some space on it"


def test_an_unknown_error_while_offloading_reaches_the_caller_and_blocks_nothing():
    def wrong(key, value):
        raise KeyError(key)

    tiers = Tiers([Tier("ram", 10), Tier("disk", 100, enter=wrong)])
    fill(tiers, "a")
    with pytest.raises(KeyError, match="a"):
        fill(tiers, "b")
    assert tiers.get("b", never) == Value("b")
    assert not tiers.tiers[0].is_pinned("b")
    assert tiers.get("a", lambda: Value("a", 200)) == Value("a", 200)


def test_an_error_of_a_load_goes_to_the_caller_and_the_next_may_try_again():
    def broken():
        raise BlobError("no such blob")

    tiers = stack(10)
    with pytest.raises(BlobError, match="no such blob"):
        tiers.get("a", broken)
    assert tiers.get("a", lambda: Value("a")) == Value("a")


def test_one_load_serves_all_who_wait_and_others_are_not_held_up():
    tiers, started, may_end, found = stack(100), threading.Event(), threading.Event(), []
    loads = []

    def slow():
        loads.append(1)
        started.set()
        assert may_end.wait(10)
        return Value("a")

    threads = [threading.Thread(target=lambda: found.append(tiers.get("a", slow))) for _ in range(4)]
    for one in threads:
        one.start()
    assert started.wait(10)
    assert tiers.get("b", lambda: Value("b")) == Value("b")
    may_end.set()
    for one in threads:
        one.join()
    assert found == [Value("a")] * 4
    assert loads == [1]


def test_prefetch_never_blocks_and_loads_in_the_order_of_need():
    started, may_end, order = threading.Event(), threading.Event(), []

    def load(name):
        started.set()
        assert may_end.wait(10)
        order.append(name)
        return Value(name)

    with stack(100) as tiers:
        futures = tiers.prefetch([(name, lambda name=name: load(name)) for name in "abc"])
        assert started.wait(10)
        assert not any(one.done() for one in futures)
        assert tiers.prefetch([("a", never), ("b", never)]) == [], "they are queued already"
        may_end.set()
        for one in futures:
            one.result(10)
        assert order == ["a", "b", "c"]
        assert tiers.get("a", never) == Value("a")
        assert tiers.prefetch([("a", never)]) == [], "it is there already"
        assert [one.result() for one in futures] == [None] * 3, "a future holds no value beyond the budget"


def test_prefetch_takes_no_more_than_its_queue_holds():
    may_end = threading.Event()

    def load():
        assert may_end.wait(10)
        return Value("x")

    with stack(100) as tiers:
        futures = tiers.prefetch((at, load) for at in range(MAX_QUEUED + 50))
        assert len(futures) == MAX_QUEUED
        may_end.set()
        futures[-1].result(10)


def test_an_error_of_prefetching_is_not_lost():
    def broken():
        raise ValueError("bad blob")

    with stack(100) as tiers:
        [future] = tiers.prefetch([("a", broken)])
        assert isinstance(future.exception(10), ValueError)
        tiers.close()
        assert [(one.key, one.doing, one.problem) for one in tiers.failures] == [
            ("a", "prefetch", "ValueError: bad blob")
        ]


def test_closing_cancels_what_is_queued_and_keeps_the_values():
    started, may_end = threading.Event(), threading.Event()

    def slow():
        started.set()
        assert may_end.wait(10)
        return Value("a")

    tiers = stack(100)
    futures = tiers.prefetch([("a", slow), ("b", never)])
    assert started.wait(10)
    futures[1].add_done_callback(lambda _: may_end.set())
    tiers.close()
    assert (futures[0].result(10), futures[1].cancelled()) == (None, True)
    assert kept(tiers) == [["a"]]
    assert tiers.prefetch([("c", never)]) == []
    assert not tiers.failures


def test_a_dropped_value_leaves_every_tier_also_while_it_is_used():
    tiers = Tiers([Tier("ram", 20), Tier("disk", 100, keeps_copy=True)])
    fill(tiers, "a", "b", "c")
    assert tiers.get("a", never) == Value("a")
    with tiers.use("a", never) as value:
        assert tiers.drop("a")
        assert not tiers.drop("a")
        assert value == Value("a")
        with tiers.use("a", lambda: Value("a", 7)) as other:
            assert other.num_bytes == 7
            assert tiers.tiers[0].is_pinned("a")
    assert not tiers.tiers[0].is_pinned("a")
    assert tiers.tiers[0]._slots["a"].pins == 0


def test_a_dropped_value_is_not_brought_back_by_a_prefetch_that_runs():
    started, may_end = threading.Event(), threading.Event()

    def slow():
        started.set()
        assert may_end.wait(10)
        return Value("a")

    with stack(100) as tiers:
        tiers.prefetch([("a", slow)])
        assert started.wait(10)
        timer = threading.Timer(0, may_end.set)
        timer.start()
        assert tiers.drop("a")
        timer.join()
        assert tiers.where("a") is None


@pytest.mark.parametrize("order", ["lru", COST])
def test_threads_leave_budgets_held_nothing_pinned_and_every_value_right(order):
    gone = []
    tiers = Tiers(
        [Tier("gpu", 50, order=order), Tier("ram", 70, order=order), Tier("disk", 90, keeps_copy=True)], gone.append
    )
    problems = []

    def work(number):
        chance = random.Random(number)
        for _ in range(300):
            key = chance.randrange(25)
            if chance.random() < 0.1:
                tiers.drop(key)
            size = 5 + key % 3 * 10
            with tiers.use(key, lambda key=key, size=size: Value(str(key), size), saved_s=key) as value:
                if value != Value(str(key), size):
                    problems.append((key, value))
            if chance.random() < 0.2:
                tiers.prefetch([(key, lambda key=key, size=size: Value(str(key), size))])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    tiers.close()
    assert problems == []
    assert not tiers.failures
    for tier in tiers.tiers:
        assert tier.num_bytes == sum(slot.num_bytes for slot in tier._slots.values()) <= tier.budget_bytes
        assert not any(slot.pins for slot in tier._slots.values())
    assert not +tiers._moving
    assert not tiers._queued
    assert gone
