"""Stems do not depend on what other threads do."""

import sys
import threading

from engramos.plaintext.terms import term_of

WORDS = [f"{start}{end}" for start in ("relat", "oper", "hop", "nation", "vil", "conflat") for end in (
    "ional", "ating", "ization", "ed", "ies", "ation", "fulness", "ement", "ing", "able")]  # fmt: skip


def test_eight_threads_find_the_stems_that_one_finds() -> None:
    uncached = term_of.__wrapped__
    right = [uncached(word) for word in WORDS]
    found: list[list[int | None]] = [[] for _ in range(8)]

    def run(place: int) -> None:
        for _ in range(5):
            found[place] = [uncached(word) for word in WORDS[place:] + WORDS[:place]]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=run, args=(place,)) for place in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert found == [right[place:] + right[:place] for place in range(8)]
