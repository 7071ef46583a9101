"""A process that uses a memory until it is killed; it reports each verb over a pipe after the verb has returned.

The argument is one JSON object: `mode` names a function below, the rest are its arguments.
"""

import hashlib
import json
import os
import random
import resource
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from engramos.errors import EngramosError
from engramos.memory import MemoryOS
from engramos.plaintext.plan import Plan, Step
from engramos.rows import Filter

LEXICAL = Plan((Step("lexical", "lexical", 1.0),))
WORDS = "harbour lantern cinnamon Zürich violin granite 東京 saffron meadow kettle Ångström ledger".split()


def report(**line):
    """Write one line; it is shorter than a pipe's atomic write, so threads do not mix and a kill does not cut it."""
    data = json.dumps(line).encode() + b"\n"
    assert len(data) <= 4096
    os.write(1, data)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def texts_of(request, rng, num):
    return [f"{request}p{place}of{num} " + " ".join(rng.choices(WORDS, k=rng.randint(3, 60))) for place in range(num)]


def open_memory(folder, settings):
    memory = MemoryOS.open(folder, **settings)
    report(opened=True)
    return memory


def in_threads(num_threads, work):
    with ThreadPoolExecutor(num_threads) as pool:
        for future in [pool.submit(work, number) for number in range(num_threads)]:
            future.result()


def add(folder, settings, seed, threads=8, num=10**9):
    """Add from several threads, singly and three at a time, with and without an end of retention."""
    memory = open_memory(folder, settings)

    def work(thread):
        rng = random.Random(f"{seed}/{thread}")
        for number in range(num):
            texts = texts_of(f"s{seed}t{thread}n{number}x", rng, rng.choice((1, 1, 1, 3)))
            keep_for = None
            if rng.random() < 0.4:
                keep_for = timedelta(days=30, microseconds=rng.randrange(10**12))
            try:
                receipt = memory.add(texts, keep_for=keep_for)
            except EngramosError as error:
                report(error=f"{type(error).__name__}: {error}")
                raise
            report(ids=receipt.cube_ids, digests=[digest(text) for text in texts])

    in_threads(threads, work)
    memory.close()
    report(closed=True)


def mix(folder, settings, seed, threads=3, num=10**9):
    """Blob, add, update, expire, erase, over and over; each is announced before it begins."""
    memory = open_memory(folder, settings)

    def work(thread):
        rng = random.Random(f"{seed}/{thread}")
        for number in range(num):
            request = f"s{seed}t{thread}n{number}x"
            found, _ = memory._parts.vault.blobs.put("local", rng.randbytes(9_000))
            report(blob=found)
            texts = texts_of(request, rng, 3)
            first, second, third = memory.add(texts, keep_for=None).cube_ids
            report(ids=(first, second, third), digests=[digest(text) for text in texts])
            newer = f"{texts[0]} corrected"
            report(begins="update", id=first, digest=digest(newer))
            memory.update(first, expected_version=1, text=newer)
            report(ids=(first,), digests=(digest(newer),))
            report(begins="expire", id=second)
            memory.forget(second, act="expire")
            report(expired=second)
            report(begins="erase", id=third)
            memory.forget(third, act="erase")
            report(erased=third)

    in_threads(threads, work)
    memory.close()
    report(closed=True)


def erase(folder, settings, canary):
    """Store a canary among other texts, with a second version, and erase it."""
    memory = open_memory(folder, settings)
    for number in range(40):
        memory.add(f"other text {number} about the harbour")
    cube_id = memory.add(f"the first secret is {canary}", speaker=canary, labels=(canary,)).cube_ids[0]
    memory.update(cube_id, expected_version=1, text=f"the second secret is {canary}")
    report(begins="erase", id=cube_id)
    memory.forget(cube_id, act="erase")
    report(erased=cube_id)


def same_key(folder, settings, seed, keys, threads=10):
    """Send one add under one key from all threads at the same instant, a key after another."""
    memory = open_memory(folder, settings)
    for key in keys:
        start = threading.Barrier(threads)

        def work(_, key=key, start=start):
            start.wait()
            receipt = memory.add([f"{key}p0of2 same", f"{key}p1of2 same"], idempotency_key=key)
            report(key=key, applied=[(one.cube_id, one.version, one.seq) for one in receipt.applied])

        in_threads(threads, work)
    memory.close()
    report(closed=True)


