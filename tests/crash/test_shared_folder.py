"""P1, P3, P11: several processes on one folder, retries under one key, and a backup while others write."""

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.crash import whole
from tests.crash.controller import Acknowledged, Worker, demand_nothing, find_loss

from engramos.errors import IdempotencyConflictError
from engramos.memory import MemoryOS


def is_acknowledged(line):
    return "ids" in line


@pytest.mark.parametrize("seed", [11, 12])
def test_a_process_that_is_killed_takes_nothing_of_the_other_with_it(tmp_path, seed):
    """Both start at once on a folder that does not exist; a third one searches; the first is killed, five times."""
    folder, wanted, rng = tmp_path / "memory", Acknowledged(), random.Random(seed)
    with (
        Worker("add", folder, seed=f"{seed}a", threads=4, num=60) as steady,
        Worker("search", folder, seed=seed) as seeker,
    ):
        for number in range(5):
            with Worker("add", folder, seed=f"{seed}b{number}", threads=4) as doomed:
                for _ in range(rng.randint(1, 12)):
                    doomed.read_until(is_acknowledged)
                doomed.kill()
            wanted.take(doomed.lines)
        steady.finish()
        seeker.finish()
    assert wanted.take(steady.lines) > 240
    assert steady.named("closed") == [True]
    wanted.take(seeker.lines)
    num_lost, found = find_loss(folder, wanted)
    print(
        f"\ntwo writers, a reader ({seeker.named('searches')[0]} searches), 5 kills: {len(wanted.digests)} acknowledged"
    )
    demand_nothing(found, folder, {"seed": seed})
    assert num_lost == 0


def test_eight_processes_may_make_the_same_folder_at_once(tmp_path):
    wanted = Acknowledged()
    workers = [Worker("add", tmp_path / "memory", seed=f"9w{one}", threads=1, num=3) for one in range(8)]
    for worker in workers:
        with worker:
            worker.finish()
        wanted.take(worker.lines)
    assert find_loss(tmp_path / "memory", wanted) == (0, [])
    assert len(wanted.digests) >= 24


@pytest.mark.parametrize("seed", [21, 22])
def test_a_request_that_is_sent_again_and_again_between_kills_happens_once(tmp_path, seed):
    """Ten threads in each of two processes send each key at the same instant; both are killed and started again."""
    folder, rng, keys = tmp_path / "memory", random.Random(seed), [f"key{number}x" for number in range(8)]
    answers: dict[str, set[str]] = {key: set() for key in keys}
    num_acknowledged = num_kills = 0
    for number in range(5):
        pair = [Worker("same_key", folder, seed=seed, keys=keys) for _ in range(2)]
        with pair[0], pair[1]:
            if number < 4:
                for _ in range(rng.randint(1, 35)):
                    pair[0].read_until(lambda line: "key" in line)
                num_kills += sum(worker.kill(may_have_ended=True) for worker in pair)
            else:
                for worker in pair:
                    worker.finish()
        for worker in pair:
            for line in worker.lines:
                if "key" in line:
                    answers[line["key"]].add(json.dumps(line["applied"]))
                    num_acknowledged += 1
    print(f"\none key, 20 senders, {num_kills} kills: {num_acknowledged} acknowledged, {len(keys)} requests done")
    assert num_kills >= 2
    assert {key: len(found) for key, found in answers.items()} == dict.fromkeys(keys, 1)
    assert whole.problems(folder) == []
    with MemoryOS.open(folder, embedder="hashing") as memory:
        texts = [cube.text for cube in memory.list()]
        assert sorted(texts) == sorted(f"{key}p{place}of2 same" for key in keys for place in range(2))
        assert all(cube.version == 1 for cube in memory.list())
        for key in keys:
            with pytest.raises(IdempotencyConflictError):
                memory.add("something else", idempotency_key=key)
        assert len(memory.list()) == 2 * len(keys)


def test_one_key_with_two_contents_at_once_keeps_one_of_them(tmp_path):
    with MemoryOS.open(tmp_path / "memory", embedder="hashing") as memory, ThreadPoolExecutor(10) as pool:
        start = threading.Barrier(10)

        def send(number):
            start.wait()
            try:
                return number % 2, memory.add(f"content {number % 2}", idempotency_key="k").cube_ids
            except IdempotencyConflictError:
                return None

        answers = [answer for answer in pool.map(send, range(10)) if answer is not None]
        assert len(set(answers)) == 1
        assert len(answers) == 5
        assert [cube.text for cube in memory.list()] == [f"content {answers[0][0]}"]


def test_a_backup_under_load_holds_all_that_was_acknowledged_before_it(tmp_path):
    copies, ids, stop = [], [], threading.Event()
    with MemoryOS.open(tmp_path / "memory", embedder="hashing") as memory:

        def work(thread):
            number = 0
            while not stop.is_set():
                texts = [f"t{thread}n{number}xp{place}of2 lantern" for place in range(2)]
                ids.extend(memory.add(texts).cube_ids)
                number += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for one in threads:
            one.start()
        try:
            for number in range(4):
                while len(ids) < 200 * (number + 1):
                    assert all(one.is_alive() for one in threads)
                before = set(ids)
                copies.append((before, memory.backup(tmp_path / f"copy{number}")))
        finally:
            stop.set()
            for one in threads:
                one.join()
    history = whole.journal_of(tmp_path / "memory")
    for before, copy in copies:
        assert whole.problems(copy) == []
        journal = whole.journal_of(copy)
        assert journal == history[: len(journal)]
        with MemoryOS.open(copy, embedder="hashing") as restored:
            found = {cube.id for cube in restored.list(limit=10_000)}
            assert before <= found
            assert restored.search("lantern")
            restored.add("a copy can be written")
    sizes = [(len(before), len(whole.journal_of(copy)) - 1) for before, copy in copies]
    print(f"\nbackup under load: acknowledged before, and held: {sizes}; {len(history)} in all")
