"""Measures one peer; runs in a process of its own, in the environment that has the peer."""

import importlib
import importlib.metadata
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.speed.numbers import percentile, timed_ms
from benchmarks.speed.peers.base import Peer
from benchmarks.speed.texts import conversation, questions
from benchmarks.speed.vectors import asked, vectors

NUM_QUESTIONS = 100
NUM_ONE_BY_ONE = 200
NUM_KILLED = 20


def speed(seed: int, folder: str, name: str, num: int) -> dict[str, Any]:
    """Return a peer's times for adds one by one, a batch, and searches among `num` texts."""
    texts, known, made = _prepared(seed, num)
    store = _store(name)(Path(folder), known)
    one_by_one = min(NUM_ONE_BY_ONE, num) if store.has_batch else num
    add_ms = [timed_ms(lambda at=at: store.add(str(at), texts[at])) for at in range(one_by_one)]
    batch_a_s = None
    if store.has_batch and one_by_one < num:
        start = time.perf_counter()
        for at in range(one_by_one, num, 1_000):
            several = range(at, min(num, at + 1_000))
            store.add_many([str(one) for one in several], [texts[one] for one in several])
        batch_a_s = (num - one_by_one) / (time.perf_counter() - start)
    store.search(made[0][0])
    search_ms, num_found = [], 0
    for question, about in made:
        start = time.perf_counter()
        found = store.search(question)
        search_ms.append((time.perf_counter() - start) * 1e3)
        num_found += texts[about] in found
    return {
        "version": importlib.metadata.version(store.package),
        "searches": store.searches,
        "add_p50_ms": percentile(add_ms, 50),
        "batch_a_s": batch_a_s,
        "search_p50_ms": percentile(search_ms, 50),
        "found": num_found / len(made),
    }


def add_then_die(seed: int, folder: str, name: str) -> None:
    """Add 20 texts one by one, and be killed as soon as the last is acknowledged."""
    texts, known, _ = _prepared(seed, NUM_KILLED)
    store = _store(name)(Path(folder), known)
    for at, text in enumerate(texts):
        store.add(str(at), text)
    Path(folder + ".acknowledged").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def outlived(seed: int, folder: str, name: str) -> int:
    """Return how many of the 20 texts a new process finds."""
    texts, known, _ = _prepared(seed, NUM_KILLED)
    store = _store(name)(Path(folder), known | {text: known[text] for text in texts})
    return sum(text in store.search(text) for text in texts)


def _store(name: str) -> type[Peer]:
    return importlib.import_module(f"benchmarks.speed.peers.{name}").Store


def _prepared(seed: int, num: int) -> tuple[list[str], dict[str, np.ndarray], list[tuple[str, int]]]:
    """Return the texts, the vector of every text and question, and the questions."""
    turns = list(conversation(seed, num))
    # stores that drop equal texts would have less to do
    texts = [f"{turn.speaker}: {turn.text[:-1]} n{at}." for at, turn in enumerate(turns)]
    made = questions(seed, turns, NUM_QUESTIONS)
    rows = vectors(seed, num)
    known = dict(zip(texts, rows, strict=True))
    asked_rows = asked(seed, rows, [about for _, about in made])
    return texts, known | dict(zip((question for question, _ in made), asked_rows, strict=True)), made