def search(folder, settings, seed):
    """Search and list until standard input ends."""
    memory = open_memory(folder, settings)
    is_over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), is_over.set()), daemon=True).start()
    rng, num = random.Random(seed), 0
    while not is_over.is_set():
        try:
            memory.search(" ".join(rng.choices(WORDS, k=3)), limit=5)
            memory.list(Filter(match=rng.choice(("harbour", "violin", "kettle"))), limit=5)
        except EngramosError as error:
            report(error=f"{type(error).__name__}: {error}")
            raise
        num += 1
    memory.close()
    report(searches=num)


def hold(folder, settings):
    """Keep a memory open and do nothing until standard input ends."""
    memory = open_memory(folder, settings)
    sys.stdin.read()
    memory.close()


def fill(folder, settings, limit_bytes=None, filler=None):
    """Add until the disk refuses, read on, make room, and add again."""
    memory = open_memory(folder, settings)
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
    number = 0
    while True:
        texts = [f"full{number}xp{place}of3 " + "lantern " * 300 for place in range(3)]
        number += 1
        try:
            report(ids=memory.add(texts).cube_ids, digests=[digest(text) for text in texts])
        except EngramosError as error:
            report(refused=f"{type(error).__name__}: {error}")
            break
    report(hits=len(memory.search("lantern", limit=5)))
    if limit_bytes:  # now nothing at all can be written, as on a disk that others have filled to the last byte
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))
    reader = MemoryOS.open(folder, **settings)
    reader.search("lantern")
    try:
        reader.close()
    except EngramosError as error:
        report(close_refused=f"{type(error).__name__}: {error}")
    report(is_left_open=not reader._parts.vault.is_closed)
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        Path(filler).unlink()
    text = "after0xp0of1 there is room again"
    report(ids=memory.add(text).cube_ids, digests=[digest(text)])
    memory.close()
    report(closed=True)


def migrate(folder, settings, kill_at=None):
    """Make a memory and die at the `kill_at`-th call into SQLite; without it, report how many there are."""
    num = 0

    def count(_frame, event, called):
        nonlocal num
        if event == "c_call" and "sqlite3" in str(type(getattr(called, "__self__", None))):
            num += 1
            if num == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    memory = MemoryOS.open(folder, **settings)
    sys.setprofile(None)
    memory.close()
    report(calls=num)


def check(folder, settings):
    """Compare a memory with what was acknowledged, which comes on standard input; report what is lost."""
    wanted = json.load(sys.stdin)
    memory = MemoryOS.open(folder, **settings)
    lost, listed, after = [], {}, ""
    while page := memory.list(after=after, limit=1_000):
        listed |= {cube.id: digest(cube.text) for cube in page}
        after = page[-1].id
    for cube_id, wanted_digests in wanted.items():
        try:
            text = memory.get(cube_id).text
        except EngramosError as error:
            lost.append(f"get {cube_id}: {error}")
            continue
        if digest(text) not in wanted_digests:
            lost.append(f"get {cube_id}: other text {text!r}")
        if listed.get(cube_id) not in wanted_digests:
            lost.append(f"list: {cube_id} is missing or has another text")
        mark = text.split()[0]
        if cube_id not in {cube.id for cube in memory.list(Filter(match=mark))}:
            lost.append(f"full-text index: {cube_id} is not found by {mark!r}")
        if cube_id not in {hit.cube.id for hit in memory.search(mark, limit=3, plan=LEXICAL)}:
            lost.append(f"search: {cube_id} is not found by {mark!r}")
    findings = [str(one) for one in memory.verify().findings]
    memory.close()
    for problem in lost[:20] + findings[:20]:
        report(problem=problem[:2_000])
    report(checked=len(wanted), lost=len(lost), findings=len(findings))


MODES = {one.__name__: one for one in (add, mix, erase, same_key, search, hold, fill, migrate, check)}

if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    MODES[task.pop("mode")](**task)
